"""What a network costs, counted, not timed: parameters and multiply-adds."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> int:
    """Number of trained numbers."""
    return sum(p.numel() for p in model.parameters())


def multiply_adds(model: nn.Module, size: int = 224, in_chans: int = 1) -> int:
    """Multiply-adds of convolutions and matrix products for one film of (in_chans, size, size).

    Additions without a product (the Haar butterfly), norms and activations are not counted, as is the custom.
    """
    still = copy.deepcopy(model).eval().to("meta")  # shapes without numbers, and PyTorch's own operations, which are counted
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        still(torch.zeros(1, in_chans, size, size, device="meta"))
    return counter.get_total_flops() // 2
