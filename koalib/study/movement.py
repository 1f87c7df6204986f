"""Did the modules move? Gates start closed to any effect and wavelet branches at 0: a module that stayed there was not tested."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from koalib.model.layers import GCT, WTConv2d


def evenly(rows: np.ndarray, least: int = 64) -> np.ndarray:
    """Evenly spaced ones of the rows (N,), fewer than twice ``least``: sets are ordered by grade, and their first films are healthy knees all."""
    return rows[:: max(1, len(rows) // least)]


def gate_movement(model: nn.Module) -> float | None:
    """Mean |gamma| over all gates and channels; None without gates. 0 is the start, where a gate is the identity."""
    gammas = [m.gamma.detach().abs().flatten() for m in model.modules() if isinstance(m, GCT)]
    return float(torch.cat(gammas).mean()) if gammas else None


@torch.no_grad()
def branch_movement(model: nn.Module, x: Tensor) -> float | None:
    """Energy of the wavelet branch over that of the base convolution's output, median over layers; None without wavelets.

    Args:
        x: standardised films (B, 1, S, S).
    """
    ratios, handles, training = [], [], model.training

    def look(layer: WTConv2d, inputs: tuple[Tensor]) -> None:
        gate = getattr(layer, "gate", None)  # the layer sees to its gate itself, after this hook
        seen = inputs[0] if gate is None else gate(inputs[0])
        weight, bias = layer.base()
        base = F.conv2d(seen, weight, bias, padding=layer.padding, groups=layer.groups)
        ratios.append(float(layer.beside(seen).square().sum() / base.square().sum()))

    for layer in model.modules():
        if isinstance(layer, WTConv2d):
            handles.append(layer.register_forward_pre_hook(look))
    model.eval()(x)
    model.train(training)
    for handle in handles:
        handle.remove()
    return float(np.median(ratios)) if ratios else None
