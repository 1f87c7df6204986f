"""Would a shortcut show? A network that sees only the border, or no joint, beside one that sees all -> data/results/controls.json.

    python -m benchmarks.controls [--size 112] [--epochs 6] [--folds 0] [--data DIR]

EfficientNet-Lite0 from ImageNet is trained on gornale2020 three times a fold: on the films as they are, on their border
alone, and with the joint covered (`koalib.study.controls`); the fold's films are graded in the same state. Beside them
stands the grade of the nearest training film, and of the most frequent grade, which is what no knowledge is worth. Every
score has its 95 % interval over patients. A control far above the most frequent grade reads something else than the joint.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from koalib.data.datasets import KneeDataset, load
from koalib.machine import precision
from koalib.model.weights import create
from koalib.study import controls, losses, metrics
from koalib.study.experiment import Experiment
from koalib.study.ledger import record_measurement
from koalib.study.outcome import print_epoch
from koalib.study.predict import predict
from koalib.study.roles import assign_roles
from koalib.study.training import Films, fit

STATES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"as it is": lambda films: films, "border only": controls.border_only, "joint masked": controls.joint_masked}
SCORES = ("accuracy", "macro_f1", "qwk", "mae")


def trained(experiment: Experiment, dataset: KneeDataset, pixels: np.ndarray, roles: np.ndarray) -> np.ndarray:
    """Probabilities (M, 5) of the fold's films by a network trained on the others, all in the state of ``pixels``."""
    rows = {role: np.flatnonzero(roles == role) for role in ("train", "val", "oof")}
    films = Films(pixels, dataset.table.grade.to_numpy(), dataset.table.image_id.to_numpy(), rows["train"], rows["val"])
    torch.manual_seed(experiment.seed)
    model = create(experiment.model, experiment.pretrained, num_classes=losses.outputs(experiment.loss))
    with tempfile.TemporaryDirectory() as folder:
        model, _ = fit(experiment, model, films, Path(folder), report=print_epoch)
    return predict(model, pixels[rows["oof"]], precision=precision(experiment.precision))


def without_network(pixels: np.ndarray, grade: np.ndarray, roles: np.ndarray) -> dict[str, np.ndarray]:
    """What copies and look-alikes are worth, and what nothing is worth, as certain probabilities (M, 5)."""
    train, test = np.isin(roles, ("train", "val")), roles == "oof"
    nearest = controls.nearest_neighbour(pixels[train], grade[train], pixels[test])
    most = np.full(test.sum(), np.bincount(grade[train], minlength=metrics.N_GRADES).argmax())
    return {"nearest neighbour": np.eye(metrics.N_GRADES)[nearest], "most frequent grade": np.eye(metrics.N_GRADES)[most]}


def measure(experiment: Experiment, dataset: KneeDataset, folds: list[int], say: Callable[[str], None] = print) -> dict[str, dict]:
    """Scores with intervals by control, over the films of all ``folds``."""
    grade, group, pixels = dataset.table.grade.to_numpy(), dataset.table.group.to_numpy(), dataset.pixels(experiment.size)
    found: dict[str, list[np.ndarray]] = {}
    tested: list[np.ndarray] = []
    for fold in folds:
        here = experiment.but(fold=fold)
        roles = assign_roles(here, dataset.table).to_numpy()
        tested.append(np.flatnonzero(roles == "oof"))
        for name, p in without_network(pixels, grade, roles).items():
            found.setdefault(name, []).append(p)
        for name, state in STATES.items():
            say(f"fold {fold}, {name}")
            found.setdefault(name, []).append(trained(here, dataset, state(pixels), roles))
    rows = np.concatenate(tested)
    scored = {name: metrics.summary(grade[rows], np.concatenate(p), group[rows]) for name, p in found.items()}
    return {name: {"films": len(rows)} | {score: all_[score] for score in SCORES} for name, all_ in scored.items()}


def main() -> None:
    """Train, print, record."""
    ask = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    ask.add_argument("--size", type=int, default=112, help="pixels of a film")
    ask.add_argument("--epochs", type=int, default=6)
    ask.add_argument("--folds", type=int, nargs="+", default=[0], help="of five")
    ask.add_argument("--data", default=None)
    asked = ask.parse_args()
    experiment = Experiment("gornale2020", "tf_efficientnet_lite0", "imagenet", size=asked.size, epochs=asked.epochs, ema=0.98, select="last", fold=0)
    found = measure(experiment, load(experiment.dataset, data=asked.data), asked.folds, lambda line: print(line, flush=True))
    for name, row in found.items():
        print(f"{name:20s}" + "".join(f"  {s} {row[s]['value']:.3f} ({row[s]['low']:.3f} to {row[s]['high']:.3f})" for s in ("accuracy", "qwk")))
    record_measurement("controls", {"experiment": experiment.as_dict(), "folds": asked.folds, "controls": found})


if __name__ == "__main__":
    main()
