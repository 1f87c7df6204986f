"""Convergence: crossings by hand, censoring against known survival figures."""

import math

import numpy as np
import pytest
from scipy.stats import t

from koalib.errors import UserError
from koalib.study import curves
from koalib.study.curves import Arrival


def curve(*qwk: float, seconds: float = 10.0) -> list[dict]:
    return [{"epoch": i, "seconds": i * seconds, "val_qwk": q} for i, q in enumerate(qwk, 1)]


def test_arrival_lies_between_epochs_and_starts_at_zero():
    assert curves.arrival(curve(0.4, 0.6, 0.5, 0.8), 0.5) == Arrival(1.5, True)
    assert curves.arrival(curve(0.4, 0.6), 0.2) == Arrival(0.5, True)
    assert curves.arrival(curve(0.4, 0.6, seconds=30), 0.5, "seconds") == Arrival(45.0, True)
    assert curves.arrival(curve(0.4, 0.6), 0.7) == Arrival(2.0, False)


def test_a_goal_of_nothing_is_never_reached():
    useless = curve(0.0, -0.1, 0.3)
    assert curves.arrival(useless, 0.0) == curves.arrival(useless, -0.1) == Arrival(3.0, False)
    found = curves.speedup([useless] * 2, [curve(0.0, 0.0)] * 2)
    assert math.isnan(found.value) and "not above 0" in found.why


def test_epochs_without_a_kappa_are_passed_over():
    gaps = curve(0.4, 0.5, 0.6)
    gaps[1]["val_qwk"] = None
    assert curves.best(gaps) == 0.6 and curves.arrival(gaps, 0.5) == Arrival(2.0, True)
    assert curves.arrival(gaps, 0.7) == Arrival(3.0, False) and math.isnan(curves.best(gaps[1:2]))
    assert math.isnan(curves.target([gaps], [gaps[1:2]])) and math.isnan(curves.target([gaps[1:2]], [gaps]))


def test_target_is_a_share_of_the_worse_arm():
    strong, weak = [curve(0.5, 0.9), curve(0.8, 0.7)], [curve(0.2, 0.6), curve(0.3, 0.4)]
    assert curves.target(strong, weak) == pytest.approx(0.95 * 0.5) == curves.target(weak, strong)


def test_speedup_is_the_geometric_mean_with_students_interval():
    fast = [curve(0.95), curve(0.95), curve(0.95)]
    slow = [curve(0.0, 0.95), curve(0.0, 0.0, 0.95), curve(*[0.0] * 3, 0.95)]  # arrive just before epochs 2, 3, 4
    found = curves.speedup(slow, fast)
    ratios = np.log([(e - 1 + 0.95) / 0.95 for e in (2, 3, 4)])
    half = 4.3027 * ratios.std(ddof=1) / math.sqrt(3)  # t at 97.5 % on two degrees of freedom, from a table
    assert found.value == pytest.approx(math.exp(ratios.mean())) and not found.at_least
    assert (found.low, found.high) == pytest.approx((math.exp(ratios.mean() - half), math.exp(ratios.mean() + half)), rel=1e-4)
    assert found.p == pytest.approx(2 * t.sf(ratios.mean() / (half / 4.3027), 2), rel=1e-6)


def test_a_run_that_never_arrives_makes_the_speedup_a_lower_bound():
    fast, slow = [curve(0.8)] * 2, [curve(0.4, 0.9), curve(0.2, 0.3)]
    found = curves.speedup(slow, fast)
    assert found.at_least and found.high == math.inf and found.value > 1
    assert math.isnan(curves.speedup(fast, slow).value) and "never reached" in curves.speedup(fast, slow).why  # the fast arm is censored: nothing can be said
    with pytest.raises(UserError, match="pairs"):
        curves.speedup(slow, fast[:1])


# Remission times in weeks of 42 leukaemia patients, Freireich et al. 1963 (as in Cox 1972): a textbook case
MERCAPTOPURINE = [(6, 1), (6, 1), (6, 1), (7, 1), (10, 1), (13, 1), (16, 1), (22, 1), (23, 1), (6, 0), (9, 0), (10, 0), (11, 0),
                  (17, 0), (19, 0), (20, 0), (25, 0), (32, 0), (32, 0), (34, 0), (35, 0)]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def test_kaplan_meier_and_log_rank_on_the_textbook_case():
    treated, control = [Arrival(t, bool(e)) for t, e in MERCAPTOPURINE], [Arrival(t, True) for t in PLACEBO]
    times, shares = curves.survival(treated)
    assert shares[list(times).index(6)] == pytest.approx(18 / 21) and shares[list(times).index(10)] == pytest.approx(0.7529, abs=1e-4)
    assert curves.median_time(treated) == 23 and curves.median_time(control) == 8
    assert curves.logrank_p(treated, control) == pytest.approx(4.17e-5, rel=0.01)  # chi-square 16.79 on 1 df


def test_median_is_infinite_when_most_runs_never_arrive():
    assert curves.median_time([Arrival(3, True), Arrival(9, False), Arrival(9, False)]) == math.inf
