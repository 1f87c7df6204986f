"""The figures that the joint-space measure is reported with, against cases worked out otherwise."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.joint_space import errors, rank_correlation, widths
from koalib.data.phantom import make_phantoms
from koalib.data.phantom_films import upright


def test_rank_correlation_is_spearmans_and_leaves_out_what_was_not_measured():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 120).astype(float)
    x = y + rng.standard_normal(120)
    x[:7] = np.nan
    found = rank_correlation(x, y, np.arange(120) // 2, resamples=300)
    assert found["value"] == pytest.approx(spearmanr(x[7:], y[7:]).statistic) and found["films"] == 113
    assert found["low"] < found["value"] < found["high"]


def test_errors_by_hand():
    truth = np.array([2.0, 4.0, 6.0, 8.0])
    found = errors(truth + np.array([1.0, -1.0, 3.0, np.nan]), truth, np.arange(4))
    assert found["measured"] == 0.75 and found["bias"]["value"] == 1 and found["median_absolute_error"] == 1
    assert found["mean_absolute_error"]["value"] == pytest.approx(5 / 3) and found["error_of_naming_the_mean"] == 2


def test_the_sides_of_right_and_left_knees_are_told_apart():
    made = make_phantoms(6, seed=3)
    films, right = upright(made), (made.table.side == "R").to_numpy()
    found, turned = widths(films, right, np.ones(12)), widths(films[..., ::-1], ~right, np.ones(12))
    assert (found.medial - turned.medial).abs().median() < 1 and (found.medial - widths(films, ~right, np.ones(12)).lateral).abs().max() == 0
    assert (found.narrower.dropna() == found[["medial", "lateral"]].min(axis=1)[found.narrower.notna()]).all()
