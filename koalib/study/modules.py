"""Did gates and wavelet branches move? A module that did not was not tested (docs/protocol.md, section 5)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from koalib.model.layers import GCT, WTConv2d
from koalib.study.predict import model_input


def gate_movement(model: nn.Module) -> float | None:
    """Mean |gamma| over all gates and channels; None for a network without GCT."""
    gammas = [module.gamma.detach().abs().flatten() for module in model.modules() if isinstance(module, GCT)]
    return float(torch.cat(gammas).mean()) if gammas else None


@torch.no_grad()
def branch_energy(model: nn.Module, films: np.ndarray) -> float | None:
    """Energy of the wavelet branch's output over the base convolution's, median over blocks.

    Args:
        films: uint8 (N, S, S), N >= 1; some of the validation films are enough.

    Returns:
        None for a network without wavelet convolutions.
    """
    ratios: dict[str, float] = {}

    def measure(name: str):
        def hook(layer: WTConv2d, inputs: tuple[Tensor]) -> None:
            gate = getattr(layer, "gate", None)
            x = inputs[0] if gate is None else gate(inputs[0])
            weight, bias = layer.base()
            base = F.conv2d(x, weight, bias, padding=layer.padding, groups=x.shape[1])
            ratios[name] = float(layer.beside(x).square().sum() / base.square().sum().clamp_min(1e-30))
        return hook

    hooks = [m.register_forward_pre_hook(measure(n)) for n, m in model.named_modules() if isinstance(m, WTConv2d)]
    try:
        if hooks:
            model.eval()(model_input(films, next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return float(np.median(list(ratios.values()))) if ratios else None
