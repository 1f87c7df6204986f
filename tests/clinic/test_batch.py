"""`koalib grade` over many films: one bad file costs no other, and nothing that was there is written over."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner, Result

from koalib.clinic import batch
from koalib.clinic.grader import Grader
from koalib.clinic.records import Book
from koalib.cli import app as command
from koalib.errors import UserError


def grade(*arguments: object) -> Result:
    """`koalib grade`."""
    return CliRunner().invoke(command, ["grade", *map(str, arguments)])


@pytest.fixture
def folder(weights: Path, film: bytes, dicom_film: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of films."""
    monkeypatch.setenv("KOALIB_GRADER", str(weights))
    (tmp_path / "x").mkdir()
    for name, content in (("a.png", film), ("x/a.png", film), ("1-a.png", film), ("b.dcm", dicom_film)):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def everything(folder: Path) -> dict[Path, bytes]:
    """All files below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def altered(film: bytes, **values: str) -> bytes:
    """A DICOM film with these texts in its header, whatever they are: pydicom would refuse them of the right representation."""
    header, stream = pydicom.dcmread(io.BytesIO(film)), io.BytesIO()
    right = {keyword: header[keyword].VR.encode() for keyword in values}
    for keyword, value in values.items():
        header.add_new(keyword, "LO", value)
    header.save_as(stream)
    content = stream.getvalue()
    for keyword, representation in right.items():
        tag = header[keyword].tag
        place = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")
        assert content.count(place + b"LO") == 1
        content = content.replace(place + b"LO", place + representation)
    return content


@pytest.mark.parametrize("spacing", ["0,6\\0,6", "0.5", "0.5\\inf", "0.5\\nan"])
def test_an_odd_spacing_costs_no_film_its_reading(folder: Path, dicom_film: bytes, spacing: str) -> None:
    (folder / "b.dcm").write_bytes(altered(dicom_film, PixelSpacing=spacing))
    out = grade(folder / "a.png", folder / "b.dcm", folder / "1-a.png", "--json")
    readings = json.loads(out.stdout)
    assert out.exit_code == 0 and [reading["ok"] for reading in readings] == [True] * 3 and readings[1]["pixel_spacing_mm"] is None


def test_what_no_decoder_foresaw_is_that_films_error_only(grader: Grader, film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(*_: object, **__: object) -> None:
        raise KeyError("an odd\nheader")

    monkeypatch.setattr("koalib.clinic.grader.header", odd)
    (failed,) = grader.grade(film, name="odd.png")
    monkeypatch.undo()
    assert not failed.ok and failed.error.startswith("odd.png") and "KeyError" in failed.error and "\n" not in failed.error
    assert grader.grade(film)[0].ok


@pytest.mark.parametrize(("films", "options"), [
    (["b.dcm"], ["--report", "b.dcm"]), (["a.png"], ["--heatmap", "a.png"]), (["a.png"], ["--heatmap", "x/../a.png"]), (["link.png"], ["--heatmap", "a.png"]),
    (["a.png", "1-a.png"], ["--heatmap", "1.png"]), (["h-knee2.png"], ["--heatmap", "h.png"]), (["a.png"], ["--records", "a.png"]),
    (["a.png"], ["--report", "r.json", "--records", "r.json"]), (["a.png"], ["--report", "book.json", "--records", "book.json"])])
def test_no_film_and_no_book_is_overwritten(folder: Path, film: bytes, films: list[str], options: list[str]) -> None:
    (folder / "link.png").symlink_to(folder / "a.png")
    (folder / "h-knee2.png").write_bytes(film)
    with Book(folder / "book.json"):
        pass
    before = everything(folder)
    out = grade(*(folder / name for name in films), *(option if option.startswith("--") else folder / option for option in options))
    assert isinstance(out.exception, UserError) and "name" in str(out.exception) and "\n" not in str(out.exception)
    assert everything(folder) == before


def test_films_whose_names_run_into_one_another_are_all_numbered(folder: Path, two_knees: bytes) -> None:
    out = grade(folder / "a.png", folder / "x" / "a.png", folder / "1-a.png", "--heatmap", folder / "h.png")
    assert out.exit_code == 0 and sorted(path.name for path in folder.glob("h*")) == ["h-1-a.png", "h-2-a.png", "h-3-1-a.png"]
    (folder / "both.png").write_bytes(two_knees)
    (folder / "both-knee2.png").write_bytes(two_knees)
    grade(folder / "both.png", folder / "both-knee2.png", "--heatmap", folder / "m.png")
    assert sorted(path.name for path in folder.glob("m*")) == ["m-1-both-knee2.png", "m-1-both.png", "m-2-both-knee2-knee2.png", "m-2-both-knee2.png"]


def test_names_that_differ_in_case_alone_are_numbered() -> None:
    assert batch.labels([Path("A.png"), Path("x/a.png"), Path("b.png")]) == ["-1-A", "-2-a", "-b"]


@pytest.mark.parametrize("book", ["a.png/book.sqlite", "a.png/more/book.sqlite"])
def test_a_case_book_that_cannot_be_made_is_one_line(folder: Path, book: str) -> None:
    assert isinstance(grade(folder / "b.dcm", "--records", folder / book).exception, UserError)


@pytest.mark.parametrize("name", ["a.png", "b.dcm"])
def test_without_a_book_a_dicom_report_names_no_patient(folder: Path, name: str) -> None:
    assert grade(folder / name, "--report", folder / "r.dcm").exit_code == 0
    report = pydicom.dcmread(folder / "r.dcm")
    assert (report.PatientID, report.PatientName) == ("", "") and "PatientID" in report and "PatientName" in report
    for ending in ("html", "pdf", "json"):
        assert grade(folder / name, "--report", folder / f"r.{ending}").exit_code == 0


def test_keeping_identities_needs_a_book_to_keep_them_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = grade(folder / "b.dcm", "--report", folder / "r.dcm", "--keep-identity")
    assert isinstance(out.exception, UserError) and "--records" in str(out.exception) and not (folder / "r.dcm").exists()
    monkeypatch.setenv("KOALIB_KEEP_IDENTITY", "1")  # said of books in general
    assert grade(folder / "b.dcm", "--report", folder / "r.dcm").exit_code == 0 and b"Mustermann" not in (folder / "r.dcm").read_bytes()


@pytest.mark.parametrize("records", [[], ["--records", "book.sqlite"]])
def test_a_malformed_time_or_date_leaves_the_report(folder: Path, dicom_film: bytes, records: list[str]) -> None:
    (folder / "b.dcm").write_bytes(altered(dicom_film, StudyTime="10:15:00", StudyDate="00000000"))
    assert grade(folder / "b.dcm", "--report", folder / "r.dcm", *(folder / name if "." in name else name for name in records)).exit_code == 0
    report = pydicom.dcmread(folder / "r.dcm")
    assert (report.StudyDate, report.StudyTime) == ("", "")
