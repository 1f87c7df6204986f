"""One- and two-dimensional discrete wavelet transforms on tensors, equal to PyWavelets' own and differentiable.

The Haar transform in mode "zero" takes a short way: each 2x2 block of pixels is added and subtracted ("butterfly"),
which costs no multiplication by filters. Every other wavelet goes through grouped convolutions of stride 2.
Sources: Mallat, A Wavelet Tour of Signal Processing, 3rd ed., ch. 7; PyWavelets (Lee et al., JOSS 2019).
"""

from functools import lru_cache

import numpy as np
import pywt
import torch
import torch.nn.functional as F
from torch import Tensor

from koalib.errors import UserError

# PyWavelets' name of a signal extension -> numpy.pad's, where that repeats samples. The others are handled apart.
EXTENSIONS = {"symmetric": "symmetric", "reflect": "reflect", "periodic": "wrap", "constant": "edge"}
MODES = tuple(pywt.Modes.modes)


@lru_cache(maxsize=None)
def _bank(wavelet: str) -> tuple[tuple[float, ...], ...]:
    """Decomposition low and high, reconstruction low and high filter of a discrete wavelet."""
    try:
        return tuple(map(tuple, pywt.Wavelet(wavelet).filter_bank))
    except ValueError as error:
        raise UserError(f"unknown wavelet {wavelet!r}: take a name of pywt.wavelist(kind='discrete')") from error


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise UserError(f"unknown wavelet mode {mode!r}: take one of {', '.join(MODES)}")


def _filters(wavelet: str, like: Tensor, synthesis: bool) -> Tensor:
    """(2, L): low and high filter as the kernels of a cross-correlation (analysis) or its transpose (synthesis)."""
    low_high = _bank(wavelet)[2:] if synthesis else [f[::-1] for f in _bank(wavelet)[:2]]
    return torch.tensor(low_high, dtype=like.dtype, device=like.device)


def _extend(x: Tensor, before: int, after: int, mode: str) -> Tensor:
    """Prolong the last axis by `before` and `after` samples in PyWavelets' signal extension `mode`."""
    if mode == "zero":
        return F.pad(x, (before, after))
    if mode == "smooth" and x.shape[-1] == 1:  # a line needs two points
        mode = "constant"
    if mode not in EXTENSIONS:  # samples are weighed and summed: a linear map, which PyWavelets knows
        weights = np.stack([pywt.pad(unit, (before, after), mode) for unit in np.eye(x.shape[-1])])
        return x @ torch.as_tensor(weights, dtype=x.dtype, device=x.device)
    index = np.pad(np.arange(x.shape[-1]), (before, after), mode=EXTENSIONS[mode])
    return x[..., torch.as_tensor(index, device=x.device)]


def dwt(x: Tensor, wavelet: str = "haar", mode: str = "zero") -> tuple[Tensor, Tensor]:
    """Approximation and detail of the last axis: (..., N) -> two of (..., n), as `pywt.dwt` computes them.

    n is (N + L - 1) // 2 for a filter of length L, and ceil(N / 2) in mode "periodization".
    """
    _check_mode(mode)
    filters = _filters(wavelet, x, synthesis=False)
    length = filters.shape[1]
    if mode == "periodization":
        even = _extend(x, 0, x.shape[-1] % 2, "constant")
        extended = _extend(even, length // 2 - 1, length // 2, "periodic")[..., : even.shape[-1] + length - 2]
    else:
        extended = _extend(x, length - 2, length - 1, mode)
    # pairs of samples start at 0, 2, 4 ...: the outputs of odd index of the full convolution
    flat = extended.reshape(-1, 1, extended.shape[-1])
    bands = F.conv1d(flat, filters[:, None], stride=2).reshape(*x.shape[:-1], 2, -1)
    return bands[..., 0, :], bands[..., 1, :]


def idwt(low: Tensor, high: Tensor, wavelet: str = "haar", mode: str = "zero") -> Tensor:
    """Inverse of `dwt`: two of (..., n) -> (..., 2n - L + 2), or (..., 2n) in mode "periodization"."""
    _check_mode(mode)
    filters = _filters(wavelet, low, synthesis=True)
    length, n = filters.shape[1], low.shape[-1]
    bands = torch.stack((low, high), -2).reshape(-1, 2, n)
    full = F.conv_transpose1d(bands, filters[:, None], stride=2).reshape(*low.shape[:-1], -1)
    if mode != "periodization":
        return full[..., length - 2 : 2 * n]
    period = torch.arange(full.shape[-1], device=full.device).sub(length // 2 - 1).remainder(2 * n)
    return full.new_zeros(*low.shape[:-1], 2 * n).index_add(-1, period, full)


def _haar2d(x: Tensor) -> Tensor:
    """Orthonormal Haar butterfly, (B, C, H, W) -> (B, C, 4, ceil(H/2), ceil(W/2)); odd sizes get a zero row/column."""
    x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    upper, lower, left, right = a + b, c + d, a - b, c - d
    return torch.stack((upper + lower, upper - lower, left + right, left - right), dim=2) * 0.5


def _ihaar2d(bands: Tensor) -> Tensor:
    """Inverse of `_haar2d`: (B, C, 4, h, w) -> (B, C, 2h, 2w)."""
    low, horizontal, vertical, diagonal = (bands * 0.5).unbind(2)
    upper, lower, left, right = low + horizontal, low - horizontal, vertical + diagonal, vertical - diagonal
    rows = torch.stack((upper + left, upper - left), -1), torch.stack((lower + right, lower - right), -1)
    batch, channels, height, width = low.shape
    return torch.stack(rows, 3).reshape(batch, channels, 2 * height, 2 * width)


def dwt2d(x: Tensor, wavelet: str = "haar", mode: str = "zero") -> Tensor:
    """(B, C, H, W) -> (B, C, 4, h, w): bands cA (LL), cH (LH), cV (HL), cD (HH) of `pywt.dwt2`."""
    if wavelet in ("haar", "db1") and mode == "zero":
        return _haar2d(x)
    low, high = (band.transpose(-1, -2) for band in dwt(x, wavelet, mode))
    (ll, lh), (hl, hh) = dwt(low, wavelet, mode), dwt(high, wavelet, mode)
    return torch.stack((ll, lh, hl, hh), dim=2).transpose(-1, -2)


def idwt2d(bands: Tensor, size: tuple[int, int], wavelet: str = "haar", mode: str = "zero") -> Tensor:
    """Inverse of `dwt2d`, cropped to `size` = (H, W), which an odd size needs."""
    if wavelet in ("haar", "db1") and mode == "zero":
        return _ihaar2d(bands)[..., : size[0], : size[1]]
    ll, lh, hl, hh = bands.transpose(-1, -2).unbind(2)
    low, high = idwt(ll, lh, wavelet, mode), idwt(hl, hh, wavelet, mode)
    rows = low.transpose(-1, -2), high.transpose(-1, -2)
    return idwt(*(row[..., : size[0], :] for row in rows), wavelet, mode)[..., : size[1]]


def wavedec2(x: Tensor, levels: int, wavelet: str = "haar", mode: str = "zero") -> list[Tensor]:
    """Pyramid of `levels` transforms, each of the low band before it: a list of (B, C, 4, h, w), finest first."""
    pyramid = []
    for _ in range(levels):
        pyramid.append(dwt2d(x, wavelet, mode))
        x = pyramid[-1][:, :, 0]
    return pyramid
