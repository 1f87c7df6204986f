"""Settings from the command line arrive in the experiment, with their types."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from koalib.cli import app
from koalib.errors import UserError
from koalib.study import outcome
from koalib.study.experiment import Experiment
from koalib.study.settings import read_settings


def test_words_become_typed_settings() -> None:
    words = ["layer_decay=0.8", "patience=3", "sampler=balanced", "fold=none", "ema=0", "wavelet=none", "select=last"]
    found = read_settings(words)
    assert found == {"layer_decay": 0.8, "patience": 3, "sampler": "balanced", "fold": None, "ema": 0.0, "wavelet": "none", "select": "last"}
    assert isinstance(found["ema"], float)


@pytest.mark.parametrize(("word", "line"), [
    ("layerdecay=1", "write NAME=VALUE with one of dataset, model, .*layer_decay"), ("patience", "write NAME=VALUE"),
    ("patience=2.5", "--set patience=2.5: a whole number is needed"), ("ema=much", "--set ema=much: a number is needed"),
])
def test_mistakes_are_one_line(word: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        read_settings([word])


def test_the_command_trains_with_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Experiment] = []
    monkeypatch.setattr(outcome, "train", lambda experiment, folder, **_: asked.append(experiment) or {"lr": experiment.lr})
    words = ["train", "--dataset", "phantom", "--model", "m", "--epochs", "3", "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, [*words, "--set", "weight_decay=0.1", "--set", "epochs=4", "--set", "drop_path=0.1"])
    assert done.exit_code == 0 and json.loads(done.stdout) == {"lr": 6e-4}
    assert asked == [Experiment("phantom", "m", weight_decay=0.1, epochs=4, drop_path=0.1)]
