"""Find the knees in a film: one leg or two, the joint of each, and a frame like that of the training films."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import fftconvolve

from koalib.data.images import KneeImage
from koalib.data.polarity import likeness, local_contrast, resampled, template

FRAME = 32
"""Side of the frame, in pixels, at which the template that finds it was made."""
JOINT_ROW = 0.58
"""Where the joint lies in the training films' frame, from its top."""
FRAME_SHARES = tuple(np.geomspace(0.4, 1.0, 10))
"""Sides of the frame that are tried, as shares of the leg's width on the film."""
TALLEST = 2.2
"""A frame may stand out of the film by this much: films of a joint often end close above and below it."""
EVIDENCE = 0.3
"""Weight of the template's log-likelihood ratio, which is overstated: a frame has fewer independent pixels than the ridge in
the template's covariance makes of it. Chosen on legs composed of training films."""
OFF_AXIS = 0.15
"""Spread of the joint's distance from the axis of the leg, as a share of the leg's width."""
USUAL_SHARE, SHARE_SPREAD = 0.65, 0.25
"""Median and spread (of the logarithm) of the frame's side, as a share of the leg's width."""
GAP = 0.55
"""How much darker than the legs the column between two legs is, in parts of the profile's range; one leg stays below."""
WHOLE_IS_FINE = 0.14
"""A film that resembles the mean knee as well as the best frame inside it, less this, is taken as it is."""


@dataclass(frozen=True)
class KneeCrop:
    """One knee of a film.

    ``box`` is (top, bottom, left, right) in pixels of the film and may stand out of it, where the film's edge is
    continued; ``confidence`` in 0..1 is the correlation with the mean knee; ``leg`` is the part of the film that was
    searched: all of it, or one side of a film of two legs.
    """

    image: KneeImage
    leg: KneeImage
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
    legs = [(replace(image, pixels=pixels[:, left:right], side=side), left) for left, right, side in halves]
    return [_framed(image, leg, _find_joint(leg.pixels), left) for leg, left in legs]


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
    framed = _framed(image, image, _find_joint(image.pixels), 0)
    whole = max(likeness(image.pixels), 0.0)
    if max(height, width) < 1.25 * min(height, width) and whole >= framed.confidence - WHOLE_IS_FINE:
        return KneeCrop(image, image, (0, height, 0, width), image.side, whole)
    return framed


def frame_contrast(leg: np.ndarray, scale: float) -> np.ndarray:
    """Local contrast of a leg at ``scale``, with a margin of half a frame that is 0: nothing is known beyond the film."""
    margin = FRAME // 2
    small = resampled(leg, *(max(8, round(length * scale)) for length in leg.shape))
    contrast = local_contrast(np.pad(small, margin, mode="edge"), FRAME / 8, 0.015).clip(-3, 3)
    return np.pad(contrast[margin:-margin, margin:-margin], margin)


def _find_joint(leg: np.ndarray) -> tuple[float, float, float]:
    """Row and column of the frame's centre and the side of the frame, in pixels of the leg's part of the film.

    The frame of the largest posterior: what the template says of every place at every size (a log-likelihood ratio),
    and what is known beforehand: the joint lies near the leg's axis, and its frame takes most of the leg's width.
    """
    height, width = leg.shape
    return max(_best_frame(leg, share) for share in FRAME_SHARES if share * width <= TALLEST * height)[1:]


def _best_frame(leg: np.ndarray, share: float) -> tuple[float, float, float, float]:
    """Log posterior, row, column and side of the best frame of one size."""
    width = leg.shape[1]
    scale = FRAME / (share * width)
    evidence = fftconvolve(frame_contrast(leg, scale), template("frame")[::-1, ::-1], mode="valid")
    off_axis = (np.arange(evidence.shape[1]) / scale - _axis(leg)) / (OFF_AXIS * width)
    unusual = np.log(share / USUAL_SHARE) / SHARE_SPREAD
    posterior = EVIDENCE * evidence - (off_axis**2 + unusual**2) / 2
    row, column = np.unravel_index(posterior.argmax(), posterior.shape)
    return float(posterior[row, column]), row / scale, column / scale, share * width


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


def _framed(image: KneeImage, leg: KneeImage, joint: tuple[float, float, float], left: int) -> KneeCrop:
    row, column, length = joint
    box = _box(row, column + left, length)
    crop = replace(image, pixels=_cut(image.pixels, box), side=leg.side)
    return KneeCrop(crop, leg, box, leg.side, min(max(likeness(crop.pixels), 0.0), 1.0))
