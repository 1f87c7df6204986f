"""Narrowest joint space of each compartment, from the grey values alone.

Along every column the joint is the dark valley between the bright plates of femur and tibia. A path of least cost
through a valley filter follows it across the compartment (as seam finding does); its width at a column is the distance
between the steepest fall above and the steepest rise below. What has no clear valley is not measured.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, gaussian_laplace

from koalib.clinic.diagnosis import JointSpace
from koalib.data.images import TRIM, KneeImage, resize

SIZE = 224  #: px at which it is measured
WINDOWS = {"left": (0.20, 0.40), "right": (0.60, 0.80)}  #: of the knee's width: under the condyles, beside the notch
BAND = (0.30, 0.72)  #: rows among which the joint is looked for
REACH = 16  #: px above and below the valley in which its edges lie
CLEAR = 0.035  #: how much darker than its edges a valley must be, of the film's full range
NARROW = 25  #: percentile of the columns' widths that is called the narrowest; the minimum itself is noise


def measure(image: KneeImage) -> JointSpace | None:
    """Widths in mm where the file has a pixel spacing, else as a share of the knee's width; None without a clear valley."""
    film = resize(image.pixels, SIZE).astype(np.float32) / 255
    left, right = knee_extent(film)
    widths = {}
    for name, (start, stop) in WINDOWS.items():
        columns = slice(round(left + start * (right - left)), round(left + stop * (right - left)))
        widths[name] = compartment_width(film[:, columns])
    if widths["left"] is None and widths["right"] is None:
        return None
    if image.spacing_mm is not None:
        short = min(image.shape)
        scale, unit = image.spacing_mm[0] * min(max(image.shape), round(TRIM * short)) / SIZE, "mm"
    else:
        scale, unit = 1 / (right - left), "share"
    return JointSpace(*(None if w is None else float(w * scale) for w in (widths["left"], widths["right"])), unit)


def knee_extent(film: np.ndarray) -> tuple[int, int]:
    """First and last column of the leg, by half of its mean brightness in the middle rows."""
    profile = gaussian_filter1d(film[SIZE // 4 : 3 * SIZE // 4].mean(0), 3)
    inside = np.flatnonzero(profile > np.median(profile) * 0.6)
    return int(inside[0]), int(inside[-1]) + 1


def compartment_width(part: np.ndarray) -> float | None:
    """Narrowest width in pixels of one compartment (224, columns)."""
    path = valley_path(part)
    smooth = gaussian_filter(part, (1.0, 1.5))
    slope = np.gradient(smooth, axis=0)
    found = []
    for column, row in enumerate(path):
        above, below = slope[max(0, row - REACH) : row + 1, column], slope[row : row + REACH + 1, column]
        top, bottom = row - (len(above) - 1 - int(above.argmin())), row + int(below.argmax())
        rim = min(smooth[max(0, top - 4) : top + 1, column].max(), smooth[bottom : bottom + 5, column].max())
        if rim - smooth[row, column] > CLEAR:
            found.append(edge(slope[:, column], bottom, 1) - edge(slope[:, column], top, -1))
    return float(np.percentile(found, NARROW)) if len(found) >= part.shape[1] // 2 else None


def valley_path(part: np.ndarray) -> np.ndarray:
    """Row of the joint in each column: the path of most valley whose rows change by at most two a column."""
    top, bottom = (round(share * SIZE) for share in BAND)
    valley = np.max([s**2 * gaussian_laplace(part, (s, 2.0)) for s in (1.5, 2.5, 4.0)], axis=0)[top:bottom]
    total, back = valley.copy(), np.zeros(valley.shape, int)
    rows = np.arange(len(valley))
    for column in range(1, valley.shape[1]):
        steps = np.clip(rows[:, None] + np.arange(-2, 3), 0, len(valley) - 1)
        before = total[steps, column - 1]
        back[:, column] = steps[rows, before.argmax(1)]
        total[:, column] += before.max(1)
    path = [int(total[:, -1].argmax())]
    for column in range(valley.shape[1] - 1, 0, -1):
        path.append(int(back[path[-1], column]))
    return np.array(path[::-1]) + top


def edge(slope: np.ndarray, row: int, sign: int) -> float:
    """The steepest place to a fraction of a pixel, by the parabola through it and its neighbours."""
    if not 0 < row < len(slope) - 1:
        return float(row)
    before, here, after = (sign * slope[row + step] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    return row + (0.5 * (before - after) / bend if bend < 0 else 0.0)
