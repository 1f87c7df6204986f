import numpy as np
import pytest

from koalib.data.composed import both_legs
from koalib.data.images import KneeImage
from koalib.data.knees import find_knees
from koalib.data.phantom import make_phantoms
from koalib.data.polarity import is_inverted, likeness
from tests.data.films import knees, soft_noise


def test_polarity_of_phantoms_and_their_inverses():
    films = knees(40, seed=2) / np.float32(255)
    assert [is_inverted(film)[0] for film in films] == [False] * 40
    assert [is_inverted(1 - film)[0] for film in films] == [True] * 40


def test_turning_a_film_turns_the_sign_of_its_score():
    film = knees(1, seed=2)[0] / np.float32(255)
    assert likeness(1 - film) == pytest.approx(-likeness(film), abs=1e-3)


def test_nothing_is_said_of_a_film_without_a_knee():
    verdicts = [is_inverted(soft_noise((224, 224), seed) / np.float32(255))[0] for seed in range(10)]
    assert None in verdicts


def test_the_crop_of_one_knee_comes_back_whole():
    for film in knees(10, seed=3):
        found = find_knees(KneeImage(film / np.float32(255), side="L"))
        assert [crop.box for crop in found] == [(0, 224, 0, 224)]
        assert found[0].side == "L" and 0 < found[0].confidence <= 1


def test_both_knees_of_a_composed_film():
    phantoms = make_phantoms(20, size=224, seed=8)
    films = np.where(phantoms.table["inverted"].to_numpy(dtype=bool)[:, None, None], 255 - phantoms.pixels, phantoms.pixels)
    errors = []
    for patient in range(20):
        rows = slice(2 * patient, 2 * patient + 2)
        film, joints = both_legs(films[rows], phantoms.table.iloc[rows], seed=patient)
        crops = find_knees(KneeImage(film))
        assert [crop.side for crop in crops] == ["R", "L"]
        assert all(crop.image.pixels.shape[0] == crop.image.pixels.shape[1] for crop in crops)
        errors += [np.hypot(*(crop.joint - joint)) / film.shape[1] for crop, joint in zip(crops, joints)]
    assert np.mean(np.array(errors) < 0.05) >= 0.85
