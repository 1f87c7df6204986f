"""`koalib grade`: many films, one after the other, in constant memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from tqdm import tqdm

from koalib.clinic import present
from koalib.clinic.diagnosis import Diagnosis
from koalib.clinic.grader import Grader
from koalib.clinic.heatmap import overlay, png
from koalib.clinic.records import Book, Case, now
from koalib.clinic.report import make_report
from koalib.clinic.texts import text
from koalib.errors import UserError
from koalib.paths import atomic_write

REPORT_KINDS = {".html": "html", ".pdf": "pdf", ".dcm": "sr", ".json": "json"}


def check_targets(films: list[Path], heatmap: Path | None, report: Path | None) -> None:
    """Refuse before the first film what could not be written after it.

    Raises:
        UserError: the report's ending is none we write, or one file is named for several films.
    """
    if report and report.suffix.lower() not in REPORT_KINDS:
        raise UserError(f"{report}: a report ends in {', '.join(REPORT_KINDS)}")
    for target in filter(None, (heatmap, report)):
        if target.is_dir():
            raise UserError(f"{target}: is a folder; name a file")


def grade_films(grader: Grader, films: list[Path], heatmap: Path | None = None, report: Path | None = None, records: Path | None = None, language: str = "en", keep_identity: bool | None = None) -> Iterator[Diagnosis]:
    """Grade the films and write what was asked for; each reading is given back without its pictures.

    With several knees the files are numbered: ``map.png``, ``map-2.png``, ... ``keep_identity`` says whether the case
    book may keep DICOM patient data and put them into DICOM reports; None leaves the book's own setting.
    """
    check_targets(films, heatmap, report)
    book, written = (Book(records) if records else None), 0
    try:
        if book and keep_identity is not None:
            book.keep_identity(keep_identity)
        bar = tqdm(films, desc="films", file=sys.stderr, disable=len(films) < 10)
        for diagnosis in (d for film in bar for d in grader.grade(film, name=str(film))):
            if diagnosis.ok:
                written += 1
                case = _case(book, diagnosis, written)
                if heatmap:
                    atomic_write(_numbered(heatmap, written), png(overlay(diagnosis.pictures.film, diagnosis.pictures.heat)))
                if report:
                    earlier, identity = (book.earlier(case), book.identity(case.patient)) if book else (None, None)
                    atomic_write(_numbered(report, written), make_report(REPORT_KINDS[report.suffix.lower()], case, earlier, language, identity).content)
            yield diagnosis.without_pictures()
    finally:
        if book:
            book.close()


def _case(book: Book | None, diagnosis: Diagnosis, number: int) -> Case:
    """The reading as a case of the book, or of no book."""
    return book.case(book.save(diagnosis)) if book else Case(number, "\u2013", now(), None, diagnosis)


def _numbered(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_stem(f"{path.stem}-{number}")


def print_lines(found: Iterator[Diagnosis], language: str = "en") -> bool:
    """One line a knee for people; gives whether all were read."""
    console, fine = Console(soft_wrap=True, highlight=False), True
    for d in found:
        if d.ok:
            side = f" ({present.side_words(d, language)})" if d.side else ""
            words = f"{d.image}{side}: {present.kl(d.grade, language)} {text(f'grade_{d.grade}', language)}, {present.percent(d.confidence)}; {present.set_words(d, language)}; {present.refer_words(d, language)}"
        else:
            words, fine = d.error, False
        console.print(words, markup=False, style=None if d.ok else "red")
    console.print(text("notice", language), markup=False, style="dim")
    return fine
