"""What the notebooks train on the page: small experiments, run in a temporary folder, nothing left behind."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from koalib.data.datasets import KneeDataset, load
from koalib.model.weights import load_checkpoint
from koalib.profiles import Session
from koalib.study import ledger
from koalib.study.experiment import Experiment
from koalib.study.outcome import WEIGHTS_FILE, train


@dataclass(frozen=True)
class Trained:
    """One training of the page: its record, its model, and its predictions on films that neither trained nor selected."""

    experiment: Experiment
    record: dict
    model: nn.Module
    predictions: pd.DataFrame

    @property
    def grade(self) -> np.ndarray:
        """The truth, (N,)."""
        return self.predictions.grade.to_numpy()

    @property
    def group(self) -> np.ndarray:
        """The patient or duplicate group of each film, (N,)."""
        return self.predictions.group.to_numpy()

    @property
    def p(self) -> np.ndarray:
        """Probabilities, (N, 5)."""
        return ledger.probabilities(self.predictions)

    @property
    def curve(self) -> pd.DataFrame:
        """A row an epoch, with the columns ``arm`` and ``run`` that the figures want."""
        return pd.DataFrame(self.record["curve"]).assign(arm=self.experiment.variant, run=self.experiment.run_name)


def films(session: Session) -> KneeDataset:
    """The films that the page trains on."""
    return load(session.dataset, data=session.data, n=session.profile.patients if session.dataset == "phantom" else None)


def small_experiment(session: Session, model: str = "", **changes: object) -> Experiment:
    """The profile's experiment: the page's films, size, epochs and batch, a small ConvNeXt unless another model is named."""
    profile = session.profile
    phantom = session.dataset == "phantom"
    settings = {"size": profile.size, "epochs": profile.epochs, "batch": profile.batch, "seed": session.seed, "lr": 1e-3, "ema": 0.0, "warmup": 0.2, "augment": "light", "precision": session.precision,
                "patients": profile.patients if phantom else None, "fold": None if phantom else 0}
    return Experiment(session.dataset, model or f"convnext_{profile.model}", **(settings | changes))


def train_here(experiment: Experiment, session: Session, start: Trained | None = None) -> Trained:
    """Train, and return what was tested: the split ``test`` of the phantom, the out-of-fold films of a fold.

    Args:
        start: an earlier training of the page whose weights this one starts from.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        weights = None
        if start is not None:
            weights = out / "start.safetensors"
            save_start(start, weights)
        record = train(experiment, out, start=weights, data=session.data)
        model, _ = load_checkpoint(out / WEIGHTS_FILE)
        table = pd.read_csv(out / ledger.PREDICTIONS_FILE, dtype={"image_id": str, "group": str})
    tested = table.split.isin(["test", "oof"]) & ~ledger.sealed(table)
    return Trained(experiment, record, model, table[tested].reset_index(drop=True))


def save_start(start: Trained, file: Path) -> None:
    """Write a page's model where another training can start from it."""
    from koalib.model.weights import save_checkpoint

    e = start.experiment
    save_checkpoint(start.model, file, {"model": e.model, "options": e.model_options, "size": e.size, "num_classes": 5, "in_chans": 1})
