"""The projection: how much bone and soft tissue every ray crosses, and the masks of what it crosses.

A bone is its outline and a depth profile: towards the outline it is rounded like an ellipse, and a cortical shell of
given thickness wraps it. So the bright line along every margin is not painted: rays there run along the shell.
Kernels run on one film each and hold no lock, so films are made in threads with the same result in any order.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

FEMUR, TIBIA, JOINT_SPACE, SCLEROSIS = 1, 2, 4, 8  #: bits of the truth; the four osteophytes follow
OSTEOPHYTE = (16, 32, 64, 128)

#: Linear attenuation, 1/mm, near 50 keV, the mean of a filtered 65 kVp beam (NIST XCOM; densities of ICRU 44).
MUSCLE, FAT, CORTICAL, TRABECULAR = 0.0236, 0.0202, 0.0805, 0.0290

VIEW = np.dtype([
    ("ox", "f4"), ("oy", "f4"),  # pixel of the frame's origin
    ("mm_x", "f4"), ("mm_y", "f4"),  # mm a pixel to the right, along the frame's x and y
    ("mirror", "f4"),  # -1 for a left knee
    ("spacing", "f4"),  # mm a pixel, at the joint
    ("scale", "f4"),  # of the knee, 1 for a plateau of 75 mm
    ("plate", "f4"),  # thickness of the subchondral plate, mm of cortical bone along the ray
    ("tilt", "f4"),  # of the beam: how far the plateau's two rims are apart on the film, mm
    ("texture", "f4"),  # strength of the trabecular texture
    ("tx", "f4"), ("ty", "f4"),  # where in the tiles
    ("density", "f4"),  # factor on trabecular density
    ("cortex", "f4"),  # factor on cortical thickness
    ("leg_medial", "f4"), ("leg_lateral", "f4"),  # half width of the leg at the joint, mm
    ("leg_depth", "f4"),  # half depth, mm
    ("fat", "f4"),  # thickness of the fat under the skin, mm
    ("physis_femur", "f4"), ("physis_tibia", "f4"),  # y of the scars of the growth plates, mm
    ("scar", "f4"),  # their strength, mm of cortical bone
])  # fmt: skip


@njit(cache=True, nogil=True, fastmath=True)
def inside_distance(curve, out):
    """Distance in pixels to a closed curve (P, 2), into ``out`` (S, S): positive inside, negative outside.

    Farther than 2 pixels outside the curve's bounding box it stays at -1000.
    """
    size, n = out.shape[0], curve.shape[0]
    left, right, top, bottom = curve[0, 0], curve[0, 0], curve[0, 1], curve[0, 1]
    for k in range(1, n):
        left, right = min(left, curve[k, 0]), max(right, curve[k, 0])
        top, bottom = min(top, curve[k, 1]), max(bottom, curve[k, 1])
    out[:] = -1000.0
    x0, x1 = max(0, int(left) - 2), min(size, int(right) + 4)
    y0, y1 = max(0, int(top) - 2), min(size, int(bottom) + 4)
    if x1 <= x0:
        return
    nearest = np.empty(x1 - x0, np.float32)
    sign = np.empty(x1 - x0, np.float32)
    for y in range(y0, y1):
        nearest[:] = 1e12
        sign[:] = -1.0
        for k in range(n):
            ax, ay = curve[k, 0], curve[k, 1]
            bx, by = curve[(k + 1) % n, 0], curve[(k + 1) % n, 1]
            ex, ey = bx - ax, by - ay
            inverse = np.float32(1.0) / (ex * ex + ey * ey + np.float32(1e-9))
            py = y - ay
            gx, c = ex * inverse, py * ey * inverse
            for i in range(x1 - x0):
                px = np.float32(x0 + i) - ax
                t = min(max(px * gx + c, np.float32(0.0)), np.float32(1.0))
                dx, dy = px - t * ex, py - t * ey
                nearest[i] = min(nearest[i], dx * dx + dy * dy)
            if (ay > y) != (by > y):
                first = max(0, int(math.ceil(ax + ex * py / ey)) - x0)
                for i in range(min(first, x1 - x0)):
                    sign[i] = -sign[i]
        for i in range(x1 - x0):
            out[y, x0 + i] = sign[i] * math.sqrt(nearest[i])


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def rounded(distance, depth, radius):
    """Half thickness of a bone of half depth ``depth`` at this distance inside its outline."""
    if distance <= 0:
        return np.float32(0.0)
    if distance >= radius:
        return depth
    q = 1 - distance / radius
    return depth * math.sqrt(1 - q * q)


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def bone(distance, depth, radius, shell):
    """Lengths in mm of cortical and of trabecular bone that a ray crosses."""
    whole = rounded(distance, depth, radius)
    core = rounded(distance - shell, depth - shell, radius)
    return 2 * (whole - core), 2 * core


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def ramp(x, low, high):
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = min(max((x - low) / (high - low), np.float32(0.0)), np.float32(1.0))
    return t * t * (3 - 2 * t)


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def lookup(tile, x, y):
    """Bilinear value of a periodic tile."""
    n = tile.shape[0]
    fx, fy = math.floor(x), math.floor(y)
    u, v = np.float32(x - fx), np.float32(y - fy)
    i, j = int(fx) % n, int(fy) % n
    i1, j1 = (i + 1) % n, (j + 1) % n
    return (tile[j, i] * (1 - u) + tile[j, i1] * u) * (1 - v) + (tile[j1, i] * (1 - u) + tile[j1, i1] * u) * v


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def joined(a, b, soft):
    """Union of two distances, its edge rounded by ``soft``."""
    h = max(soft - abs(a - b), np.float32(0.0)) / soft
    return max(a, b) + h * h * soft * np.float32(0.25)


@njit(cache=True, nogil=True, fastmath=True)
def unite_osteophytes(base, spurs, first_bit, mm, truth, work):
    """Grow a bone's distance ``base`` by its osteophytes and mark what they add."""
    for k in range(spurs.shape[0]):
        inside_distance(spurs[k], work)
        for y in range(base.shape[0]):
            for x in range(base.shape[1]):
                if work[y, x] > -3:
                    if work[y, x] > 0 and base[y, x] < 0:
                        truth[y, x] |= first_bit << k
                    base[y, x] = joined(base[y, x], work[y, x], np.float32(0.8) / mm)
