"""Contrasts against loops and known variances; McNemar and Holm against statsmodels and published forms."""

import json

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from koalib.errors import UserError
from koalib.paths import ROOT
from koalib.study import metrics, stats


def arm(grade: np.ndarray, seeds: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    p = rng.dirichlet(np.full(5, 0.7), (seeds, len(grade))) + strength * np.eye(5)[grade]
    return p / p.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(5)
    grade = rng.integers(0, 5, 240)
    return grade, np.repeat(np.arange(120), 2), arm(grade, 3, 0.8, rng), arm(grade, 3, 0.5, rng)


def test_value_is_the_difference_of_mean_scores(study):
    grade, patient, a, b = study
    found = stats.paired_difference(grade, a, b, patient, n=500)
    for name in ("accuracy", "qwk", "macro_f1", "rps", "auc_kl2", "qwk_expected", "four_scores"):
        wanted = np.mean([metrics.scores(grade, p)[name] for p in a]) - np.mean([metrics.scores(grade, p)[name] for p in b])
        assert found[name].value == pytest.approx(wanted)
        assert found[name].low < wanted < found[name].high and found[name].seeds == 3


def test_one_seed_resamples_patients_only_as_a_loop_would(study):
    grade, patient, a, b = study
    found = stats.paired_difference(grade, a[0], b[0], patient, n=300, seed=4)["accuracy"]
    draws = []
    for row in metrics.resampling_weights(120, 300, seed=4):
        again = np.repeat(np.arange(240), row[patient].astype(int))
        draws.append(np.mean((a[0].argmax(1) == grade)[again]) - np.mean((b[0].argmax(1) == grade)[again]))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))))


def test_an_arm_against_itself_is_exactly_nothing(study):
    grade, patient, a, _ = study
    found = stats.paired_difference(grade, a, a, patient, n=200)["qwk"]
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)  # not even a rounding error, which p would take for an effect


def test_variance_over_seeds_is_unbiased():
    """No films vary (all alike), so only seeds do: the interval must have the standard error s / sqrt(S)."""
    right = np.array([0.2, 0.5, 0.9])  # accuracy of three seeds on 10 equal patients
    p = np.stack([np.eye(5)[np.where(np.arange(10) < 10 * r, 1, 0)] for r in right])
    shares = stats.seed_shares(3, 200_000, np.random.default_rng(0))
    accuracy = np.array([metrics.scores(np.ones(10, int), seed)["accuracy"] for seed in p])
    assert (shares @ accuracy).var() == pytest.approx(accuracy.var(ddof=1) / 3, rel=0.02)


def test_interval_adds_the_variances_of_patients_and_of_seeds(study):
    grade, patient, a, b = study
    weights = metrics.resampling_weights(120, 4000, seed=9)
    by_seed = np.array([metrics.scores(grade, p)["qwk"] - metrics.scores(grade, q)["qwk"] for p, q in zip(a, b)])
    patients = np.mean([metrics.resampled_scores(grade, p, patient, weights)["qwk"] - metrics.resampled_scores(grade, q, patient, weights)["qwk"] for p, q in zip(a, b)], axis=0)
    found = stats.paired_difference(grade, a, b, patient, n=4000)["qwk"]
    assert found.high - found.low == pytest.approx(3.92 * np.sqrt(patients.var() + by_seed.var(ddof=1) / 3), rel=0.06)


def test_paired_seeds_take_out_what_they_share(study):
    grade, patient, a, _ = study
    worse = a.copy()
    worse[:, :12] = np.roll(worse[:, :12], 1, axis=2)  # the same seeds, spoilt on the same films
    paired = stats.paired_difference(grade, a, worse, patient, n=2000)["accuracy"]
    loose = stats.paired_difference(grade, a, worse, patient, n=2000, paired_seeds=False)["accuracy"]
    assert paired.value == loose.value and paired.high - paired.low < loose.high - loose.low


def test_an_arm_against_itself_over_its_seeds(study):
    grade, patient, a, b = study
    found = stats.a_against_a(grade, np.concatenate([a, b[:1]]), patient, n=500)
    assert found["qwk"].low < 0 and found["qwk"].seeds == 2
    assert stats.a_against_a(grade, np.stack([a[0], b[0]]), patient, n=500)["qwk"].low > 0  # two arms in disguise are seen
    with pytest.raises(UserError, match="at least two"):
        stats.a_against_a(grade, a[:1], patient)


def test_interaction_is_what_both_gain_beyond_the_sum(study):
    grade, patient, a, b = study
    synergy = [1, -1, -1, 1]  # both, gates, wavelets, neither
    found = stats.contrast(grade, [a[1], b[1], a[0], b[0]], synergy, patient, n=200)["accuracy"]
    accuracy = [metrics.scores(grade, p)["accuracy"] for p in (b[0], b[1], a[0], a[1])]
    assert found.value == pytest.approx((accuracy[3] - accuracy[0]) - (accuracy[1] - accuracy[0]) - (accuracy[2] - accuracy[0]))
    additive = stats.contrast(grade, [b[0], b[0], a[0], a[0]], synergy, patient, n=200)["accuracy"]
    assert additive.value == additive.low == additive.high == 0


def test_p_value_agrees_with_the_interval():
    draws = np.random.default_rng(0).normal(2.2, 1, 9999)
    assert stats.p_value(draws) == pytest.approx(2 * 0.0139, abs=0.006) and np.quantile(draws, 0.025) > 0
    assert stats.p_value(np.full(999, 1.0)) == pytest.approx(0.002) and np.isnan(stats.p_value(np.array([np.nan])))


def test_arms_that_do_not_match_are_refused(study):
    grade, patient, a, b = study
    with pytest.raises(UserError, match="cannot be paired"):
        stats.paired_difference(grade, a, b[:2], patient, n=10)
    with pytest.raises(UserError, match="coefficients"):
        stats.contrast(grade, [a, b], [1], patient, n=10)


def test_clustered_mcnemar_of_single_films_is_mcnemar():
    rng = np.random.default_rng(1)
    a, b = rng.random(200) < 0.7, rng.random(200) < 0.6
    table = [[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]]
    found = stats.clustered_mcnemar(a, b, np.arange(200))
    assert (found["only_a"], found["only_b"]) == (table[0][1], table[1][0])
    # d_k^2 sums to b + c; the test leaves McNemar's form by its (K - 1) / K only
    assert found["statistic"] == pytest.approx(mcnemar(table, exact=False, correction=False).statistic * 199 / 200)


def test_clustered_mcnemar_has_the_ratio_estimators_variance():
    """Obuchowski's own formula: the difference of two clustered proportions, variances about the pooled proportion."""
    rng = np.random.default_rng(2)
    patient = np.sort(rng.integers(0, 40, 150))
    patient = np.unique(patient, return_inverse=True)[1]
    a, b = rng.random(150) < 0.8, rng.random(150) < 0.65
    k, n = patient.max() + 1, len(a)
    x1, x2, films = (np.bincount(patient, weights=w) for w in (a, b, np.ones(n)))
    pooled = (a.mean() + b.mean()) / 2
    r1, r2 = x1 - films * pooled, x2 - films * pooled
    variance = k / (k - 1) / n**2 * (np.sum(r1**2) + np.sum(r2**2) - 2 * np.sum(r1 * r2))
    assert stats.clustered_mcnemar(a, b, patient)["statistic"] == pytest.approx((a.mean() - b.mean()) ** 2 / variance)


def test_clustered_mcnemar_is_not_fooled_by_copies():
    rng = np.random.default_rng(3)
    a, b, patient = rng.random(100) < 0.7, rng.random(100) < 0.6, np.arange(100)
    once, thrice = (stats.clustered_mcnemar(*(np.tile(x, m) for x in (a, b, patient))) for m in (1, 3))
    assert thrice["statistic"] == pytest.approx(once["statistic"])
    seeds = stats.clustered_mcnemar(np.stack([a, a, a]), np.stack([b, b, b]), patient)
    assert seeds["statistic"] == pytest.approx(once["statistic"]) and seeds["only_a"] == 3 * once["only_a"]
    assert stats.clustered_mcnemar(a, a, patient)["p"] == 1


def test_holm_by_hand():
    found = stats.holm({"C2": 0.01, "C3": float("nan"), "C5": 0.04, "C6": 0.03})
    assert np.isnan(found["C3"]) and {k: found[k] for k in ("C2", "C5", "C6")} == pytest.approx({"C2": 0.03, "C5": 0.06, "C6": 0.06})
    assert list(found) == ["C2", "C3", "C5", "C6"]


def test_the_documented_coverage_is_the_recorded_one():
    text = (ROOT / "docs" / "statistics.md").read_text()
    for row in json.loads((ROOT / "data" / "results" / "coverage.json").read_text())["rows"]:
        shares = " | ".join(f"{row[name]:.1%}" for name in ("patients_and_seeds", "one_seed", "films_as_if_independent"))
        assert f"| {100 * row['seed_sd']:.0f} | {row['seeds']} | {shares} |" in text


def test_scores_that_are_named_are_the_same_alone(study):
    grade, patient, a, b = study
    whole, alone = (stats.paired_difference(grade, a, b, patient, n=50, only=only) for only in (None, ("qwk", "auc_kl2")))
    assert alone == {name: whole[name] for name in ("qwk", "auc_kl2")}
