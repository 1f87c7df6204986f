"""One knee along the rays: attenuation of every pixel, and the truth as bits."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from koalib.data.phantom.projection import (
    CORTICAL, FAT, FEMUR, JOINT_SPACE, MUSCLE, OSTEOPHYTE, SCLEROSIS, TIBIA, TRABECULAR, bone, inside_distance, lookup, ramp, unite_osteophytes,
)  # fmt: skip
from koalib.data.phantom.texture import PITCH

GRID_LOW, GRID_STEP, GRID_POINTS = -55.0, 0.5, 221  #: x, mm, at which the lines of plateau and condyles are given
STRUTS, NET, CLOUDS = 0, 1, 2
SHOWN_SCLEROSIS = 1.0  #: mm of cortical bone along the ray from which on the truth calls it sclerosis


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _on_line(line, x):
    """Height of a line given on the grid, at x mm."""
    at = min(max((x - GRID_LOW) / GRID_STEP, 0.0), GRID_POINTS - 1.001)
    i = int(at)
    return line[i] + (line[i + 1] - line[i]) * np.float32(at - i)


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _leg(x, y, v):
    """Attenuation by the leg's muscle and fat, without bone; 0 outside the skin."""
    half = v.leg_medial - 0.16 * y - 0.0012 * y * y if x > 0 else v.leg_lateral - 0.05 * y
    depth = v.leg_depth * (1 - 0.0032 * y)
    q, inner = x / half, x / (half - v.fat)
    if abs(q) >= 1:
        return np.float32(0.0)
    whole = 2 * depth * (1 - q * q) ** 0.47
    muscle = 2 * (depth - v.fat) * (1 - inner * inner) ** 0.47 if abs(inner) < 1 else 0.0
    return MUSCLE * muscle + FAT * (whole - muscle)


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _scar(x, y, level, tiles, v):
    """The scar of a growth plate: a wavering line, here and there interrupted; mm of cortical bone."""
    wave = lookup(tiles[CLOUDS], (0.3 * x + v.tx) / PITCH, (v.ty + 7 * level) / PITCH)
    patchy = lookup(tiles[CLOUDS], (0.5 * x + v.ty) / PITCH, (v.tx + 3 * level) / PITCH)
    off = (y - level - 1.2 * wave - 1.8 * math.cos(0.085 * x)) / 0.6
    return v.scar * max(0.45 + 0.45 * patchy, 0.0) * math.exp(-off * off) if abs(off) < 3 else 0.0


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _eminence(x, y, tiles, v):
    """The dense, irregular bone under the spines, where the cruciate ligaments hold; mm of cortical bone."""
    u, w = x / (9.0 * v.scale), (y - 1.0) / (8.0 * v.scale)
    near = math.exp(-u * u - w * w)
    return near * max(0.9 + 0.9 * lookup(tiles[NET], (1.3 * x + v.ty) / PITCH, (1.3 * y + v.tx) / PITCH), 0.0) if near > 0.02 else 0.0


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _trabeculae(x, y, tiles, v):
    """Factor on the density of trabecular bone: struts that fan out to the joint, a net, clouds."""
    fan = 1 + 0.0055 * abs(y)
    u, w = (x * fan + v.tx) / PITCH, (y + v.ty) / PITCH
    struts = lookup(tiles[STRUTS], u, w) * (1 - 0.6 * ramp(abs(y), 25.0, 60.0))
    net = lookup(tiles[NET], u + 200, 1.1 * w)
    return v.density * (1 + v.texture * (0.9 * struts + 0.45 * net) + 0.05 * lookup(tiles[CLOUDS], 0.8 * u, 0.8 * w))


@njit(cache=True, nogil=True, fastmath=True)
def project(curves, starts, plateau, condyles, contact, sclerosis, tiles, v, attenuation, truth, d):
    """Fill ``attenuation`` float32 (S, S) and ``truth`` uint8 (S, S) of one knee.

    Args:
        curves, starts: outlines in pixels one after another: femur, tibia, lateral and medial condyle, patella, fibula,
            then the osteophytes in the order of ``MARGINS``.
        plateau, condyles: heights of the two sides of the joint, mm, on the grid of x.
        contact: (2, 2) narrowest place of each compartment, (x, y) in mm.
        sclerosis: (2,) medial, lateral.
        v: record of ``VIEW``.
        d: work space float32 (7, S, S).
    """
    size, mm = truth.shape[0], v.spacing
    for k in range(6):
        inside_distance(curves[starts[k] : starts[k + 1]], d[k])
    truth[:] = 0
    spurs = curves[starts[6] :].reshape(4, -1, 2)
    unite_osteophytes(d[0], spurs[:2], OSTEOPHYTE[0], mm, truth, d[6])
    unite_osteophytes(d[1], spurs[2:], OSTEOPHYTE[2], mm, truth, d[6])
    half = 37.0 * v.scale
    for py in range(size):
        for px in range(size):
            dx, dy = np.float32(px) - v.ox, np.float32(py) - v.oy
            x, y = v.mirror * (dx * v.mm_x + dy * v.mm_y), dy * v.mm_x - dx * v.mm_y
            soft = _leg(x, y, v)
            if soft == 0:
                attenuation[py, px] = 0
                continue
            f, t = d[0, py, px] * mm, d[1, py, px] * mm
            plate, roof = _on_line(plateau, x), _on_line(condyles, x)
            cortical, trabecular, shown = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            if f > -0.5 * mm:
                if f > 0:
                    truth[py, px] |= FEMUR
                here = min(f / mm + np.float32(0.5), np.float32(1.0))
                c, s = bone(max(f, 0.3 * mm), 18.0, 10.0, v.cortex * (0.38 + 2.4 * ramp(-y, 34.0, 72.0)))
                inside = roof - y
                if -1 < inside < 25 and abs(x) < half:
                    side = 0 if x > 0 else 1
                    w = (x - contact[side, 0]) / 11.0
                    c += 0.5 * v.plate * math.exp(-max(inside, 0.0) / 0.8) * ramp(abs(x), 8.0, 16.0)
                    hard = 7.0 * sclerosis[side] * math.exp(-w * w) * math.exp(-max(inside, 0.0) / 4.0)
                    c, shown = c + hard, max(shown, hard)
                c += _scar(x, y, v.physis_femur, tiles, v)
                cortical, trabecular = cortical + here * c, trabecular + here * s
            for k in range(2, 4):
                depth = 10.5 * (1 - 0.92 * ramp(-y, 14.0, 46.0))
                c, s = bone(d[k, py, px] * mm, depth, 9.0, v.cortex * 0.34)
                cortical, trabecular = cortical + c, trabecular + s
            c, s = bone(d[4, py, px] * mm, 6.5, 13.0, v.cortex * 0.28)
            cortical, trabecular = cortical + c, trabecular + s
            if t > -0.5 * mm:
                if t > 0:
                    truth[py, px] |= TIBIA
                here = min(t / mm + np.float32(0.5), np.float32(1.0))
                c, s = bone(max(t, 0.3 * mm), 19.0, 9.0, v.cortex * (0.4 + 2.2 * ramp(y, 20.0, 55.0)))
                below = y - plate
                if -1 < below < 30 and abs(x) < half + 2:
                    side = 0 if x > 0 else 1
                    w = (x - contact[side, 0]) / 11.0
                    floor = ramp(abs(x), 7.0, 14.0)
                    rim = (below - 1.6 - v.tilt) / 0.6
                    line = math.exp(-max(below, 0.0) / 1.2) + 0.3 * math.exp(-max(below, 0.0) / 4.5)
                    c += v.plate * floor * (line + 0.3 * math.exp(-rim * rim))
                    hard = 11.0 * sclerosis[side] * math.exp(-w * w) * math.exp(-max(below, 0.0) / 5.0)
                    c, shown = c + hard, max(shown, hard)
                c += _scar(x, y, v.physis_tibia, tiles, v) + _eminence(x, y, tiles, v)
                cortical, trabecular = cortical + here * c, trabecular + here * s
            c, s = bone(d[5, py, px] * mm, 8.0, 7.0, v.cortex * (0.45 + 0.9 * ramp(y, 25.0, 50.0)))
            cortical, trabecular = cortical + c, trabecular + s
            if shown > SHOWN_SCLEROSIS:
                truth[py, px] |= SCLEROSIS
            if f <= 0 and t <= 0 and roof < y < plate and abs(x) < half:
                truth[py, px] |= JOINT_SPACE
            if trabecular > 0:
                trabecular *= _trabeculae(x, y, tiles, v)
            haze = 1 + 0.028 * lookup(tiles[CLOUDS], (0.4 * x + v.ty) / PITCH, (0.25 * y + v.tx) / PITCH)
            attenuation[py, px] = soft * haze + (CORTICAL - MUSCLE) * cortical + (TRABECULAR - MUSCLE) * trabecular
