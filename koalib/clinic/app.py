"""The reading room as a page: a thin view, in ipywidgets, over a ``Session``."""

from __future__ import annotations

import functools
import html
import os
import secrets
from collections.abc import Callable
from datetime import date
from pathlib import Path

import ipywidgets as w

from koalib.clinic import present
from koalib.clinic.controls import ANY, Controls, chosen, relabel
from koalib.clinic.grader import Grader
from koalib.clinic.heatmap import heat_rgba, png
from koalib.clinic.records import Book, Case
from koalib.clinic.session import Session, samples
from koalib.clinic.texts import LANGUAGES, text
from koalib.clinic.widgets import PAGE, CaseTable, FilmDrop, FilmViewer, PageLabels, data_url
from koalib.errors import UserError
from koalib.paths import cache_dir

KEPT = 20  #: readings whose controls are kept, for what a reader did to them and the kernel has not heard yet


def shown(method: Callable) -> Callable:
    """Show whatever goes wrong in a callback on the page, since a notebook hides it."""
    @functools.wraps(method)
    def guarded(self: App, *arguments: object) -> None:
        try:
            method(self, *arguments)
        except UserError as error:
            self.session.errors.append(str(error))
        except Exception as error:  # noqa: BLE001 - the page must say it, whatever it is
            self.session.refuse("failed", error=f"{type(error).__name__}: {error}")
        self.draw_errors()
    return guarded


class App:
    """Widgets and the lines that join them to the session; ``page`` is what is displayed.

    Args:
        browser_reads: the reader was not named, so each browser is one of its own, by the key that it keeps.
    """

    def __init__(self, session: Session, whole_page: bool = False, browser_reads: bool = False) -> None:
        self.session, self.browser_reads = session, browser_reads
        self.controls: Controls | None = None  # those of the reading that is shown
        self._kept: dict[int, Controls] = {}  # by reading, the one shown last at the end
        self._taking = self._turned = False  # a drop comes in; a film of it was shown
        self._build(whole_page)
        self._wire()
        self.draw()

    def t(self, key: str, **values: object) -> str:
        """A text in the page's language."""
        return text(key, self.session.language, **values)

    # ------------------------------------------------------------ the widgets

    def _build(self, whole_page: bool) -> None:
        style = w.HTML(f"<style>{(PAGE / 'style.css').read_text(encoding='utf-8')}</style>")
        self.head = w.HTML()
        self.tabs = w.ToggleButtons(options=["reading", "history"])
        self.language = w.ToggleButtons(options=[(name, code) for code, name in LANGUAGES.items()], value=self.session.language)
        self.labels = PageLabels(whole_page=whole_page)
        for name, group in (("koa-tabs", self.tabs), ("koa-languages", self.language)):
            group.add_class(name)
        self.errors, self.dismiss = w.HTML(), w.Button()
        self.drop = FilmDrop(self.take, self.event, whole_page=whole_page, limits={"bytes": self.session.limits.bytes, "files": self.session.limits.files})
        self.patient = w.Text(continuous_update=False)
        self.work = CaseTable()
        self.viewer = FilmViewer()
        self.reading, self.empty = w.HTML(), w.HTML()
        self.headings = {key: w.HTML() for key in ("films", "work_list", "decision", "report")}
        self._build_history()
        self._lay_out(style)

    def _build_history(self) -> None:
        self.by_patient, self.since, self.until = w.Text(continuous_update=False), w.DatePicker(), w.DatePicker()
        self.by_grade, self.only_changed, self.export = w.Dropdown(), w.Checkbox(indent=False), w.Button()
        self.count, self.cases = w.HTML(), CaseTable()

    def _lay_out(self, style: w.HTML) -> None:
        h = self.headings
        bar = box("koa-head", self.head, self.tabs, self.language, self.labels)
        alert = self.alert = box("koa-alert", self.errors, self.dismiss)
        films = box("koa-card koa-films", h["films"], self.drop, self.patient, h["work_list"], self.work)
        centre = box("koa-card koa-film", self.empty, self.viewer)
        decision, self.report_buttons = box("koa-card koa-decision"), box("koa-buttons")
        report = box("koa-card koa-reports", h["report"], self.report_buttons)
        self.decision_card, self.report_card = decision, report
        result = self.result_card = box("koa-card", self.reading)
        middle = box("koa-middle", centre, box("koa-below", decision, report))
        self.reading_page = box("koa-grid", films, middle, box("koa-side-column", result))
        search = box("koa-search", self.by_patient, self.since, self.until, self.by_grade, self.only_changed)
        self.history_page = box("koa-card koa-history", search, box("koa-found", self.count, self.export), self.cases)
        self.foot = w.HTML()
        self.page = box("koa-app", style, bar, alert, self.reading_page, self.history_page, self.foot)

    def _wire(self) -> None:
        self.tabs.observe(self.turn, "value")
        self.language.observe(self.translate, "value")
        self.dismiss.on_click(self.clear_errors)
        self.patient.observe(self.name_patient, "value")
        self.work.observe(self.open, "chosen")
        self.cases.observe(self.open, "chosen")
        self.export.on_click(self.hand_out_history)
        for field in (self.by_patient, self.since, self.until, self.by_grade, self.only_changed):
            field.observe(self.search, "value")

    # ------------------------------------------------------------ what the reader does

    @shown
    def take(self, name: str, content: bytes) -> None:
        """A film of a drop arrived: the first that can be read is shown, the others wait on the work list."""
        self._take(True)
        self.drop.busy = True
        try:
            self._turned |= bool(self.session.add(name, content, show=not self._turned))
        finally:
            self.drop.busy = False
        self.draw_case()

    def _take(self, taking: bool) -> None:
        """A drop begins to come in, or is over.

        Meanwhile the kernel is slow to answer. A browser then holds back all but the first change of a field, and a click would
        overtake them; a pseudonym typed for the next drop would get into the middle of this one.
        """
        self._taking = self.patient.disabled = taking
        self._turned &= taking
        if self.controls:
            self.controls.disable(taking)

    @shown
    def event(self, message: dict) -> None:
        """The page said something that is no film."""
        limits = self.session.limits
        match message.get("type"):
            case "hello":
                self._take(False)  # a page drawn anew has no drop under way
                if self.browser_reads:
                    self.session.book.reader = str(message.get("reader") or "")[:64] or self.session.book.reader
                self.draw_history()
            case "sample":
                self.drop.busy = True
                try:
                    self.session.add_sample(str(message.get("key")))
                finally:
                    self.drop.busy = False
                self.draw_case()
                self.patient.value = ""
            case "taken":
                self._take(False)
                self.patient.value = ""  # the next films may be another patient's
            case "unreadable":
                self.session.refuse("unreadable", name=str(message.get("name"))[:120])
            case "too_large":
                self.session.refuse("too_large", name=str(message.get("name"))[:120], megabytes=limits.bytes >> 20)
            case "too_many":
                self.session.refuse("too_many", files=limits.files)

    @shown
    def open(self, change: dict) -> None:
        """A row of the work list or of the history was clicked."""
        current = self.session.current
        if not change["new"]:
            return
        if current is None or change["new"] != str(current.id):
            self.session.show(int(change["new"]))
            self.draw_case()
        self.tabs.value = "reading"

    @shown
    def decide(self, controls: Controls) -> None:
        """Keep the reader's word."""
        self._return_to(controls)
        case = self.session.decide(*controls.word())
        controls.fill(case)
        self.draw_case()
        controls.said.value = html.escape(self.t("saved", what=present.decision_words(case, self.session.language)))

    @shown
    def hand_out(self, controls: Controls, kind: str, _: w.Button) -> None:
        """Make a report and let the browser save it."""
        self._return_to(controls)
        controls.disable(True)  # as in `_take`: for a second or two a click would overtake the fields
        try:
            report = self.session.report(kind)
        finally:
            controls.disable(self._taking)
        self.drop.hand_out(report.name, report.mime, report.content)
        controls.said.value = html.escape(self.t("report_ready", name=report.name))

    def _return_to(self, controls: Controls) -> None:
        """Show the reading that was clicked on, where the page has moved on since."""
        if self.session.current.id != controls.number:
            self.session.show(controls.number)
            self.draw_case()

    @shown
    def hand_out_history(self, _: w.Button) -> None:
        """Let the browser save what the search found as CSV."""
        self.drop.hand_out("koalib-history.csv", "text/csv", self.session.csv(**self.query()))

    @shown
    def search(self, _: dict) -> None:
        """A search field changed."""
        self.draw_history()

    @shown
    def turn(self, _: dict) -> None:
        """Reading or history."""
        self.draw_history()
        self._show_tab()

    @shown
    def translate(self, change: dict) -> None:
        """The other language."""
        self.session.language = change["new"]
        self.draw()

    @shown
    def name_patient(self, change: dict) -> None:
        """The pseudonym for the films of the next drop."""
        self.session.patient = change["new"]

    @shown
    def clear_errors(self, _: w.Button) -> None:
        """The reader has seen them."""
        self.session.errors.clear()

    # ------------------------------------------------------------ drawing

    def draw(self) -> None:
        """Everything, in the language of the session."""
        self._draw_texts()
        self.draw_errors()
        self.draw_case()
        self.draw_history()
        self._show_tab()

    def draw_errors(self) -> None:
        """What went wrong, until it is dismissed."""
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in self.session.errors)
        self.errors.value = f'<div role="alert" data-testid="errors"><b>{self.t("errors")}</b><ul>{lines}</ul></div>' if lines else ""
        self.alert.layout.display = None if lines else "none"

    def draw_case(self) -> None:
        """The film, its reading and the work list."""
        case, language = self.session.current, self.session.language
        there = None if case else "none"
        for card in (self.viewer, self.result_card, self.decision_card, self.report_card):
            card.layout.display = there
        self.empty.layout.display = "none" if case else None
        if case:
            self._draw_reading(case, language)
        # The list last: where it marks a reading, all else on the page is that reading's.
        self.work.rows = [row(c, language, short=True) for c in self.session.work()]
        self.work.set_trait("chosen", str(case.id) if case else "")

    def _draw_reading(self, case: Case, language: str) -> None:
        pictures, d = case.diagnosis.pictures, case.diagnosis
        controls = self.controls = self._controls_of(case)
        controls.disable(self._taking)
        controls.said.value = html.escape(present.decision_words(case, language))
        self.decision_card.children = (self.headings["decision"], *controls.decision)
        self.report_buttons.children = tuple(controls.reports.values())
        with self.viewer.hold_sync():
            self.viewer.film = data_url(png(pictures.film))
            self.viewer.heat = data_url(png(heat_rgba(pictures.heat, pictures.film.shape)))
            self.viewer.alt = f"{d.image}, {present.side_words(d, language)}, {present.kl(d.grade, language)}"
        self.reading.value = present.render("reading.html", case, self.session.earlier(), language)

    def _controls_of(self, case: Case) -> Controls:
        """The reading's own, as the reader left them; the one not shown for longest is closed for a new one."""
        new = case.id not in self._kept
        controls = self._kept[case.id] = self._kept.pop(case.id, None) or Controls(case.id, self.decide, self.hand_out)
        controls.label(self.session.language)
        if new:
            controls.fill(case)
        if len(self._kept) > KEPT:
            self._kept.pop(next(iter(self._kept))).close()
        return controls

    def draw_history(self) -> None:
        """What the search finds."""
        found = self.session.history(**self.query())
        self.cases.rows = [row(case, self.session.language) for case in found]
        self.cases.set_trait("chosen", "")
        self.count.value = f'<span role="status">{html.escape(self._found_words(len(found)))}</span>'

    def _found_words(self, shown: int) -> str:
        count = self.session.count(**self.query())
        if not count:
            return self.t("history_empty")
        return self.t("found", count=count) if count == shown else self.t("found_part", shown=shown, count=count)

    def query(self) -> dict:
        """The search fields as ``Book.search`` takes them."""
        def iso(value: date | None) -> str:
            return value.isoformat() if value else ""
        return {"patient": self.by_patient.value, "since": iso(self.since.value), "until": iso(self.until.value),
                "grade": chosen(self.by_grade), "changed": self.only_changed.value}

    def _show_tab(self) -> None:
        reading = self.tabs.value == "reading"
        self.reading_page.layout.display = None if reading else "none"
        self.history_page.layout.display = "none" if reading else None

    def _draw_texts(self) -> None:
        t, megabytes = self.t, self.session.limits.bytes >> 20
        self.head.value = f'<div class="koa-brand"><span class="koa-logo" aria-hidden="true"></span><div><h1>{t("title")}</h1><p>{t("subtitle")}</p></div></div>'
        kept = f" {t('identity_kept')}" if self.session.book.keeps_identity else ""
        reader = "" if self.browser_reads else f" {html.escape(t('reader', reader=self.session.book.reader))}"
        self.foot.value = f'<p class="koa-foot">{t("notice")}{kept}{reader}</p>'
        self.empty.value = f'<p class="koa-empty">{t("empty")}</p>'
        for key, heading in self.headings.items():
            heading.value = f"<h2>{t(key)}</h2>"
        with self.drop.hold_sync():
            self.drop.texts = {"drop": t("drop"), "hint": t("drop_hint", megabytes=megabytes, files=self.session.limits.files), "samples": t("samples")}
            self.drop.samples = [sample_button(s, self.session.language) for s in samples()]
        self.viewer.texts = {key: t(key) for key in ("film", "heat", "opacity", "zoom_in", "zoom_out", "zoom_reset")} | {"help": t("viewer_help")}
        self.labels.language = self.session.language
        self.labels.groups = {"koa-tabs": t("tabs"), "koa-languages": t("language"), "koa-actions": t("decision")}
        relabel(self.tabs, [(t("reading_tab"), "reading"), (t("history_tab"), "history")])
        relabel(self.by_grade, [(t("any"), ANY), *((present.kl(g, self.session.language), g) for g in range(5))])
        self._draw_labels()

    def _draw_labels(self) -> None:
        t = self.t
        for widget, key in ((self.patient, "patient"), (self.by_patient, "patient"), (self.since, "from"), (self.until, "until"), (self.by_grade, "grade"),
                            (self.only_changed, "only_changed"), (self.dismiss, "dismiss"), (self.export, "export")):
            widget.description = t(key)
        self.patient.placeholder = t("patient_hint")
        self.work.name, self.cases.name = t("work_list"), t("history_tab")
        self.work.columns = [t("film"), t("grade"), t("status")]
        self.cases.columns = [t(key) for key in ("film", "patient", "date", "side", "grade", "your_grade", "status")]


def box(classes: str, *children: w.Widget) -> w.Box:
    """A box with CSS classes; the style sheet lays it out."""
    made = w.Box(children)
    for name in classes.split():
        made.add_class(name)
    return made


def row(case: Case, language: str, short: bool = False) -> dict:
    """A case as a line of a table."""
    d, t = case.diagnosis, functools.partial(text, language=language)
    name = d.image + (f" ({t('knee')} {d.knee + 1})" if "two_knees" in d.remarks else "")
    tail = [present.kl(d.grade, language), t(case.status)]
    cells = [name, *tail] if short else [name, case.patient, case.day, d.side or "\u2013", tail[0], present.kl(case.reader_grade, language), tail[1]]
    tones = [""] * len(cells)
    tones[1 if short else 4] = f"kl{d.grade}"
    tones[-1] = case.status
    return {"key": str(case.id), "label": t("open_case", name=f"{name}, {tail[0]}"), "cells": cells, "tones": tones}


def sample_button(sample: object, language: str) -> dict:
    """What the page needs to show a made film."""
    both = sample.grade is None
    return {"key": sample.key, "picture": data_url(sample.content), "label": text("both", language) if both else str(sample.grade),
            "title": text("sample_both", language) if both else text("sample", language, grade=sample.grade)}


def named_reader() -> str:
    """The reader's name: who is logged in at the hub, else ``KOALIB_READER``; empty where each browser is a reader of its own."""
    return os.environ.get("JUPYTERHUB_USER") or os.environ.get("KOALIB_READER") or ""


def identity_setting() -> bool | None:
    """What ``KOALIB_KEEP_IDENTITY`` says of keeping DICOM patient data; None where it says nothing.

    Raises:
        UserError: it is neither yes nor no.
    """
    said = os.environ.get("KOALIB_KEEP_IDENTITY", "").lower()
    if said in ("", "0", "false", "no", "off", "1", "true", "yes", "on"):
        return said in ("1", "true", "yes", "on") if said else None
    raise UserError(f"KOALIB_KEEP_IDENTITY={said}: write 1 or 0")


def open_app(book: str | Path | None = None, language: str | None = None, whole_page: bool = False) -> App:
    """The page with the shipped grader and a case book (``KOALIB_BOOK``, else one in the cache folder).

    ``KOALIB_KEEP_IDENTITY`` of 1 or 0 says whether the book may keep DICOM patient data; without it the book's own setting stays.
    """
    path = book or os.environ.get("KOALIB_BOOK") or cache_dir() / "casebook.sqlite"
    language = language or os.environ.get("KOALIB_LANGUAGE") or "en"
    reader = named_reader()
    # Until the browser has said who it is, the book shows nobody's readings.
    opened = Book(path, reader or secrets.token_hex(16))
    keep = identity_setting()
    if keep is not None:
        opened.keep_identity(keep)
    return App(Session(Grader.load(), opened, language), whole_page, browser_reads=not reader)
