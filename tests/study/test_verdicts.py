"""The protocol's words, at and beside each boundary."""

import math

import pytest

from koalib.errors import UserError
from koalib.study import verdicts as v


@pytest.mark.parametrize("low, high, word", [
    (0.005, 0.040, v.HOLDS), (0.024, 0.050, v.HOLDS), (0.001, 0.024, v.HOLDS),
    (0.005, 0.020, v.SMALLER), (0.030, 0.050, v.EXCEEDS),
    (-0.010, 0.030, v.INCONCLUSIVE), (0.0, 0.030, v.INCONCLUSIVE), (-0.010, 0.024, v.INCONCLUSIVE),
    (-0.010, 0.020, v.FAILS), (-0.030, -0.001, v.REVERSED),
    (math.nan, 0.1, v.NOT_TESTED), (0.01, math.inf, v.HOLDS),
])
def test_gain_of_2_4_points(low, high, word):
    assert v.verdict(low, high, 0.024) == word == v.claim_verdict("C5", low, high)


@pytest.mark.parametrize("low, high, word", [
    (1.5, 2.5, v.HOLDS), (2.5, 4.0, v.HOLDS), (1.2, 1.9, v.SMALLER), (3.1, 6.0, v.EXCEEDS), (0.8, 1.9, v.FAILS), (0.8, 2.2, v.INCONCLUSIVE), (0.3, 0.9, v.REVERSED),
])
def test_a_range_with_a_null_of_one(low, high, word):
    assert v.claim_verdict("C2", low, high) == word


def test_a_claim_of_direction():
    assert [v.claim_verdict("C6", *ends) for ends in ((0.01, 0.02), (-0.01, 0.02), (-0.02, -0.01))] == [v.HOLDS, v.INCONCLUSIVE, v.REVERSED]


def test_holm_and_noise_take_back_what_the_interval_alone_would_say():
    assert v.claim_verdict("C5", 0.001, 0.03, adjusted_p=0.06) == v.INCONCLUSIVE
    assert v.claim_verdict("C5", 0.001, 0.03, adjusted_p=0.04) == v.HOLDS
    assert v.claim_verdict("C5", -0.01, 0.02, adjusted_p=0.9) == v.FAILS  # nothing to take back
    assert v.claim_verdict("C5", 0.001, 0.03, adjusted_p=0.04, within_noise=True) == v.INCONCLUSIVE
    assert v.claim_verdict("C5", -0.03, -0.01, within_noise=True) == v.REVERSED


def test_a_reason_overrules_any_interval():
    reason = v.modules_moved(gate=0.002, branch=0.3)
    assert v.claim_verdict("C5", 0.01, 0.04, reason) == "not tested here: the gates did not move (mean |gamma| 0.0020 < 0.01)"
    assert v.modules_moved(gate=0.01, branch=0.01) == "" == v.modules_moved()
    assert "wavelet" in v.modules_moved(branch=float("nan"))


def test_senseless_input_is_refused():
    with pytest.raises(UserError, match="lower end"):
        v.verdict(0.2, 0.1, 0.024)
    with pytest.raises(UserError, match="above it"):
        v.verdict(0.1, 0.2, -0.1)


def test_the_thesis_f1_is_out_of_reach_of_its_precision_and_recall():
    assert v.f1_bound(0.889, 0.884) == pytest.approx(0.8865) and v.f1_bound(0.889, 0.884) < 0.891


def test_every_claim_is_there_once():
    assert list(v.CLAIMS) == [f"C{i}" for i in range(1, 12)]
