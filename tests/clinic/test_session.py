"""The sitting behind the page, and the page's widgets without a browser."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from clinic_input import drop, make_dicom
from typer.testing import CliRunner, Result

from koalib.clinic import batch, diagram, novelty
from koalib.clinic.app import App, open_app
from koalib.clinic.heatmap import png, unpng
from koalib.clinic.joint_space import measure
from koalib.clinic.records import Book, Case
from koalib.clinic.session import Limits, Session, samples
from koalib.clinic.texts import _TEXTS, LANGUAGES, text
from koalib.cli import app as command
from koalib.data.images import KneeImage, read_knee, resize
from koalib.data.phantom import make_phantoms
from koalib.errors import UserError


def another(case: Case) -> int:
    """A grade that is not the grader's."""
    return (case.diagnosis.grade + 2) % 5


def test_a_film_goes_through_the_session(session: Session, film: bytes) -> None:
    (case,) = session.add("../../etc/knee-left.png", film)
    assert case.diagnosis.image == "knee-left.png" and session.current == case and [c.id for c in session.work()] == [case.id]
    with pytest.raises(UserError, match="reason"):
        session.decide("change", another(case))
    assert session.decide("change", another(case), "because").status == "changed"
    assert session.report("json").content and [line["action"] for line in session.book.audit()] == ["save", "change", "report"]


@pytest.mark.parametrize(("language", "words"), [("en", "Choose another grade, or accept"), ("zh", "请选择其他分级")])
def test_a_change_to_the_graders_own_grade_is_no_change(session: Session, film: bytes, language: str, words: str) -> None:
    view = App(session)
    view.language.value = language
    view.take("knee.png", film)
    own = session.current.diagnosis.grade
    controls = view.controls
    controls.action.value, controls.reason.value = "change", "because"
    controls.save.click()
    assert text("grade_missing", language) in view.errors.value
    controls.grade.value = own
    controls.save.click()
    assert words in view.errors.value and f"KL {own}" in view.errors.value and session.current.status == "open"
    with pytest.raises(UserError, match="already"):
        session.book.decide(session.current.id, "change", own, "because")
    controls.grade.value = another(session.current)
    controls.save.click()
    assert session.current.status == "changed" and controls.grade.value == session.current.reader_grade


def test_uploads_are_limited_and_mistakes_are_kept_for_the_page(session: Session, film: bytes, photograph: bytes) -> None:
    session.limits = Limits(bytes=1000, files=2)
    assert session.add("big.png", film) == [] and "big.png" in session.errors[-1]
    session.limits = Limits()
    assert session.add("cat.jpg", photograph) == [] and "knee" in session.errors[-1]
    assert session.add("empty.png", b"") == [] and session.current is None and session.book.search() == []


def test_nothing_shown_means_nothing_to_decide_or_report(session: Session) -> None:
    for act in (lambda: session.decide("accept"), lambda: session.report("pdf")):
        with pytest.raises(UserError):
            act()


def test_the_samples_are_knees_of_every_grade_to_the_novelty_score() -> None:
    assert [sample.grade for sample in samples()] == [0, 1, 2, 3, 4, None]
    films = np.stack([resize(read_knee(sample.content).pixels, novelty.SIZE) for sample in samples()[:5]])
    scores = novelty.shipped().score(films)
    assert scores.max() < novelty.shipped().unusual, "run `python -m benchmarks.novelty` after a change of the phantom"


def test_noise_and_pages_are_no_knees() -> None:
    from skimage.data import page

    rng = np.random.default_rng(0)
    others = [rng.random((224, 224)), page() / 255, rng.random((224, 1)) * np.ones((1, 224))]
    assert (novelty.shipped().score(np.stack([resize(o, novelty.SIZE) for o in others])) > novelty.shipped().reject).all()


def test_the_joint_space_follows_the_phantoms_truth_and_its_unit_the_file() -> None:
    made = make_phantoms(20, seed=3)
    truth, found = [], []
    for film, row in zip(made.pixels, made.table.itertuples(), strict=True):
        pixels = film / np.float32(255)
        space = measure(KneeImage(1 - pixels if row.inverted else pixels, spacing_mm=(row.spacing_mm, row.spacing_mm)))
        truth.append(row.medial_jsw_mm)
        found.append(np.nan if space is None else (space.right if row.side == "R" else space.left) or np.nan)
    there = ~np.isnan(np.array(found, float))
    error = np.abs(np.array(found, float) - truth)[there]
    assert there.mean() > 0.8 and np.median(error) < 1.0 and np.corrcoef(np.array(truth)[there], np.array(found, float)[there])[0, 1] > 0.6
    assert measure(KneeImage(made.pixels[0] / np.float32(255))).unit == "share"
    assert measure(KneeImage(np.full((224, 224), 0.5, np.float32))) is None


def test_the_page_shows_what_the_session_holds(session: Session, film: bytes) -> None:
    view = App(session)
    assert view.reading_page.layout.display is None and view.result_card.layout.display == "none"
    view.take("knee.png", film)
    assert f"KL {session.current.diagnosis.grade}" in view.reading.value and view.viewer.heat.startswith("data:image/png") and len(view.work.rows) == 1
    controls = view.controls
    controls.action.value = "reject"
    controls.save.click()
    assert session.current.status == "open" and "reason" in view.errors.value
    controls.reason.value = "<script>alert(1)</script>"
    controls.save.click()
    assert session.current.status == "rejected" and "<script>" not in controls.said.value
    view.language.value = "zh"
    assert controls.save.description == "保存" and view.page.children


def test_an_exception_in_a_callback_is_shown(session: Session, film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    view = App(session)
    monkeypatch.setattr(session.grader, "grade", lambda *a, **k: 1 / 0)
    view.take("<b>x.png", film)
    assert "ZeroDivisionError" in view.errors.value and not view.drop.busy


def test_a_film_comes_in_pieces_and_too_many_bytes_do_not(session: Session, film: bytes) -> None:
    view = App(session)
    half = len(film) // 2
    for piece, part in enumerate((film[:half], film[half:])):
        view.drop._received(None, {"type": "piece", "name": "a.png", "index": 0, "count": 1, "piece": piece, "pieces": 2}, [part])
    assert len(session.work()) == 1
    view.drop.limits = {"bytes": 100, "files": 1}
    drop(view, "b.png", film)
    assert len(session.work()) == 1 and "b.png" in view.errors.value


def test_no_more_films_at_a_time_than_allowed_whatever_the_browser_sends(session: Session, film: bytes) -> None:
    view = App(session)
    view.drop.limits = {"bytes": 2**20, "files": 2}
    for index in range(5):
        drop(view, f"{index}.png", film, index, 5)
    assert [case.diagnosis.image for case in session.work()] == ["1.png", "0.png"]
    assert [text("too_many", "en", files=session.limits.files)] == list(session.errors)


def test_the_pseudonym_is_for_one_drop_only(session: Session, film: bytes) -> None:
    view = App(session)
    view.patient.value = "P-1"
    drop(view, "a.png", film, 0, 2)
    drop(view, "b.png", film, 1, 2)
    drop(view, "c.png", film)
    last, *dropped = session.work()
    assert [case.patient for case in dropped] == ["P-1", "P-1"] and last.patient != "P-1" and view.patient.value == ""


@pytest.mark.parametrize("keep", [True, False])
def test_two_patient_numbers_never_share_a_pseudonym(session: Session, dicom_film: bytes, keep: bool) -> None:
    session.book.keep_identity(keep)
    other = pydicom.dcmread(io.BytesIO(dicom_film))
    other.PatientID, other.PatientName = "222", "Doe^John"
    stream = io.BytesIO()
    other.save_as(stream)
    session.patient = "P-1"
    assert session.add("a.dcm", dicom_film)
    session.language = "zh"
    assert session.add("b.dcm", stream.getvalue()) == [] and "化名 P-1" in session.errors[-1]
    assert session.add("a-again.dcm", dicom_film)
    assert (session.book.identity("P-1") or {}).get("name") == ("Mustermann^Erika" if keep else None)


def test_what_cannot_be_read_is_said_in_the_pages_language(session: Session, film: bytes, photograph: bytes) -> None:
    session.language = "zh"
    for name, content, words in (("cat.jpg", photograph, "不是膝关节"), ("cut.png", film[:3000], "损坏"), ("none.png", b"", "文件为空")):
        assert session.add(name, content) == [] and words in session.errors[-1] and name in session.errors[-1]


def test_the_history_says_when_it_shows_a_part_and_the_export_has_all(session: Session, film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    (diagnosis,) = session.grader.grade(film)
    for number in range(503):
        session.book.save(replace(diagnosis, pictures=None, film_sha256=f"{number:064}"))
    view = App(session)
    view.draw_history()
    assert len(view.cases.rows) == 500 and "500 of 503 readings" in view.count.value
    assert len(session.csv().splitlines()) == 504


def test_the_page_tells_screen_readers_its_language_and_groups(session: Session, film: bytes) -> None:
    view = App(session)
    view.take("knee.png", film)
    view.language.value = "zh"
    assert view.labels.language == "zh" and all(view.labels.groups.values())
    groups = {name for choice in (view.tabs, view.language, view.controls.action) for name in choice._dom_classes}
    assert groups == set(view.labels.groups)


def test_every_text_is_in_both_languages_with_the_same_fields() -> None:
    import string

    assert set(LANGUAGES) == {"en", "zh"}
    for key, (english, chinese) in _TEXTS.items():
        assert english and chinese, key
        assert {f for _, f, _, _ in string.Formatter().parse(english) if f} == {f for _, f, _, _ in string.Formatter().parse(chinese) if f}, key


def grade(*arguments: object) -> Result:
    """`koalib grade`."""
    return CliRunner().invoke(command, ["grade", *map(str, arguments)])


@pytest.fixture
def films(weights: Path, film: bytes, two_knees: bytes, dicom_film: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of films and what is none, for the command."""
    monkeypatch.setenv("KOALIB_GRADER", str(weights))
    for name, content in (("a.png", film), ("both.png", two_knees), ("IM1.dcm", dicom_film), ("b.png", b"no film")):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_the_command_grades_writes_and_reports_what_failed(films: Path) -> None:
    out = grade(films / "a.png", films / "b.png", "--json", "--heatmap", films / "h.png", "--report", films / "r.dcm", "--records", films / "book.sqlite")
    readings = json.loads(out.stdout)
    assert out.exit_code == 1 and [reading["ok"] for reading in readings] == [True, False] and readings[0]["version"] and readings[0]["knee"] == 1
    assert unpng((films / "h-a.png").read_bytes()).shape[0] >= 224 and pydicom.dcmread(films / "r-a.dcm").Modality == "SR"


def test_what_is_written_is_named_by_its_film(films: Path) -> None:
    (films / "more").mkdir()
    (films / "more" / "a.png").write_bytes((films / "a.png").read_bytes())
    grade(films / "b.png", films / "both.png", films / "a.png", films / "more" / "a.png", "--heatmap", films / "h.png")
    assert sorted(path.name for path in films.glob("h*")) == ["h-3-a.png", "h-4-a.png", "h-both-knee2.png", "h-both.png"]
    grade(films / "both.png", "--heatmap", films / "one.png")
    assert sorted(path.name for path in films.glob("one*")) == ["one-knee2.png", "one.png"]


@pytest.mark.parametrize(("option", "name"), [("--report", "x.doc"), ("--heatmap", "x.txt"), ("--report", "folder.pdf")])
def test_what_could_not_be_written_is_refused_before_the_first_film(films: Path, option: str, name: str) -> None:
    (films / "folder.pdf").mkdir()
    assert isinstance(grade(films / "a.png", option, films / name).exception, UserError)


def test_the_command_says_mistakes_in_chinese(films: Path) -> None:
    out = grade(films / "b.png", "--language", "zh")
    assert out.exit_code == 1 and "不是可读取的影像" in out.stdout and "b.png" in out.stdout


def test_a_report_that_fails_is_that_films_error_only(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = batch.make_report
    monkeypatch.setattr(batch, "make_report", lambda kind, case, *more: 1 / 0 if case.diagnosis.image == "a.png" else made(kind, case, *more))
    out = grade(films / "a.png", films / "both.png", "--json", "--report", films / "r.html")
    first, *others = json.loads(out.stdout)
    assert out.exit_code == 1 and not first["ok"] and "a.png" in first["error"] and "ZeroDivisionError" in first["error"] and first["grade"] is not None
    assert [reading["ok"] for reading in others] == [True, True] and (films / "r-both-knee2.html").is_file()


def test_neither_path_nor_patient_gets_into_book_or_reports(films: Path) -> None:
    header = {"AccessionNumber": "ACC-99", "ReferringPhysicianName": "Welby^Marcus", "PatientAge": "065Y", "StudyID": "STUDY-77", "StudyDescription": "Knee of Erika"}
    (films / "IM1.dcm").write_bytes(make_dicom(unpng(samples()[3].content), **header))
    for ending in ("dcm", "json", "html"):
        out = films / ending
        out.mkdir()
        assert grade(films / "IM1.dcm", "--report", out / f"r.{ending}").exit_code == 0
        assert grade(films / "IM1.dcm", "--report", out / f"b.{ending}", "--records", out / "book.sqlite").exit_code == 0
        leaked = [secret for secret in (*SECRETS, *(value.encode() for value in header.values()), str(films).encode()) if secret in written(out)]
        assert leaked == []


def test_the_commands_readings_are_found_on_the_page_of_the_same_reader(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = grade(films / "a.png", "--records", films / "book.sqlite", "--reader", "anna")
    assert "--reader anna" in out.stderr
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    for named, shown in (("anna", 1), ("", 0)):
        monkeypatch.setenv("KOALIB_READER", named)
        view = open_app(films / "book.sqlite")
        view.event({"type": "hello", "reader": "the browser's key"})
        assert len(view.cases.rows) == shown and ("Reader: anna" in view.foot.value) == bool(named)
        assert view.session.book.reader == (named or "the browser's key")
        view.session.book.close()


def test_the_system_user_reads_by_default(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ben")
    grade(films / "a.png", "--records", films / "book.sqlite")
    with Book(films / "book.sqlite", "ben") as book:
        assert book.count() == 1


def test_a_long_batch_has_a_progress_bar_over_films(weights: Path, two_knees: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOALIB_GRADER", str(weights))
    films = [tmp_path / f"{number:02}.png" for number in range(10)]
    for path in films:
        path.write_bytes(two_knees)
    out = CliRunner().invoke(command, ["grade", *map(str, films), "--json"])
    assert len(json.loads(out.stdout)) == 20 and "10/10" in out.stderr


SECRETS = (b"4711-0815", b"Mustermann", b"19580923")


def written(folder: Path) -> bytes:
    """Everything in the files of a folder, the data base's journal too."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize(("said", "kept"), [([], False), (["--no-keep-identity"], False), (["--keep-identity"], True)])
def test_the_command_keeps_identities_only_when_told(weights: Path, dicom_film: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str], kept: bool) -> None:
    monkeypatch.setenv("KOALIB_GRADER", str(weights))
    film, out = tmp_path / "IM0001.dcm", tmp_path / "out"
    film.write_bytes(dicom_film)
    out.mkdir()
    done = CliRunner().invoke(command, ["grade", str(film), "--records", str(out / "book.sqlite"), "--report", str(out / "r.dcm"), *said])
    assert done.exit_code == 0 and pydicom.dcmread(out / "r.dcm").Modality == "SR"
    assert all((secret in written(out)) == kept for secret in SECRETS)
    assert (b"Mustermann" in (out / "r.dcm").read_bytes()) == kept


def test_the_page_keeps_identities_only_when_told_and_says_so(weights: Path, dicom_film: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOALIB_GRADER", str(weights))
    for setting, kept in ((None, False), ("1", True), (None, True), ("0", False)):
        if setting is None:
            monkeypatch.delenv("KOALIB_KEEP_IDENTITY", raising=False)
        else:
            monkeypatch.setenv("KOALIB_KEEP_IDENTITY", setting)
        view = open_app(tmp_path / "book.sqlite")
        view.take("IM0001", dicom_film)
        assert (b"Mustermann" in view.session.report("sr").content) == kept
        assert (text("identity_kept", "en") in view.foot.value) == kept
        view.session.book.close()
    assert not any(secret in written(tmp_path) for secret in SECRETS), "what was kept is erased when the setting is taken back"
    monkeypatch.setenv("KOALIB_KEEP_IDENTITY", "perhaps")
    with pytest.raises(UserError, match="KOALIB_KEEP_IDENTITY"):
        open_app(tmp_path / "book.sqlite")


@pytest.mark.parametrize(("said", "passed"), [([], None), (["--keep-identity"], "1"), (["--no-keep-identity"], "0")])
def test_the_served_page_is_told_about_identities(weights: Path, monkeypatch: pytest.MonkeyPatch, said: list[str], passed: str | None) -> None:
    for name in ("KOALIB_KEEP_IDENTITY", "JUPYTER_PATH"):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("KOALIB_KEEP_IDENTITY")
    monkeypatch.setenv("KOALIB_GRADER", str(weights))
    seen = []
    monkeypatch.setattr("voila.app.Voila.launch_instance", lambda **_: seen.append(os.environ.get("KOALIB_KEEP_IDENTITY")))
    assert CliRunner().invoke(command, ["app", "--no-browser", *said]).exit_code == 0 and seen == [passed]


def test_the_diagram_knows_every_table() -> None:
    tables = diagram.read_schema()
    assert {table.name for table in tables} == set(diagram.PLACES)
    assert ("film_id", "film") in next(table for table in tables if table.name == "reading").references
    assert diagram.draw(tables).axes


def test_a_grey_picture_survives_png() -> None:
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert (unpng(png(picture)) == picture).all()
