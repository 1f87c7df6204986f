"""`koalib grade`: many films, one after the other, in constant memory."""

from __future__ import annotations

import getpass
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
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
KNEES = ("", "-knee2")  #: what tells the files of a film's two knees apart


def check_targets(films: list[Path], heatmap: Path | None, report: Path | None, records: Path | None) -> None:
    """Refuse before the first film what could not be written after it, or would replace a film or the case book.

    Raises:
        UserError: an ending that is none we write, a folder, one of the films, or the case book.
    """
    for target, endings, what in ((heatmap, (".png",), "a heat map"), (report, tuple(REPORT_KINDS), "a report")):
        if target and target.suffix.lower() not in endings:
            raise UserError(f"{target}: {what} ends in {', '.join(endings)}")
    targets = [named(path, label, knee) for path in (heatmap, report) if path for label in labels(films) for knee in range(len(KNEES))]
    given = {_place(film) for film in films}
    for target in [*targets, *([records] if records else [])]:
        if os.path.isdir(target):
            raise UserError(f"{target}: is a folder; name a file")
        if _place(target) in given:
            raise UserError(f"{target}: is one of the films to grade, and would be overwritten; name another file")
    if records and _place(records) in set(map(_place, targets)):
        raise UserError(f"{records}: is named for the case book and for what is written of a film; name two files")


def _place(path: Path) -> tuple[int, int] | Path:
    """The same for two names of one file, through links and in folders that ignore case."""
    try:
        found = path.stat()
    except OSError:  # not there yet
        return path.absolute()
    return found.st_dev, found.st_ino


def grade_films(grader: Grader, films: list[Path], heatmap: Path | None = None, report: Path | None = None, records: Path | None = None,
                language: str = "en", keep_identity: bool | None = None, reader: str | None = None) -> Iterator[Diagnosis]:
    """Grade the films and write what was asked for; each reading is given back without its pictures, under the film's path.

    Args:
        heatmap, report: files to write; for several films each gets the film's name, see ``named``.
        records: case book to keep the readings in, under the name ``reader`` (default: `system_user`).
        keep_identity: whether the book may keep DICOM patient data and put them into DICOM reports; None leaves its own setting.
    """
    check_targets(films, heatmap, report, records)
    book, names = (Book(records, reader or system_user()) if records else None), labels(films)
    try:
        if book and keep_identity is not None:
            book.keep_identity(keep_identity)
        bar = tqdm(films, desc="films", file=sys.stderr, disable=len(films) < 10)
        for film, label in zip(bar, names, strict=True):
            for diagnosis in grader.grade(film):
                targets = [path and named(path, label, diagnosis.knee) for path in (heatmap, report)]
                yield replace(_kept(book, diagnosis, *targets, language), image=str(film)).without_pictures()
    finally:
        if book:
            book.close()


def system_user() -> str:
    """Who is logged in on this machine, or ``reader`` where the system does not say."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "reader"


def labels(films: list[Path]) -> list[str]:
    """What tells the films' files apart: nothing for one film, its name for several, its number too where names repeat.

    All are numbered where a name reads as another's number or second knee. Names that differ in case alone repeat: some folders ignore it.
    """
    if len(films) == 1:
        return [""]
    stems = Counter(film.stem.casefold() for film in films)
    numbered = [f"-{number}-{film.stem}" for number, film in enumerate(films, 1)]
    short = [f"-{film.stem}" if stems[film.stem.casefold()] == 1 else label for film, label in zip(films, numbered, strict=True)]
    files = {f"{label}{knee}".casefold() for label in short for knee in KNEES}
    return short if len(files) == len(short) * len(KNEES) else numbered


def named(path: Path, label: str, knee: int) -> Path:
    """``map.png`` as ``map-FILM.png``, and ``map-FILM-knee2.png`` for the second knee on the film."""
    return path.with_stem(f"{path.stem}{label}{KNEES[knee]}")


def _kept(book: Book | None, diagnosis: Diagnosis, heatmap: Path | None, report: Path | None, language: str) -> Diagnosis:
    """Keep and write one reading; whatever goes wrong in that is this film's error and no other's."""
    if not diagnosis.ok:
        return diagnosis
    try:
        case = book.case(book.save(diagnosis)) if book else Case(diagnosis.knee + 1, "", now(), None, diagnosis)
        if heatmap:
            atomic_write(heatmap, png(overlay(diagnosis.pictures.film, diagnosis.pictures.heat)))
        if report:
            earlier, identity = (book.earlier(case), book.identity(case.patient)) if book else (None, None)
            atomic_write(report, make_report(REPORT_KINDS[report.suffix.lower()], case, earlier, language, identity).content)
    except Exception as error:  # noqa: BLE001 - the next film must be graded, whatever it is
        return replace(diagnosis, ok=False, code="report_failed", values={"why": f"{type(error).__name__}: {error}"})
    return diagnosis


def print_lines(found: Iterator[Diagnosis], language: str = "en") -> bool:
    """One line a knee for people; gives whether all were read."""
    console, fine = Console(soft_wrap=True, highlight=False), True
    for d in found:
        if d.ok:
            side = f" ({present.side_words(d, language)})" if d.side else ""
            words = f"{d.image}{side}: {present.kl(d.grade, language)} {text(f'grade_{d.grade}', language)}, {present.percent(d.confidence)}; {present.set_words(d, language)}; {present.refer_words(d, language)}"
        else:
            words, fine = d.error_in(language), False
        console.print(words, markup=False, style=None if d.ok else "red")
    console.print(text("notice", language), markup=False, style="dim")
    return fine
