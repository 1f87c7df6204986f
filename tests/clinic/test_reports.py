"""Reports: they open, say the same thing, carry the notice, and nothing put into them becomes markup."""

from __future__ import annotations

import copy
import io
import json
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from koalib.clinic import fonts
from koalib.clinic.grader import Grader
from koalib.clinic.records import Book, Case
from koalib.clinic.report import REPORTS, make_report
from koalib.clinic.texts import all_texts, text
from koalib.errors import UserError

needs_dciodvfy = pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (Debian package dicom3tools) is not installed")
needs_pdftotext = pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed")
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture
def case(grader: Grader, film: bytes, book: Book) -> Case:
    (diagnosis,) = grader.grade(film, name=f"{EVIL}-left.png")
    number = book.save(diagnosis, EVIL)
    book.decide(number, "change", (diagnosis.grade + 2) % 5, f"骨赘明显 {EVIL}")
    return book.case(number)


@pytest.fixture
def dicom_case(grader: Grader, dicom_film: bytes, book: Book) -> Case:
    (diagnosis,) = grader.grade(dicom_film)
    return book.case(book.save(diagnosis))


class Tags(HTMLParser):
    """Every tag and address of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        assert not any(name.startswith("on") for name, _ in attributes)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_web_page_stands_alone_and_escapes_everything(case: Case, language: str) -> None:
    page = make_report("html", case, language=language).content.decode()
    found = Tags(page)
    assert "script" not in found.tags and found.tags.count("img") == 2
    assert all(address.startswith("data:image/png;base64,") for address in found.addresses)
    assert text("notice", language) in page and "骨赘明显" in page and "&lt;script&gt;" in page


@pytest.mark.parametrize("language", ["en", "zh"])
@needs_pdftotext
def test_the_pdf_is_one_page_that_reads_in_both_languages(case: Case, language: str, tmp_path: Path) -> None:
    (tmp_path / "r.pdf").write_bytes(make_report("pdf", case, language=language).content)
    words = subprocess.run(["pdftotext", "-layout", tmp_path / "r.pdf", "-"], capture_output=True, text=True, check=True).stdout
    assert words.count("\f") == 1 and "骨赘明显" in words and "<script>" in words
    assert text("report_title", language) in words and text("notice", language)[:20] in words
    listed = subprocess.run(["pdffonts", tmp_path / "r.pdf"], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
    assert listed and all(line[60:].split()[0] == "yes" or " yes " in line for line in listed), "every font is embedded"


def test_the_fonts_have_every_character_that_is_used() -> None:
    from fontTools.ttLib import TTFont

    latin, chinese = (set(TTFont(path).getBestCmap()) for path in (fonts.LATIN, fonts.CHINESE))
    missing = [c for run, in_chinese in fonts.runs(all_texts()) for c in run if ord(c) not in (chinese if in_chinese else latin)]
    assert missing == [] and "".join(run for run, _ in fonts.runs(all_texts())) == all_texts()


def test_characters_that_no_font_has_are_written_as_numbers() -> None:
    assert fonts.runs("關節隙，喆") == [("U+95DCU+7BC0", False), ("隙，", True), ("U+5586", False)]
    assert fonts.runs("骨 a\U00020bb7\x07") == [("骨", True), (" aU+20BB7U+0007", False)]
    assert fonts.runs("一\t二\nb") == [("一", True), (" ", False), ("二", True), (" b", False)], "white space is no character that could be missed"


def pdf_words(content: bytes, folder: Path) -> str:
    """The text of a PDF file as a reader copies it out, a form feed after each page."""
    (folder / "r.pdf").write_bytes(content)
    return subprocess.run(["pdftotext", "-layout", folder / "r.pdf", "-"], capture_output=True, text=True, check=True).stdout


@needs_pdftotext
@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_character_of_a_reason_is_left_out_of_the_pdf(case: Case, language: str, tmp_path: Path) -> None:
    found = pdf_words(make_report("pdf", replace(case, reason="隙窄，喆 \U00020bb7 ✓ end"), language=language).content, tmp_path)
    assert "隙窄，U+5586U+20BB7✓end" in "".join(found.split())


@needs_pdftotext
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("word", ["long ", "关节间隙狭窄，", "unbroken"])
def test_a_very_long_reason_still_fits_on_one_page(case: Case, word: str, language: str, tmp_path: Path) -> None:
    found = pdf_words(make_report("pdf", replace(case, reason=word * 800 + "its last word"), language=language).content, tmp_path)
    assert found.count("\f") == 1 and "itslastword" in "".join(found.split()) and "".join(found.split()).count(word.strip()) == 800


def test_json_has_the_shape_of_the_structured_report(case: Case) -> None:
    found = json.loads(make_report("json", case).content)
    lines = {line["code"]: line for line in found["findings"]}
    assert all(set(line) == {"code", "finding", "value", "unit", "confidence"} for line in lines.values())
    assert lines["KL"]["value"] == case.diagnosis.grade and lines["KLREADER"]["value"] == case.reader_grade != case.diagnosis.grade and lines["KL"]["confidence"] == pytest.approx(case.diagnosis.confidence, abs=1e-4)
    assert sum(lines[f"KLP{g}"]["value"] for g in range(5)) == pytest.approx(1, abs=1e-3)
    assert found["algorithm"]["version"] == case.diagnosis.version and found["notice"] == text("notice", "en")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", ["sr", "sc"])
def test_dicom_refers_to_the_source_and_is_valid(dicom_case: Case, kind: str, language: str, tmp_path: Path) -> None:
    (tmp_path / "r.dcm").write_bytes(make_report(kind, dicom_case, language=language).content)
    report, source = pydicom.dcmread(tmp_path / "r.dcm"), dicom_case.diagnosis.source
    assert report.StudyInstanceUID == source.StudyInstanceUID
    assert source.SOPInstanceUID in {element.value for element in report.iterall() if element.keyword == "ReferencedSOPInstanceUID"}
    assert "Mustermann" not in str(report) and "4711-0815" not in str(report)  # whole: random UIDs hold any four digits now and then


IDENTIFIERS = ("StudyDate", "StudyTime", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@needs_dciodvfy
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", ["sr", "sc"])
def test_dciodvfy_finds_no_error(case: Case, dicom_case: Case, kind: str, language: str, tmp_path: Path) -> None:
    bare = replace(dicom_case, taken_on=None, diagnosis=replace(dicom_case.diagnosis, source=without(dicom_case.diagnosis.source, *IDENTIFIERS)))
    for name, reported in (("png", replace(case, patient="P-1")), ("dicom", dicom_case), ("anonymised", bare), ("no book", replace(dicom_case, patient=""))):
        (tmp_path / name).write_bytes(make_report(kind, reported, language=language).content)
        said = subprocess.run(["dciodvfy", "-new", tmp_path / name], capture_output=True, text=True)
        assert "Error" not in said.stderr + said.stdout, f"{name}: {said.stderr}"


def without(source: pydicom.Dataset, *keywords: str) -> pydicom.Dataset:
    """A copy of the header that lacks these, as anonymised files do."""
    made = copy.deepcopy(source)
    for keyword in keywords:
        del made[keyword]
    return made


@pytest.mark.parametrize("missing", IDENTIFIERS)
def test_a_film_without_an_identifier_gets_one_and_every_report(dicom_case: Case, missing: str) -> None:
    source = without(dicom_case.diagnosis.source, missing)
    case = replace(dicom_case, taken_on=None, diagnosis=replace(dicom_case.diagnosis, source=source))
    for kind in REPORTS:
        assert make_report(kind, case).content
    film, report = json.loads(make_report("json", case).content)["film"], pydicom.dcmread(io.BytesIO(make_report("sr", case).content))
    assert film["study_instance_uid"] == report.StudyInstanceUID and film["sop_instance_uid"]
    assert ("StudyInstanceUID" == missing) != (report.StudyInstanceUID == source.get("StudyInstanceUID")), "what is there stays"


@pytest.mark.parametrize(("keyword", "value"), [
    ("StudyTime", "10:15:00"), ("StudyTime", "2515"), ("StudyTime", "1015\\1016"), ("StudyDate", "00000000"), ("StudyDate", "20240231"), ("StudyDate", "20240101\\20240102"),
    ("SOPClassUID", "no class"), ("StudyInstanceUID", "1.2\\1.3"), ("Modality", "DX\\CR")])
def test_a_malformed_value_is_as_good_as_none(dicom_case: Case, keyword: str, value: str) -> None:
    source = copy.deepcopy(dicom_case.diagnosis.source)
    source.add_new(keyword, "LO", value)
    case = replace(dicom_case, taken_on="0000-00-00" if keyword == "StudyDate" else None, diagnosis=replace(dicom_case.diagnosis, source=source))
    bare = replace(case, taken_on=None, diagnosis=replace(case.diagnosis, source=without(source, keyword)))
    for kind in REPORTS:
        made, expected = make_report(kind, case).content, make_report(kind, bare).content
        if kind in ("sr", "sc"):
            made, expected = (pydicom.dcmread(io.BytesIO(content)) for content in (made, expected))
            assert made.get(keyword) == expected.get(keyword) and value not in str(made)


def test_a_uid_with_leading_zeros_still_names_the_film(dicom_case: Case) -> None:
    source = copy.deepcopy(dicom_case.diagnosis.source)
    source.add_new("StudyInstanceUID", "UI", "1.2.0840.007")
    report = make_report("sr", replace(dicom_case, diagnosis=replace(dicom_case.diagnosis, source=source))).content
    assert pydicom.dcmread(io.BytesIO(report)).StudyInstanceUID == "1.2.0840.007"


@pytest.mark.parametrize("kind", ["sr", "sc"])
def test_a_pseudonym_becomes_a_well_formed_name_or_none(dicom_case: Case, kind: str) -> None:
    for pseudonym, name in (("P-7", "P-7^"), ("a=b^c", "a b c^"), ("x" * 64, f"{'x' * 63}^"), ("", "")):
        report = pydicom.dcmread(io.BytesIO(make_report(kind, replace(dicom_case, patient=pseudonym)).content))
        assert (report.PatientID, report.PatientName) == (pseudonym, name)
    with pytest.raises(UserError, match="without backslash"):
        make_report(kind, replace(dicom_case, patient="P\\7"))  # an older book may hold it


def test_an_impossible_birth_date_is_not_written(dicom_case: Case) -> None:
    identity = {"number": "4711", "name": "Mustermann^Erika", "birth_date": "19580000"}
    report = pydicom.dcmread(io.BytesIO(make_report("sr", dicom_case, identity=identity).content))
    assert (report.PatientID, report.PatientBirthDate) == ("4711", "")


def test_highdicom_reads_the_structured_report_again(dicom_case: Case) -> None:
    report = highdicom.sr.srread(io.BytesIO(make_report("sr", dicom_case).content))
    (group,) = report.content.get_image_measurement_groups()
    values = {m.name.value: m.value for m in group.get_measurements()}
    assert values["KL"] == dicom_case.diagnosis.grade and values["OAP"] == pytest.approx(dicom_case.diagnosis.oa_probability, abs=1e-4)
    assert group.finding_sites[0].laterality.meaning == "Left"
    assert text("notice", "en") in [item.TextValue for item in report.ContentSequence if "TextValue" in item]


@pytest.mark.skipif(not shutil.which("dsrdump"), reason="dcmtk is not installed")
def test_dsrdump_reads_the_structured_report(dicom_case: Case, tmp_path: Path) -> None:
    (tmp_path / "r.dcm").write_bytes(make_report("sr", dicom_case).content)
    said = subprocess.run(["dsrdump", tmp_path / "r.dcm"], capture_output=True, text=True)
    assert said.returncode == 0 and "Kellgren-Lawrence grade" in said.stdout


def test_the_secondary_capture_shows_film_and_heat_map(dicom_case: Case) -> None:
    report = pydicom.dcmread(io.BytesIO(make_report("sc", dicom_case).content))
    picture = report.pixel_array
    film, painted = picture[:512, :512].astype(int), picture[:512, 512:].astype(int)
    assert np.ptp(film, axis=2).max() == 0 and np.ptp(painted, axis=2).max() > 50 and report.BurnedInAnnotation == "YES"


def test_identity_is_written_only_where_the_book_keeps_it(grader: Grader, dicom_film: bytes, book: Book) -> None:
    book.keep_identity(True)
    (diagnosis,) = grader.grade(dicom_film)
    case = book.case(book.save(diagnosis))
    for kind in REPORTS:
        assert b"Mustermann" not in make_report(kind, case).content
    assert pydicom.dcmread(io.BytesIO(make_report("sr", case, identity=book.identity(case.patient)).content)).PatientName == "Mustermann^Erika"


def test_an_unknown_kind_is_refused(case: Case) -> None:
    with pytest.raises(UserError, match="html"):
        make_report("doc", case)
