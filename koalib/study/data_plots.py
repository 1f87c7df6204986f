"""Figures of data sets: their grades, their shortcuts, and how an inverted film is told."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from koalib.study.style import ARMS, GRADES, SOFT, canvas, finish, styled


@styled
def grade_mix(counts: pd.DataFrame, data: str, title: str = "") -> Figure:
    """Share of each grade, a row a set: ``counts`` has sets as rows and grades 0..4 as columns; the row's total stands at its end."""
    figure, axes = canvas(6.6, 0.42 * len(counts) + 1.3)
    shares = counts.div(counts.sum(axis=1), axis=0)
    left = np.zeros(len(counts))
    places = np.arange(len(counts))[::-1]
    for grade, colour in zip(counts.columns, GRADES, strict=True):
        axes.barh(places, shares[grade], left=left, height=0.7, color=colour, label=f"KL {grade}")
        left += shares[grade].to_numpy()
    for place, total in zip(places, counts.sum(axis=1), strict=True):
        axes.annotate(f"{total:,}", (1, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set(yticks=places, yticklabels=list(counts.index), xlim=(0, 1), xlabel="share of the films")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper right", ncols=5, fontsize=8, handlelength=1, columnspacing=1)
    return finish(figure, title, data)


@styled
def score_strip(scores: Mapping[str, np.ndarray], data: str, title: str = "", label: str = "likeness to the mean knee") -> Figure:
    """Histograms of one score for several kinds of film, on one axis, with the line between the two verdicts."""
    figure, axes = canvas(6.0, 2.6)
    edges = np.linspace(-1, 1, 61)
    for (name, values), colour in zip(scores.items(), ARMS, strict=False):
        axes.hist(values, edges, color=colour, alpha=0.75, label=name)
    axes.axvline(0, color=SOFT, lw=1, ls=(0, (4, 3)))
    axes.set(xlabel=label, ylabel="films")
    axes.legend(loc="upper center")
    return finish(figure, title, data)
