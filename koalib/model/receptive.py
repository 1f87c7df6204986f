"""How far a layer or a network looks, measured by the gradient of one output with respect to every input.

Luo, Li, Urtasun, Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks", NIPS 2016,
arXiv 1701.04128.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def effective_field(layer: nn.Module, x: Tensor) -> np.ndarray:
    """Mean absolute gradient (H, W) of the centre of ``layer(x)`` with respect to x (B, C, H, W), over B and C.

    For a depthwise layer with random kernels every channel is a draw of its own, and the mean runs over the draws.
    """
    x = x.detach().clone().requires_grad_()
    y = layer(x)
    (gradient,) = torch.autograd.grad(y[..., y.shape[-2] // 2, y.shape[-1] // 2].sum(), x)
    return gradient.abs().mean((0, 1)).numpy()


def extent(field: np.ndarray, share: float = 1.0) -> int:
    """Side of the smallest square, around the middle of the field (H, W), that holds ``share`` of its sum; 1 means all of it."""
    rows, columns = np.nonzero(field)
    y, x = np.indices(field.shape)
    distance = np.maximum(np.abs(y - (rows.min() + rows.max()) / 2), np.abs(x - (columns.min() + columns.max()) / 2))
    if share == 1:
        return int(2 * distance[rows, columns].max()) + 1
    order = np.argsort(distance, axis=None)
    held = np.cumsum(field.ravel()[order], dtype=float) / field.sum(dtype=float)
    return int(2 * distance.ravel()[order[np.searchsorted(held, share)]]) + 1
