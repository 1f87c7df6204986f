"""Score a finished checkpoint on any data set: ``koalib evaluate``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from koalib.data import registry
from koalib.data.datasets import load
from koalib.errors import UserError
from koalib.machine import device
from koalib.model.weights import load_checkpoint
from koalib.study import ledger
from koalib.study.calibration import ece_if_calibrated
from koalib.study.conformal import coverage_by_grade
from koalib.study.experiments import STUDIES
from koalib.study.metrics import decide, evaluation
from koalib.study.predict import predict

SEAL = "headline"  #: the study whose protocol opens the official test


def evaluate(checkpoint: str | Path, dataset: str, *, split: str | None = None, data: str | Path | None = None) -> dict:
    """The document of ``koalib evaluate --json`` (design: ``n, accuracy, ..., intervals, per_grade, confusion``).

    Probabilities are tempered as the checkpoint says; the plain names are argmax, ``*_tuned`` the file's own thresholds,
    ``*_expected`` the rounded expected grade, ``coverage`` that of the file's prediction sets. Intervals resample patients.
    ``ece_if_calibrated`` is the range of the ECE that so many films would show if the probabilities were right.

    Films that trained the model are left out unless their split is named; the official test split of a public set is
    left out, wherever it lies, until the study ``headline`` is unsealed, and after that from runs of the ledger that were
    not opened with their study. ``left_out`` counts both, ``fitted_on`` the scored films that temperature, thresholds and sets were fitted on, and ``notes`` says so in words.

    Raises:
        UserError: an unreadable checkpoint, a missing data set, a split without films or still sealed, nothing left to score.
    """
    model, metadata = load_checkpoint(checkpoint)
    knees = load(dataset, data=data)
    table = knees.table.assign(dataset=knees.name)
    shut = _shut(metadata)
    closed = ledger.sealed(table).to_numpy() & bool(shut or not ledger.openings(SEAL))
    trained, fitted = (_served(metadata, table, role).to_numpy() for role in ("train", "val"))
    wanted = _of_split(table, dataset, split)
    if closed[wanted].all() or (split is not None and closed[wanted].any()):
        way = f"{Path(checkpoint).name} is the run {shut}, which no protocol has opened" if ledger.openings(SEAL) else f"koalib study unseal {SEAL} opens them under docs/protocol.md"
        raise UserError(f"{dataset}: its films of the official test split are sealed; {way}")
    scored = wanted & ~closed & (~trained | (split is not None))
    if not scored.any():
        raise UserError(f"{dataset}: every film of it trained {Path(checkpoint).name} or is sealed; name another set, or a split with --split")
    knees, rule = knees.select(scored), metadata["decision"]
    grade, groups = knees.table.grade.to_numpy(), knees.table.group.to_numpy()
    # fp32 everywhere, so that the same file gives the same scores on every machine
    p = predict(model.to(device()), knees.pixels(metadata["size"]), temperature=rule["temperature"])
    document = evaluation(grade, p, groups, tuned=decide(p, rule["thresholds"]))
    left_out = {"trained_on": int((wanted & ~closed & ~scored).sum()), "sealed": int((wanted & closed).sum())}
    counts = {"left_out": left_out, "trained_on": int(trained[scored].sum()), "fitted_on": int(fitted[scored].sum()),
              "in_folds": int(((table.dataset == metadata.get("trained_on")) & ~ledger.sealed(table))[scored].sum()) if "-fold" in metadata.get("run", "") else 0}
    return {"checkpoint": Path(checkpoint).name, "dataset": knees.name, "split": split} | document | counts | {
        "notes": _notes(counts),
        "coverage": coverage_by_grade(p, grade, groups, rule["conformal"]),
        "ece_if_calibrated": ece_if_calibrated(p),
    }


def _served(metadata: dict, table: pd.DataFrame, role: str) -> pd.Series:
    """Which films the checkpoint says it was trained with (``train``) or fitted on (``val``): the split of that name of its data set."""
    home = metadata.get("trained_on")
    by_name = (table.dataset == home) & (table.split == role)
    return by_name | registry.of_split(table, home, role) if home in registry.DATASETS else by_name


def _of_split(table: pd.DataFrame, dataset: str, split: str | None) -> np.ndarray:
    rows = np.ones(len(table), bool) if split is None else (table.split == split).to_numpy()
    if not rows.any():
        found = ", ".join(sorted(table.split.dropna().astype(str).unique())) or "none"
        raise UserError(f"{dataset}: no film in split {split!r}; its splits are: {found}")
    return rows


def _shut(metadata: dict) -> str:
    """The run of the ledger that a checkpoint is, or was made from, whose test films are not opened; empty where there is none."""
    runs = str(metadata.get("run", "")).split(" + ")
    return next((run for run in runs for study in STUDIES if ledger.has_run(study, run) and not ledger.opened(study, run)), "")


def _notes(counts: dict) -> list[str]:
    """What flatters the scores, or was left out of them, a line each."""
    said = {
        "films that trained the model are left out": counts["left_out"]["trained_on"],
        "films of the sealed official test split are left out": counts["left_out"]["sealed"],
        "of the films scored trained the model: these are no scores of what it can do": counts["trained_on"],
        "of the films scored also chose the epoch and fitted temperature, thresholds and sets, which flatters every figure": counts["fitted_on"],
    }
    lines = [f"{number} {what}" for what, number in said.items() if number]
    if counts["in_folds"]:
        lines.append(f"the model was trained on folds of {counts['in_folds']} films scored here: all but one fold of them trained or selected it")
    return lines
