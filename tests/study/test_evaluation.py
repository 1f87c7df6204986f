"""``koalib evaluate``: the document of the design, own data, and the seal."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from koalib.data.datasets import KneeDataset
from koalib.errors import UserError
from koalib.model.weights import create, save_checkpoint
from koalib.study import evaluation

SCORES = "accuracy balanced_accuracy macro_precision macro_recall macro_f1 qwk mae auc_kl2 brier rps ece".split()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return save_checkpoint(create("convwgcnet_atto"), tmp_path / "m.safetensors", {"size": 32, "decision": {"temperature": 1.5}})


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
    assert found["ece_if_calibrated"]["low"] < found["ece_if_calibrated"]["mean"] < found["ece_if_calibrated"]["high"]


def test_the_sealed_test_is_neither_shown_nor_mixed_in(checkpoint: Path, films: KneeDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sealed"):
        evaluation.evaluate(checkpoint, "chen2018", split="test")
    assert evaluation.evaluate(checkpoint, "chen2018")["n"] == 40
    (tmp_path / "results" / "headline").mkdir(parents=True)
    (tmp_path / "results" / "headline" / "unsealed.json").write_text('{"study": "headline"}')
    assert evaluation.evaluate(checkpoint, "chen2018", split="test")["n"] == 20


def test_an_unknown_split_names_those_there_are(checkpoint: Path, films: KneeDataset) -> None:
    with pytest.raises(UserError, match="its splits are: train, val"):
        evaluation.evaluate(checkpoint, "chen2018", split="holdout")
