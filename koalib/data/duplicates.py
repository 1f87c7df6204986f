"""Films that show the same exposure: found by correlation, mirror images included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

COARSE, COARSE_ALIKE, COARSE_SAME = (24, 24), 0.995, 0.999
FINE, FINE_SIGMA, FINE_ALIKE, FINE_CONFIRMS = (96, 128), 2.0, 0.6, 0.5
BLOCK = 1024


@dataclass(frozen=True)
class Pairs:
    """Pairs (first < second) of films with the correlation of the two and of one with the other's mirror image."""

    first: np.ndarray
    second: np.ndarray
    straight: np.ndarray
    mirrored: np.ndarray

    @property
    def closest(self) -> np.ndarray:
        """The larger of the two correlations."""
        return np.maximum(self.straight, self.mirrored)

    @property
    def by_mirror(self) -> np.ndarray:
        """Whether a pair is closer as mirror images than as it stands."""
        return self.mirrored > self.straight

    def keep(self, which: np.ndarray) -> Pairs:
        """Some of the pairs, by a boolean mask."""
        return Pairs(self.first[which], self.second[which], self.straight[which], self.mirrored[which])


def coarse(pixels: np.ndarray) -> np.ndarray:
    """float32 (24, 24): the film's distribution of light, enough to find copies of every kind."""
    return _resampled(pixels, COARSE)


def fine(pixels: np.ndarray) -> np.ndarray:
    """float32 (96, 128): edges and trabeculae, which two different knees do not share."""
    film = _resampled(pixels, FINE)
    return film - gaussian_filter(film, FINE_SIGMA)


def alike(films: np.ndarray, threshold: float) -> Pairs:
    """Pairs among ``films`` (N, H, W) whose correlation, straight or mirrored, is above ``threshold``."""
    straight, mirrored = unit(films), unit(films[:, :, ::-1])
    found = [list(block) for block in _blocks(straight, mirrored, threshold)]
    columns = [np.concatenate(column) for column in zip(*found)] if found else [np.empty(0, int)] * 2 + [np.empty(0)] * 2
    return Pairs(*columns)


def correlated(films: np.ndarray, pairs: Pairs) -> Pairs:
    """The same pairs with the correlations of other thumbnails of the films (N, H, W)."""
    straight, mirrored = unit(films), unit(films[:, :, ::-1])
    first = straight[pairs.first]
    return Pairs(pairs.first, pairs.second, (first * straight[pairs.second]).sum(1), (first * mirrored[pairs.second]).sum(1))


def groups_of(pairs: Pairs, n: int) -> np.ndarray:
    """Number of the group of each of ``n`` films, int (n,): films joined by a chain of pairs share it."""
    if not len(pairs.first):
        return np.arange(n)
    links = coo_array((np.ones(len(pairs.first), bool), (pairs.first, pairs.second)), shape=(n, n))
    return connected_components(links, directed=False)[1]


def joined(*pairs: Pairs) -> Pairs:
    """All pairs of several lists."""
    return Pairs(*(np.concatenate([getattr(some, name) for some in pairs]) for name in ("first", "second", "straight", "mirrored")))


def _blocks(straight: np.ndarray, mirrored: np.ndarray, threshold: float) -> Iterator[tuple[np.ndarray, ...]]:
    """Pairs above the threshold, a block of rows at a time: the whole matrix of 8,260 films would take 270 MB twice."""
    for start in range(0, len(straight), BLOCK):
        rows = straight[start : start + BLOCK]
        as_is, turned = rows @ straight[start:].T, rows @ mirrored[start:].T
        first, second = np.nonzero(np.triu(np.maximum(as_is, turned) > threshold, k=1))
        yield first + start, second + start, as_is[first, second], turned[first, second]


def unit(films: np.ndarray) -> np.ndarray:
    """float32 (N, H*W) of zero mean and unit norm, so that a product of two is their correlation."""
    flat = films.reshape(len(films), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)


def _resampled(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels.astype(np.float32)).resize(shape[::-1], Image.Resampling.BOX))
