"""Training speed against the loop that tutorials teach and against fastai -> data/results/trainer.json.

    python -m benchmarks.trainer [--part speed race] [--rivals koalib tutorial fastai] [--seeds 0] [--data DIR]

*speed*: films a second while all layers train; the rivals take turns, the figure is the median of the rounds.
*race*: seconds of training until quadratic weighted kappa on chen2018's validation films reaches .75. All plan the same
number of epochs, and stop at the first look that reaches it, or after nine minutes; looks are equally many films apart,
and the clock stands while they last. What is measured anew replaces what was recorded before; each race and the speeds name
their machine. A race that is stopped (Ctrl-C, kill) is recorded as far as it went, as interrupted. fastai is left out where
it is not installed (pip install fastai), and that is said.
"""

from __future__ import annotations

import argparse
import importlib.util
import signal
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.trainer_rivals import MODEL, RIVALS, Probabilities, Task
from koalib.data.datasets import load
from koalib.machine import precision, processor
from koalib.study.ledger import read_measurement, record_measurement, stamp
from koalib.study.metrics import scores

BATCH, TARGET = 32, 0.75
SPEED = {"size": 224, "films": 320, "rounds": 4}
RACE = {"size": 224, "epochs": 4, "films_between_looks": 45 * BATCH, "give_up_seconds": 540}


class Over(Exception):
    """The race is won or given up."""


def films_per_second(rival: str, task: Task) -> float:
    """Over the last epoch, from its first step's end to its last's: start-up and validation are nobody's loss."""
    ends: list[float] = []
    RIVALS[rival](task, lambda _: ends.append(time.perf_counter()))
    steps = task.train // task.batch
    return (steps - 1) * task.batch / (ends[-1] - ends[-steps])


def race(rival: str, task: Task) -> dict:
    """The curve of (films, seconds, QWK), and the films and seconds at the target, None where it was not reached.

    ``interrupted`` is there, and true, where somebody stopped the race before it was won or given up.
    """
    curve: list[tuple[int, float, float]] = []
    steps, spent, since = 0, 0.0, time.perf_counter()

    def look(probabilities: Probabilities) -> None:
        nonlocal steps, spent, since
        steps += 1
        if steps * task.batch % RACE["films_between_looks"]:
            return
        spent += time.perf_counter() - since
        qwk = scores(task.grade[task.train :], probabilities())["qwk"]
        curve.append((steps * task.batch, round(spent, 2), round(qwk, 4)))
        print(f"{rival}, seed {task.seed}: {curve[-1][0]} films, {spent:.1f} s, QWK {qwk:.3f}", flush=True)
        if qwk >= TARGET or spent > RACE["give_up_seconds"]:
            raise Over
        since = time.perf_counter()

    stopped = {}
    try:
        RIVALS[rival](task, look)
    except Over:
        pass
    except KeyboardInterrupt:
        stopped = {"interrupted": True}
    won = bool(curve) and curve[-1][2] >= TARGET
    return {"films": curve[-1][0] if won else None, "seconds": curve[-1][1] if won else None, "curve": curve} | stopped


def make_task(folder: str, data: str | None, size: int, epochs: int, seed: int = 0, films: int | None = None) -> Task:
    """chen2018's training films (or some of them, drawn once), then its validation films."""
    knees = load("chen2018", data=data)
    train, val = (np.flatnonzero(knees.table.split == split) for split in ("train", "val"))
    rows = np.concatenate([np.random.default_rng(0).permutation(train)[:films], val])
    task = Task(np.ascontiguousarray(knees.pixels(size)[rows]), knees.table.grade.to_numpy()[rows], len(rows) - len(val), Path(folder), size, BATCH, epochs, seed)
    task.write_folder()
    return task


def measure_speed(rivals: list[str], data: str | None) -> dict:
    """Films a second of each, by round."""
    rates: dict[str, list[float]] = {rival: [] for rival in rivals}
    with tempfile.TemporaryDirectory() as folder:
        task = make_task(folder, data, SPEED["size"], epochs=1, films=SPEED["films"])
        for turn in range(SPEED["rounds"] + 1):
            for rival in rivals:
                rate = films_per_second(rival, task)
                if turn:  # the first is a warm-up
                    rates[rival].append(round(rate, 2))
                print(f"round {turn} of {SPEED['rounds']}: {rival} {rate:.1f} films/s", flush=True)
    return stamp() | SPEED | {"rounds_films_per_second": rates, "films_per_second": {rival: statistics.median(found) for rival, found in rates.items()}}


def measure_race(rivals: list[str], seeds: list[int], data: str | None, before: dict) -> dict:
    """The races of each rival by seed; those of an earlier call are kept."""
    runs = {rival: dict(by_seed) for rival, by_seed in before.get("runs", {}).items()}
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill is an interruption too
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            task = make_task(folder, data, RACE["size"], RACE["epochs"], seed)
            for rival in rivals:
                found = race(rival, task)
                if found["curve"]:
                    runs.setdefault(rival, {})[str(seed)] = stamp() | found
                if "interrupted" in found:
                    return RACE | {"target": TARGET, "runs": runs}
    return RACE | {"target": TARGET, "runs": runs}


def table(record: dict) -> list[str]:
    """The record as lines of Markdown; beside a rival's rate, how many times it goes into ours; of the race, every seed."""
    rates, runs = record["speed"].get("films_per_second", {}), record["race"].get("runs", {})
    lines = [f"| | films a second, {SPEED['size']} px | seconds to QWK {TARGET} on chen2018, {RACE['size']} px |", "|---|---|---|"]
    for rival in RIVALS:
        rate = f"{rates[rival]:.1f}" if rival in rates else "not measured"
        if rival in rates and "koalib" in rates and rival != "koalib":
            rate += f" (ours is {rates['koalib'] / rates[rival]:.1f} times that)"
        lines.append(f"| {rival} | {rate} | {_seconds(runs[rival]) if rival in runs else 'not measured'} |")
    return lines


def _seconds(by_seed: dict[str, dict]) -> str:
    """The seconds of each seed; where the race was given up, those of the last look."""
    return ", ".join(f"not in {run['curve'][-1][1]:.0f}" if run["seconds"] is None else f"{run['seconds']:.0f}" for run in by_seed.values())


def main() -> None:
    """Measure, print, record."""
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--part", nargs="+", choices=("speed", "race"), default=["speed", "race"])
    words.add_argument("--rivals", nargs="+", choices=tuple(RIVALS), default=list(RIVALS))
    words.add_argument("--seeds", nargs="+", type=int, default=[0])
    words.add_argument("--data", default=None)
    options = words.parse_args()
    if "fastai" in options.rivals and not importlib.util.find_spec("fastai"):
        print("fastai: not measured, it is not installed (pip install fastai)")
        options.rivals.remove("fastai")
    print(f"{processor()}, {precision()}, {torch.get_num_threads()} threads", flush=True)
    found = {part: (read_measurement("trainer") or {}).get(part, {}) for part in ("speed", "race")}
    if "speed" in options.part:
        found["speed"] = measure_speed(options.rivals, options.data)
    if "race" in options.part:
        found["race"] = measure_race(options.rivals, options.seeds, options.data, found["race"])
    record_measurement("trainer", {"model": MODEL, "batch": BATCH, "precision": precision()} | found)
    print("\n".join(table(read_measurement("trainer"))))


if __name__ == "__main__":
    main()
