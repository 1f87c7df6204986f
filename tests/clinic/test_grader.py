"""The grader: what one gets for a film, and what for anything else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from koalib.clinic.grader import Grader
from koalib.errors import UserError
from koalib.study.conformal import prediction_set
from koalib.study.explain import grade_and_look
from koalib.study.predict import model_input, predict

CONTRACT = ["image", "ok", "error", "grade", "probabilities", "confidence", "prediction_set", "refer", "side", "inverted", "pixel_spacing_mm", "seconds", "model"]


def test_a_film_gives_one_reading_in_the_shape_of_the_contract(grader: Grader, film: bytes) -> None:
    (diagnosis,) = grader.grade(film, name="17-left.png")
    found = json.loads(json.dumps(diagnosis.as_dict(), allow_nan=False))
    assert list(found)[: len(CONTRACT)] == CONTRACT
    assert found["ok"] and found["error"] is None and found["side"] == "L" and found["image"] == "17-left.png" and found["model"] == "convwgcnet_atto"
    assert sum(found["probabilities"]) == pytest.approx(1, abs=1e-5) and found["confidence"] == max(found["probabilities"])
    assert found["grade"] == int(np.argmax(found["probabilities"])) and found["grade"] in found["prediction_set"]
    assert found["oa_probability"] == pytest.approx(sum(found["probabilities"][2:]), abs=1e-5)


def test_the_probabilities_are_those_of_the_study_with_the_checkpoints_temperature(grader: Grader, film: bytes) -> None:
    from koalib.data.images import read_knee, resize

    (diagnosis,) = grader.grade(film)
    expected = predict(grader.model, resize(read_knee(film).pixels, grader.size)[None], temperature=2.0)[0]
    assert diagnosis.probabilities == pytest.approx(expected, abs=1e-5)
    assert diagnosis.prediction_set == prediction_set(expected, 0.8)
    assert diagnosis.refer == (len(diagnosis.prediction_set) > 2 or "unusual" in diagnosis.reasons)


def test_a_film_of_both_knees_gives_two_readings_with_their_sides(grader: Grader, two_knees: bytes) -> None:
    right, left = grader.grade(two_knees)
    assert (right.side, left.side) == ("R", "L") and (right.knee, left.knee) == (0, 1)
    assert "two_knees" in right.remarks and right.film_sha256 == left.film_sha256
    assert right.probabilities != left.probabilities


def test_a_bad_file_is_reported_and_the_others_are_graded(grader: Grader, film: bytes, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(film)
    (tmp_path / "cut.png").write_bytes(film[: len(film) // 2])
    (tmp_path / "text.png").write_text("no picture")
    names = ["cut.png", "good.png", "text.png", "missing.png"]
    found = list(grader.grade_many([tmp_path / name for name in names]))
    assert [d.ok for d in found] == [False, True, False, False]
    assert [d.image for d in found] == names
    assert all(d.error and "\n" not in d.error and d.grade is None and d.as_dict()["probabilities"] is None for d in found if not d.ok)


def test_a_photograph_is_no_knee(grader: Grader, photograph: bytes) -> None:
    (diagnosis,) = grader.grade(photograph, name="holiday.jpg")
    assert not diagnosis.ok and "holiday.jpg" in diagnosis.error and "knee" in diagnosis.error


def test_an_inverted_film_is_turned_and_graded_alike(grader: Grader, film: bytes) -> None:
    from koalib.clinic.heatmap import png, unpng

    (upright,), (turned,) = grader.grade(film), grader.grade(png(255 - unpng(film)))
    assert (upright.inverted, turned.inverted) == (False, True) and "inverted" in turned.remarks
    assert turned.probabilities == pytest.approx(upright.probabilities, abs=0.02)


def test_a_dicom_film_keeps_its_spacing_and_side(grader: Grader, dicom_film: bytes) -> None:
    (diagnosis,) = grader.grade(dicom_film, name="IM0001")
    assert diagnosis.side == "L" and diagnosis.pixel_spacing_mm == pytest.approx((0.6, 0.6))
    assert diagnosis.source.StudyDate == "20240131" and "PixelData" not in diagnosis.source


def test_the_heat_map_is_the_studys_grad_cam_of_film_and_mirror_image(grader: Grader, film: bytes) -> None:
    from koalib.data.images import read_knee, resize

    x = model_input(resize(read_knee(film).pixels, grader.size)[None])
    seen, mirrored = (grade_and_look(grader.model, films)[1][0].numpy() for films in (x, x.flip(-1)))
    (diagnosis,) = grader.grade(film)
    both = seen + mirrored[:, ::-1]
    assert diagnosis.pictures.heat == pytest.approx(both / both.max(), abs=1e-5)
    assert not grader.model.training


def test_without_weights_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KOALIB_GRADER", str(tmp_path / "none.safetensors"))
    with pytest.raises(UserError, match="koalib train"):
        Grader.load()
