"""A ledger filled with made-up runs of known quality, in the layout of the real one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from koalib.paths import results_dir
from koalib.study import ledger, metrics
from koalib.study.experiment import Experiment
from koalib.study.experiments import find_study
from koalib.study.runner import recorded

FILMS = 60
DECISION = {"temperature": 1.0, "thresholds": [0.5, 1.5, 2.5, 3.5], "conformal": 0.9}


def predictions(experiment: Experiment, skill: float) -> pd.DataFrame:
    """Predictions of made-up films, two a group: the same films for all arms, right with about the given probability."""
    parts = []
    for split in ("val", *(["oof"] if experiment.fold is not None else []), *(["test"] if experiment.dataset == "chen2018" else [])):
        fold = None if split == "test" else experiment.fold  # the test films are the same for all folds
        films = np.random.default_rng([0, fold or 0, len(split)])
        grade = films.permutation(np.arange(FILMS) % 5)
        noise = np.random.default_rng([experiment.seed, experiment.fold or 0, round(1000 * skill)])
        shown = np.where(noise.random(FILMS) < skill, grade, np.clip(grade + noise.choice([-1, 1], FILMS), 0, 4))
        p = 0.7 * np.eye(5)[shown] + 0.06
        ids = [f"{split}{fold}_{i:03d}" for i in range(FILMS)]
        parts.append(pd.DataFrame({"dataset": experiment.dataset, "image_id": ids, "group": [i[:-1] + str(int(i[-1]) // 2) for i in ids], "split": split, "grade": grade,
                                   **dict(zip(ledger.PROBABILITIES, p.T, strict=True))}))
    return pd.concat(parts, ignore_index=True)


def record_run(study: str, experiment: Experiment, skill: float = 0.7, rate: float = 0.5, gate: float = 0.1) -> None:
    """Record one run: ``skill`` is about its accuracy, ``rate`` how fast its curve rises, ``gate`` how far its gates moved."""
    folder = results_dir() / study / experiment.run_name
    folder.mkdir(parents=True)
    table = predictions(experiment, skill)
    val = table[table.split == "val"]
    qwk = metrics.scores(val.grade.to_numpy(), ledger.probabilities(val))["qwk"]
    curve = [{"epoch": e, "loss": 1 / e, "val_accuracy": skill, "val_qwk": qwk * (1 - np.exp(-rate * e)), "val_rps": 0.1, "seconds": 10.0 * e} for e in range(1, experiment.epochs + 1)]
    ledger.write_predictions(folder / ledger.PREDICTIONS_FILE, table)
    ledger.write_json(folder / ledger.RUN_FILE, {"experiment": experiment.as_dict(), "seed": experiment.seed, "fold": experiment.fold, "curve": curve, "decision": DECISION, "modules": {"gate": gate, "branch": 0.2}, "scores": {"val": {"qwk": {"value": qwk}}}})


def fill(study: str, skill: dict[str, float] | None = None, rate: dict[str, float] | None = None, only: tuple[str, ...] = (), gate: float = 0.1) -> int:
    """Record every run of a study that needs no missing weights; quality and speed by variant; return how many."""
    found, made = find_study(study), 0
    while True:
        todo = [e for arm, e in found.runs(recorded(study)) if not (arm and arm.needs) and not ledger.has_run(study, e.run_name) and (not only or e.variant in only)]
        if not todo:
            return made
        for e in todo:
            record_run(study, e, (skill or {}).get(e.variant, 0.7), (rate or {}).get(e.variant, 0.5), gate)
            made += 1
