"""Films of both legs, as a hospital exports them, composed of single knees so that the joints' places are known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from koalib.data.polarity import resampled

AIR = 0.02
FADE = 0.12
"""Share of a knee's frame over which the soft tissue beside it thins out to air."""


def both_legs(knees: np.ndarray, table: pd.DataFrame, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One film of a patient's right knee (on the film's left) and left knee.

    Args:
        knees: uint8 (2, S, S), bone bright, right knee first.
        table: their rows of the phantom's table, with the landmarks joint_x and joint_y in pixels.
        seed: of sizes, heights and margins, drawn anew for each film.

    Returns:
        The film, float32 (H, W) in [0, 1], and the joints' (row, column), float (2, 2), from left to right.
    """
    rng = np.random.default_rng(seed)
    side = knees.shape[1]
    sides = np.round(side * rng.uniform(0.85, 1.1) * rng.uniform(0.95, 1.05, 2)).astype(int)
    widths = np.round(sides * rng.uniform(1.3, 1.7)).astype(int)
    height = round(max(sides) * rng.uniform(1.0, 2.2))
    legs, joints, offset = [], [], 0
    for knee, landmarks, length, width in zip(knees, table.itertuples(), sides, widths):
        top = rng.integers(0, height - length + 1)
        left = round((width - length) * rng.uniform(0.3, 0.7))
        legs.append(_leg(resampled(_exposed_alike(knee), length, length), height, width, top, left))
        joints.append((top + landmarks.joint_y * length / side, offset + left + landmarks.joint_x * length / side))
        offset += width
    return np.hstack(legs), np.array(joints)


def one_leg(knee: np.ndarray, side: int, rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, float]]:
    """One leg's part of such a film, closed above, below or beside the joint as films of joints often are.

    Args:
        knee: uint8 (S, S), bone bright.
        side: that the knee's frame is to have on the film, in pixels.
        rng: of margins and edges.

    Returns:
        The leg, float32 (H, W) in [0, 1], and the (row, column) of the frame's centre.
    """
    width = round(side * rng.uniform(1.1, 2.2))
    left = round((width - side) * rng.uniform(0.2, 0.8))
    leg = _leg(resampled(_exposed_alike(knee), side, side), 3 * side, width, side, left)
    top, bottom = side - round(side * rng.uniform(-0.25, 1.0)), 2 * side + round(side * rng.uniform(-0.25, 1.0))
    first, last = 0, width
    if rng.random() < 0.3:
        cut = round(side * rng.uniform(0, 0.25))
        first, last = (left + cut, width) if rng.random() < 0.5 else (0, left + side - cut)
    return leg[top:bottom, first:last], (1.5 * side - top, left + side / 2 - first)


def _exposed_alike(knee: np.ndarray) -> np.ndarray:
    """Both legs are taken in one exposure: the same darkest and brightest part in each."""
    low, high = np.percentile(knee, (1, 99))
    return np.clip((knee - low) / (high - low), 0, 1).astype(np.float32) * 0.8 + 0.1


def _leg(knee: np.ndarray, height: int, width: int, top: int, left: int) -> np.ndarray:
    """The knee on a larger film: its shafts go on above and below, its soft tissue thins out to both sides."""
    length = len(knee)
    padding = ((top, height - length - top), (left, width - length - left))
    leg = np.pad(knee, padding, mode="edge")
    beside = np.maximum(np.maximum(left - np.arange(width), np.arange(width) - (left + length - 1)), 0)
    return AIR + (leg - AIR) * np.exp(-((beside / (FADE * length)) ** 2))[None, :]
