"""The sitting behind the page, and the page's widgets without a browser."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from koalib.clinic import diagram, novelty
from koalib.clinic.app import App
from koalib.clinic.heatmap import png, unpng
from koalib.clinic.joint_space import measure
from koalib.clinic.session import Limits, Session, samples
from koalib.clinic.texts import _TEXTS, LANGUAGES
from koalib.cli import app as command
from koalib.data.images import KneeImage, read_knee, resize
from koalib.data.phantom import make_phantoms
from koalib.errors import UserError


def test_a_film_goes_through_the_session(session: Session, film: bytes) -> None:
    (case,) = session.add("../../etc/knee-left.png", film)
    assert case.diagnosis.image == "knee-left.png" and session.current == case and [c.id for c in session.work()] == [case.id]
    with pytest.raises(UserError, match="reason"):
        session.decide("change", 3)
    assert session.decide("change", 3, "because").status == "changed"
    assert session.report("json").content and [line["action"] for line in session.book.audit()] == ["save", "change", "report"]


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
    view.action.value = "reject"
    view.save.click()
    assert session.current.status == "open" and "reason" in view.errors.value
    view.reason.value = "<script>alert(1)</script>"
    view.save.click()
    assert session.current.status == "rejected" and "<script>" not in view.said.value
    view.language.value = "zh"
    assert view.save.description == "保存" and view.page.children


def test_an_exception_in_a_callback_is_shown(session: Session, film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    view = App(session)
    monkeypatch.setattr(session.grader, "grade", lambda *a, **k: 1 / 0)
    view.take("<b>x.png", film)
    assert "ZeroDivisionError" in view.errors.value and not view.drop.busy


def test_a_film_comes_in_pieces_and_too_many_bytes_do_not(session: Session, film: bytes) -> None:
    view = App(session)
    half = len(film) // 2
    for piece, part in enumerate((film[:half], film[half:])):
        view.drop._received(None, {"type": "piece", "name": "a.png", "piece": piece, "pieces": 2}, [part])
    assert len(session.work()) == 1
    view.drop.limits = {"bytes": 100, "files": 1}
    view.drop._received(None, {"type": "piece", "name": "b.png", "piece": 0, "pieces": 1}, [film])
    assert len(session.work()) == 1 and "b.png" in view.errors.value


def test_every_text_is_in_both_languages_with_the_same_fields() -> None:
    import string

    assert set(LANGUAGES) == {"en", "zh"}
    for key, (english, chinese) in _TEXTS.items():
        assert english and chinese, key
        assert {f for _, f, _, _ in string.Formatter().parse(english) if f} == {f for _, f, _, _ in string.Formatter().parse(chinese) if f}, key


def test_the_command_grades_writes_and_reports_what_failed(weights: Path, film: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOALIB_GRADER", str(weights))
    (tmp_path / "a.png").write_bytes(film)
    (tmp_path / "b.png").write_text("no film")
    out = CliRunner().invoke(command, ["grade", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--json", "--heatmap", str(tmp_path / "h.png"),
                                       "--report", str(tmp_path / "r.dcm"), "--records", str(tmp_path / "book.sqlite")])
    assert out.exit_code == 1 and [reading["ok"] for reading in json.loads(out.stdout)] == [True, False]
    assert unpng((tmp_path / "h.png").read_bytes()).shape[0] >= 224 and pydicom.dcmread(io.BytesIO((tmp_path / "r.dcm").read_bytes())).Modality == "SR"
    assert isinstance(CliRunner().invoke(command, ["grade", str(tmp_path / "a.png"), "--report", "x.doc"]).exception, UserError)


def test_the_diagram_knows_every_table() -> None:
    tables = diagram.read_schema()
    assert {table.name for table in tables} == set(diagram.PLACES)
    assert ("film_id", "film") in next(table for table in tables if table.name == "reading").references
    assert diagram.draw(tables).axes


def test_a_grey_picture_survives_png() -> None:
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert (unpng(png(picture)) == picture).all()
