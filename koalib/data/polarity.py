"""Is bone bright or dark in this film?"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

SIZE = 48
SIGMA = 6.0
FLOOR = 0.001
UNSURE = 0.1


@functools.cache
def knee_template() -> np.ndarray:
    """float32 (48, 48), unit norm: mean of the locally normalised training films of chen2018, made symmetric."""
    with np.load(Path(__file__).with_name("knee_template.npz"), allow_pickle=False) as file:
        return file["knee"].astype(np.float32)


def local_contrast(pixels: np.ndarray, sigma: float = SIGMA) -> np.ndarray:
    """Every pixel less its neighbourhood's mean, over the neighbourhood's spread: exposure and shading cancel.

    Turning a film's polarity turns the sign of the result and changes nothing else.
    """
    detail = pixels - gaussian_filter(pixels, sigma)
    return detail / (np.sqrt(gaussian_filter(detail * detail, sigma)) + FLOOR)


def is_inverted(pixels: np.ndarray) -> tuple[bool | None, float]:
    """Whether bone is dark, with a score in -1..1 that is above 0 for bright bone; None when nothing can be told.

    The score is the correlation of the film's local contrast with the mean knee of the training films.
    """
    small = np.asarray(Image.fromarray(pixels.astype(np.float32)).resize((SIZE, SIZE), Image.Resampling.BOX))
    contrast = local_contrast(small)
    score = float((contrast * knee_template()).sum() / max(np.linalg.norm(contrast), 1e-12))
    return (score < 0) if abs(score) > UNSURE else None, score
