"""Figures that show films: maps over films, masks, probabilities, sets of grades. Real films are shown, never committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from koalib.study.style import ARMS, FAINT, GRADES, HEAT, INK, canvas, finish, styled

_KL = [f"KL {k}" for k in range(5)]


@styled
def heat_maps(films: np.ndarray, maps: Mapping[str, np.ndarray], data: str, title: str = "", names: Sequence[str] = (), outline: np.ndarray | None = None) -> Figure:
    """Films in the first row, each kind of map over them in the rows below.

    Args:
        films: uint8 (N, S, S).
        maps: by name, each (N, S, S) in [0, 1]; opacity follows the value, so cold parts leave the film free.
        names: what to write above each film.
        outline: bool (N, S, S), a region drawn as a line, such as the lesion.
    """
    figure, axes = canvas(1.15 * len(films) + 0.5, 1.2 * (len(maps) + 1) + 0.6, len(maps) + 1, len(films), squeeze=False)
    for row, (kind, heat) in enumerate([("film", None), *maps.items()]):
        for column, film in enumerate(films):
            cell = axes[row, column]
            cell.imshow(film, vmin=0, vmax=255, cmap="gray")
            if heat is not None:
                cell.imshow(heat[column], cmap=HEAT, vmin=0, vmax=1, alpha=np.clip(heat[column] * 0.85, 0, 1))
            if outline is not None:
                cell.contour(outline[column], levels=[0.5], colors="#56d0ff", linewidths=0.8)
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
        axes[row, 0].set_ylabel(kind, fontsize=9)
    for cell, name in zip(axes[0], names, strict=False):
        cell.set_title(name, fontsize=9, loc="center", pad=4)
    return finish(figure, title, data)


@styled
def film_rows(rows: Mapping[str, np.ndarray], data: str, title: str = "", names: Sequence[str] = ()) -> Figure:
    """Rows of films, one kind of picture a row: uint8 (N, S, S) each."""
    columns = max(len(films) for films in rows.values())
    figure, axes = canvas(1.05 * columns + 0.5, 1.08 * len(rows) + 0.6, len(rows), columns, squeeze=False)
    for line, (kind, films) in zip(axes, rows.items(), strict=True):
        for cell, film in zip(line, films, strict=False):
            cell.imshow(film, vmin=0, vmax=255, cmap="gray")
        for cell in line:
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
        line[0].set_ylabel(kind, fontsize=9)
    for cell, name in zip(axes[0], names, strict=False):
        cell.set_title(name, fontsize=9, loc="center", pad=4)
    return finish(figure, title, data)


@styled
def prediction_sets(p: np.ndarray, sets: np.ndarray, grade: np.ndarray, data: str, title: str = "") -> Figure:
    """Prediction sets of some films: the band is the set, the dots the probabilities by area, the ring the truth.

    Args:
        p: (N, 5). sets: bool (N, 5). grade: (N,).
    """
    figure, axes = canvas(0.34 * len(p) + 1.6, 2.8)
    for x, (row, held, truth) in enumerate(zip(p, sets, grade, strict=True)):
        inside = np.flatnonzero(held)
        hit = held[truth]
        axes.plot([x, x], [inside.min() - 0.28, inside.max() + 0.28], lw=10, color=ARMS[5] if hit else "#f3b48f", alpha=0.45, solid_capstyle="butt")
        axes.scatter(np.full(5, x), range(5), s=110 * row, color=[GRADES[k] for k in range(5)], zorder=3, lw=0)
        axes.plot(x, truth, "o", ms=11, mfc="none", mec=INK if hit else ARMS[1], mew=1.4, zorder=4)
    axes.set(yticks=range(5), yticklabels=_KL, xticks=[], xlim=(-0.8, len(p) - 0.2), ylim=(-0.6, 4.6), xlabel="one column a film: band = set, dot = probability, ring = truth")
    axes.hlines(range(5), -0.8, len(p) - 0.2, color=FAINT, lw=0.8, zorder=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return finish(figure, title, data)
