"""Make the templates of ``polarity`` and ``knees`` anew, from training films only: ``python -m koalib.data.templates``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from koalib.data.datasets import load
from koalib.data.polarity import SIZE, local_contrast, resampled

JOINT_FRAME, JOINT_ROWS, JOINT_COLUMNS = 64, slice(20, 48), slice(6, 58)


def mean_contrast(films: np.ndarray, size: int, sigma: float, floor: float) -> np.ndarray:
    """Mean over films (N, H, W) of local contrast at ``size``, each film of equal weight, left and right alike."""
    mean = np.zeros((size, size))
    for film in films:
        contrast = local_contrast(resampled(film / np.float32(255), size, size), sigma, floor)
        mean += contrast / np.linalg.norm(contrast)
    return mean + mean[:, ::-1]


def main() -> None:
    """Write ``knee_template.npz`` from the training split of chen2018 (films that the manifest calls inverted are turned)."""
    films = load("chen2018").select("train").pixels(224)
    knee = mean_contrast(films, SIZE, SIZE / 8, 0.001)
    joint = mean_contrast(films, JOINT_FRAME, JOINT_FRAME / 14, 0.015)[JOINT_ROWS, JOINT_COLUMNS]
    arrays = {name: (mean / np.linalg.norm(mean)).astype(np.float16) for name, mean in (("knee", knee), ("joint", joint))}
    np.savez_compressed(Path(__file__).with_name("knee_template.npz"), **arrays)


if __name__ == "__main__":
    main()
