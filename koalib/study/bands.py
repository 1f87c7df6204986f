"""Does a layer answer inside the joint or outside it, and at which spatial frequencies? Energies of wavelet bands by place.

C7 says that wavelets suppress high-frequency noise and strengthen the response to the joint. Here the output of the first
stage's depthwise convolutions is split into orthonormal Haar bands, whose energies add up to the output's own, and
each band's energy for a pixel of the map inside the lesion is compared with that outside.
"""

from __future__ import annotations

import numpy as np
import pywt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from koalib.errors import UserError
from koalib.model.depthwise import DepthwiseConv2d
from koalib.study.predict import model_input

BANDS = ("high", "middle", "low")  #: details of one pixel, of two, and what is coarser
PARTS = (*BANDS, "all")  #: the bands, and the whole response
LEVELS = len(BANDS) - 1
BATCH = 64


def band_energy(maps: np.ndarray, regions: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Energy for a pixel inside and outside a region, by band.

    Args:
        maps: (N, C, h, w) with h and w multiples of 4; energies of channels add up.
        regions: bool (N, S, S) of films whose maps these are, S >= h; a coefficient belongs to the region by the share of it that it covers.

    Returns:
        By name of `BANDS`: two arrays (N,); NaN where a region covers nothing, or all.

    Raises:
        UserError: maps that cannot be halved twice.
    """
    if any(side % 2**LEVELS for side in maps.shape[-2:]):
        raise UserError(f"maps of {maps.shape[-2]} x {maps.shape[-1]}: sides must be multiples of {2**LEVELS}; choose another film size")
    low, *details = pywt.wavedec2(maps, "haar", mode="periodization", level=LEVELS)
    energies = [(np.square(level).sum(axis=(0, 2)), 2**depth) for depth, level in enumerate(details[::-1], 1)] + [(np.square(low).sum(axis=1), 2**LEVELS)]
    return {name: _inside_outside(energy, step, regions) for name, (energy, step) in zip(BANDS, energies, strict=True)}


def _inside_outside(energy: np.ndarray, step: int, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy (N, h, w) of coefficients that each stand for step x step pixels, for a pixel of the region and of the rest."""
    share = F.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(regions)).float()[:, None], energy.shape[1:])[:, 0].numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        return tuple((energy * part).sum(axis=(1, 2)) / (step**2 * part.sum(axis=(1, 2))) for part in (share, 1 - share))


def concentration(maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """log2 of the energy inside over that outside, (N, 4) by `PARTS`: 0 where the map answers everywhere alike, 1 for twice as much inside."""
    found = np.array(list(band_energy(maps, regions).values()))  # (bands, inside or outside, N)
    inside, outside = np.concatenate([found, found.sum(axis=0, keepdims=True)]).swapaxes(0, 1)
    with np.errstate(divide="ignore"):
        return np.log2(inside / outside).T


@torch.inference_mode()
def response(model: nn.Module, films: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """`concentration` of what a model's depthwise convolutions give out, mean over those with the largest maps, (N, 4).

    The mean of each channel over the map is taken off first: a bias is no response.

    Args:
        films: uint8 (N, S, S). regions: bool (N, S, S).

    Raises:
        UserError: a model without depthwise convolutions of ours.
    """
    seen: dict[nn.Module, Tensor] = {}
    layers = [module for module in model.modules() if isinstance(module, DepthwiseConv2d)]
    if not layers:
        raise UserError(f"{type(model).__name__}: it has no depthwise convolution whose bands could be measured; take a convwgcnet")
    handles = [layer.register_forward_hook(lambda module, _, out: seen.__setitem__(module, out)) for layer in layers]
    training, parts = model.training, []
    model.eval()
    for start in range(0, len(films), BATCH):
        rows = slice(start, start + BATCH)
        model(model_input(films[rows]))
        widest = max(out.shape[-1] for out in seen.values())
        maps = [(out - out.mean((2, 3), keepdim=True)).float().numpy() for out in seen.values() if out.shape[-1] == widest]
        parts.append(np.mean([concentration(each, regions[rows]) for each in maps], axis=0))
    model.train(training)
    for handle in handles:
        handle.remove()
    return np.concatenate(parts)
