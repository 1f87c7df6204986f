"""Make the templates of ``polarity`` and ``knees`` anew, from training films only: ``python -m koalib.data.templates``.

The file comes out the same, byte for byte, wherever the films and the versions of NumPy and SciPy are the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from koalib.data.composed import one_leg
from koalib.data.datasets import load
from koalib.data.knees import FRAME, frame_contrast
from koalib.data.polarity import SIZE, local_contrast, resampled

LEGS = 2_000
SIZES = (0.4, 2.2)
"""Frames that are too large or too small by these factors are among the examples of what is no knee's frame."""
PLACES, WRONG_SIZES = 30, 4
RIDGE = 0.1
"""Added to the variance of every pixel (local contrast has one of about 1), as neighbouring pixels nearly repeat one another."""


def mean_contrast(films: np.ndarray, size: int, sigma: float, floor: float) -> np.ndarray:
    """Mean over films (N, H, W) of local contrast at ``size``, each film of equal weight, left and right alike."""
    mean = np.zeros((size, size))
    for film in films:
        contrast = local_contrast(resampled(film / np.float32(255), size, size), sigma, floor)
        mean += contrast / np.linalg.norm(contrast)
    return mean + mean[:, ::-1]


def frame_discriminant(films: np.ndarray, seed: int = 0) -> np.ndarray:
    """Fisher's linear discriminant (FRAME, FRAME) between frames of knees and other frames of the same legs.

    Its product with a frame is the logarithm of a likelihood ratio, but for a constant, where both are normal with one
    covariance: the whitened template of Hariharan, Malik and Ramanan, ECCV 2012, LNCS 7575, pages 459-472.
    """
    rng = np.random.default_rng(seed)
    knees, total, products, n = [], np.zeros(FRAME**2), np.zeros((FRAME**2, FRAME**2)), 0
    for film in films:
        leg, centre = one_leg(film, 2 * FRAME, rng)
        for factor in (1.0, *np.exp(rng.uniform(*np.log(SIZES), WRONG_SIZES))):
            contrast = frame_contrast(leg, factor / 2)
            last = np.array(contrast.shape) - FRAME + 1
            others = _frames(contrast, rng.integers(0, last, (PLACES, 2)))
            total, products, n = total + others.sum(0), products + others.T @ others, n + len(others)
            if factor == 1:
                knees.append(_frames(contrast, np.clip(np.round(np.array([centre]) / 2).astype(int), 0, last - 1))[0])
    knee, other = _symmetric(np.mean(knees, axis=0)), _symmetric(total / n)
    turned = np.arange(FRAME**2).reshape(FRAME, FRAME)[:, ::-1].ravel()
    covariance = products / n - np.outer(other, other)
    covariance = (covariance + covariance[np.ix_(turned, turned)]) / 2
    return np.linalg.solve(covariance + RIDGE * np.eye(FRAME**2), knee - other).reshape(FRAME, FRAME)


def _frames(contrast: np.ndarray, corners: np.ndarray) -> np.ndarray:
    return np.stack([contrast[row : row + FRAME, column : column + FRAME].ravel() for row, column in corners]).astype(float)


def _symmetric(frame: np.ndarray) -> np.ndarray:
    square = frame.reshape(FRAME, FRAME)
    return ((square + square[:, ::-1]) / 2).ravel()


def main() -> None:
    """Write ``knee_template.npz`` from the training split of chen2018 (films that the manifest calls inverted are turned)."""
    films = load("chen2018").select("train").pixels(224)
    knee = mean_contrast(films, SIZE, SIZE / 8, 0.001)
    chosen = np.sort(np.random.default_rng(0).permutation(len(films))[:LEGS])
    arrays = {"knee": (knee / np.linalg.norm(knee)).astype(np.float16), "frame": frame_discriminant(films[chosen]).astype(np.float16)}
    np.savez_compressed(Path(__file__).with_name("knee_template.npz"), **arrays)


if __name__ == "__main__":
    main()
