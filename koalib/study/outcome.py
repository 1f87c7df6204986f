"""From an experiment to a finished run: films, roles, training, predictions, decision, record."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState

from koalib.data.datasets import KneeDataset, load
from koalib.errors import UserError
from koalib.machine import commit, describe, device, precision, versions
from koalib.model.weights import create, save_checkpoint
from koalib.study import calibration, conformal, ledger, losses, metrics
from koalib.study.checkpoint import STATE_FILE, Progress
from koalib.study.experiment import Experiment
from koalib.study.movement import branch_movement, evenly, gate_movement
from koalib.study.predict import model_input, predict
from koalib.study.roles import assign_roles
from koalib.study.teachers import Taught
from koalib.study.training import Films, fit

PREDICTED = ("val", "oof", "test")
WEIGHTS_FILE = "model.safetensors"


def train(experiment: Experiment, out: Path, *, start: Path | None = None, taught: Taught | None = None, data: str | Path | None = None, mode: str | None = None, resume: bool = False,
          deadline: float | None = None, report: Callable[[dict], None] | None = None, bars: bool | None = None) -> dict:
    """Run one experiment; leave ``model.safetensors``, ``run.json`` and ``predictions.csv.gz`` in ``out``.

    Args:
        start: checkpoint to start from where the experiment names an earlier run (``run:RUN``).
        taught: what the teachers say, where the experiment names some.
        mode: ``fp32`` or ``bf16``, where the run is to be compared with others; None leaves it to the experiment and this machine.
        resume: go on from the last state; a run that is finished stays as it is.

    Returns:
        The record that ``run.json`` holds (in the first process, where there are several). Scores are of validation and out-of-fold films; a sealed test split is
        predicted and recorded, and scored by nobody here.

    Raises:
        UserError, TrainingFailed, OutOfTime: see `koalib.study.training.fit`.
    """
    if resume and (done := _finished(experiment, out)):
        return done if PartialState().is_main_process else {}
    begun_at, mode = commit(), precision(mode or experiment.precision, device())
    dataset = load(experiment.dataset, data=data, n=experiment.patients)
    table = dataset.table
    roles = assign_roles(experiment, table)
    pixels = dataset.pixels(experiment.size)
    rows = [np.flatnonzero(roles == role) for role in ("train", "val")]
    films = Films(pixels, table.grade.to_numpy(), table.image_id.to_numpy(), *rows, _lessons(experiment, table.image_id, rows[0], taught))
    torch.manual_seed(experiment.seed)
    model = create(experiment.model, str(start or experiment.pretrained), num_classes=losses.outputs(experiment.loss), **experiment.model_options)
    source = experiment.pretrained if start else model.pretrained_source
    model, progress = fit(experiment, model, films, out, mode=mode, resume=resume, deadline=deadline, report=report, bars=bars)

    if not PartialState().is_main_process:  # the others have done their share of every step
        return {}
    predictions = predictions_of(model, dataset, pixels, roles, mode)
    decision = decision_rule(predictions)
    record = {
        "experiment": experiment.as_dict(), "leaky": experiment.leaky, "data": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "films": {role: int(n) for role, n in roles.value_counts().items()}, "seed": experiment.seed, "fold": experiment.fold,
        "pretrained_source": source, **({"teachers": list(taught.runs)} if taught else {}), "precision": mode, "commit": begun_at, "versions": versions(), "machine": describe(),
        "finished_at": ledger.now(), "seconds": progress.curve[-1]["seconds"], "best_epoch": _selected(experiment, progress), "curve": progress.curve,
        "decision": decision, "scores": score_splits(predictions),
        "modules": {"gate": gate_movement(model), "branch": branch_movement(model, model_input(pixels[evenly(films.val)], device()))},
    }
    save_checkpoint(model, out / WEIGHTS_FILE, {
        "model": experiment.model, "options": experiment.model_options, "size": experiment.size, "num_classes": losses.outputs(experiment.loss),
        "in_chans": 1, "decision": decision, "trained_on": experiment.dataset, "run": experiment.run_name,
    })
    ledger.write_predictions(out / ledger.PREDICTIONS_FILE, predictions)
    ledger.write_json(out / ledger.RUN_FILE, record)
    (out / STATE_FILE).unlink(missing_ok=True)
    return record


def _lessons(experiment: Experiment, ids: pd.Series, train: np.ndarray, taught: Taught | None) -> np.ndarray | None:
    """The teachers' probabilities (N, 5) in the order of the films; NaN at films that do not train.

    Raises:
        UserError: the experiment names teachers and there are none, they did not grade a training film, or they were trained on films that this run selects or is tested with.
    """
    if not experiment.teacher:
        return None
    if taught is None:
        raise UserError(f"teacher {experiment.teacher}: a run with teachers is part of a study, which has their answers; koalib study run makes it")
    found = taught.films.reindex(ids).to_numpy(np.float32)
    if (missing := np.isnan(found[train]).any(axis=1)).any():
        raise UserError(f"teacher {experiment.teacher}: has not graded {missing.sum()} training films (first: {ids.iloc[train[missing][0]]}); its folds must hold every film that trains")
    if len(others := taught.films.index.difference(ids.iloc[train])):  # each teacher was trained on films that the others were asked about
        raise UserError(f"teacher {experiment.teacher}: was trained on {len(others)} films that do not train this run (first: {others[0]}); give its arm training_set='train_split'")
    return found


def _finished(experiment: Experiment, out: Path) -> dict | None:
    """The record of a run that is complete in its folder.

    Raises:
        UserError: the folder holds another experiment's.
    """
    if (out / STATE_FILE).exists() or not ((out / WEIGHTS_FILE).exists() and (out / ledger.RUN_FILE).exists()):
        return None
    record = json.loads((out / ledger.RUN_FILE).read_text())
    if Experiment.from_dict(record["experiment"]) != experiment:
        raise UserError(f"{out}: holds a finished run of other settings; choose another folder")
    return record


def _selected(experiment: Experiment, progress: Progress) -> int:
    """The epoch whose weights were kept for their validation QWK; -1 where the last epoch's were kept."""
    return progress.best_epoch if experiment.select == "best" else -1


def predictions_of(model: torch.nn.Module, dataset: KneeDataset, pixels: np.ndarray, roles: pd.Series, mode: str = "fp32") -> pd.DataFrame:
    """A row for each film that did not train, in the ledger's columns."""
    rows = np.flatnonzero(roles.isin(PREDICTED))
    table = dataset.table.iloc[rows]
    p = predict(model, pixels[rows], precision=mode)
    return pd.DataFrame({"dataset": dataset.name, "image_id": table.image_id.to_numpy(), "group": table.group.to_numpy(), "split": roles.iloc[rows].to_numpy(),
                         "grade": table.grade.to_numpy(), **dict(zip(ledger.PROBABILITIES, p.T, strict=True))})


def decision_rule(predictions: pd.DataFrame) -> dict:
    """Temperature, thresholds on the expected grade and conformal threshold, fitted on the validation films alone."""
    val = predictions[predictions.split == "val"]
    grade, p = val.grade.to_numpy(), ledger.probabilities(val)
    temperature = calibration.fit_temperature(np.log(np.maximum(p, 1e-12)), grade)
    tempered = calibration.temper(p, temperature)
    return {"temperature": temperature, "thresholds": calibration.fit_thresholds(tempered, grade), "conformal": conformal.fit_conformal(tempered, grade)}


def score_splits(predictions: pd.DataFrame) -> dict:
    """Scores with intervals of each split that is not sealed."""
    open_rows = predictions[~ledger.sealed(predictions)]
    return {split: metrics.summary(t.grade.to_numpy(), ledger.probabilities(t), t.group.to_numpy()) for split, t in open_rows.groupby("split")}


def epoch_line(row: dict) -> str:
    """One epoch of the curve as text."""
    qwk = "undefined" if row["val_qwk"] is None else f"{row['val_qwk']:.3f}"
    return f"epoch {row['epoch']}: loss {row['loss']:.3f}, validation accuracy {row['val_accuracy']:.3f}, QWK {qwk}, {row['seconds']:.0f} s"


def print_epoch(row: dict) -> None:
    """Print an epoch's line on stderr."""
    print(epoch_line(row), file=sys.stderr, flush=True)
