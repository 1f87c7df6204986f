"""The phantom: repeatable, anatomically in order, and true to what its table and masks say."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from koalib.data.phantom import MASKS, make_phantoms
from koalib.data.phantom.cohort import RIGHT_BY_LEFT, cohort
from koalib.errors import UserError


@pytest.fixture(scope="module")
def phantoms():
    return make_phantoms(60, size=112, seed=3)


def test_same_seed_same_pixels_in_another_process(phantoms):
    code = "import hashlib; from koalib.data.phantom import make_phantoms; print(hashlib.sha256(make_phantoms(60, size=112, seed=3).pixels.tobytes()).hexdigest())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()[-1]
    assert other == hashlib.sha256(phantoms.pixels.tobytes()).hexdigest()
    assert not np.array_equal(make_phantoms(2, size=112, seed=4).pixels, make_phantoms(2, size=112, seed=5).pixels)


def test_films_are_those_of_another_machine_within_one_grey_level():
    """``phantom_64.npz``, uint8 (4, 64, 64), was made on x86-64 by ``make_phantoms(2, size=64, seed=0)``; it changes with the phantom only."""
    recorded = np.load(Path(__file__).with_name("phantom_64.npz"))["films"]
    assert np.abs(make_phantoms(2, size=64, seed=0).pixels.astype(int) - recorded).max() <= 1


def test_rows_are_patients_with_two_knees_in_one_split(phantoms):
    table = phantoms.table
    assert len(table) == len(phantoms.pixels) == 120 and table["image_id"].is_unique
    assert (table.groupby("patient")["side"].agg("".join) == "RL").all()
    assert (table.groupby("patient")["split"].nunique() == 1).all()


def test_grades_sides_and_readers_follow_the_real_set():
    table = cohort(6_000, np.random.default_rng(0))
    right, left = table["grade"].to_numpy().reshape(-1, 2).T
    shares = (RIGHT_BY_LEFT.sum(0) + RIGHT_BY_LEFT.sum(1)) / (2 * RIGHT_BY_LEFT.sum())
    assert np.abs(np.bincount(table["grade"]) / len(table) - shares).max() < 0.015
    assert abs((right == left).mean() - 0.536) < 0.02
    assert 0.75 < cohen_kappa_score(table["grade"], table["second_grade"], weights="quadratic") < 0.85


def test_joint_space_narrows_and_signs_grow_with_grade(phantoms):
    many = make_phantoms(250, size=32, seed=0).table
    narrow = many[["medial_jsw_mm", "lateral_jsw_mm"]].min(axis=1).groupby(many["grade"]).mean()
    spurs = many.filter(like="spur_").sum(axis=1).groupby(many["grade"]).mean()
    assert narrow[0] > narrow[2] > narrow[3] > narrow[4] and narrow[0] > 3 and narrow[4] < 1.2
    assert spurs.is_monotonic_increasing
    share = [phantoms.masks[name].mean(axis=(1, 2)) for name in ("osteophytes", "sclerosis", "joint_space")]
    severe, healthy = (phantoms.table["grade"] >= 3).to_numpy(), (phantoms.table["grade"] == 0).to_numpy()
    assert share[0][severe].mean() > 3 * share[0][healthy].mean()
    assert share[1][severe].mean() > 3 * share[1][healthy].mean()
    assert share[2][severe].mean() < 0.85 * share[2][healthy].mean()


def test_masks_are_where_they_belong(phantoms):
    masks = phantoms.masks
    assert set(masks) == set(MASKS) and masks["femur"].dtype == bool
    overlap = masks["femur"] & masks["tibia"]
    narrow = (phantoms.table["grade"] >= 2).to_numpy()
    assert overlap[~narrow].mean() < 2e-3
    assert not (masks["joint_space"] & (masks["femur"] | masks["tibia"])).any()
    assert (masks["osteophytes"] <= (masks["femur"] | masks["tibia"])).all()
    rows = np.arange(112)[:, None]
    height = [(masks[name] * rows).sum((1, 2)) / masks[name].sum((1, 2)) for name in ("femur", "joint_space", "tibia")]
    assert (height[0] < height[1]).all() and (height[1] < height[2]).all()


def test_measured_width_is_seen_in_the_mask():
    phantoms = make_phantoms(20, size=448, seed=1)
    table, space = phantoms.table, phantoms.masks["joint_space"]
    free = (table[["spur_femur_medial_mm", "spur_tibia_medial_mm"]] < 0.4).all(axis=1)  # a spur may reach into the gap
    assert free.sum() >= 5
    for row in np.flatnonzero(free):
        film = table.loc[row]
        around = int(film.medial_contact_x) + np.arange(-3, 4)
        vertical = space[row][:, around].sum(axis=0).min() * film.spacing_mm
        assert film.medial_jsw_mm - 0.35 < vertical < 1.35 * film.medial_jsw_mm + 0.35


def test_bone_is_bright_and_joint_dark_unless_inverted(phantoms):
    bone = phantoms.masks["femur"] & (np.arange(112) < 75)[:, None]
    contrast = [film[b].mean() - film[s].mean() for film, b, s in zip(phantoms.pixels.astype(float), bone, phantoms.masks["joint_space"], strict=True)]
    upright = ~phantoms.table["inverted"].to_numpy()
    assert (np.array(contrast)[upright] > 0).mean() > 0.97


def test_landmarks_lie_on_the_joint(phantoms):
    table = phantoms.table
    assert table["joint_x"].between(0.38 * 112, 0.62 * 112).mean() > 0.95
    assert table["joint_y"].between(0.52 * 112, 0.68 * 112).mean() > 0.95
    lateral_left = table["plateau_lateral_x"] < table["plateau_medial_x"]
    assert (lateral_left == (table["side"] == "R")).all()


@pytest.mark.parametrize("arguments", [{"n_patients": 0}, {"n_patients": 1, "size": 8}])
def test_impossible_orders_are_refused(arguments):
    with pytest.raises(UserError, match="needs at least"):
        make_phantoms(**arguments)
