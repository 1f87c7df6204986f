"""One reader's sitting: films in, readings, decisions, reports and history out. It knows no widget.

The page is a thin view over this object; tests and notebooks use it directly.
"""

from __future__ import annotations

import functools
from collections import deque
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from koalib.clinic import present
from koalib.clinic.grader import Grader
from koalib.clinic.heatmap import png
from koalib.clinic.export import to_csv
from koalib.clinic.records import Book, Case
from koalib.clinic.report import Report, make_report
from koalib.clinic.texts import ClinicError, text
from koalib.data.phantom import make_phantoms
from koalib.errors import UserError


@dataclass(frozen=True)
class Limits:
    """What one upload may be."""

    bytes: int = 64 * 2**20
    files: int = 20


@dataclass(frozen=True)
class Sample:
    """A made film: key, the grade it was made as (None: both knees), and its PNG file."""

    key: str
    grade: int | None
    content: bytes


class Session:
    """Films read since the page was opened, and the case book behind them."""

    KEPT = 50  #: films on the work list; older ones are found in the history

    def __init__(self, grader: Grader, book: Book, language: str = "en", limits: Limits = Limits()) -> None:
        self.grader, self.book, self.limits = grader, book, limits
        self.language = language
        self.patient = ""
        self.errors: deque[str] = deque(maxlen=20)
        self._work: deque[int] = deque(maxlen=self.KEPT)  # numbers of readings; pictures stay in the book
        self.current: Case | None = None

    # ------------------------------------------------------------ films in

    def add(self, name: str, content: bytes, show: bool = True) -> list[Case]:
        """Read a film, keep its readings in the book, show the last unless told not to. What cannot be read goes to ``errors``."""
        name = PurePath(name.replace("\\", "/")).name[:120] or "film"
        if len(content) > self.limits.bytes:
            self.refuse("too_large", name=name, megabytes=self.limits.bytes >> 20)
            return []
        added = []
        for diagnosis in self.grader.grade(content, name=name):
            if not diagnosis.ok:
                self.errors.append(diagnosis.error_in(self.language))
                continue
            try:
                number = self.book.save(diagnosis, self.patient)
            except ClinicError as error:
                self.refuse(error.key, **error.values)
                break
            self._work.append(number)
            added.append(self.book.case(number))
        if added and show:
            self.current = added[-1]
        return added

    def add_sample(self, key: str) -> list[Case]:
        """Read one of the made films."""
        sample = next(s for s in samples() if s.key == key)
        return self.add(f"{key}-phantom.png", sample.content)

    def refuse(self, key: str, **values: object) -> None:
        """Put a mistake of the reader's into ``errors``."""
        self.errors.append(text(key, self.language, **values))

    # ------------------------------------------------------------ looking

    def show(self, number: int) -> Case:
        """Make a reading of this reader's book the current one."""
        self.current = self.book.case(number)
        return self.current

    def work(self) -> list[Case]:
        """The readings of this sitting, the newest first."""
        return self.book.cases(list(reversed(self._work)))

    def earlier(self) -> Case | None:
        """The latest earlier film of the knee that is shown."""
        return self.book.earlier(self.current) if self.current else None

    def history(self, **query: object) -> list[Case]:
        """Readings of the book; see ``Book.search``."""
        return self.book.search(**query)

    def count(self, **query: object) -> int:
        """How many readings of the book fit, however many are shown."""
        return self.book.count(**query)

    def csv(self, **query: object) -> bytes:
        """All readings that fit as a CSV file."""
        found = self.book.search(limit=None, **query)
        self.book.note("export", "history", readings=len(found))
        return to_csv(found)

    # ------------------------------------------------------------ the reader's word, reports

    def decide(self, action: str, grade: int | None = None, reason: str = "") -> Case:
        """Accept, change or reject the reading that is shown.

        Raises:
            UserError: nothing is shown, grade or reason is missing, or the grade is the grader's own.
        """
        if self.current is None:
            raise UserError(text("empty", self.language))
        if action == "change" and grade is None:
            raise UserError(text("grade_missing", self.language))
        if action == "change" and grade == self.current.diagnosis.grade:
            raise UserError(text("same_grade", self.language, grade=present.kl(grade, self.language)))
        if action != "accept" and not reason.strip():
            raise UserError(text("reason_missing", self.language))
        self.book.decide(self.current.id, action, grade, reason)
        return self.show(self.current.id)

    def report(self, kind: str) -> Report:
        """The report of the reading that is shown; see ``REPORTS``.

        Raises:
            UserError: nothing is shown, or no such kind.
        """
        if self.current is None:
            raise UserError(text("empty", self.language))
        made = make_report(kind, self.current, self.earlier(), self.language, self.book.identity(self.current.patient))
        self.book.note("report", f"reading {self.current.id}", kind=kind, language=self.language)
        return made


@functools.cache
def samples() -> tuple[Sample, ...]:
    """Made films to try the page with: one of each grade, and one that shows both knees of a patient."""
    made = make_phantoms(24, size=224, seed=7)
    table, contrast = made.table, made.pixels.std(axis=(1, 2))
    grades = table["grade"].to_numpy()
    clear = ~table["inverted"].to_numpy(dtype=bool) & (contrast > np.median(contrast) * 0.9)
    films = [Sample(f"KL{grade}", grade, png(made.pixels[np.flatnonzero((grades == grade) & clear)[0]])) for grade in range(5)]
    rows = next(r for r in table.groupby("patient").indices.values() if clear[r].all() and set(table["side"].iloc[r]) == {"L", "R"})
    # The patient faces us: the right knee is on the left of the film.
    right, left = sorted(rows, key=lambda row: table["side"].iloc[row], reverse=True)
    return (*films, Sample("both", None, png(np.hstack([made.pixels[right], made.pixels[left]]))))
