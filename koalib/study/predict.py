"""From films to probabilities: the one forward pass used by training, studies and clinic."""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from torch import Tensor, nn

from koalib.data.augment import standardise
from koalib.machine import keep_memory
from koalib.study.losses import log_probabilities


def model_input(films: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Films (B, S, S) as the standardised input (B, 1, S, S) of a model, strided as channels_last.

    With one channel both layouts look alike to PyTorch, which then falls back to NCHW for the whole network; the
    explicit strides keep it in channels_last, where convolutions on CPU are faster.
    """
    films = films if torch.is_tensor(films) else torch.from_numpy(np.array(films))  # a copy: the cache is read-only
    x = standardise(films.to(device)).contiguous()
    height, width = x.shape[-2:]
    return x.as_strided(x.shape, (height * width, 1, width, 1))


def autocast(precision: str, device: torch.device | str = "cpu") -> contextlib.AbstractContextManager:
    """Mixed precision for ``bf16``, nothing for ``fp32``."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16")


@torch.inference_mode()
def predict(model: nn.Module, films: np.ndarray, *, flip: bool = True, batch: int = 64, precision: str = "fp32", temperature: float = 1.0) -> np.ndarray:
    """Probabilities of the five grades.

    Args:
        model: takes (B, 1, S, S); it is put into evaluation mode and back.
        films: uint8 (N, S, S), bone bright.
        flip: average the log-probabilities of the film and its mirror image.
        temperature: divides the log-probabilities before they are normalised again.

    Returns:
        float64 (N, 5), rows sum to 1.
    """
    keep_memory()
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    rows = []
    for start in range(0, len(films), batch):
        x = model_input(films[start : start + batch], device)
        with autocast(precision, device):
            logits = [model(x).float()] + ([model(x.flip(-1)).float()] if flip else [])
        log_p = torch.stack([log_probabilities(z) for z in logits]).mean(0)
        rows.append(torch.softmax(log_p / temperature, dim=1).cpu().numpy())
    model.train(was_training)
    return np.concatenate(rows) if rows else np.empty((0, 5))
