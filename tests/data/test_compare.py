"""Curves of sets of films: on films whose curves are known."""

import numpy as np
import pandas as pd
import pytest

from koalib.data.compare import curves, film_quantiles, gaps_by_grade, grey_histogram, profile_gap, radial_spectrum
from koalib.data.phantom import make_phantoms
from koalib.data.phantom_films import upright


def bands(gaps):
    """uint8 (N, 128, 128): bright bone with a dark joint space of so many rows in the left and in the right part."""
    films = np.full((len(gaps), 128, 128), 200, np.uint8)
    for film, (left, right) in zip(films, gaps):
        film[70 : 70 + left, :64] = film[70 : 70 + right, 64:] = 40
    return films


def test_histogram_is_a_share_by_grey_value():
    films = np.zeros((2, 8, 8), np.uint8)
    films[1] = 255
    found = grey_histogram(films)
    assert (found["grey"][0], found["grey"][-1], len(found["grey"])) == (2, 254, 64)
    assert found["share"] == [0.5] + [0] * 62 + [0.5]


def test_quantiles_over_films():
    films = np.repeat(np.arange(101, dtype=np.uint8), 64).reshape(101, 8, 8)
    found = film_quantiles(films)
    assert found["mean"] == pytest.approx(100 * np.array(found["quantile"])) and set(found["std"]) == {0}


@pytest.mark.parametrize("cycles", [5, 20])
def test_a_wave_is_the_peak_of_its_spectrum(cycles):
    wave = 128 + 100 * np.sin(2 * np.pi * cycles * np.arange(64) / 64)
    films = np.stack([np.tile(wave, (64, 1)), np.tile(wave, (64, 1)).T]).astype(np.uint8)
    found = radial_spectrum(films)
    assert found["cycles_per_film"][int(np.argmax(found["power"]))] == cycles


def test_gaps_are_lateral_then_medial():
    films = bands([(3, 8), (3, 8)])
    gap = profile_gap(films, np.array([True, False])) * 128  # lateral is on the left of a right knee's film
    assert gap[0] == pytest.approx([3, 8], abs=1.1) and gap[1] == pytest.approx(gap[0][::-1])


def test_the_narrower_gap_counts_by_grade():
    table = pd.DataFrame({"side": "R", "grade": [0, 0, 3]})
    found = gaps_by_grade(bands([(8, 9), (9, 8), (8, 3)]), table)
    assert list(found) == ["0", "3"]
    assert found["0"]["median"] * 128 == pytest.approx(8, abs=1.1) and found["3"]["median"] * 128 == pytest.approx(3, abs=1.1)


def test_phantoms_narrow_with_their_grade():
    phantoms = make_phantoms(100, size=128, seed=9)
    found = curves(upright(phantoms), phantoms.table)
    assert found["films"] == 200 and sum(found["histogram"]["share"]) == pytest.approx(1, abs=1e-4)
    power = found["spectrum"]["power"]
    assert power[1] > 100 * power[30] > 0
    assert found["gap"]["0"]["median"] > found["gap"]["3"]["median"]
