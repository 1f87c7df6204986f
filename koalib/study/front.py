"""The picture on the README's front: a digital knee of each grade, and the truth that is known about it."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from koalib.data.phantom import Phantoms, make_phantoms
from koalib.data.registry import GRADE_NAMES
from koalib.study.style import ARMS, finish, styled

SHOWN = {"joint_space": ("joint space", ARMS[5]), "osteophytes": ("osteophytes", ARMS[4]), "sclerosis": ("sclerosis", ARMS[3])}


def typical(phantoms: Phantoms) -> list[int]:
    """For each grade the row whose narrower joint space is the grade's median: no pick of a pretty one."""
    table = phantoms.table.assign(narrowest=phantoms.table[["medial_jsw_mm", "lateral_jsw_mm"]].min(axis=1))
    table = table[~table["inverted"]]
    return [(group["narrowest"] - group["narrowest"].median()).abs().idxmin() for _, group in table.groupby("grade")]


@styled
def phantom_grades(n_patients: int = 40, size: int = 320, seed: int = 0) -> Figure:
    """Two rows of five films: as a reader sees them, and with the masks of what makes the grade."""
    phantoms = make_phantoms(n_patients, size, seed)
    rows = typical(phantoms)
    figure, axes = plt.subplots(2, len(rows), figsize=(9.6, 4.35), gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for column, row in zip(axes.T, rows, strict=True):
        grade = phantoms.table["grade"][row]
        column[0].set_title(f"{grade}  {GRADE_NAMES[grade]}", fontsize=9.5, loc="center", pad=5)
        for cell in column:
            cell.imshow(phantoms.pixels[row], vmin=0, vmax=255, interpolation="lanczos")
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
        for name, (_, colour) in SHOWN.items():
            mask = phantoms.masks[name][row]
            column[1].imshow(np.where(mask, 1.0, np.nan), cmap=ListedColormap([colour]), alpha=0.75, interpolation="nearest")
    axes[0, 0].set_ylabel("film")
    axes[1, 0].set_ylabel("truth")
    figure.legend(handles=[Patch(color=colour, label=label) for label, colour in SHOWN.values()], loc="outside lower right", ncols=3, handlelength=1, fontsize=8)
    return finish(figure, "", f"phantom, {n_patients} patients, seed {seed}; of each grade the film with the median joint space")
