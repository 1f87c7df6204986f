from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import polarity
from koalib.data.composed import both_legs
from koalib.data.curate import read_all
from koalib.data.datasets import load
from koalib.data.images import KneeImage, scaled
from koalib.data.knees import find_knees
from koalib.data.phantom import make_phantoms
from koalib.data.phantom_films import upright
from koalib.data.polarity import SIZE, is_inverted, likeness, template
from koalib.data.public import listing
from koalib.data.sources import open_source
from koalib.data.templates import frame_discriminant, mean_contrast
from tests.data.films import knees, soft_noise


def test_polarity_of_phantoms_and_their_inverses():
    films = knees(40, seed=2) / np.float32(255)
    assert [is_inverted(film)[0] for film in films] == [False] * 40
    assert [is_inverted(1 - film)[0] for film in films] == [True] * 40


def test_turning_a_film_turns_the_sign_of_its_score():
    film = knees(1, seed=2)[0] / np.float32(255)
    assert likeness(1 - film) == pytest.approx(-likeness(film), abs=1e-3)


def test_quality_counts_what_the_eye_says():
    truth = np.array([True, True, False, False])
    verdicts = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])  # the second inverted film is missed, the first upright one is called inverted
    found = polarity.quality(np.ones((4, 2)), verdicts, truth)
    assert (found["recall"], found["precision"], found["published"]) == (0.5, 0.5, {"inverted": 2, "found": 1, "called_wrongly": 1})


@pytest.mark.real
def test_inverted_films_of_chen2018_are_those_that_the_eye_sees():
    found = polarity.quality(*polarity.scores("chen2018", "val"))
    assert found["films"] == 826 and found["published"]["inverted"] == 14
    assert found["recall"] >= 0.99 and found["precision"] >= 0.99 and found["published"]["called_wrongly"] == 0


def test_nothing_is_said_of_a_film_without_a_knee():
    verdicts = [is_inverted(soft_noise((224, 224), seed) / np.float32(255))[0] for seed in range(10)]
    assert None in verdicts


def test_the_crop_of_one_knee_comes_back_whole():
    for film in knees(10, seed=3):
        found = find_knees(KneeImage(film / np.float32(255), side="L"))
        assert [crop.box for crop in found] == [(0, 224, 0, 224)]
        assert found[0].side == "L" and 0 < found[0].confidence <= 1


def test_both_knees_of_a_composed_film():
    phantoms = make_phantoms(30, size=224, seed=8)
    films = upright(phantoms)
    errors = []
    for patient in range(30):
        rows = slice(2 * patient, 2 * patient + 2)
        film, joints = both_legs(films[rows], phantoms.table.iloc[rows], seed=patient)
        crops = find_knees(KneeImage(film))
        assert [crop.side for crop in crops] == ["R", "L"]
        assert all(crop.image.pixels.shape[0] == crop.image.pixels.shape[1] for crop in crops)
        errors += [np.hypot(*(crop.joint - joint)) / film.shape[1] for crop, joint in zip(crops, joints)]
    assert np.mean(np.array(errors) < 0.05) >= 0.95


@pytest.mark.real
def test_both_knees_of_the_wide_films_of_gornale2020():
    """Joints marked by eye on one film of each group: the detector's places where they are right to the eye, others where not.

    The templates come from another set.
    """
    marked = pd.read_csv(Path(__file__).with_name("wide_joints.csv"), index_col="image_id")
    manifest, where, root = listing("gornale2020", None)
    places = dict(zip(manifest["image_id"], where))
    with open_source(root) as source:
        films = read_all(source, [places[name] for name in marked.index], lambda raster, _: KneeImage(scaled(raster)), "wide films")
    errors = []
    for film, row in zip(films, marked.itertuples()):
        crops = find_knees(film)
        assert [crop.side for crop in crops] == ["R", "L"]
        joints = [(row.right_row, row.right_column), (row.left_row, row.left_column)]
        errors += [np.hypot(*np.subtract(crop.joint, joint)) / film.shape[1] for crop, joint in zip(crops, joints)]
    assert len(errors) >= 150
    assert np.mean(np.array(errors) < 0.05) >= 0.95


@pytest.mark.real
def test_templates_are_those_that_the_command_makes():
    films = load("chen2018").select("train").pixels(224)
    knee = mean_contrast(films[::20], SIZE, SIZE / 8, 0.001)
    assert (knee * template("knee")).sum() / np.linalg.norm(knee) > 0.99
    frame = frame_discriminant(films[::20])
    assert (frame * template("frame")).sum() / np.linalg.norm(frame) / np.linalg.norm(template("frame")) > 0.7
