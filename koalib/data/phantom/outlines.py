"""From anatomy to outlines in millimetres: bones as closed curves, the femur set on the joint space that was drawn.

The frame is that of a right knee as it is shown: x grows from lateral to medial, y from the hip to the foot, the origin
lies in the middle of the tibial plateau. Outlines are closed uniform cubic B-splines, sampled densely; a curve is a
linear function of its control points, so one matrix product makes all knees at once.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.interpolate import BSpline

from koalib.data.phantom.anatomy import LATERAL, MARGINS, MEDIAL

# Control points, mm, for a plateau 75 mm wide. The shafts run far out of the film.
FEMUR = np.array([
    (-23, -95), (-25, -70), (-31, -55), (-39.5, -45), (-41.5, -37), (-40.5, -29), (-35.5, -23), (-36.5, -16.5), (-38.8, -10.5), (-36.5, -4.2),
    (-27, -2.4), (-16, -5.5), (-9.5, -13), (-3.5, -19.5), (4, -19.2), (9.5, -11), (15.5, -3.4), (26, -0.6), (36.2, -2.2), (40.3, -9.5),
    (42.0, -22), (43.8, -36), (40, -47), (30, -60),
], float)  # fmt: skip
FEMUR_SHAFT = np.array([(24, -76), (22.5, -95), (21, -130), (-21, -130)], float)
TIBIA = np.array([
    (-38.6, 19), (-39.6, 10), (-40.4, 4.6), (-39.0, 1.5), (-33, 2.6), (-24.5, 4.4), (-17.0, 3.4), (-11.0, -1.2), (-6.6, -6.6), (-5.2, -7.4),
    (-2.6, -2.8), (2.4, -3.2), (6.3, -9.4), (7.4, -8.6), (10.8, -1.6), (17, 4.2), (26, 6.0), (34, 4.6), (38.2, 3.2), (39.6, 6.4),
    (38.4, 14), (36.5, 23), (31, 38), (25, 56),
], float)  # fmt: skip
TIBIA_SHAFT = np.array([(20.5, 80), (19, 120), (-19, 120), (-20, 80), (-25, 56), (-32, 38), (-37, 28)], float)
CONDYLE_LATERAL = np.array([(-37, -36), (-38.5, -17), (-36, -3.5), (-26, -1.6), (-15.5, -4), (-11.0, -14), (-11.8, -28), (-12.5, -44), (-20, -54), (-34, -50)], float)
CONDYLE_MEDIAL = np.array([(12.6, -27), (11.4, -13), (15.5, -2.8), (25.5, 0.2), (36, -2), (41, -14), (42, -31), (37, -48), (23, -54), (13.5, -44)], float)
PATELLA = np.array([(-20, -2), (-18, -14), (-8, -20), (7, -20), (18, -14), (20.5, -2), (15, 11), (5, 20), (-5, 20), (-15, 11)], float)
FIBULA = np.array([(-39.5, 14), (-33, 20), (-31, 29), (-34, 42), (-35, 62), (-35, 120), (-47, 120), (-46, 62), (-47, 42), (-50, 29), (-46, 20)], float)
#: An osteophyte of length 1 and thickness 1: u outwards from the margin, v away from the joint.
SPUR = np.array([(-1.0, 0.5), (-0.6, -0.35), (0.25, -0.42), (0.75, -0.62), (1.12, -0.72), (1.1, -0.15), (0.75, 0.45), (0.3, 1.2), (-0.2, 2.3), (-1.1, 2.2)], float)

JOINT = slice(9, 19)  #: the femur's control points that face the joint
PLATEAU = slice(3, 19)  #: the tibia's
COMPARTMENT = {MEDIAL: (15.0, 35.0), LATERAL: (-35.0, -15.0)}  #: x, mm of a plateau 75 mm wide
POINTS = {"femur": 140, "tibia": 140, "condyle_lateral": 48, "condyle_medial": 48, "patella": 48, "fibula": 48, **dict.fromkeys(MARGINS, 32)}


class Knees(NamedTuple):
    """Outlines (N, points, 2) in mm by name (``POINTS``), and what was measured on them."""

    outlines: dict[str, np.ndarray]
    plateau: np.ndarray  #: (N, points, 2) the line of the tibial plateau, lateral to medial
    condyles: np.ndarray  #: (N, points, 2) the line of the femoral condyles
    jsw: np.ndarray  #: (N, 2) medial, lateral: the shortest distance between the bones, mm
    contact: np.ndarray  #: (N, 2, 2) where on the tibia that is: compartment, (x, y)
    angle: np.ndarray  #: (N,) by how much the femur leans, rad; positive in varus


@cache
def _spline(controls: int, points: int) -> np.ndarray:
    """Matrix (points, controls) of a closed uniform cubic B-spline."""
    knots = np.arange(-3, controls + 4)
    basis = np.eye(controls)[np.arange(controls + 3) % controls]
    return BSpline(knots, basis, 3)(np.linspace(0, controls, points, endpoint=False))


def _parameter(controls: int, points: int, part: slice) -> np.ndarray:
    """Indices of the sampled points that belong to these control points."""
    t = np.linspace(0, controls, points, endpoint=False)
    peak = (t + 1) % controls  # the basis function of control point k peaks at parameter k - 1
    return np.flatnonzero((peak >= part.start) & (peak <= part.stop - 1))


def _curve(control: np.ndarray, points: int) -> np.ndarray:
    return np.einsum("pk,nkc->npc", _spline(control.shape[1], points), control)


def build(knees: np.ndarray) -> Knees:
    """Outlines of the knees, records of ``ANATOMY``."""
    n = len(knees)
    scale = (knees["width"] / 75)[:, None, None]
    femur, tibia = np.tile(FEMUR, (n, 1, 1)), np.tile(TIBIA, (n, 1, 1))
    _shape(femur, tibia, knees)
    femur = np.concatenate([femur, np.tile(FEMUR_SHAFT, (n, 1, 1))], axis=1)
    tibia = np.concatenate([tibia, np.tile(TIBIA_SHAFT, (n, 1, 1))], axis=1)
    joint = _parameter(femur.shape[1], POINTS["femur"], JOINT)
    top = _parameter(tibia.shape[1], POINTS["tibia"], PLATEAU)
    out = {"femur": _curve(femur * scale, POINTS["femur"]), "tibia": _curve(tibia * scale, POINTS["tibia"])}
    for name, control in (("condyle_lateral", CONDYLE_LATERAL), ("condyle_medial", CONDYLE_MEDIAL), ("fibula", FIBULA), ("patella", PATELLA)):
        out[name] = _curve(control[None] * scale, POINTS[name])
    out["patella"] = out["patella"] * knees["patella"][:, None, 2:] + knees["patella"][:, None, :2]
    out["fibula"] = out["fibula"] + knees["fibula"][:, None]
    for k, name in enumerate(MARGINS):
        out[name] = _spur(out[name.split("_")[0]], joint if k < 2 else top, knees["spur"][:, k], k)
    angle = _set_femur(out, joint, top, knees, scale[:, 0, 0])
    jsw, contact = _measure(out, joint, top, scale[:, 0, 0])
    return Knees(out, out["tibia"][:, top], out["femur"][:, joint], jsw, contact, angle)


def _shape(femur: np.ndarray, tibia: np.ndarray, knees: np.ndarray) -> None:
    """Individual shape: notch, spines, attrition, and a wobble of every control point."""
    femur += knees["wobble"][:, 0]
    tibia += 0.6 * knees["wobble"][:, 1]
    femur[:, 12:16, 1] *= knees["notch"][:, None]
    tibia[:, 7:14, 1] = np.where(tibia[:, 7:14, 1] < 0, tibia[:, 7:14, 1] * knees["spines"][:, None], tibia[:, 7:14, 1])
    for side, below, above in ((MEDIAL, slice(15, 19), slice(16, 19)), (LATERAL, slice(3, 7), slice(9, 12))):
        depth = knees["attrition"][:, side, None]
        tibia[:, below, 1] += 0.7 * depth
        femur[:, above, 1] += 0.3 * (femur[:, above, 1].mean(1, keepdims=True) - femur[:, above, 1]) * (depth > 0)


def _spur(bone: np.ndarray, face: np.ndarray, length: np.ndarray, margin: int) -> np.ndarray:
    """An osteophyte on the medial (even) or lateral margin of a bone, growing outwards and towards the joint."""
    outward, down = (1.0 if margin % 2 == 0 else -1.0), (-1.0 if margin < 2 else 1.0)
    corner = bone[:, face[-1 if margin % 2 == 0 else 0]]
    thick = 1.1 + 0.5 * length
    local = SPUR[None] * np.stack([np.maximum(length, 1.0), thick], axis=1)[:, None]
    local = local * [outward, down] + corner[:, None]
    local = np.where(length[:, None, None] > 0.4, local, corner[:, None] + 1e-3 * SPUR)
    return _curve(local, POINTS[MARGINS[margin]])


def _gaps(out: dict[str, np.ndarray], joint: np.ndarray, top: np.ndarray, scale: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Shortest distance between the bones in a compartment (N,), negative where they overlap, and its tibial point."""
    low, high = COMPARTMENT[side]
    femur, tibia = out["femur"][:, joint], out["tibia"][:, top]
    x = np.linspace(low, high, 41) * scale[:, None]
    above = np.stack([np.interp(xi, f[:, 0], f[:, 1]) for xi, f in zip(x, femur, strict=True)])
    below = np.stack([np.interp(xi, t[:, 0], t[:, 1]) for xi, t in zip(x, tibia, strict=True)])
    apart = np.hypot(x[:, :, None] - x[:, None, :], below[:, :, None] - above[:, None, :])
    nearest = apart.reshape(len(x), -1).argmin(1)
    rows, i = np.arange(len(x)), nearest // x.shape[1]
    vertical = (below - above).min(1)
    gap = np.where(vertical > 0, apart.reshape(len(x), -1)[rows, nearest], vertical)
    return gap, np.stack([x[rows, i], below[rows, i]], axis=1)


def _set_femur(out: dict[str, np.ndarray], joint: np.ndarray, top: np.ndarray, knees: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Shift and lean the femur and what hangs on it until both compartments have the wanted width."""
    moving = ["femur", "condyle_lateral", "condyle_medial", "patella", *MARGINS[:2]]
    total = np.zeros(len(scale))
    for _ in range(6):
        medial, lateral = (_gaps(out, joint, top, scale, side)[0] - knees["jsw"][:, side] for side in (MEDIAL, LATERAL))
        angle = (medial - lateral) / (50 * scale)
        turn = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], axis=1).reshape(-1, 2, 2)
        for name in moving:
            out[name] = out[name] @ turn
            out[name][:, :, 1] += ((medial + lateral) / 2)[:, None]
        total += angle
    return total


def _measure(out: dict[str, np.ndarray], joint: np.ndarray, top: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = [_gaps(out, joint, top, scale, side) for side in (MEDIAL, LATERAL)]
    return np.maximum(np.stack([gap for gap, _ in found], axis=1), 0), np.stack([point for _, point in found], axis=1)
