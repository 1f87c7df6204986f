"""Benchmarks keep what they measured: interrupted races, orders that change, the machine of each case."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import controls, models, trainer
from koalib.data.datasets import load
from koalib.model.kernels.choice import TABLE
from koalib.study.experiment import Experiment

GRADES = np.arange(20) % 5


def stopped_after_a_look(task: SimpleNamespace, after_step) -> None:
    after_step(lambda: np.full((20, 5), 0.2))
    raise KeyboardInterrupt


def test_an_interrupted_race_is_recorded_as_far_as_it_went(monkeypatch: pytest.MonkeyPatch) -> None:
    task = SimpleNamespace(batch=trainer.RACE["films_between_looks"], train=0, grade=GRADES, seed=0)
    monkeypatch.setattr(trainer, "RIVALS", {"koalib": stopped_after_a_look, "tutorial": None})
    monkeypatch.setattr(trainer, "make_task", lambda *_: task)
    monkeypatch.setattr(trainer.signal, "signal", lambda *_: None)
    runs = trainer.measure_race(["koalib", "tutorial"], [0, 1], None, {})["runs"]
    assert list(runs) == ["koalib"] and list(runs["koalib"]) == ["0"]
    found = runs["koalib"]["0"]
    assert found["interrupted"] and found["seconds"] is None and len(found["curve"]) == 1 and found["machine"]["processor"]


def test_networks_take_turns_in_an_order_that_changes() -> None:
    chosen = [(f"n{i}", "none", "none") for i in range(9)]
    orders = [models.in_turn(chosen, number) for number in range(3)]
    assert len({tuple(order) for order in orders}) == 3 and all(sorted(order) == chosen for order in orders)


def test_a_film_is_timed_over_several_calls() -> None:
    calls: list[int] = []
    models.milliseconds(lambda: calls.append(1), 16)
    assert len(calls) == 1 + models.CALLS >= 3


def test_every_choice_of_a_kernel_names_its_processor() -> None:
    assert all(case["processor"] for case in json.loads(TABLE.read_text())["cases"])


def test_shortcut_controls_are_scored_beside_each_other() -> None:
    """On phantoms, from scratch, one epoch: that every control is trained in its own state and scored on the same films."""
    experiment = Experiment("phantom", "test_convnext", size=32, epochs=1, batch=16, fold=0, precision="fp32", select="last")
    found = controls.measure(experiment, load("phantom", n=60), [0], say=lambda line: None)
    assert list(found) == ["nearest neighbour", "most frequent grade", "as it is", "border only", "joint masked"]
    assert len({row["films"] for row in found.values()}) == 1 and found["most frequent grade"]["qwk"]["value"] == 0
    assert all(row["accuracy"]["low"] <= row["accuracy"]["value"] <= row["accuracy"]["high"] for row in found.values())
