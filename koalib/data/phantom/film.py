"""From attenuation to a film: Beer-Lambert, scatter, quanta, the detector's blur, processing, collimation."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

EXPOSURE = np.dtype([
    ("mean", "f4"), ("std", "f4"),  # of the grey values inside the leg, 0 to 255
    ("scatter", "f4"),  # scattered to primary radiation behind the grid
    ("noise", "f4"),  # relative quantum noise behind an average knee
    ("blur", "f4"),  # of the detector and of resampling: weight of the neighbours
    ("enhance", "f4"),  # strength of the edge enhancement that the reader's station applies
    ("shutter", "f4", 3),  # side (-1 left, 1 right, 0 none), distance of the edge from the middle in film widths, slope
    ("beads", "f4", 3),  # side (0 none), distance from the middle, phase: a positioning frame's row of markers
    ("inverted", "?"),
])  # fmt: skip

AIR = 0.4  #: attenuation under which a pixel is taken for air
SHOULDER = 205.0  #: grey value from which on the film saturates softly, towards 252


@njit(cache=True, nogil=True, fastmath=True)
def _smooth(image, out, weight):
    """3x3 binomial-like blur with neighbour weight ``weight``; edges continue."""
    n = image.shape[0]
    row = np.empty((n, n), np.float32)
    centre = np.float32(1.0) - 2 * weight
    for y in range(n):
        up, down = max(y - 1, 0), min(y + 1, n - 1)
        for x in range(n):
            row[y, x] = centre * image[y, x] + weight * (image[up, x] + image[down, x])
    for y in range(n):
        out[y, 0] = (centre + weight) * row[y, 0] + weight * row[y, 1]
        out[y, n - 1] = (centre + weight) * row[y, n - 1] + weight * row[y, n - 2]
        for x in range(1, n - 1):
            out[y, x] = centre * row[y, x] + weight * (row[y, x - 1] + row[y, x + 1])


@njit(cache=True, nogil=True, fastmath=True)
def _coarse(image, cells, passes):
    """Means of ``cells`` x ``cells`` blocks, smoothed ``passes`` times: what a wide blur leaves."""
    n = image.shape[0]
    sums, count = np.zeros((cells, cells), np.float32), np.zeros((cells, cells), np.float32)
    for y in range(n):
        for x in range(n):
            sums[y * cells // n, x * cells // n] += image[y, x]
            count[y * cells // n, x * cells // n] += 1
    sums /= count
    other = np.empty_like(sums)
    for _ in range(passes):
        _smooth(sums, other, np.float32(0.25))
        sums[:] = other
    return sums


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _fine(coarse, x, y):
    """Bilinear value of the coarse field at pixel position x, y in [0, 1)."""
    n = coarse.shape[0]
    u, v = min(max(x * n - 0.5, 0.0), n - 1.001), min(max(y * n - 0.5, 0.0), n - 1.001)
    i, j = int(u), int(v)
    a, b = np.float32(u - i), np.float32(v - j)
    return (coarse[j, i] * (1 - a) + coarse[j, i + 1] * a) * (1 - b) + (coarse[j + 1, i] * (1 - a) + coarse[j + 1, i + 1] * a) * b


@njit(cache=True, nogil=True, fastmath=True)
def expose(attenuation, quanta, e, film, work):
    """Fill ``film`` uint8 (S, S), bone bright unless inverted.

    Args:
        attenuation: (S, S), destroyed. quanta: standard normal (S, S). e: record of ``EXPOSURE``. work: (S, S).
    """
    n = film.shape[0]
    reference, leg = np.float32(0.0), 0
    for y in range(n):
        for x in range(n):
            a = attenuation[y, x]
            reference, leg = (reference + a, leg + 1) if a > AIR else (reference, leg)
            work[y, x] = math.exp(-a) if a > AIR else 0.0
    reference = math.exp(-reference / max(leg, 1))
    glow = _coarse(work, 14, 3)
    for y in range(n):
        for x in range(n):
            a = attenuation[y, x]
            light = (math.exp(-a) + e.scatter * _fine(glow, np.float32(x) / n, np.float32(y) / n)) / (1 + e.scatter)
            relative = max(light / reference, np.float32(1e-3))
            work[y, x] = -math.log(relative) + e.noise * quanta[y, x] / math.sqrt(relative) if a > AIR else min(-math.log(relative), -1.5)
    _smooth(work, attenuation, e.blur)
    glow = _coarse(attenuation, 28, 1)
    total, squares, leg = 0.0, 0.0, 0
    for y in range(n):
        for x in range(n):
            value = attenuation[y, x]
            value += e.enhance * (value - _fine(glow, np.float32(x) / n, np.float32(y) / n))
            work[y, x] = value
            if value > -1.4:
                total, squares, leg = total + value, squares + value * value, leg + 1
    mean = total / max(leg, 1)
    gain = e.std / math.sqrt(max(squares / max(leg, 1) - mean * mean, 1e-6))
    for y in range(n):
        for x in range(n):
            grey = e.mean + gain * (work[y, x] - mean)
            if grey > SHOULDER:
                grey = SHOULDER + 47 * (1 - math.exp(-(grey - SHOULDER) / 47))
            grey = _collimated(grey, (np.float32(x) + 0.5) / n - 0.5, (np.float32(y) + 0.5) / n - 0.5, e)
            grey = min(max(grey, 0.0), 255.0)
            film[y, x] = int(255.5 - grey) if e.inverted else int(grey + 0.5)


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _collimated(grey, x, y, e):
    """The shutter's dark margin and the markers of a positioning frame; x, y in film widths from the middle."""
    if e.shutter[0] != 0:
        beyond = (x * e.shutter[0] - e.shutter[1] - e.shutter[2] * y) * 160
        grey *= 1 - 0.88 * min(max(beyond, 0.0), 1.0)
    if e.beads[0] != 0:
        across = x * e.beads[0] - e.beads[1]
        step = (y + e.beads[2]) * 4.4
        down = (step - math.floor(step) - 0.5) / 4.4
        if abs(across) < 0.055:
            grey = 0.9 * grey + 6
        spot = math.sqrt(across * across + 0.6 * down * down) * 110
        grey = grey + (235 - grey) * min(max(1.9 - spot, 0.0), 1.0)
    return grey
