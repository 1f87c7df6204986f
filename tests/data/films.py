"""Made-up films for tests: each has its own texture, a dark joint line, and bone bright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from koalib.data.phantom import make_phantoms
from koalib.data.phantom_films import upright


CHEN_PATHS = ["train/0/9000001L.png", "train/1/9000001R.png", "train/4/9000002L.png", "val/2/9000003L.png", "test/3/9000004R.png", "test/0/9000005L.png"]
"""Paths of six films in the layout of chen2018."""


def knees(n: int, seed: int = 0) -> np.ndarray:
    """uint8 (n, 224, 224): right knees of ``n`` phantom patients, so that no two belong together, bone bright."""
    return upright(make_phantoms(n, size=224, seed=seed))[::2]


def save(pixels: np.ndarray, path: Path) -> Path:
    """Write a PNG and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def soft_noise(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """uint8 of ``shape``: a film of nothing in particular."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return np.round(255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
