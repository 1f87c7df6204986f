"""Score a finished checkpoint on any data set: ``koalib evaluate``."""

from __future__ import annotations

from pathlib import Path

from koalib.data.datasets import load
from koalib.errors import UserError
from koalib.machine import device
from koalib.model.weights import load_checkpoint
from koalib.study import ledger
from koalib.study.calibration import ece_if_calibrated
from koalib.study.metrics import evaluation
from koalib.study.predict import predict

SEAL = "headline"  #: the study whose protocol opens the official test


def evaluate(checkpoint: str | Path, dataset: str, *, split: str | None = None, data: str | Path | None = None) -> dict:
    """The document of ``koalib evaluate --json`` (design: ``n, accuracy, ..., intervals, per_grade, confusion``).

    Probabilities are tempered as the checkpoint says; the plain names are argmax. Intervals resample patients.
    ``ece_if_calibrated`` is the range of the ECE that so many films would show if the probabilities were right.
    The official test split of a public set is left out until the study ``headline`` is unsealed.

    Raises:
        UserError: an unreadable checkpoint, a missing data set, a split without films or still sealed.
    """
    model, metadata = load_checkpoint(checkpoint)
    knees = load(dataset, data=data)
    closed = ledger.sealed(knees.table.assign(dataset=knees.name)).to_numpy() & (not ledger.unsealed(SEAL))
    if split == "test" and closed.any():
        raise UserError(f"{dataset}: its test split is sealed; koalib study unseal {SEAL} opens it under docs/protocol.md")
    knees = knees.select(~closed)
    if split is not None:
        rows = (knees.table.split == split).to_numpy()
        if not rows.any():
            found = ", ".join(sorted(knees.table.split.dropna().astype(str).unique())) or "none"
            raise UserError(f"{dataset}: no film in split {split!r}; its splits are: {found}")
        knees = knees.select(rows)
    # fp32 everywhere, so that the same file gives the same scores on every machine
    p = predict(model.to(device()), knees.pixels(metadata["size"]), temperature=metadata["decision"]["temperature"])
    document = evaluation(knees.table.grade.to_numpy(), p, knees.table.group.to_numpy())
    return {"checkpoint": Path(checkpoint).name, "dataset": knees.name, "split": split} | document | {"ece_if_calibrated": ece_if_calibrated(p)}
