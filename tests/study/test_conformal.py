"""Prediction sets: by hand, against crepes, and their coverage on films not used."""

import numpy as np
import pytest
from crepes import ConformalClassifier

from koalib.study import conformal


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, 5), and grades drawn from them: a perfectly calibrated reader."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(5, 0.5), n)
    return p, (p.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=4)


def test_mass_gathered_before_each_grade_by_hand():
    p = np.array([[0.1, 0.2, 0.5, 0.05, 0.15], [0.4, 0.1, 0.1, 0.3, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]])
    wanted = [[0.7, 0.5, 0, 0.8, 0.85], [0, 0.4, 0.5, 0.6, 0.9], [0, 0.2, 0.4, 0.6, 0.8]]
    assert conformal.gathered_before(p) == pytest.approx(np.array(wanted))


def test_sets_are_contiguous_nested_and_hold_the_mode():
    p, _ = drawn(500, 0)
    smaller, larger = conformal.prediction_sets(p, 0.4), conformal.prediction_sets(p, 0.8)
    assert (smaller <= larger).all() and larger[np.arange(500), p.argmax(1)].all()
    assert (np.abs(np.diff(larger, axis=1, prepend=0, append=0)).sum(1) == 2).all()  # one run of grades
    assert conformal.prediction_set(p[3], 0.8) == tuple(np.flatnonzero(larger[3]))


def test_sets_equal_those_of_the_library():
    p, grade = drawn(301, 1)
    new, _ = drawn(200, 2)
    scores = conformal.gathered_before(p)[np.arange(301), grade]
    theirs = ConformalClassifier().fit(scores).predict_set(conformal.gathered_before(new), confidence=0.9, smoothing=False)
    assert (conformal.prediction_sets(new, conformal.fit_conformal(p, grade)) == theirs).all()


def test_threshold_is_the_rank_of_the_theorem():
    p, grade = drawn(100, 3)
    scores = np.sort(conformal.gathered_before(p)[np.arange(100), grade])
    assert scores[90] < conformal.fit_conformal(p, grade, 0.9) < scores[91]  # ceil(101 * .9) = 91st smallest


def test_rounding_moves_no_film_over_the_threshold():
    p, grade = drawn(100, 3)
    q, held = conformal.fit_conformal(p, grade), np.arange(100)
    sets = conformal.prediction_sets(p, q)[held, grade]
    for noise in np.random.default_rng(0).uniform(-5e-7, 5e-7, (20, *p.shape)):
        assert (conformal.prediction_sets(p + noise, q)[held, grade] == sets).all()


def test_too_few_films_give_every_grade():
    p, grade = drawn(5, 4)
    assert conformal.fit_conformal(p, grade) == 1.0
    assert conformal.prediction_set(p[0], 1.0) == (0, 1, 2, 3, 4)


def test_coverage_on_new_films_is_as_promised_on_average():
    reached = []
    for seed in range(40):
        q = conformal.fit_conformal(*drawn(400, 2 * seed + 10))
        p, grade = drawn(1000, 2 * seed + 11)
        reached.append(conformal.prediction_sets(p, q)[np.arange(1000), grade].mean())
    assert np.mean(reached) == pytest.approx(0.9, abs=0.012)


def test_coverage_is_told_for_each_grade():
    p, grade = drawn(600, 5)
    table = conformal.coverage_by_grade(p, grade, np.repeat(np.arange(300), 2), conformal.fit_conformal(p, grade), n=500)
    assert set(table) == {"0", "1", "2", "3", "4", "all"} and sum(table[str(k)]["n"] for k in range(5)) == table["all"]["n"] == 600
    assert table["all"]["coverage"] == pytest.approx(sum(table[str(k)]["n"] * table[str(k)]["coverage"] for k in range(5)) / 600)
    assert all(row["low"] <= row["coverage"] <= row["high"] and 1 <= row["size"] <= 5 for row in table.values())
    assert "4" not in conformal.coverage_by_grade(p[grade < 4], grade[grade < 4], np.arange(sum(grade < 4)), 0.8, n=50)
