"""Is bone bright or dark in this film?"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

SIZE = 48
FLOOR = 0.001
"""Spread of flat, empty film, in parts of the full range; keeps noise there from being blown up."""
UNSURE = 0.05


@functools.cache
def template(name: str) -> np.ndarray:
    """Made from locally normalised training films of chen2018 by ``python -m koalib.data.templates``; float32, symmetric.

    ``knee`` (48, 48) is their mean, of unit norm; ``frame`` (32, 32) tells a knee's frame from other frames of a leg.
    """
    with np.load(Path(__file__).with_name("knee_template.npz"), allow_pickle=False) as file:
        return file[name].astype(np.float32)


def local_contrast(pixels: np.ndarray, sigma: float, floor: float = FLOOR) -> np.ndarray:
    """Every pixel less its neighbourhood's mean, over the neighbourhood's spread: exposure and shading cancel.

    Turning a film's polarity turns the sign of the result and changes nothing else.
    """
    detail = pixels - gaussian_filter(pixels, sigma)
    return detail / (np.sqrt(gaussian_filter(detail * detail, sigma)) + floor)


def resampled(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """float32 (height, width): means over areas when shrinking, linear between pixels when growing."""
    shrinks = height < pixels.shape[0]
    return np.asarray(Image.fromarray(pixels.astype(np.float32)).resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR))


def likeness(pixels: np.ndarray) -> float:
    """Correlation, -1..1, of the film's local contrast with the mean knee's; negative when bone is dark."""
    contrast = local_contrast(resampled(pixels, SIZE, SIZE), SIZE / 8)
    return float((contrast * template("knee")).sum() / max(np.linalg.norm(contrast), 1e-12))


def is_inverted(pixels: np.ndarray) -> tuple[bool | None, float]:
    """Whether bone is dark, with a score in -1..1 that is above 0 for bright bone; None when nothing can be told.

    The score is ``likeness`` of the whole film, squashed to a square whatever its shape: that holds for single knees,
    for wide films of both and for the crops of chen2018 alike (benchmarks/polarity.py has the figures).
    """
    score = likeness(pixels)
    return (score < 0 if abs(score) > UNSURE else None), score
