"""Controls that would show a shortcut: the joint covered, nothing but the border left, the nearest copy.

A grade should come from the joint. If a model that never sees the joint still grades, it reads something else;
if the nearest training film already gives the grade, the test films are too much like the training films.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier

JOINT_HEIGHT, JOINT_WIDTH = 0.30, 0.84  #: shares of a film centred on the joint that hold the joint space and its margins
THUMBNAIL = 24  #: pixels along a side at which films are compared with their nearest neighbour


def joint_region(size: int) -> np.ndarray:
    """Where the joint lies on a film centred on it: a rectangle around the middle, bool (size, size)."""
    region = np.zeros((size, size), bool)
    half_height, half_width = round(size * JOINT_HEIGHT / 2), round(size * JOINT_WIDTH / 2)
    middle = size // 2
    region[middle - half_height : middle + half_height, middle - half_width : middle + half_width] = True
    return region


def border_region(size: int) -> np.ndarray:
    """The outermost pixels, exactly as many as `joint_region` has, bool (size, size)."""
    rows, columns = np.indices((size, size))
    depth = np.minimum(np.minimum(rows, size - 1 - rows), np.minimum(columns, size - 1 - columns))
    outermost = np.argsort(depth, axis=None, kind="stable")[: joint_region(size).sum()]
    region = np.zeros(size * size, bool)
    region[outermost] = True
    return region.reshape(size, size)


def cover(films: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Films (N, S, S) uint8 with a region, bool (S, S) or (N, S, S), painted in each film's own mean grey."""
    mean = films.reshape(len(films), -1).mean(axis=1).round().astype(films.dtype)
    return np.where(region, mean[:, None, None], films)


def border_only(films: np.ndarray) -> np.ndarray:
    """Films of which nothing but the border is left; what a model learns from them is no arthrosis."""
    return cover(films, ~border_region(films.shape[-1]))


def joint_masked(films: np.ndarray) -> np.ndarray:
    """Films whose joint is covered."""
    return cover(films, joint_region(films.shape[-1]))


def thumbnails(films: np.ndarray) -> np.ndarray:
    """Films (N, S, S) as rows (N, 576) of mean 0 and length 1, so that Euclidean neighbours are those of highest correlation."""
    small = F.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(films)).float()[:, None], THUMBNAIL)
    rows = small.flatten(1).double()
    return F.normalize(rows - rows.mean(1, keepdim=True), dim=1).numpy()


def nearest_neighbour(train: np.ndarray, train_grade: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Grade of the training film, or mirrored training film, that correlates best with each test film at 24 x 24.

    Args:
        train, test: films (N, S, S) and (M, S, S), uint8.
        train_grade: (N,).

    Returns:
        (M,) grades. No network, no learning: what it scores is what copies and look-alikes are worth.
    """
    known = np.concatenate([thumbnails(train), thumbnails(train[..., ::-1])])
    return KNeighborsClassifier(1, algorithm="brute").fit(known, np.tile(train_grade, 2)).predict(thumbnails(test))
