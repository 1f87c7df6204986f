"""CPU kernels of gated depthwise wavelet convolutions, compiled by Numba when first used.

The layers' only door to the kernels: tensors in, tensors out, channels_last. `available` says whether Numba is there;
it is imported no sooner than needed.
"""

from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

available = find_spec("numba") is not None

SIZES = (3, 5, 7)  # kernels of these sizes have a weight gradient
GROUPS = 4  # films are summed in so many groups, whatever the number of threads: a fixed order


TYPES = (torch.float32, torch.bfloat16)


def serves(x: Tensor, kernels: list[Tensor], padding: tuple[int, int] = (0, 0)) -> bool:
    """Whether our kernels take maps x (B, C, H, W) and these square kernels: on a CPU, fp32 or bf16, 16 channels or more.

    A padding of the base kernel's side or more would put pixels of the input gradient outside the scratch memory.
    """
    return (available and x.device.type == "cpu" and x.dtype in TYPES and x.shape[1] >= 16 and x.numel() > 0
            and all(k.shape[-1] == k.shape[-2] and k.shape[-1] in SIZES for k in kernels)
            and max(padding) < kernels[0].shape[-1])


def _sizes(height: int, width: int, levels: int) -> tuple[int, ...]:
    """Height and width of each wavelet level, one after another."""
    sizes = []
    for _ in range(levels):
        height, width = (height + 1) // 2, (width + 1) // 2
        sizes += height, width
    return tuple(sizes)


def _numbers(x: Tensor | None) -> np.ndarray:
    """A small tensor as flat float32 numbers; None as none."""
    return np.empty(0, np.float32) if x is None else x.detach().float().reshape(-1).numpy()


def _banded(kernels: list[Tensor]) -> list[Tensor]:
    """Kernels (C, 1, k, k) and (4C, 1, k, k) with one row a channel: (C, 1, k, k) and (C, 4, k, k)."""
    return [k.reshape(len(kernels[0]), -1, *k.shape[-2:]) for k in kernels]


def convolve(x: Tensor, kernels: list[Tensor], size: tuple[int, int], stride: int = 1, padding: tuple[int, int] = (0, 0),
             dtype: torch.dtype | None = None, spread: int = 1, gate: Tensor | None = None, bias: Tensor | None = None,
             other: Tensor | None = None, coefficient: Tensor | None = None) -> Tensor:
    """gate * (depthwise convolution + wavelet branch of x) + bias + coefficient * other, (B, C, *size).

    Args:
        kernels: base (C, 1, k, k), then one (4C, 1, k, k) for each wavelet level, finest first.
        padding: rows above and columns to the left of x; what the output needs below and right is zero, too.
        spread: distance of x's pixels, with zeros between them (for a transposed convolution).
        gate, coefficient: (B, C) or None; bias: (C) or None; other: (B, C, *size) or None.
    """
    from koalib.model.kernels import run, tasks
    films, channels, height, width = x.shape
    (top, left), side = padding, kernels[0].shape[-1]
    rows = max((size[0] - 1) * stride + side, top + (height - 1) * spread + 1)
    pitch = max((size[1] - 1) * stride + side, left + (width - 1) * spread + 1)
    plan, end = run.plan((rows, pitch, *size), _sizes(height, width, len(kernels) - 1),
                         tuple(k.shape[-1] for k in kernels), True)
    out = torch.empty((films, channels, *size), dtype=dtype or x.dtype, memory_format=torch.channels_last)
    starts = run.block_starts(channels)
    run.run(tasks.convolve, films * len(starts), films, starts, channels, *run.words(x), height, width, top, left, spread,
            stride, plan, end, run.pack(_banded(kernels)), _numbers(gate), _numbers(bias), *run.words(out),
            *run.words(out if other is None else other), _numbers(coefficient), scratch=end + 16 * (6 * size[1] + 16))
    return out


def input_gradient(grad: Tensor, kernels: list[Tensor], size: tuple[int, int], stride: int, padding: tuple[int, int],
                   dtype: torch.dtype, **terms) -> Tensor:
    """Gradient (B, C, *size) of `convolve` to its input: a convolution with the kernels turned by 180 degrees."""
    side = kernels[0].shape[-1]
    return convolve(grad, [k.flip(-1, -2) for k in kernels], size, 1, (side - 1 - padding[0], side - 1 - padding[1]),
                    dtype, spread=stride, **terms)


def weight_gradients(x: Tensor, grad: Tensor, kernels: list[Tensor], stride: int = 1, padding: tuple[int, int] = (0, 0),
                     gate: Tensor | None = None) -> tuple[list[Tensor], Tensor, Tensor]:
    """Gradients of `convolve` to its kernels, its bias (C) and its gate (B, C) from that of its output."""
    from koalib.model.kernels import run, tasks
    films, channels, height, width = x.shape
    size, side = grad.shape[-2:], kernels[0].shape[-1]
    rows = max((size[0] - 1) * stride + side, padding[0] + height)
    pitch = max((size[1] - 1) * stride + side, padding[1] + width)
    sizes, sides = _sizes(height, width, len(kernels) - 1), tuple(k.shape[-1] for k in kernels)
    plan, end = run.plan((rows, pitch, *size), sizes, sides, True)
    grad_plan, end = run.plan((size[0] + size[0] % 2, size[1] + size[1] % 2, *size), sizes, sides, False, end)
    starts, weights = run.block_starts(channels), run.pack(_banded(kernels))
    groups = min(films, GROUPS)
    out = np.zeros((groups, weights.size), np.float32)
    bias, dots = np.zeros((groups, len(starts) * 16), np.float32), np.zeros(films * len(starts) * 16, np.float32)
    factor = np.ones(films * channels, np.float32) if gate is None else _numbers(gate)
    run.run(tasks.weight_gradients, groups * len(starts), films, groups, starts, channels, *run.words(x), height, width,
            *padding, stride, plan, *run.words(grad), grad_plan, weights, factor, out.reshape(-1), bias.reshape(-1), dots,
            scratch=end)
    grads = run.unpack(torch.from_numpy(out.sum(0)), _banded(kernels))
    bias = run.channels_of(torch.from_numpy(bias.sum(0)), channels)
    return ([g.reshape(k.shape) for g, k in zip(grads, kernels)], bias,
            run.channels_of(torch.from_numpy(dots).view(films, -1), channels))


def energies(x: Tensor) -> Tensor:
    """Sum of squares of each channel of each film, (B, C) float32."""
    from koalib.model.kernels import run, tasks
    films, channels, height, width = x.shape
    starts, out = run.block_starts(channels), np.empty(films * channels, np.float32)
    run.run(tasks.energies, films * len(starts), films, starts, channels, height * width, *run.words(x), out)
    return torch.from_numpy(out).view(films, channels)
