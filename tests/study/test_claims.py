"""The claims are answered from the ledger: nothing while it is empty, and what was put in when it is full."""

import math

import pytest
from fake_ledger import fill

from koalib.study import ledger
from koalib.study.claims import BOTH, Answer, _judge, answers, claims_table
from koalib.study.comparisons import stack
from koalib.study.experiments import find_study
from koalib.study.verdicts import CLAIMS


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path))
    monkeypatch.delenv("KOALIB_WEIGHTS", raising=False)
    return tmp_path


def by_id(found):
    return {a.claim: a for a in reversed(found)}


def test_an_empty_ledger_answers_nothing_and_says_so(empty):
    found = by_id(answers())
    assert list(found) == list(reversed(CLAIMS))
    assert all(math.isnan(a.value) for a in found.values())
    assert found["C5"].verdict == "not run yet (0 of 20 runs)"
    assert found["C1"].verdict.startswith("not tested here: ImageNet weights")
    assert claims_table().id.tolist()[0] == "C1"


def test_a_verdict_waits_for_all_runs(empty):
    fill("ablation", {"both": 0.95, "neither": 0.6}, only=("start", "both"))
    assert by_id(answers())["C5"].verdict == "not run yet (10 of 20 runs)"


def test_full_ablation_is_judged(empty):
    fill("ablation", {"both": 0.95, "neither": 0.6, "gct": 0.6, "wavelet": 0.6}, only=("start", "neither", "gct", "wavelet", "both"))
    found = by_id(answers())
    assert 0.25 < found["C5"].value < 0.45 and found["C5"].low > 0.024
    assert found["C5"].verdict == "exceeds the claim" and found["C6"].verdict == "holds"
    assert found["C5"].films == "gornale2020, 300 films (out of fold)"
    assert found["C4"].verdict.startswith("not tested here") and found["C4"].value == pytest.approx(0.95, abs=0.04)


def test_modules_that_did_not_move_are_not_judged(empty):
    fill("ablation", {"both": 0.95, "neither": 0.6}, gate=0.001)
    assert by_id(answers())["C5"].verdict.startswith("not tested here: the gates did not move")


def test_a_difference_no_larger_than_that_of_an_arm_with_itself_is_inconclusive():
    gain = {"value": 0.02, "low": 0.01, "high": 0.03, "runs": 2, "planned": 2, "p": 0.001}
    assert [a.verdict for a in _judge([Answer("C5", "", **gain), Answer("C5", "", **gain, a_a=0.021)])] == ["holds", "inconclusive"]


def test_holm_is_over_the_primary_claims_that_were_tested():
    gain = {"value": 0.02, "low": 0.01, "high": 0.03, "p": 0.03}
    alone = [Answer("C5", "", **gain), Answer("C6", "", **gain, reason="no weights")]
    assert [a.verdict for a in _judge(alone)] == ["holds", "not tested here: no weights"]
    assert [a.verdict for a in _judge([Answer("C5", "", **gain), Answer("C6", "", **gain)])] == ["inconclusive", "inconclusive"]


def test_speed_up_is_the_ratio_of_the_curves(empty):
    fill("transfer", rate={"imagenet": 0.9, "scratch": 0.3, "phantom": 0.5})
    found = by_id(answers())["C2"]
    assert found.value == pytest.approx(3.0, abs=0.5) and found.unit == "times" and found.runs == found.planned == 15


def test_stack_aligns_films_seeds_and_folds(empty):
    fill("ablation", only=("start", "both", "neither"))
    found = stack("ablation", [BOTH, "convwgcnet_atto/neither"])
    assert found.probabilities[BOTH].shape == (2, 300, 5) and found.runs == 20
    assert len(set(found.group)) == 150


def test_sealed_films_are_not_stacked(empty):
    fill("headline")
    name = find_study("headline").arms[0].name
    assert stack("headline", [name]).films_of == "validation"
    ledger.write_json(empty / "headline" / "unsealed.json", {"unsealed_at": "2026-01-01T00:00:00+00:00"})
    assert stack("headline", [name]).films_of == "test"
