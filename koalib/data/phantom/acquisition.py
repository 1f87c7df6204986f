"""How a knee is filmed: position, magnification, exposure and processing, drawn for every film.

Grey values, polarity and the place of the joint on the film follow the training films of chen2018; they are kept here
as quantiles, not as films.
"""

from __future__ import annotations

import numpy as np

from koalib.data.phantom.film import EXPOSURE
from koalib.data.phantom.projection import VIEW

#: Quantiles of the mean and of the standard deviation of a film, training films of chen2018.
QUANTILES = np.array([0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])
FILM_MEAN = np.array([64, 109, 122, 136, 144, 151, 156, 161, 166, 174, 188, 200, 216])
FILM_STD = np.array([13, 19, 22, 26, 29, 32, 36, 41, 46, 51, 59, 65, 74])
INVERTED = 0.011
JOINT_HEIGHT = 0.60  #: of the film, where the plateau lies
KNEE_WIDTH = 0.83  #: of the film, the plateau's width


def draw_view(knees: np.ndarray, left: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Records of ``VIEW`` for the knees (records of ``ANATOMY``), (N,).

    Args:
        left: bool (N,), True for a left knee.
        size: of the film, pixels.
    """
    n = len(knees)
    view = np.zeros(n, VIEW)
    spacing = knees["width"] / (KNEE_WIDTH * size * np.exp(rng.normal(0, 0.04, n)))
    turn = np.radians(rng.normal(0, 2.5, n))
    view["spacing"], view["scale"] = spacing, knees["width"] / 75
    view["mm_x"], view["mm_y"] = spacing * np.cos(turn), spacing * np.sin(turn)
    view["ox"] = size * (0.5 + rng.normal(0, 0.02, n)) - 0.5
    view["oy"] = size * (JOINT_HEIGHT + rng.normal(0, 0.015, n)) - 0.5
    view["mirror"] = np.where(left, -1, 1)
    view["plate"] = np.exp(rng.normal(np.log(6.0), 0.25, n))
    view["tilt"] = np.abs(rng.normal(0, 1.2, n))
    view["texture"] = rng.uniform(0.07, 0.18, n)
    view["tx"], view["ty"] = rng.uniform(0, 160, (2, n))
    view["density"] = knees["porosity"]
    view["cortex"] = np.exp(rng.normal(0, 0.18, n))
    view["leg_medial"] = view["scale"] * np.maximum(rng.normal(59, 6, n), 49)
    view["leg_lateral"] = view["scale"] * np.maximum(rng.normal(64, 7, n), 52)
    view["leg_depth"] = rng.normal(60, 7, n)
    view["fat"] = rng.uniform(5, 14, n)
    view["physis_femur"], view["physis_tibia"] = rng.normal(-32, 1.5, n), rng.normal(15, 1.5, n)
    view["scar"] = rng.gamma(2, 0.55, n)
    return view


def draw_exposure(n: int, rng: np.random.Generator) -> np.ndarray:
    """Records of ``EXPOSURE``, (n,)."""
    e = np.zeros(n, EXPOSURE)
    e["mean"] = np.interp(rng.random(n), QUANTILES, FILM_MEAN)
    e["std"] = np.interp(rng.random(n), QUANTILES, FILM_STD)
    e["scatter"] = rng.uniform(0.1, 0.6, n)
    e["noise"] = np.exp(rng.normal(np.log(0.018), 0.35, n))
    e["blur"] = rng.uniform(0.06, 0.17, n)
    e["enhance"] = rng.uniform(0.0, 0.6, n)
    e["shutter"] = _at_an_edge(n, 0.06, (0.40, 0.47), rng)
    e["beads"] = _at_an_edge(n, 0.06, (0.42, 0.46), rng)
    e["beads"][:, 2] = rng.uniform(0, 1, n)
    e["inverted"] = rng.random(n) < INVERTED
    return e


def _at_an_edge(n: int, share: float, distance: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    side = np.where(rng.random(n) < share, rng.choice([-1, 1], n), 0)
    return np.stack([side, rng.uniform(*distance, n), rng.normal(0, 0.03, n)], axis=1)
