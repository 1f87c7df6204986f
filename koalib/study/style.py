"""The one look of all figures: a quiet style, colours that colour-blind readers can tell apart, the data named below.

Colours of arms: Okabe & Ito, *Color Universal Design*, 2008. Grades run from blue (healthy) over grey to rust (severe).
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, SOFT, FAINT = "#222222", "#767676", "#e4e4e4"
ARMS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#4d4d4d")
GRADES = ("#2c5f8a", "#78a9cb", "#b3b3b3", "#eaa663", "#bf5218")
THESIS = "#d55e00"
SEQUENTIAL, HEAT = "Blues", "inferno"

STYLE = {
    "figure.dpi": 100, "savefig.dpi": 200, "savefig.bbox": "tight", "figure.constrained_layout.use": True,
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9.5,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": SOFT, "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.titlesize": 10, "axes.titlelocation": "left", "axes.titlepad": 8, "axes.labelsize": 9.5,
    "axes.prop_cycle": plt.cycler(color=ARMS), "axes.grid": False, "grid.color": FAINT, "grid.linewidth": 0.8,
    "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "xtick.labelsize": 9, "ytick.labelsize": 9, "xtick.major.size": 3, "ytick.major.size": 3,
    "legend.frameon": False, "legend.fontsize": 9, "lines.linewidth": 1.8, "lines.solid_capstyle": "round", "image.cmap": "gray",
}


styled = plt.rc_context(STYLE)  #: decorator of every function that draws, so that nothing global is changed


def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options: object) -> tuple[Figure, Axes | np.ndarray]:
    """An empty figure; sizes in inches, options as ``plt.subplots``."""
    return plt.subplots(rows, columns, figsize=(width, height), **options)


def finish(figure: Figure, title: str, data: str) -> Figure:
    """Put the title on top and, below, on which data the figure was made."""
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    figure.supxlabel(textwrap.fill(f"Data: {data}", int(15 * figure.get_figwidth())), x=0.01, ha="left", fontsize=8, color=SOFT)
    return figure


@styled
def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG and close it; equal figures give equal bytes on one machine."""
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
    return path


def spread(positions: np.ndarray, gap: float) -> np.ndarray:
    """Positions moved apart, in their order, until neighbours are at least ``gap`` apart: for labels at the ends of lines."""
    order = np.argsort(positions, kind="stable")
    out = np.asarray(positions, float)[order]
    for _ in range(len(out)):
        for i in range(len(out) - 1):
            missing = gap - (out[i + 1] - out[i])
            if missing > 0:
                out[i] -= missing / 2
                out[i + 1] += missing / 2
    return out[np.argsort(order, kind="stable")]


def label_ends(axes: Axes, ends: dict[str, float], colours: dict[str, str]) -> None:
    """Write each line's name right of the axes at the height of its end, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    heights = spread(np.array(list(ends.values())), 0.075 * (high - low))
    for name, height in zip(ends, heights, strict=True):
        axes.annotate(name, (1, height), xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points", va="center", color=colours[name], fontsize=9, annotation_clip=False)


def signed(value: float, digits: int = 1) -> str:
    """A difference as text, with its sign and a true minus."""
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
