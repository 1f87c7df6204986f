"""The fields and buttons of one reading on the page."""

from __future__ import annotations

import functools
from collections.abc import Callable

import ipywidgets as w

from koalib.clinic import present
from koalib.clinic.records import ACTIONS, Case
from koalib.clinic.report import REPORTS
from koalib.clinic.texts import text

ANY = -1  #: no grade chosen; None would show as an empty field


class Controls:
    """The fields and buttons that act on one reading, each reading having its own.

    The kernel hears a click only after everything that was sent before it, when another reading may be shown. It still
    comes from the button of the reading on which it was made, and so do the fields that belong to it.
    """

    def __init__(self, number: int, decide: Callable, hand_out: Callable) -> None:
        self.number = number
        # The reason is sent as a whole: of a field that changes twice while the kernel is busy, the last change comes after the click.
        self.action, self.grade, self.reason = w.ToggleButtons(options=list(ACTIONS)), w.Dropdown(), w.Text(continuous_update=False)
        self.action.add_class("koa-actions")
        self.save, self.said = w.Button(button_style="primary"), w.HTML()
        self.reports = {kind: w.Button() for kind in REPORTS}
        self.decision = (self.action, self.grade, self.reason, self.save, self.said)
        self.action.observe(lambda _: self._show_fields(), "value")
        self.save.on_click(lambda _: decide(self))
        for kind, button in self.reports.items():
            button.on_click(functools.partial(hand_out, self, kind))

    def label(self, language: str) -> None:
        """Everything that is written on them."""
        t = functools.partial(text, language=language)
        relabel(self.action, [(t(a), a) for a in ACTIONS])
        relabel(self.grade, [(t("choose"), ANY), *((f"{present.kl(g, language)}  {t(f'grade_{g}')}", g) for g in range(5))])
        for widget, key in ((self.grade, "your_grade"), (self.reason, "reason"), (self.save, "save")):
            widget.description = t(key)
        self.reason.placeholder = t("reason_hint")
        for kind, button in self.reports.items():
            button.description = t(f"report_{kind}")
            button.tooltip = f"{t('report')}: {t(f'report_{kind}')}"

    def fill(self, case: Case) -> None:
        """What the book holds."""
        self.action.value, self.reason.value = case.action or "accept", case.reason
        self.grade.value = case.reader_grade if case.action == "change" else ANY
        self._show_fields()

    def _show_fields(self) -> None:
        self.grade.layout.display = None if self.action.value == "change" else "none"
        self.reason.layout.display = "none" if self.action.value == "accept" else None

    def word(self) -> tuple[str, int | None, str]:
        """Action, grade and reason as ``Session.decide`` takes them; a field that is not shown says nothing."""
        action = self.action.value
        return action, chosen(self.grade) if action == "change" else None, "" if action == "accept" else self.reason.value

    def disable(self, disabled: bool) -> None:
        """Whether the buttons can be clicked."""
        for button in (self.save, *self.reports.values()):
            button.disabled = disabled

    def close(self) -> None:
        """Take them out of kernel and browser."""
        for widget in (*self.decision, *self.reports.values()):
            for part in (widget.layout, widget.style, widget):
                part.close()


def relabel(choice: w.Widget, options: list[tuple[str, object]]) -> None:
    """Other words for the same choices, without losing the choice."""
    value = choice.value
    choice.options = options
    choice.value = value if value in [v for _, v in options] else options[0][1]


def chosen(grade: w.Dropdown) -> int | None:
    """The grade chosen in a list that may also say ``ANY``."""
    return None if grade.value == ANY else grade.value
