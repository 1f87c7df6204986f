"""Find the knees in a film: one leg or two, the joint of each, and a frame like that of the training films."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import fftconvolve

from koalib.data.images import KneeImage
from koalib.data.polarity import SIZE, likeness, local_contrast, resampled, template

FRAME = 64
"""Side of the frame, in pixels, at which the joint template was made; its centre lies ``JOINT_BELOW`` rows below the frame's."""
JOINT_BELOW = 2
JOINT_ROW = 0.58
"""Where the joint lies in the training films' frame, from its top."""
FRAME_SHARES = (0.35, 0.42, 0.5, 0.6, 0.72, 0.85, 1.0)
"""Sides of the frame that are tried, as shares of the leg's width on the film."""
TALLEST = 2.2
"""A frame may stand out of the film by this much: films of a joint often end close above and below it."""
GAP = 0.55
"""How much darker than the legs the column between two legs is, in parts of the profile's range; one leg stays below."""
WHOLE_IS_FINE = 0.14
"""A film that resembles the mean knee as well as the best frame inside it, less this, is taken as it is."""


@dataclass(frozen=True)
class KneeCrop:
    """One knee of a film.

    ``box`` is (top, bottom, left, right) in pixels of the film and may stand out of it, where the film's edge is
    continued; ``confidence`` in 0..1 is the correlation with the mean knee.
    """

    image: KneeImage
    box: tuple[int, int, int, int]
    side: str | None
    confidence: float

    @property
    def joint(self) -> tuple[float, float]:
        """Row and column of the middle of the joint on the film: a little below the frame's centre."""
        top, bottom, left, right = self.box
        return top + JOINT_ROW * (bottom - top), (left + right) / 2


def find_knees(image: KneeImage) -> list[KneeCrop]:
    """The knees of a film with bone bright, from left to right; two when it shows two legs.

    On a film of both, the left one on the film is the patient's right. A film that already is the crop of one knee
    comes back whole.
    """
    pixels = image.pixels
    gap = leg_gap(pixels)
    if gap is None:
        return [_single(image)]
    halves = [(0, gap, "R"), (gap, pixels.shape[1], "L")]
    return [_framed(image, _find_joint(pixels[:, left:right]), left, side) for left, right, side in halves]


def leg_gap(pixels: np.ndarray) -> int | None:
    """Column of the darkest line between two legs, None where the film shows one leg."""
    profile = resampled(pixels, 20, 40).mean(axis=0)
    middle = profile[16:24]
    legs = min(np.sort(profile[4:16])[-4:].mean(), np.sort(profile[24:36])[-4:].mean())
    if legs - middle.min() < GAP * (np.ptp(profile) + 1e-6):
        return None
    return round((16 + int(middle.argmin()) + 0.5) * pixels.shape[1] / 40)


def _single(image: KneeImage) -> KneeCrop:
    height, width = image.shape
    framed = _framed(image, _find_joint(image.pixels), 0, image.side)
    whole = max(likeness(image.pixels), 0.0)
    if max(height, width) < 1.25 * min(height, width) and whole >= framed.confidence - WHOLE_IS_FINE:
        return KneeCrop(image, (0, height, 0, width), image.side, whole)
    return framed


def _find_joint(leg: np.ndarray) -> tuple[float, float, float]:
    """Row and column of the frame's centre and the side of the frame, in pixels of the leg's part of the film.

    The joint template proposes a place at each of several scales; how well a frame around it resembles the whole mean
    knee decides between them and sets the size, which the joint line alone tells badly.
    """
    height, width = leg.shape
    proposals = [_match(leg, share) for share in FRAME_SHARES if share * width <= TALLEST * height]
    sides = [share * width for share in np.geomspace(0.4, 1.0, 9)]
    frames = [(match + _frame_likeness(leg, row, column, side), row, column, side) for match, row, column in proposals for side in sides]
    return max(frames)[1:]


def _match(leg: np.ndarray, share: float) -> tuple[float, float, float]:
    """Best correlation with the joint template at one scale, with the frame's centre it speaks for.

    The joint lies near the middle of the leg's shadow and not at the ends of the film.
    """
    joint = template("joint")
    scale = FRAME / (share * leg.shape[1])
    small = resampled(leg, max(16, round(leg.shape[0] * scale)), max(16, round(leg.shape[1] * scale)))
    contrast = np.pad(local_contrast(small, FRAME / 14, 0.015), ((8, 8), (0, 0)))
    energy = fftconvolve(contrast**2, np.ones_like(joint), mode="same")
    match = (fftconvolve(contrast, joint[::-1, ::-1], mode="same") / np.sqrt(np.maximum(energy, 1e-3)))[8:-8]
    rows, columns = (np.arange(match.shape[axis]) + 0.5 for axis in (0, 1))
    off_axis = (columns / scale - _axis(leg)) / (0.15 * share * leg.shape[1])
    match = match - 0.05 * off_axis**2
    match[np.abs(rows / match.shape[0] - 0.5) > 0.4] = -np.inf
    row, column = np.unravel_index(match.argmax(), match.shape)
    return float(match[row, column]), (rows[row] - JOINT_BELOW) / scale, columns[column] / scale


def _axis(leg: np.ndarray) -> float:
    """Column of the centre of the leg's shadow."""
    profile = leg.mean(axis=0)
    shadow = np.clip(profile - np.percentile(profile, 40), 0, None) + 1e-9
    return float((shadow * (np.arange(len(shadow)) + 0.5)).sum() / shadow.sum())


def _box(row: float, column: float, side: float) -> tuple[int, int, int, int]:
    length = round(side)
    top, left = round(row - side / 2), round(column - side / 2)
    return top, top + length, left, left + length


def _cut(pixels: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The part inside the box; outside the film its edge is repeated."""
    top, bottom, left, right = box
    rows = np.clip(np.arange(top, bottom), 0, pixels.shape[0] - 1)
    columns = np.clip(np.arange(left, right), 0, pixels.shape[1] - 1)
    return pixels[np.ix_(rows, columns)]


def _frame_likeness(leg: np.ndarray, row: float, column: float, side: float) -> float:
    """Correlation of a frame with the mean knee, over that part of the frame which lies on the film."""
    box = _box(row, column, side)
    contrast = local_contrast(resampled(_cut(leg, box), SIZE, SIZE), SIZE / 8, 0.01)
    lines = [np.linspace(start, stop, SIZE, endpoint=False) for start, stop in (box[:2], box[2:])]
    on_film = np.outer(*((line >= 0) & (line < length) for line, length in zip(lines, leg.shape)))
    contrast, knee = contrast * on_film, template("knee") * on_film
    return float((contrast * knee).sum() / max(np.linalg.norm(contrast) * np.linalg.norm(knee), 1e-9))


def _framed(image: KneeImage, joint: tuple[float, float, float], left: int, side: str | None) -> KneeCrop:
    row, column, length = joint
    box = _box(row, column + left, length)
    crop = replace(image, pixels=_cut(image.pixels, box), side=side)
    return KneeCrop(crop, box, side, min(max(likeness(crop.pixels), 0.0), 1.0))
