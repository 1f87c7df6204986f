"""What docs/training.md quotes is what was recorded."""

import json

from benchmarks.trainer import table
from koalib.paths import ROOT
from koalib.study.experiment import Experiment
from koalib.study.settings import read_settings

DOC = (ROOT / "docs" / "training.md").read_text()
RECORD = json.loads((ROOT / "data" / "results" / "trainer.json").read_text())


def test_speed_table_is_the_record() -> None:
    assert "\n".join(table(RECORD)) in DOC
    assert f"{RECORD['machine']['processor']}, {RECORD['precision']}, {RECORD['machine']['threads']} threads" in DOC


def test_every_loss_has_its_sentence() -> None:
    from koalib.study.experiment import LOSSES, SAMPLERS, SCHEDULES

    assert all(f"`{name}`" in DOC for name in (*LOSSES, *SAMPLERS, *SCHEDULES))


def test_every_setting_of_the_training_has_its_when() -> None:
    ours = {"lr", "weight_decay", "layer_decay", "new_module_lr", "schedule", "warmup", "loss", "label_smoothing", "soft_width", "sampler", "augment", "ema",
            "select", "patience", "precision", "drop_path", "layer_scale", "pretrained", "size"}
    assert [name for name in sorted({*ours, "flip"}) if f"`{name}`" not in DOC] == []


def test_the_example_is_a_command() -> None:
    words = next(line for line in DOC.splitlines() if "--set sampler" in line).split()
    found = read_settings(words[i + 1] for i, word in enumerate(words) if word == "--set")
    assert Experiment("chen2018", "m", **found).patience == 3
