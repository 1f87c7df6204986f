"""Scores against scikit-learn and cases counted by hand; intervals against a naive loop and against theory."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from koalib.errors import UserError
from koalib.study import metrics


@pytest.fixture(scope="module")
def films():
    """300 films of 150 patients: grade, p, patient."""
    rng = np.random.default_rng(7)
    grade = rng.choice(5, 300, p=[0.4, 0.2, 0.25, 0.1, 0.05])
    p = rng.dirichlet(np.full(5, 0.6), 300) + 0.6 * np.eye(5)[grade]
    return grade, p / p.sum(1, keepdims=True), np.repeat(np.arange(150), 2)


@pytest.mark.parametrize("decision", ["argmax", "expected", (0.7, 1.4, 2.6, 3.1)])
def test_scores_equal_scikit_learn(films, decision):
    grade, p, _ = films
    decided, found = metrics.decide(p, decision), metrics.scores(grade, p, decision)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(grade, decided, labels=range(5), zero_division=0)
    wanted = {
        "n": 300,
        "accuracy": sk.accuracy_score(grade, decided),
        "balanced_accuracy": sk.balanced_accuracy_score(grade, decided),
        "macro_precision": precision.mean(), "macro_recall": recall.mean(), "macro_f1": f1.mean(),
        "qwk": sk.cohen_kappa_score(grade, decided, weights="quadratic"),
        "mae": sk.mean_absolute_error(grade, decided),
        "one_off": np.mean(abs(grade - decided) <= 1),
        "sensitivity_kl2": sk.recall_score(grade >= 2, decided >= 2),
        "specificity_kl2": sk.recall_score(grade < 2, decided < 2),
        "auc_kl2": sk.roc_auc_score(grade >= 2, p[:, 2:].sum(1)),
        "brier": sk.brier_score_loss(grade, p, labels=range(5), scale_by_half=False),
        "rps": np.mean([sk.brier_score_loss(grade >= k, p[:, k:].sum(1).clip(0, 1)) for k in range(1, 5)]),
        "recall_4": recall[4], "precision_1": precision[1], "f1_2": f1[2],
        "qwk_expected": sk.cohen_kappa_score(grade, metrics.decide(p, "expected"), weights="quadratic"),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-12)


def test_scores_counted_by_hand():
    grade = np.array([0, 0, 1, 2])
    p = np.array([[0.8, 0.2, 0, 0, 0], [0.3, 0.7, 0, 0, 0], [0.1, 0.8, 0.1, 0, 0], [0, 0, 0.4, 0.6, 0]])
    found = metrics.scores(grade, p, tuned=np.array([0, 0, 1, 2]))
    assert found["accuracy"] == 0.5 and found["accuracy_tuned"] == 1 and found["qwk_tuned"] == 1
    assert found["macro_precision"] == pytest.approx((1 + 1 / 2 + 0) / 3)  # grades 3 and 4 do not occur
    assert found["macro_recall"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["mae"] == 0.5 and found["one_off"] == 1
    # gaps by bin of the largest p: .8 twice (both right), .7 wrong, .6 wrong
    assert found["ece"] == pytest.approx((0.4 + 0.7 + 0.6) / 4)
    assert found["brier"] == pytest.approx((0.08 + 2 * 0.49 + 0.06 + 2 * 0.36) / 4)
    assert found["rps"] == pytest.approx((0.04 + 0.49 + 0.02 + 0.36) / 4 / 4)


def test_quadratic_kappa_of_opposite_readers_is_minus_one():
    assert metrics.from_confusion(np.fliplr(np.diag([5, 0, 0, 0, 5])))["qwk"] == pytest.approx(-1)


def test_undefined_scores_are_nan_and_never_a_warning(recwarn):
    found = metrics.scores(np.zeros(3, int), np.eye(5)[[0, 0, 0]])
    assert np.isnan(found["auc_kl2"]) and np.isnan(found["sensitivity_kl2"]) and np.isnan(found["qwk"])
    assert found["accuracy"] == 1 and not recwarn.list


def test_ties_of_the_auc_count_half():
    p = np.tile([[0.5, 0, 0.5, 0, 0]], (4, 1))
    assert metrics.scores(np.array([0, 1, 2, 3]), p)["auc_kl2"] == 0.5


def test_bootstrap_equals_a_loop_over_scikit_learn(films):
    grade, p, patient = films
    weights = metrics.resampling_weights(150, 40, seed=3)
    found = metrics.resampled_scores(grade, p, patient, weights)
    decided = p.argmax(1)
    for i, row in enumerate(weights):
        again = np.repeat(np.arange(300), row[patient].astype(int))
        assert found["qwk"][i] == pytest.approx(sk.cohen_kappa_score(grade[again], decided[again], weights="quadratic"))
        assert found["macro_f1"][i] == pytest.approx(sk.f1_score(grade[again], decided[again], average="macro", zero_division=0))
        assert found["auc_kl2"][i] == pytest.approx(sk.roc_auc_score(grade[again] >= 2, p[again, 2:].sum(1)))
        one_by_one = metrics.scores(grade[again], p[again])
        assert {name: found[name][i] for name in ("ece", "brier", "rps", "recall_3")} == pytest.approx(
            {name: one_by_one[name] for name in ("ece", "brier", "rps", "recall_3")})


def test_resamples_draw_whole_groups_as_often_as_there_are():
    weights = metrics.resampling_weights(30, 2000, seed=0)
    assert (weights.sum(1) == 30).all() and weights.mean() == 1
    assert weights.var() == pytest.approx(29 / 30, rel=0.05)  # multinomial counts: 1 - 1/G


def test_interval_of_accuracy_is_the_binomial_one_when_films_are_independent(films):
    grade, p, _ = films
    accuracy = metrics.scores(grade, p)["accuracy"]
    low, high = metrics.bootstrap(grade, p, np.arange(300))["accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(accuracy * (1 - accuracy) / 300), rel=0.05)


def test_copies_of_a_film_in_one_group_do_not_narrow_the_interval(films):
    grade, p, _ = films
    once = metrics.bootstrap(grade, p, np.arange(300))["qwk"]
    thrice = metrics.bootstrap(np.repeat(grade, 3), np.repeat(p, 3, axis=0), np.repeat(np.arange(300), 3))["qwk"]
    assert thrice == pytest.approx(once)


def calibrated(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Films whose grades are drawn from their probabilities: any ECE is noise."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(5, 0.5), n)
    return (rng.random((n, 1)) > p.cumsum(1)).sum(1).clip(max=4), p, np.arange(n)


def test_interval_of_the_ece_holds_its_value_where_percentiles_miss_it():
    missed = 0
    for seed in range(20):
        films = calibrated(300, seed)
        value, (low, high) = metrics.scores(*films[:2])["ece"], metrics.bootstrap(*films, n=400)["ece"]
        assert low <= value <= high
        plain = metrics.resampled_scores(*films, metrics.resampling_weights(300, 400, 0))["ece"]
        missed += metrics.percentile_interval(plain)[0] > value
    assert missed >= 3


def test_interval_of_the_ece_covers_the_ece_expected_of_so_many_films():
    expected = np.mean([metrics.scores(*calibrated(300, seed)[:2])["ece"] for seed in range(1000, 1400)])
    held = [low <= expected <= high for low, high in (metrics.bootstrap(*calibrated(300, seed), n=300)["ece"] for seed in range(60))]
    assert np.mean(held) > 0.85


def test_bootstrap_repeats_with_its_seed(films):
    assert metrics.bootstrap(*films, n=200, seed=1) == metrics.bootstrap(*films, n=200, seed=1)
    assert metrics.bootstrap(*films, n=200, seed=1) != metrics.bootstrap(*films, n=200, seed=2)


def test_evaluation_is_the_documented_json(films):
    grade, p, patient = films
    found = json.loads(json.dumps(metrics.evaluation(grade, p, patient, n=300), allow_nan=False))
    names = dict.fromkeys((*metrics.REPORTED, *metrics.BY_RULE, *(f"{name}_expected" for name in metrics.BY_RULE)))
    assert list(found) == ["n", *names, "intervals", "per_grade", "confusion"]
    assert all(found["intervals"][name][0] <= found[name] <= found["intervals"][name][1] for name in metrics.REPORTED)
    assert sum(map(sum, found["confusion"])) == found["n"] == 300 and found["per_grade"]["4"]["n"] == sum(grade == 4)


def test_evaluation_of_one_grade_has_null_where_nothing_is_defined():
    found = metrics.evaluation(np.ones(4, int), np.full((4, 5), 0.2), [1, 1, 2, 2], n=50)
    assert found["auc_kl2"] is None and found["intervals"]["auc_kl2"] == [None, None] and found["per_grade"]["3"]["recall"] is None


def test_summary_has_value_and_interval_of_every_rule(films):
    grade, p, patient = films
    table = metrics.summary(grade, p, patient, n=300, tuned=metrics.decide(p, (0.5, 1.4, 2.5, 3.5)))
    for name in ("accuracy", "qwk_expected", "qwk_tuned", "recall_0"):
        assert table[name]["low"] < table[name]["value"] < table[name]["high"]


@pytest.mark.parametrize("grade, p, word", [
    ([0, 5], np.full((2, 5), 0.2), "0 to 4"),
    ([], np.empty((0, 5)), "at least one film"),
    ([0, 1], np.full((2, 4), 0.25), "probabilities of shape"),
    ([0, 1], np.full((2, 5), 0.3), "sum to 1"),
    ([0, 1], np.full((2, 5), np.nan), "finite"),
])
def test_what_cannot_be_scored_is_refused(grade, p, word):
    with pytest.raises(UserError, match=word):
        metrics.scores(np.array(grade), p)


def test_unknown_rules_and_missing_groups_are_refused(films):
    grade, p, patient = films
    with pytest.raises(UserError, match="argmax, expected"):
        metrics.decide(p, "median")
    with pytest.raises(UserError, match="rising"):
        metrics.decide(p, (2, 1, 3, 4))
    with pytest.raises(UserError, match="299 groups for 300 films"):
        metrics.bootstrap(grade, p, patient[:-1])
