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
from koalib.clinic.grader import Grader
from koalib.clinic.heatmap import heat_rgba, png
from koalib.clinic.records import Book, Case
from koalib.clinic.report import REPORTS
from koalib.clinic.session import Session, samples
from koalib.clinic.texts import LANGUAGES, text
from koalib.clinic.widgets import PAGE, CaseTable, FilmDrop, FilmViewer, PageLabels, data_url
from koalib.errors import UserError
from koalib.paths import cache_dir

ACTIONS = ("accept", "change", "reject")
ANY = -1  #: no grade chosen; None would show as an empty field


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
    """Widgets and the lines that join them to the session; ``page`` is what is displayed."""

    def __init__(self, session: Session, whole_page: bool = False) -> None:
        self.session = session
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
        self.action, self.grade, self.reason = w.ToggleButtons(options=list(ACTIONS)), w.Dropdown(), w.Text()
        self.action.add_class("koa-actions")
        self.save, self.said = w.Button(button_style="primary"), w.HTML()
        self.reports = {kind: w.Button() for kind in REPORTS}
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
        decision = self.decision_card = box("koa-card koa-decision", h["decision"], self.action, self.grade, self.reason, self.save, self.said)
        report = self.report_card = box("koa-card koa-reports", h["report"], box("koa-buttons", *self.reports.values()))
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
        self.action.observe(self.choose, "value")
        self.save.on_click(self.decide)
        self.work.observe(self.open, "chosen")
        self.cases.observe(self.open, "chosen")
        self.export.on_click(self.hand_out_history)
        for kind, button in self.reports.items():
            button.on_click(functools.partial(self.hand_out, kind))
        for field in (self.by_patient, self.since, self.until, self.by_grade, self.only_changed):
            field.observe(self.search, "value")

    # ------------------------------------------------------------ what the reader does

    @shown
    def take(self, name: str, content: bytes) -> None:
        """A film arrived."""
        self.drop.busy = True
        try:
            self.session.add(name, content)
        finally:
            self.drop.busy = False
        self.draw_case()

    @shown
    def event(self, message: dict) -> None:
        """The page said something that is no film."""
        limits = self.session.limits
        match message.get("type"):
            case "hello":
                self.session.book.reader = named_reader() or str(message.get("reader"))[:64] or self.session.book.reader
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
                self.patient.value = ""  # the next films may be another patient's
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
    def choose(self, _: dict) -> None:
        """Accept, change or reject was chosen: show the fields that it needs."""
        self._show_fields()

    @shown
    def decide(self, _: w.Button) -> None:
        """Keep the reader's word."""
        case = self.session.decide(self.action.value, chosen(self.grade), self.reason.value)
        self.draw_case()
        self.said.value = html.escape(self.t("saved", what=present.decision_words(case, self.session.language)))

    @shown
    def hand_out(self, kind: str, _: w.Button) -> None:
        """Make a report and let the browser save it."""
        report = self.session.report(kind)
        self.drop.hand_out(report.name, report.mime, report.content)
        self.said.value = html.escape(self.t("report_ready", name=report.name))

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
        self.work.rows = [row(c, language, short=True) for c in self.session.work()]
        self.work.set_trait("chosen", str(case.id) if case else "")
        if not case:
            return
        pictures, d = case.diagnosis.pictures, case.diagnosis
        with self.viewer.hold_sync():
            self.viewer.film = data_url(png(pictures.film))
            self.viewer.heat = data_url(png(heat_rgba(pictures.heat, pictures.film.shape)))
            self.viewer.alt = f"{d.image}, {present.side_words(d, language)}, {present.kl(d.grade, language)}"
        self.reading.value = present.render("reading.html", case, self.session.earlier(), language)
        self.action.value, self.reason.value = case.action or "accept", case.reason
        self.grade.value = case.reader_grade if case.action == "change" else ANY
        self.said.value = html.escape(present.decision_words(case, language))
        self._show_fields()

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

    def _show_fields(self) -> None:
        self.grade.layout.display = None if self.action.value == "change" else "none"
        self.reason.layout.display = "none" if self.action.value == "accept" else None

    def _draw_texts(self) -> None:
        t, megabytes = self.t, self.session.limits.bytes >> 20
        self.head.value = f'<div class="koa-brand"><span class="koa-logo" aria-hidden="true"></span><div><h1>{t("title")}</h1><p>{t("subtitle")}</p></div></div>'
        kept = f" {t('identity_kept')}" if self.session.book.keeps_identity else ""
        reader = f" {html.escape(t('reader', reader=named_reader()))}" if named_reader() else ""
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
        relabel(self.action, [(t(a), a) for a in ACTIONS])
        relabel(self.grade, [(t("choose"), ANY), *((f"{present.kl(g, self.session.language)}  {t(f'grade_{g}')}", g) for g in range(5))])
        relabel(self.by_grade, [(t("any"), ANY), *((present.kl(g, self.session.language), g) for g in range(5))])
        self._draw_labels()

    def _draw_labels(self) -> None:
        t = self.t
        for widget, key in ((self.patient, "patient"), (self.grade, "your_grade"), (self.reason, "reason"), (self.by_patient, "patient"),
                            (self.since, "from"), (self.until, "until"), (self.by_grade, "grade"), (self.only_changed, "only_changed"),
                            (self.save, "save"), (self.dismiss, "dismiss"), (self.export, "export")):
            widget.description = t(key)
        self.patient.placeholder, self.reason.placeholder = t("patient_hint"), t("reason_hint")
        for kind, button in self.reports.items():
            button.description = t(f"report_{kind}")
            button.tooltip = f"{t('report')}: {t(f'report_{kind}')}"
        self.work.name, self.cases.name = t("work_list"), t("history_tab")
        self.work.columns = [t("film"), t("grade"), t("status")]
        self.cases.columns = [t(key) for key in ("film", "patient", "date", "side", "grade", "your_grade", "status")]


def box(classes: str, *children: w.Widget) -> w.Box:
    """A box with CSS classes; the style sheet lays it out."""
    made = w.Box(children)
    for name in classes.split():
        made.add_class(name)
    return made


def relabel(choice: w.Widget, options: list[tuple[str, object]]) -> None:
    """Other words for the same choices, without losing the choice."""
    value = choice.value
    choice.options = options
    choice.value = value if value in [v for _, v in options] else options[0][1]


def chosen(grade: w.Dropdown) -> int | None:
    """The grade chosen in a list that may also say ``ANY``."""
    return None if grade.value == ANY else grade.value


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
    # Until the browser has said who it is, the book shows nobody's readings.
    opened = Book(path, named_reader() or secrets.token_hex(16))
    keep = identity_setting()
    if keep is not None:
        opened.keep_identity(keep)
    return App(Session(Grader.load(), opened, language), whole_page)
