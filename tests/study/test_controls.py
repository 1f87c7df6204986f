"""Regions of equal area, covered films, and the nearest neighbour as a case worked by hand."""

import numpy as np
import pytest

from koalib.study.controls import border_only, border_region, cover, joint_masked, joint_region, nearest_neighbour


@pytest.fixture
def films():
    return np.random.default_rng(0).integers(0, 256, (6, 48, 48), dtype=np.uint8)


@pytest.mark.parametrize("size", [48, 64, 161, 224])
def test_joint_and_border_have_equal_area_and_do_not_meet(size):
    joint, border = joint_region(size), border_region(size)
    assert joint.sum() == border.sum() > 0.2 * size * size
    assert not (joint & border).any()
    assert joint[size // 2, size // 2] and border[0].all() and border[:, -1].all()


def test_cover_paints_the_films_own_mean_and_nothing_else(films):
    region = joint_region(48)
    covered = cover(films, region)
    assert (covered[:, ~region] == films[:, ~region]).all()
    assert (covered[2, region] == round(float(films[2].mean()))).all() and covered.dtype == np.uint8


def test_border_only_and_joint_masked_hide_what_they_say(films):
    other = films.copy()
    other[:, joint_region(48)] = 255 - other[:, joint_region(48)]
    assert joint_masked(films)[:, ~joint_region(48)].tobytes() == joint_masked(other)[:, ~joint_region(48)].tobytes()
    assert np.ptp(border_only(films)[0][~border_region(48)]) == 0


def test_nearest_neighbour_knows_brighter_and_mirrored_copies(films):
    grades = np.array([0, 1, 2, 3, 4, 0])
    copies = np.clip(films[[3, 1]] * 0.7 + 20, 0, 255).astype(np.uint8)
    copies[1] = copies[1, :, ::-1]
    assert nearest_neighbour(films, grades, copies).tolist() == [3, 1]
