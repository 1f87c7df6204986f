"""The reading as one A4 page, by reportlab, with fonts for both languages embedded."""

from __future__ import annotations

import io
from functools import cache
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Frame, KeepInFrame, Paragraph, Spacer, Table

from koalib.clinic import fonts, present
from koalib.clinic.heatmap import overlay, png
from koalib.clinic.records import Case
from koalib.clinic.texts import text

INK, QUIET, ACCENT, LINE = (colors.HexColor(c) for c in ("#14232b", "#52646e", "#0d6470", "#d0d9dd"))
WARN, WARN_SOFT, GOOD, GOOD_SOFT = (colors.HexColor(c) for c in ("#c56a12", "#fdf2e0", "#2f8f83", "#e6f4f1"))
WIDTH = A4[0] - 36 * mm
FONT = ("FONTNAME", (0, 0), (-1, -1), "koa")  #: of every table: without it reportlab names Helvetica, which it does not embed


@cache
def register_fonts() -> None:
    """Make the fonts known to reportlab, once."""
    for name, path in (("koa", fonts.LATIN), ("koa-bold", fonts.LATIN_BOLD), ("koa-zh", fonts.CHINESE)):
        pdfmetrics.registerFont(TTFont(name, path))
    pdfmetrics.registerFontFamily("koa", normal="koa", bold="koa-bold", italic="koa", boldItalic="koa-bold")


def words(value: str, size: float = 9, color: colors.Color = INK, bold: bool = False, language: str = "en") -> Paragraph:
    """A paragraph in which Chinese runs get the Chinese font; nothing in it is read as markup."""
    pieces = "".join(f'<font name="koa-zh">{escape(run)}</font>' if chinese else escape(run) for run, chinese in fonts.runs(value))
    style = ParagraphStyle("koa", fontName="koa-bold" if bold else "koa", fontSize=size, leading=size * 1.4, textColor=color,
                           wordWrap="CJK" if language == "zh" else None, splitLongWords=1)
    return Paragraph(pieces, style)


class Picture(Flowable):
    """A picture of a given width on black, its proportions kept."""

    def __init__(self, content: bytes, width: float) -> None:
        super().__init__()
        self.image = ImageReader(io.BytesIO(content))
        across, down = self.image.getSize()
        self.width, self.height = width, width * down / across

    def draw(self) -> None:
        """Called by reportlab."""
        self.canv.drawImage(self.image, 0, 0, self.width, self.height)


class BarLine(Flowable):
    """One probability's bar; the grey track is 100 %."""

    def __init__(self, bar: present.Bar, width: float) -> None:
        super().__init__()
        self.bar, self.width, self.height = bar, width, 9

    def draw(self) -> None:
        """Called by reportlab."""
        self.canv.setFillColor(colors.HexColor("#e9eef0"))
        self.canv.roundRect(0, 0, self.width, 9, 2, stroke=0, fill=1)
        self.canv.setFillColor(colors.HexColor(self.bar.colour))
        self.canv.roundRect(0, 0, max(2, self.width * self.bar.share), 9, 2, stroke=0, fill=1)


def to_pdf(case: Case, earlier: Case | None, language: str) -> bytes:
    """The report as PDF bytes."""
    register_fonts()
    stream = io.BytesIO()
    canvas = Canvas(stream, pagesize=A4, pageCompression=1, lang=language, initialFontName="koa")
    canvas.setTitle(f"{text('report_title', language)} {case.id}")
    canvas.setAuthor("koalib")
    canvas.setSubject(text("notice", language))
    frame = Frame(18 * mm, 26 * mm, WIDTH, A4[1] - 42 * mm, 0, 0, 0, 0)
    # One page whatever the reader wrote: what is too long is set smaller, never cut.
    frame.addFromList([KeepInFrame(WIDTH, A4[1] - 42 * mm, _story(case, earlier, language), mode="shrink")], canvas)
    _footer(canvas, case, language)
    canvas.showPage()
    canvas.save()
    return stream.getvalue()


def _story(case: Case, earlier: Case | None, language: str) -> list[Flowable]:
    d = case.diagnosis
    return [
        _head(case, language), Spacer(0, 12), _verdict(case, language), Spacer(0, 8), _notice(case, language), Spacer(0, 12),
        _pictures(case, language), Spacer(0, 14),
        Table([[_bars(case, language), _facts(case, earlier, language)]], colWidths=[WIDTH * 0.47, WIDTH * 0.53],
              style=[FONT, ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (0, 0), 0), ("RIGHTPADDING", (-1, 0), (-1, 0), 0), ("LEFTPADDING", (1, 0), (1, 0), 18)]),
        Spacer(0, 8), words(f"{text('model', language)}: {d.model}, {d.version}", 7.5, QUIET, language=language),
        words(f"{text('film_hash', language)}: {d.film_sha256}", 7.5, QUIET, language=language)]


def _head(case: Case, language: str) -> Table:
    made = f"{text('made', language)} {case.made_at[:16].replace('T', ' ')} UTC"
    right = [words(line, 8.5, QUIET, language=language) for line in (case.patient or "\u2013", case.diagnosis.image, made)]
    return Table([[words(text("report_title", language), 18, ACCENT, bold=True, language=language), right]], colWidths=[WIDTH * 0.6, WIDTH * 0.4],
                 style=[FONT, ("VALIGN", (0, 0), (-1, -1), "BOTTOM"), ("LINEBELOW", (0, 0), (-1, -1), 1.6, ACCENT), ("LEFTPADDING", (0, 0), (0, 0), 0), ("BOTTOMPADDING", (0, 0), (-1, -1), 7)])


def _verdict(case: Case, language: str) -> Table:
    d = case.diagnosis
    side = f"{text('side', language)}: {present.side_words(d, language)}"
    detail = [words(text(f"grade_{d.grade}", language), 14, bold=True, language=language),
              words(f"{text('confidence', language)} {present.percent(d.confidence)} · {text('set', language, coverage=present.coverage())}: {present.set_words(d, language)}", 9, language=language),
              words(side, 9, language=language)]
    badge = words(present.kl(d.grade, language), 20, colors.white, bold=True)
    return Table([[badge, detail]], colWidths=[30 * mm, WIDTH - 30 * mm],
                 style=[FONT, ("BACKGROUND", (0, 0), (0, 0), colors.HexColor(present.GRADE_COLOURS[d.grade])), ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                        ("ROUNDEDCORNERS", [6, 6, 6, 6]), ("LEFTPADDING", (0, 0), (0, 0), 11), ("LEFTPADDING", (1, 0), (1, 0), 12)])


def _notice(case: Case, language: str) -> Table:
    back, edge = (WARN_SOFT, WARN) if case.diagnosis.refer else (GOOD_SOFT, GOOD)
    return Table([[words(present.refer_words(case.diagnosis, language), 9.5, bold=case.diagnosis.refer, language=language)]], colWidths=[WIDTH],
                 style=[FONT, ("BACKGROUND", (0, 0), (-1, -1), back), ("LINEBEFORE", (0, 0), (0, -1), 3, edge), ("TOPPADDING", (0, 0), (-1, -1), 5), ("BOTTOMPADDING", (0, 0), (-1, -1), 6)])


def _pictures(case: Case, language: str) -> Table:
    pictures, width = case.diagnosis.pictures, (WIDTH - 10) / 2
    painted = png(overlay(pictures.film, pictures.heat, 0.6))
    return Table([[Picture(png(pictures.film), width), Picture(painted, width)], [words(text("film", language), 8, QUIET), words(text("heat", language), 8, QUIET)]],
                 colWidths=[width + 10, width], style=[FONT, ("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 0), ("VALIGN", (0, 0), (-1, -1), "TOP")])


def _bars(case: Case, language: str) -> list[Flowable]:
    rows = [[words(f"{bar.grade} {bar.name}", 9, bold=bar.top, language=language), BarLine(bar, 32 * mm), words(bar.percent, 9, bold=bar.top)] for bar in present.bars(case.diagnosis, language)]
    style = [("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 4), ("VALIGN", (0, 0), (-1, -1), "MIDDLE"), ("TOPPADDING", (0, 0), (-1, -1), 2), ("BOTTOMPADDING", (0, 0), (-1, -1), 2)]
    return [words(text("probabilities", language), 9, ACCENT, bold=True), Spacer(0, 4), Table(rows, colWidths=[31 * mm, 33 * mm, 16 * mm], style=[FONT, *style], hAlign="LEFT")]


def _facts(case: Case, earlier: Case | None, language: str) -> list[Flowable]:
    story: list[Flowable] = []
    for label, value, note in [*present.facts(case, earlier, language), (text("reader_decision", language), present.decision_words(case, language), "")]:
        story += [words(label, 8, QUIET, language=language), words(value, 9, language=language)]
        if note:
            story.append(words(note, 7.5, QUIET, language=language))
        story.append(Spacer(0, 4))
    return story


def _footer(canvas: Canvas, case: Case, language: str) -> None:
    notice = words(text("notice", language), 8.5, colors.HexColor("#8a2c1c"), bold=True, language=language)
    _, height = notice.wrap(WIDTH, 40)
    canvas.setStrokeColor(LINE)
    canvas.line(18 * mm, 23 * mm, 18 * mm + WIDTH, 23 * mm)
    notice.drawOn(canvas, 18 * mm, 21 * mm - height)
