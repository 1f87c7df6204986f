"""The model card says what the ledger says, and says what is not measured."""

import numpy as np
import pandas as pd
import pytest
from fake_ledger import fill

from koalib.data.registry import info, read_manifest
from koalib.study import card_sections, ledger, shipped
from koalib.study.card import CARD, card_block
from koalib.study.card_sections import elsewhere, failures, joint_covered, joint_space, participant_flow
from koalib.study.choice import candidates
from koalib.study.tables import headline_markdown, recorded_block

RULE = {"conformal": 0.7}


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(shipped, "GRADER", tmp_path / "grader.safetensors")
    return tmp_path


def test_card_says_what_the_ledger_says():
    assert recorded_block(CARD.read_text(encoding="utf-8"), CARD.name) == card_block(), "renew it with: koalib study figures"


def test_without_a_grader_there_is_nothing_to_say(empty):
    assert card_block() == "No grader is shipped yet." and elsewhere().startswith("Not measured yet for this file")


def test_the_seal_is_told_as_it_stands(empty, monkeypatch):
    monkeypatch.setattr(shipped, "shipped_record", lambda: {"name": "ours"})
    assert shipped.seal().startswith("sealed")
    opening = {"unsealed_at": "2026-01-01T00:00:00+00:00", "runs": ["ours"]}
    ledger.write_json(empty / "results" / "headline" / "unsealed.json", opening)
    assert shipped.seal().startswith("opened once by this study, on 2026-01-01")
    ledger.write_json(empty / "results" / "headline" / "unsealed.json", opening | {"runs": ["an earlier file"]})
    assert shipped.seal() == "closed for this file, which was made after the test was opened on 2026-01-01"


def test_a_second_opening_is_told_beside_the_first(empty, monkeypatch):
    monkeypatch.setattr(shipped, "shipped_record", lambda: {"name": "new"})
    for name, day in (("old", 2), ("older", 1)):
        folder = empty / "results" / "headline" / name
        ledger.write_json(folder / ledger.RUN_FILE, {"file_sha256": name, "finished_at": f"2026-01-0{day}"})
        (folder / ledger.PREDICTIONS_FILE).touch()
    opening = {"unsealed_at": "2026-01-03T00:00:00+00:00", "runs": ["old", "older"]}
    ledger.write_json(empty / "results" / "headline" / "unsealed.json", opening)
    assert shipped.before()["name"] == "old" and shipped.latest() == "val" and shipped.seal().startswith("closed for this file")
    ledger.write_json(empty / "results" / "headline" / "unsealed_grader.json", {"unsealed_at": "2026-01-05T00:00:00+00:00", "runs": ["new"]})
    assert shipped.latest() == "test" and shipped.before()["name"] == "old"
    assert shipped.seal() == "second opening, on 2026-01-05, by a protocol of its own; the first, on 2026-01-03, scored another grader"
    monkeypatch.setattr(shipped, "shipped_record", lambda: {"name": "old"})
    assert shipped.before() is None


def test_both_openings_are_told_each_with_its_own_figures(empty, monkeypatch):
    grade, rule = np.arange(100) % 5, {"thresholds": [0.5, 1.5, 2.5, 3.5]}
    table = pd.DataFrame({"dataset": "chen2018", "grade": grade, "group": [f"p{i // 2}" for i in range(100)]})
    right = {"now": np.eye(5)[grade], "then": np.eye(5)[np.where(np.arange(100) < 20, (grade + 1) % 5, grade)]}
    monkeypatch.setattr(shipped, "shipped_record", lambda: {"name": "new"})
    monkeypatch.setattr(shipped, "latest", lambda: "test")
    monkeypatch.setattr(shipped, "seal", lambda: "open")
    monkeypatch.setattr(shipped, "predictions", lambda split: (table, right["now"], rule))
    monkeypatch.setattr(shipped, "predictions_before", lambda split: (table, right["then"], rule))
    text = headline_markdown("../docs/")
    assert "| accuracy (argmax) | 1.000 (1.000 to 1.000) | 0.800 (" in text
    first, second = text.split("\n\n")[-2:]
    assert "[the protocol](../docs/protocol.md), first opening" in first and "accuracy 0.8000" in first and "../docs/protocol_grader.md" in second and "accuracy 1.0000" in second


def test_a_ledger_of_ones_own_does_not_know_the_shipped_file(empty, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "GRADER", tmp_path / "grader.safetensors")
    shipped.GRADER.write_bytes(b"weights")
    assert shipped.shipped_record() is None and shipped.latest() == "val"


def test_the_candidates_are_ranked_by_the_mean_that_chose(empty):
    fill("headline", {"distilled": 0.95, "official": 0.6})
    table = candidates()
    assert len(table) == 4 and table.arm[:2].tolist() == ["distilled", "distilled"] and table["mean"].is_monotonic_decreasing
    assert np.allclose(table["mean"], (table.accuracy + table.qwk_tuned) / 2) and table.accuracy[0] == pytest.approx(0.95, abs=0.05)


def test_flow_counts_the_published_films():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in participant_flow("chen2018").splitlines()[2:]]
    counts = {row[0]: [int(cell) for cell in row[3:8]] for row in rows}
    assert counts["test"] == list(info("chen2018").counts["test"].values())
    assert [int(row[1]) for row in rows] == [2889, 413, 828, 4130] and int(rows[-1][2]) == info("chen2018").images == sum(counts["all"])
    assert len(participant_flow("gornale2020").splitlines()) == 3  # a set without splits is one row


def test_failures_are_counted_by_distance_and_side(monkeypatch):
    monkeypatch.setattr(card_sections, "FEW", 2)
    films = read_manifest("chen2018").iloc[:10]
    grade, decided = np.array([0, 1, 2, 3, 4] * 2), np.array([0, 1, 2, 3, 4, 2, 1, 0, 3, 4])
    p = 0.8 * np.eye(5)[decided] + 0.04
    table = pd.DataFrame({"image_id": films.image_id.to_numpy(), "group": films.group.to_numpy(), "grade": grade})
    text = failures("chen2018", table, p, RULE)
    assert text.startswith("2 of 10 films are graded otherwise than by the readers, 2 of them (20.0% of all) by two grades or more. Knees of KL 2 or more that are called less: 1; of less that are called more: 1.")
    assert "| KL 2 | 1 | 0 | 1 | 0 | 0 |" in text
    left = (films.side == "L").to_numpy()
    assert f"| left knees | {left.sum()} | {(grade == decided)[left].mean():.3f} (" in text
    assert "| sets of more: referred to a reader | 0 | too few | too few |" in text


def test_measurements_of_another_file_are_not_shown(empty):
    shipped.GRADER.write_bytes(b"another grader")
    ledger.record_measurement("occlusion", {"file_sha256": "0" * 64, "rows": []})
    assert joint_covered().startswith("Not measured yet for this file")
    assert joint_space().startswith("Not measured yet")
