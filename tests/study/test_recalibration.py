"""A shift of grades and a miscalibration put in by hand are told apart, and nothing is scored by what it helped to fit."""

import numpy as np
import pytest

from koalib.study.conformal import fit_conformal, prediction_sets
from koalib.study.metrics import film_losses
from koalib.study.recalibration import AS_THEY_ARE, ESTIMATED, KNOWN, RECALIBRATED, STEPS, bias_corrected, corrected, fit_bias_corrected, recalibrated_sets

HOME, ABROAD = np.array([0.4, 0.2, 0.2, 0.15, 0.05]), np.array([0.1, 0.1, 0.2, 0.3, 0.3])


def reader(shares: np.ndarray, n: int = 4_000, overconfident: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Grades drawn with ``shares`` and the exact posterior (under HOME's shares) of a noisy look at each, sharpened."""
    rng = np.random.default_rng(0)
    grade = rng.choice(5, n, p=shares)
    seen = grade + 0.8 * rng.standard_normal(n)
    log_p = np.log(HOME) - (seen[:, None] - np.arange(5)) ** 2 / (2 * 0.8**2)
    p = np.exp(overconfident * (log_p - log_p.max(axis=1, keepdims=True)))
    return p / p.sum(axis=1, keepdims=True), grade


def brier(found: dict[str, np.ndarray], grade: np.ndarray) -> dict[str, float]:
    return {step: film_losses(grade, p)["brier"].mean() for step, p in found.items()}


def test_a_shift_of_grades_is_mended_by_shares_alone():
    p, grade = reader(ABROAD, 40_000)
    loss = brier(corrected(p, grade, np.arange(len(p)) % 5, HOME), grade)
    assert list(loss) == list(STEPS)
    assert loss[AS_THEY_ARE] - loss[KNOWN] > 0.05
    assert loss[ESTIMATED] == pytest.approx(loss[KNOWN], abs=0.005) and loss[RECALIBRATED] == pytest.approx(loss[KNOWN], abs=0.005)


def test_miscalibration_is_not_mended_by_shares():
    p, grade = reader(HOME, overconfident=3.0)
    loss = brier(corrected(p, grade, np.arange(len(p)) % 5, HOME), grade)
    assert loss[KNOWN] == pytest.approx(loss[AS_THEY_ARE], abs=0.01)
    assert loss[KNOWN] - loss[RECALIBRATED] > 0.03


def test_the_slope_undoes_the_sharpening_and_offsets_the_shift():
    p, grade = reader(ABROAD, 40_000, overconfident=2.0)
    fitted = fit_bias_corrected(p, grade)
    assert fitted[0] == pytest.approx(0.5, abs=0.02)
    ratio = np.log(ABROAD / HOME)
    assert fitted[1:] == pytest.approx(ratio - ratio.mean(), abs=0.12)
    assert bias_corrected(p, fitted).mean(axis=0) == pytest.approx(np.bincount(grade) / len(grade), abs=1e-4)


def test_labels_of_a_fold_do_not_touch_its_own_films():
    p, grade = reader(ABROAD, 500)
    fold = np.arange(500) % 5
    other = np.where(fold == 2, (grade + 1) % 5, grade)
    first, second = corrected(p, grade, fold, HOME), corrected(p, other, fold, HOME)
    for step in (KNOWN, RECALIBRATED):
        assert (first[step][fold == 2] == second[step][fold == 2]).all() and (first[step][fold != 2] != second[step][fold != 2]).any()


def test_a_grade_without_films_has_an_answer():
    p, grade = reader(HOME, 300)
    kept = grade != 4
    assert np.isfinite(fit_bias_corrected(p[kept], grade[kept])).all()


def test_recalibrated_sets_hold_nine_in_ten_where_those_from_home_do_not():
    p, grade = reader(ABROAD, 4_000, overconfident=3.0)
    home_p, home_grade = reader(HOME, 4_000, overconfident=3.0)
    from_home = prediction_sets(p, fit_conformal(home_p, home_grade))
    sets = recalibrated_sets(p, grade, np.arange(len(p)) % 5)
    rows = np.arange(len(p))
    assert from_home[rows, grade].mean() < 0.88
    assert 0.89 < sets[rows, grade].mean() < 0.93
