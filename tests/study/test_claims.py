"""The claims are answered from the ledger: nothing while it is empty, and what was put in when it is full."""

import json
import math
import re
import shutil
from dataclasses import replace

import pytest
from fake_ledger import fill

from koalib.study import ledger, races
from koalib.study.claims import BOTH, NEITHER, Answer, _judge, answers
from koalib.study.comparisons import AGAINST_ITSELF, arm_scores, contrasts, stack, written
from koalib.study.experiments import find_study
from koalib.study.tables import significance
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
    assert found["C10"].verdict == "does not hold as stated" and found["C10"].note.startswith("2023-06-27")


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
    fill("ablation", {"both": 0.95, "neither": 0.6}, only=("start", "neither", "both"), gate=0.001)
    found = by_id(answers())
    assert found["C5"].verdict.startswith("not tested here: both: the gates did not move")
    assert found["C6"].verdict == "not run yet (20 of 40 runs)"


def test_a_difference_no_larger_than_that_of_an_arm_with_itself_is_inconclusive():
    gain = {"value": 0.02, "low": 0.01, "high": 0.03, "runs": 2, "planned": 2, "p": 0.001}
    assert [a.verdict for a in _judge([Answer("C5", "", **gain), Answer("C5", "", **gain, a_a=0.021)])] == ["holds", "inconclusive"]


def test_an_arm_without_a_second_seed_cannot_lie_above_its_own_noise(empty):
    fill("ablation", {"both": 0.95, "neither": 0.6}, only=("start", "both", "neither"))
    assert by_id(answers())["C5"].a_a < 0.1
    for run in (empty / "ablation").glob("*-neither-*-seed1-*"):
        shutil.rmtree(run)
    assert by_id(answers())["C5"].a_a == math.inf


def test_a_claim_that_waits_counts_in_the_family():
    gain = {"value": 0.02, "low": 0.01, "high": 0.03, "p": 0.03, "runs": 2, "planned": 2}
    waiting = Answer("C6", "", value=0.02, low=0.01, high=0.03, p=0.001, runs=1, planned=2)
    judged = _judge([Answer("C5", "", **gain), waiting])
    assert [a.verdict for a in judged] == ["inconclusive", "not run yet (1 of 2 runs)"]
    assert significance(judged[0]) == "p 0.030, among 2 primary contrasts 0.060 (Holm)" and not significance(judged[1])
    assert significance(replace(judged[0], p=1e-4, adjusted=4e-4)) == "p < 0.001, among 2 primary contrasts < 0.001 (Holm)"


def test_holm_is_over_the_primary_claims_that_were_tested():
    gain = {"value": 0.02, "low": 0.01, "high": 0.03, "p": 0.03}
    alone = [Answer("C5", "", **gain), Answer("C6", "", **gain, reason="no weights")]
    assert [a.verdict for a in _judge(alone)] == ["holds", "not tested here: no weights"]
    assert [a.verdict for a in _judge([Answer("C5", "", **gain), Answer("C6", "", **gain)])] == ["inconclusive", "inconclusive"]


def test_speed_up_is_the_ratio_of_the_curves(empty):
    fill("transfer", rate={"imagenet": 0.9, "scratch": 0.3, "phantom": 0.5})
    found = by_id(answers())["C2"]
    assert found.value == pytest.approx(3.0, abs=0.5) and found.unit == "times" and found.runs == found.planned == 15


def test_no_speed_up_is_taken_from_a_pretrained_run_that_never_arrives(empty):
    fill("transfer")
    file = next((empty / "transfer").glob("*-imagenet-fold3-seed0-*")) / ledger.RUN_FILE
    record = json.loads(file.read_text())
    ledger.write_json(file, record | {"curve": [row | {"val_qwk": row["val_qwk"] / 2} for row in record["curve"]]})
    assert by_id(answers())["C2"].verdict == "not tested here: a run of the faster arm never reached the target"
    shutil.rmtree(file.parent)
    assert by_id(answers())["C2"].verdict == "not run yet (14 of 15 runs)"


def test_a_yardstick_with_a_run_that_never_arrives_is_none(empty):
    fill("transfer", rate={"imagenet": 0.9, "scratch": 0.3, "phantom": 0.5})
    assert math.isfinite(by_id(answers())["C2"].a_a)
    file = next((empty / "transfer").glob("*-imagenet-fold3-seed1-*")) / ledger.RUN_FILE
    record = json.loads(file.read_text())
    ledger.write_json(file, record | {"curve": [row | {"val_qwk": row["val_qwk"] / 2} for row in record["curve"]]})
    answer = by_id(answers())["C2"]
    assert answer.low > 1 and answer.a_a == math.inf and answer.verdict == "inconclusive"


def test_races_are_listed_with_their_own_lines(empty):
    assert races.table().empty
    fill("transfer", rate={"imagenet": 0.9, "scratch": 0.3, "phantom": 0.5})
    table = races.table()
    assert len(table) == 5 and table.times["scratch / ImageNet, epochs (C2)"] == by_id(answers())["C2"].value
    assert table.times["scratch / phantom, epochs"] == pytest.approx(0.5 / 0.3, rel=0.2)
    assert table.times["A/A: ImageNet, other seeds, epochs"] == pytest.approx(1, abs=0.2) and (table.pairs == 5).all()


def test_stack_aligns_films_seeds_and_folds(empty):
    fill("ablation", only=("start", "both", "neither"))
    found = stack("ablation", [BOTH, "convwgcnet_atto/neither"])
    assert found.probabilities[BOTH].shape == (2, 300, 5) and found.runs == 20
    assert len(set(found.group)) == 150


def test_arms_are_compared_on_the_films_that_all_graded(empty):
    fill("ablation", only=("start", "both", "neither"))
    run = next((empty / "ablation").glob("*-both-fold0-seed0-*"))
    table = ledger.read_predictions("ablation", run.name)
    ledger.write_predictions(run / ledger.PREDICTIONS_FILE, table.iloc[:-10])
    assert len(stack("ablation", [NEITHER]).grade) == 300 and len(stack("ablation", [BOTH, NEITHER]).grade) == 290


def test_comparisons_stand_beside_the_reference_arm_with_itself(empty):
    fill("ablation", {"both": 0.95, "neither": 0.6}, only=("start", "neither", "gct", "both"))
    found = contrasts("ablation", ("four_scores",), n=100)
    assert found.comparison[:4].tolist() == [AGAINST_ITSELF.format("neither"), "gct - neither", "both - neither", "both - gct"]
    assert "interaction" not in found.comparison[: len(found) // 2].tolist() and {title[0] for title in found.panel} == {"A", "B"}
    gain = found.set_index(["panel", "comparison"]).loc[(found.panel[0], "both - neither")]
    answer = stack("ablation", [BOTH, NEITHER]).contrast({BOTH: 1.0, NEITHER: -1.0}, ("four_scores",), n=100)["four_scores"]
    assert gain.four_scores == pytest.approx(answer.value) and (gain.made, gain.planned) == (20, 20)


def test_a_repetition_asks_what_the_first_asked(empty):
    first, _, repeated = find_study("ablation").panels
    asked, again = first.comparisons(), repeated.comparisons()
    assert set(again) < set(asked)
    assert all({name.removesuffix("_again"): weight for name, weight in again[label].items()} == asked[label] for label in again)
    assert not {arm.name for arm in repeated.arms} & {arm.name for arm in first.arms}


def test_a_control_is_compared_with_both_modules_too(empty):
    fill("ablation", {"both": 0.95, "unshuffle": 0.6}, only=("start", "neither", "both", "unshuffle"))
    found = contrasts("ablation", ("four_scores",), n=100).set_index("comparison")
    assert found.loc["both - unshuffle"].four_scores > 0.2 and found.loc["both - unshuffle"].seeds == 1
    assert "both - conv5" not in found.index
    assert list(found.index[found.panel.str.startswith("A:")])[-2:] == ["unshuffle - neither", "both - unshuffle"], "controls come after the 2 x 2"
    control, again = by_id(answers())["C5"].note.split("; ")
    assert re.fullmatch(r"over a branch as large without wavelets \(exploratory\), 1 seed: \+[234]\d\.\d points \(\S+ to \S+\)", control)
    shutil.rmtree(next((empty / "ablation").glob("*-unshuffle-fold4-*")))
    assert by_id(answers())["C5"].note == again


def test_what_comes_back_in_the_second_ablation_stands_beside_the_first(empty):
    fill("ablation", {"both": 0.95, "neither": 0.6})
    found = by_id(answers())
    for claim in ("C5", "C6"):
        assert re.search(r"ablation B, EfficientNet-Lite0 on chen2018, accuracy \(secondary\), 5 seeds: \+\d+\.\d points", found[claim].note)
        assert re.search(r"repeated with fresh seeds \(secondary\), 3 seeds: .\d+\.\d points", found[claim].note)
    shutil.rmtree(next((empty / "ablation").glob("*lite0-gct-official-seed4-*")))
    found = by_id(answers())
    assert "ablation B" in found["C5"].note and "ablation B" not in found["C6"].note and "repeated" in found["C6"].note, "a contrast that misses a run is not given"


def test_a_lead_over_networks_that_never_learnt_is_called_so(empty):
    fill("architectures")
    found = by_id(answers())
    assert not found["C3"].note and found["C3"].films and found["C5"].note.startswith("with the modules from the first training on (exploratory), 1 seed: ")
    start = next((empty / "architectures").glob("chen2018-deit*")) / "run.json"
    ledger.write_json(start, json.loads(start.read_text()) | {"scores": {"val": {"qwk": {"value": 0.04}}}})
    assert by_id(answers())["C3"].note == "of the others, deit_tiny_patch16_224 (QWK 0.04) had learnt next to nothing on chen2018"


def test_a_table_names_every_arm_and_its_runs(empty):
    fill("ablation", only=("start", "both"))
    table = arm_scores("ablation", n=100)
    assert len(table) == len(find_study("ablation").arms)
    text = written(table).set_index(["panel", "arm"])
    first = table.panel[0]
    assert text.runs[first, "both"] == "10 of 10" and text.runs[first, "neither"] == "0 of 10" and text.qwk[first, "neither"] == "-"
    assert text.films[first, "both"] == "gornale2020, 300 films (out of fold)"


def test_sealed_films_are_not_stacked(empty):
    fill("headline")
    name = find_study("headline").arms[0].name
    assert stack("headline", [name]).films_of == "validation"
    there = {"unsealed_at": "2026-01-01T00:00:00+00:00", "runs": [run["name"] for run in ledger.read_runs("headline")]}
    ledger.write_json(empty / "headline" / "unsealed.json", there)
    assert stack("headline", [name]).films_of == "test" and stack("headline", [name], stay=True).films_of == "validation"
    assert arm_scores("headline", n=10).films.iloc[0].endswith("(validation)")
    ledger.write_json(empty / "headline" / "unsealed.json", there | {"runs": []})
    assert stack("headline", [name]).films_of == "validation"
