"""A digital knee: films whose truth is known, made in the computer, projected by Beer-Lambert.

Used wherever no real film may or need be: the notebooks' default, the tests, and every question about where a model
looks, for which real films have no answer. Nothing of a real film is in it; what it borrows from real films are
distributions (grades, grey values, framing), named in `cohort` and `acquisition`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd

from koalib.data.phantom.acquisition import draw_exposure, draw_view
from koalib.data.phantom.anatomy import LATERAL, MARGINS, MEDIAL, draw_anatomy
from koalib.data.phantom.body import GRID_LOW, GRID_POINTS, GRID_STEP, project
from koalib.data.phantom.cohort import cohort
from koalib.data.phantom.film import expose
from koalib.data.phantom.outlines import POINTS, Knees, build
from koalib.data.phantom.projection import FEMUR, JOINT_SPACE, OSTEOPHYTE, SCLEROSIS, TIBIA
from koalib.data.phantom.texture import tiles
from koalib.errors import UserError

MASKS = {
    "femur": FEMUR,
    "tibia": TIBIA,
    "joint_space": JOINT_SPACE,
    "osteophytes": sum(OSTEOPHYTE),
    "sclerosis": SCLEROSIS,
    **{f"osteophyte_{name}": bit for name, bit in zip(MARGINS, OSTEOPHYTE, strict=True)},
}
CHUNK = 256  #: knees whose outlines are held at a time


class Masks(Mapping):
    """Truth by name, each bool (N, S, S), made on demand from one byte a pixel (bits: ``MASKS``)."""

    def __init__(self, bits: np.ndarray) -> None:
        self.bits = bits

    def __getitem__(self, name: str) -> np.ndarray:
        return (self.bits & MASKS[name]) > 0

    def __iter__(self) -> Iterator[str]:
        return iter(MASKS)

    def __len__(self) -> int:
        return len(MASKS)

    def select(self, rows: np.ndarray) -> Masks:
        """The masks of some films only."""
        return Masks(self.bits[rows])


class Phantoms(NamedTuple):
    """Films with everything known about them."""

    pixels: np.ndarray  #: uint8 (N, S, S), bone bright unless ``table.inverted``
    table: pd.DataFrame  #: a row a film: who, which grade, measured widths, landmarks in pixels
    masks: Masks


def make_phantoms(n_patients: int, size: int = 224, seed: int = 0) -> Phantoms:
    """Films of both knees of ``n_patients``; the same seed gives the same pixels, in any process.

    Returns:
        Right and left knee of each patient in turn. The table has image_id, patient, side, grade, second_grade,
        severity, split, inverted, medial_jsw_mm, lateral_jsw_mm (shortest distance between the bones), spacing_mm (at
        the joint), lean_deg (of the femur, positive in varus), spur lengths and sclerosis by place, and landmarks
        ``*_x``, ``*_y`` in pixels of the film (centre of the first pixel at 0).

    Raises:
        UserError: no patient, or a film too small to show a joint.
    """
    if n_patients < 1 or size < 32:
        raise UserError(f"make_phantoms(n_patients={n_patients}, size={size}): needs at least 1 patient and 32 pixels")
    rng = np.random.default_rng([seed, 0x6B6E6565])
    table = cohort(n_patients, rng)
    knees = draw_anatomy(table["severity"].to_numpy(), rng)
    view = draw_view(knees, (table["side"] == "L").to_numpy(), size, rng)
    exposure = draw_exposure(len(table), rng)
    pixels = np.empty((len(table), size, size), np.uint8)
    truth = np.empty_like(pixels)
    parts = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) as pool:
        for start in range(0, len(table), CHUNK):
            rows = slice(start, start + CHUNK)
            built = build(knees[rows])
            scene = _scene(built, view[rows])
            jobs = range(len(built.jsw))
            list(pool.map(lambda i: _make(i, start, scene, built, knees, view, exposure, seed, pixels, truth), jobs))
            parts.append(_measured(built, view[rows]))
    measured = pd.concat(parts, ignore_index=True)
    signs = {f"spur_{name}_mm": knees["spur"][:, k] for k, name in enumerate(MARGINS)}
    signs |= {"sclerosis_medial": knees["sclerosis"][:, MEDIAL], "sclerosis_lateral": knees["sclerosis"][:, LATERAL]}
    table = table.assign(inverted=exposure["inverted"], spacing_mm=view["spacing"].astype(float), **signs)
    return Phantoms(pixels, pd.concat([table, measured], axis=1).round(4), Masks(truth))


def _to_pixels(points: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Points (N, ..., 2) in mm to pixels of the film."""
    shape = (len(view), *[1] * (points.ndim - 2))
    x, y = points[..., 0] * view["mirror"].reshape(shape), points[..., 1]
    cos, sin = (view[name].reshape(shape) / view["spacing"].reshape(shape) ** 2 for name in ("mm_x", "mm_y"))
    return np.stack([x * cos - y * sin + view["ox"].reshape(shape), x * sin + y * cos + view["oy"].reshape(shape)], axis=-1)


def _scene(built: Knees, view: np.ndarray) -> tuple[np.ndarray, ...]:
    """What the kernel takes: curves in pixels one after another, where each starts, and the joint's two lines."""
    curves = np.concatenate([_to_pixels(built.outlines[name], view) for name in POINTS_IN_ORDER], axis=1).astype(np.float32)
    starts = np.cumsum([0, *[POINTS[name] for name in POINTS_IN_ORDER]])
    grid = GRID_LOW + GRID_STEP * np.arange(GRID_POINTS)
    lines = [np.stack([np.interp(grid, line[:, 0], line[:, 1]) for line in side]).astype(np.float32) for side in (built.plateau, built.condyles)]
    return curves, starts, *lines


POINTS_IN_ORDER = ("femur", "tibia", "condyle_lateral", "condyle_medial", "patella", "fibula", *MARGINS)


def _make(i: int, start: int, scene: tuple, built: Knees, knees: np.ndarray, view: np.ndarray, exposure: np.ndarray, seed: int, pixels: np.ndarray, truth: np.ndarray) -> None:
    curves, starts, plateau, condyles = scene
    row, size = start + i, pixels.shape[1]
    work = np.empty((7, size, size), np.float32)
    attenuation = np.empty((size, size), np.float32)
    contact, sclerosis = built.contact[i].astype(np.float32), knees["sclerosis"][row].astype(np.float32)
    project(curves[i], starts, plateau[i], condyles[i], contact, sclerosis, tiles(), view[row], attenuation, truth[row], work)
    quanta = np.random.Generator(np.random.SFC64([seed, row])).standard_normal((size, size), dtype=np.float32)
    expose(attenuation, quanta, exposure[row], pixels[row], work[0])


def _measured(built: Knees, view: np.ndarray) -> pd.DataFrame:
    """Widths and landmarks of a chunk."""
    columns = {"medial_jsw_mm": built.jsw[:, MEDIAL], "lateral_jsw_mm": built.jsw[:, LATERAL], "lean_deg": np.degrees(built.angle)}
    places = {
        "medial_contact": built.contact[:, MEDIAL],
        "lateral_contact": built.contact[:, LATERAL],
        "plateau_lateral": built.plateau[:, 0],
        "plateau_medial": built.plateau[:, -1],
        "joint": (built.plateau[:, 0] + built.plateau[:, -1]) / 2,
        "notch": built.condyles[np.arange(len(view)), built.condyles[..., 1].argmin(1)],
    }
    for name, point in places.items():
        on_film = _to_pixels(point, view)
        columns |= {f"{name}_x": on_film[:, 0], f"{name}_y": on_film[:, 1]}
    return pd.DataFrame(columns)
