"""Trabecular bone as random fields: made once, from a fixed seed, and looked up at a random place for each knee."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.fft import irfft2, rfft2

TILE = 512  #: pixels; a tile repeats itself
PITCH = 0.32  #: mm a pixel


@cache
def tiles() -> np.ndarray:
    """float32 (3, TILE, TILE), each of zero mean and unit deviation: struts along y, a net, and clouds.

    Trabeculae are the ridges of a band-limited field, which gives thin bright lines around darker marrow; along the
    direction of load (y) they are several times as long as wide.
    """
    rng = np.random.default_rng(20180601)
    fy, fx = np.fft.fftfreq(TILE, PITCH)[:, None], np.fft.rfftfreq(TILE, PITCH)[None, :]
    struts = sum(_ridges(rng, np.hypot(fx, stretch * fy), wave) for wave, stretch in ((0.75, 6.0), (1.2, 6.0), (2.0, 4.0)))
    net = sum(_ridges(rng, np.hypot(fx, fy), wave) for wave in (0.9, 1.6, 3.0))
    clouds = _field(rng, np.hypot(fx, fy), 14.0) + 0.6 * _field(rng, np.hypot(fx, fy), 6.0)
    stack = np.stack([struts, net, clouds])
    stack -= stack.mean((1, 2), keepdims=True)
    stack /= stack.std((1, 2), keepdims=True)
    stack.setflags(write=False)
    return stack.astype(np.float32)


def _field(rng: np.random.Generator, frequency: np.ndarray, wave: float) -> np.ndarray:
    """Gaussian field of unit deviation with wavelengths around ``wave`` mm."""
    band = np.exp(-0.5 * (np.log2(np.maximum(frequency, 1e-6) * wave) / 0.6) ** 2)
    field = irfft2(rfft2(rng.normal(size=(TILE, TILE))) * band, s=(TILE, TILE))
    return field / field.std()


def _ridges(rng: np.random.Generator, frequency: np.ndarray, wave: float) -> np.ndarray:
    return np.exp(-2.0 * np.abs(_field(rng, frequency, 2 * wave)))
