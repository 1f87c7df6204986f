"""Temperature, thresholds and priors recover what was put in."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from koalib.errors import UserError
from koalib.study import calibration, metrics


def ordinal_films(n: int = 4000, seed: int = 0, sharpness: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, 5) of a calibrated reader, and grades drawn from them."""
    rng = np.random.default_rng(seed)
    logits = -np.abs(rng.uniform(0, 4, (n, 1)) - np.arange(5)) * sharpness
    p = softmax(logits, axis=1)
    return logits, (p.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=4)


@pytest.mark.parametrize("distortion", [0.5, 1.0, 3.0])
def test_temperature_undoes_a_distortion(distortion):
    logits, grade = ordinal_films()
    found = calibration.fit_temperature(logits * distortion, grade)
    assert found == pytest.approx(distortion, rel=0.05)
    assert calibration.apply_temperature(logits * distortion, distortion) == pytest.approx(softmax(logits, axis=1))


def test_temperature_takes_logits_and_log_probabilities_alike():
    logits, grade = ordinal_films(500)
    log_p = np.log(softmax(logits * 2, axis=1))
    assert calibration.fit_temperature(logits * 2 + 7, grade) == pytest.approx(calibration.fit_temperature(log_p, grade), rel=1e-4)
    assert calibration.temper(softmax(logits, axis=1), 2.0) == pytest.approx(calibration.apply_temperature(logits, 2.0))


def test_a_zero_probability_does_not_break_the_temperature():
    p = np.eye(5)[[0, 1, 2, 3, 4, 0]]
    assert np.isfinite(calibration.fit_temperature(np.log(np.maximum(p, 1e-300)), np.array([0, 1, 2, 3, 4, 1])))


def test_thresholds_find_shifted_cuts():
    expected = np.linspace(0, 4, 2001)
    grade = np.searchsorted([0.8, 1.2, 2.9, 3.3], expected, side="right")
    below = np.minimum(expected.astype(int), 3)
    p = np.zeros((2001, 5))  # two neighbouring grades share the mass so that the mean is `expected`
    p[np.arange(2001), below + 1] = expected - below
    p[np.arange(2001), below] += 1 - p[np.arange(2001), below + 1]
    found = calibration.fit_thresholds(p, grade)
    assert found == pytest.approx([0.8, 1.2, 2.9, 3.3], abs=0.011)
    assert metrics.scores(grade, p, found)["qwk"] > 0.999


def test_thresholds_are_no_worse_than_rounding_and_no_single_move_helps():
    logits, grade = ordinal_films(800, seed=1)
    p = softmax(logits * 0.4, axis=1)
    found = calibration.fit_thresholds(p, grade)
    best = metrics.scores(grade, p, found)["qwk"]
    assert best > metrics.scores(grade, p)["qwk_expected"]
    for i in range(4):
        for moved in np.arange(0, 4, 0.01):
            others = sorted(found[:i] + [moved] + found[i + 1:])
            assert metrics.from_confusion(metrics.confusion(grade, metrics.decide(p, others)))["qwk"] <= best + 1e-9


def test_thresholds_lie_in_the_middle_of_a_gap_and_round_where_kappa_is_undefined():
    p = np.eye(5)[np.repeat(np.arange(5), 4)] * 0.9 + 0.02  # mean grades 0.2, 1.1, 2, 2.9, 3.8
    assert calibration.fit_thresholds(p, np.repeat(np.arange(5), 4)) == pytest.approx([0.65, 1.55, 2.45, 3.35], abs=0.02)
    assert calibration.fit_thresholds(p[:4], np.zeros(4, int)) == [0.5, 1.5, 2.5, 3.5]


def test_cross_fit_never_shows_a_fold_its_own_films():
    logits, grade = ordinal_films(100, seed=2)
    p, fold, seen = softmax(logits, axis=1), np.arange(100) % 4, []

    def fit(rows, truth):
        seen.append({tuple(r) for r in rows})
        return len(seen) - 1

    def apply(rows, i):
        assert not seen[i] & {tuple(r) for r in rows}
        return rows * 1.0

    assert (calibration.cross_fit(p, grade, fold, fit, apply) == p).all() and len(seen) == 4
    tuned = calibration.cross_fit(p, grade, fold, calibration.fit_thresholds, metrics.decide)
    assert tuned.shape == (100,) and tuned.dtype.kind == "i"


def test_prior_of_an_unlabelled_set_is_recovered():
    """Grades are thinned after they were drawn, so only their shares change."""
    logits, grade = ordinal_films(20000, seed=3, sharpness=3)
    p, source = softmax(logits, axis=1), np.bincount(grade) / 20000
    kept = np.random.default_rng(0).random(20000) < np.array([1, 0.2, 0.5, 1, 0.3])[grade]
    target = np.bincount(grade[kept]) / kept.sum()
    assert calibration.fit_prior(p[kept], source) == pytest.approx(target, abs=0.02)
    shifted = calibration.shift_prior(p[kept], source, target)
    assert metrics.scores(grade[kept], shifted)["rps"] < metrics.scores(grade[kept], p[kept])["rps"]
    assert calibration.shift_prior(p, source, source) == pytest.approx(p)


def test_slope_and_intercept_see_what_was_distorted():
    logits, grade = ordinal_films(6000, seed=4)
    p, patient = softmax(logits, axis=1), np.arange(6000) // 2
    right = calibration.slope_intercept(p, grade, patient)
    assert right["slope"]["low"] < 1 < right["slope"]["high"] and right["intercept"]["low"] < 0 < right["intercept"]["high"]
    odds = p[:, 2:].sum(1) / p[:, :2].sum(1)
    extreme = 1 / (1 + odds**-2.0 * np.exp(-1))  # logit doubled and raised by one
    spoilt = np.column_stack([1 - extreme, np.zeros((6000, 2)), extreme, np.zeros(6000)])
    found = calibration.slope_intercept(spoilt, grade, patient)
    assert found["slope"]["value"] == pytest.approx(right["slope"]["value"] / 2, rel=1e-3)
    assert found["intercept"]["high"] < 0


def test_slope_equals_an_unpenalised_logistic_regression():
    logits, grade = ordinal_films(400, seed=5)
    p = softmax(logits, axis=1)
    score = np.log(p[:, 2:].sum(1) / p[:, :2].sum(1))
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(score[:, None], grade >= 2)
    assert calibration.slope_intercept(p, grade, np.arange(400))["slope"]["value"] == pytest.approx(model.coef_[0, 0], rel=1e-4)


def test_a_perfect_separation_has_an_infinite_slope_and_no_warning(recwarn):
    grade = np.repeat(np.arange(5), 4)
    found = calibration.slope_intercept(np.eye(5)[grade] * 0.9 + 0.02, grade, np.arange(20))
    assert found["slope"]["value"] == np.inf and np.isnan(found["slope"]["low"]) and not recwarn.list


def test_slope_needs_both_sides():
    with pytest.raises(UserError, match="both sides"):
        calibration.slope_intercept(np.full((3, 5), 0.2), np.array([2, 3, 4]), np.arange(3))


def test_reliability_bins_equal_those_of_scikit_learn():
    logits, grade = ordinal_films(1000, seed=6)
    event, probability = grade >= 2, softmax(logits, axis=1)[:, 2:].sum(1)
    table = calibration.reliability(probability, event, np.arange(1000) // 2, n=500)
    observed, predicted = calibration_curve(event, probability, n_bins=10, strategy="quantile")
    assert table.predicted.to_numpy() == pytest.approx(predicted, abs=0.002) and table.observed.to_numpy() == pytest.approx(observed, abs=0.02)
    assert table.films.sum() == 1000 and ((table.low <= table.observed) & (table.observed <= table.high)).all()
    inside = (table.low <= table.predicted) & (table.predicted <= table.high)
    assert inside.sum() >= 8  # a calibrated reader


def test_reliability_of_repeated_probabilities_has_fewer_bins():
    table = calibration.reliability(np.repeat([0.2, 0.8], 50), np.arange(100) % 5 == 0, np.arange(100), n=50)
    assert table.films.tolist() == [50, 50] and table.observed.tolist() == [0.2, 0.2]


def test_prior_shift_needs_every_grade_at_the_source():
    with pytest.raises(UserError, match="every grade"):
        calibration.shift_prior(np.full((2, 5), 0.2), [0.5, 0.5, 0, 0, 0], [0.2] * 5)


def test_ece_of_a_calibrated_model_is_known_beforehand():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(5, 0.5), 400)
    found = calibration.ece_if_calibrated(p)
    seen = [metrics.scores((rng.random((400, 1)) > p.cumsum(1)).sum(1).clip(max=4), p)["ece"] for _ in range(300)]
    assert found["mean"] == pytest.approx(np.mean(seen), rel=0.05)
    assert np.mean([found["low"] <= ece <= found["high"] for ece in seen]) > 0.9
    assert metrics.scores((p.argmax(1) + 1) % 5, p)["ece"] > found["high"]  # always wrong
