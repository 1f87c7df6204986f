"""``koalib evaluate``: the document of the design, own data, and the seal."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from koalib.data import registry
from koalib.data.datasets import KneeDataset
from koalib.data.images import decode, film_hash
from koalib.errors import UserError
from koalib.model.weights import create, save_checkpoint
from koalib.study import evaluation, ledger
from tests.data.films import knees, save

SCORES = "accuracy balanced_accuracy macro_precision macro_recall macro_f1 qwk mae auc_kl2 brier rps ece".split()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return save_checkpoint(create("convwgcnet_atto"), tmp_path / "m.safetensors", {
        "size": 32, "decision": {"temperature": 1.5, "thresholds": [0.5, 1.4, 2.3, 3.6], "conformal": 0.8}, "trained_on": "chen2018", "run": "chen2018-m-official-seed0",
    })


@pytest.fixture
def films(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KneeDataset:
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "results"))
    grade = np.arange(60) % 5
    table = pd.DataFrame({"image_id": [f"i{i}" for i in range(60)], "grade": grade, "group": [f"g{i // 2}" for i in range(60)], "split": np.repeat(["train", "val", "test"], 20)})
    pixels = np.random.default_rng(0).integers(0, 255, (60, 32, 32), dtype=np.uint8)
    knees = KneeDataset("chen2018", table, "f", lambda size: pixels)
    monkeypatch.setattr(evaluation, "load", lambda name, data=None: knees)
    return knees


def test_the_document_is_whole(checkpoint: Path, films: KneeDataset) -> None:
    found = evaluation.evaluate(checkpoint, "chen2018", split="val")
    assert found["n"] == 20 and set(SCORES) <= set(found) and set(found["per_grade"]) == set("01234") and np.array(found["confusion"]).sum() == 20
    assert all(low <= found[name] <= high for name, (low, high) in found["intervals"].items())
    assert {f"{name}_{rule}" for name in ("qwk", "accuracy", "sensitivity_kl2") for rule in ("tuned", "expected")} | {"specificity_kl2"} <= set(found)
    assert 0 <= found["coverage"]["all"]["coverage"] <= 1 and set(found["coverage"]) == {*"01234", "all"}
    assert found["fitted_on"] == 20 and "20 of the films scored also chose the epoch" in found["notes"][0]
    assert found["ece_if_calibrated"]["low"] < found["ece_if_calibrated"]["mean"] < found["ece_if_calibrated"]["high"]


def test_the_sealed_test_is_neither_shown_nor_mixed_in(checkpoint: Path, films: KneeDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sealed"):
        evaluation.evaluate(checkpoint, "chen2018", split="test")
    found = evaluation.evaluate(checkpoint, "chen2018")
    assert found["n"] == 20 and found["left_out"] == {"trained_on": 20, "sealed": 20} and found["trained_on"] == 0
    assert evaluation.evaluate(checkpoint, "chen2018", split="train")["trained_on"] == 20
    (tmp_path / "results" / "headline").mkdir(parents=True)
    (tmp_path / "results" / "headline" / "unsealed.json").write_text('{"study": "headline", "runs": []}')
    assert evaluation.evaluate(checkpoint, "chen2018", split="test")["n"] == 20


@pytest.mark.parametrize(("study", "runs", "opens"), [("headline", [], False), ("headline", ["chen2018-m-official-seed0"], True), ("loss", [], False)])
def test_a_run_of_the_ledger_is_scored_once_it_is_opened(study: str, runs: list[str], opens: bool, checkpoint: Path, films: KneeDataset, tmp_path: Path) -> None:
    ledger.write_json(tmp_path / "results" / "headline" / "unsealed.json", {"study": "headline", "runs": runs})
    run = ledger.write_json(tmp_path / "results" / study / "chen2018-m-official-seed0" / ledger.RUN_FILE, {})
    (run.parent / ledger.PREDICTIONS_FILE).touch()
    if opens:
        assert evaluation.evaluate(checkpoint, "chen2018", split="test")["n"] == 20
    else:
        with pytest.raises(UserError, match="run chen2018-m-official-seed0, which no protocol has opened"):
            evaluation.evaluate(checkpoint, "chen2018", split="test")


def test_an_unknown_split_names_those_there_are(checkpoint: Path, films: KneeDataset) -> None:
    with pytest.raises(UserError, match="its splits are: test, train, val"):
        evaluation.evaluate(checkpoint, "chen2018", split="holdout")


def test_sealed_and_training_films_are_known_under_another_name(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of the reader's own that holds films of chen2018, renamed or cut anew, and other films."""
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("KOALIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "MANIFESTS", tmp_path)
    films = knees(20, seed=3)
    names = ["sealed", "9000007_1", "trained", *(f"film{i}" for i in range(17))]
    paths = [save(film, tmp_path / f"own/holdout/{i % 5}/{name}.png") for i, (name, film) in enumerate(zip(names, films))]
    hashes = [film_hash(decode(path.read_bytes(), path.name)) for path in paths]
    columns = {"image_id": ["9000006L", "9000007R", "9000008L"], "split": ["test", "test", "train"], "patient": ["9000006", "9000007", "9000008"],
               "sha256": [hashes[0], "0" * 64, hashes[2]]}
    pd.DataFrame(columns | {flag: False for flag in registry.FLAGS}).to_csv(tmp_path / "chen2018.csv", index=False)
    with pytest.raises(UserError, match="sealed"):
        evaluation.evaluate(checkpoint, str(tmp_path / "own"), split="holdout")
    found = evaluation.evaluate(checkpoint, str(tmp_path / "own"))
    assert found["n"] == 17 and found["left_out"] == {"trained_on": 1, "sealed": 2}
