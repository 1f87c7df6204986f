"""Figures of scores: each takes arrays or tables, names its data at the bottom, and returns a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from koalib.study.style import ARMS, GRADES, INK, SEQUENTIAL, SOFT, THESIS, canvas, finish, label_ends, signed, styled

_KL = [f"KL {k}" for k in range(5)]
Interval = Mapping[str, float]  #: value, low, high


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each arm, in their order."""
    return {name: ARMS[i % len(ARMS)] for i, name in enumerate(dict.fromkeys(names))}


@styled
def confusion(counts: np.ndarray, data: str, title: str = "") -> Figure:
    """Confusion counts (5, 5), rows the truth: colour is the share of the row, so the diagonal reads as recall."""
    counts = np.asarray(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = canvas(4.6, 4.2)
    axes.imshow(shares, cmap=SEQUENTIAL, vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.55 else INK
        axes.text(column, row - 0.06, f"{counts[row, column]}", ha="center", va="center", color=colour, fontweight="bold" if row == column else "normal")
        axes.text(column, row + 0.24, f"{share:.0%}", ha="center", va="center", color=colour, fontsize=7.5)
    axes.set(xlabel="graded by the model", ylabel="truth", xticks=range(5), yticks=range(5), xticklabels=_KL, yticklabels=_KL)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return finish(figure, title, data)


@styled
def reliability(table: pd.DataFrame, data: str, title: str = "", event: str = "the grade is right") -> Figure:
    """Reliability diagram with the number of films below.

    Args:
        table: a row a bin: predicted (mean probability), observed (share), low, high, films.
        event: what the probability is of.
    """
    figure, (axes, counts) = canvas(4.2, 4.9, 2, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], color=SOFT, lw=1, ls=(0, (4, 3)))
    axes.annotate("perfect", (0.08, 0.08), xytext=(0, 6), textcoords="offset points", color=SOFT, fontsize=8, rotation=45, rotation_mode="anchor", transform_rotates_text=True)
    errors = np.abs(table[["low", "high"]].to_numpy().T - table.observed.to_numpy())
    axes.errorbar(table.predicted, table.observed, yerr=errors, fmt="o-", ms=4.5, lw=1.4, elinewidth=1, color=ARMS[0])
    axes.set(ylabel=f"share in which {event}", xlim=(0, 1), ylim=(0, 1))
    counts.bar(table.predicted, table.films, width=0.03, color=ARMS[0], alpha=0.6)
    counts.set(xlabel="predicted probability", ylabel="films")
    counts.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    return finish(figure, title, data)


@styled
def learning_curves(table: pd.DataFrame, data: str, title: str = "", axis: str = "epoch", score: str = "val_qwk", goal: float | None = None, label: str = "validation QWK") -> Figure:
    """Every run as a thin line, the mean of each arm as a thick one.

    Args:
        table: one row an epoch and run: arm, run, epoch, seconds, and the score's column.
        goal: a score to draw as a dashed line, with a dot where each mean first reaches it.
    """
    palette, ends = colours(table.arm), {}
    figure, axes = canvas(6.4, 3.4)
    for arm, rows in table.groupby("arm", sort=False):
        for _, run in rows.groupby("run"):
            axes.plot(run[axis], run[score], color=palette[arm], lw=0.8, alpha=0.35)
        mean = rows.groupby("epoch")[[score, "seconds"]].mean().reset_index()
        axes.plot(mean[axis], mean[score], color=palette[arm], lw=2.2)
        ends[arm] = mean[score].iloc[-1]
        reached = mean[mean[score] >= goal] if goal is not None else mean[:0]
        if len(reached):
            axes.plot(reached[axis].iloc[0], reached[score].iloc[0], "o", ms=6, mfc="white", mec=palette[arm], mew=1.8, zorder=5)
    if goal is not None:
        axes.axhline(goal, color=SOFT, lw=1, ls=(0, (4, 3)), zorder=0)
        name = f"target {goal:.2f}"  # a label among the others, so that none lies over another
        ends, palette = ends | {name: goal}, palette | {name: SOFT}
    axes.set(xlabel=axis, ylabel=label)
    axes.grid(axis="y")
    label_ends(axes, ends, palette)
    return finish(figure, title, data)


@styled
def waiting(arrivals: Mapping[str, tuple[np.ndarray, np.ndarray]], data: str, title: str = "", axis: str = "epochs") -> Figure:
    """Kaplan-Meier curves: share of runs still under the target, from ``curves.survival`` of each arm (times, shares)."""
    palette = colours(list(arrivals))
    figure, axes = canvas(5.6, 3.0)
    for arm, (times, shares) in arrivals.items():
        axes.step(np.append(0, times), np.append(1, shares), where="post", color=palette[arm], lw=2, label=arm)
    axes.set(xlabel=f"{axis} of training", ylabel="runs under the target", xlim=(0, None), ylim=(-0.02, 1.04))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return finish(figure, title, data)


@styled
def forest(rows: pd.DataFrame, data: str, title: str = "", unit: str = "points", digits: int = 1) -> Figure:
    """Differences with their 95 % intervals, and the thesis's figure where it gives one.

    Args:
        rows: label, value, low, high; optionally thesis (NaN where it is silent). A row without a value is a heading.
    """
    places = np.arange(len(rows))[::-1]
    figure, axes = canvas(7.4, 0.36 * len(rows) + 1.3)
    axes.axvline(0, color=SOFT, lw=1)
    for place, (_, row) in zip(places, rows.iterrows(), strict=True):
        if pd.isna(row.value):
            continue
        clear = row.low > 0 or row.high < 0
        axes.plot([row.low, row.high], [place, place], color=ARMS[0] if clear else SOFT, lw=2)
        axes.plot(row.value, place, "o", ms=6.5, mfc=ARMS[0] if clear else "white", mec=ARMS[0] if clear else SOFT, mew=1.6, zorder=4)
        text = f"{signed(row.value, digits)} ({signed(row.low, digits)} to {signed(row.high, digits)})"
        axes.annotate(text, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8.5, annotation_clip=False)
    if "thesis" in rows and rows.thesis.notna().any():
        axes.plot(rows.thesis, places, "D", ms=6, mfc="none", mec=THESIS, mew=1.5, ls="", label="thesis", zorder=5)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    axes.set(yticks=places, yticklabels=rows.label, ylim=(-0.7, len(rows) - 0.3), xlabel=f"difference ({unit}), 95 % interval")
    for label, (_, row) in zip(axes.get_yticklabels(), rows.iterrows(), strict=True):
        label.set_fontweight("bold" if pd.isna(row.value) else "normal")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    return finish(figure, title, data)


@styled
def dots(rows: pd.DataFrame, data: str, title: str = "", label: str = "accuracy", thesis: float | None = None) -> Figure:
    """Each arm's score with its interval, and its single runs as small dots behind.

    Args:
        rows: arm, value, low, high; optionally ``runs``, a list of the single runs' scores. An arm without a value
            is shown as not run.
    """
    places, palette = np.arange(len(rows))[::-1], colours(rows.arm)
    figure, axes = canvas(6.6, 0.38 * len(rows) + 1.2)
    for place, (_, row) in zip(places, rows.iterrows(), strict=True):
        if pd.isna(row.value):
            axes.annotate("not run", (0.02, place), xycoords=("axes fraction", "data"), va="center", color=SOFT, fontsize=8.5, style="italic")
            continue
        single = np.asarray(row.get("runs", []), float)
        axes.plot(single, place + np.linspace(-0.16, 0.16, len(single)) if len(single) > 1 else np.full(len(single), place), "o", ms=3.2, color=palette[row.arm], alpha=0.4, mew=0)
        axes.plot([row.low, row.high], [place, place], color=palette[row.arm], lw=2)
        axes.plot(row.value, place, "o", ms=7, color=palette[row.arm], mec="white", mew=1)
    if thesis is not None:
        axes.axvline(thesis, color=THESIS, lw=1.2, ls=(0, (4, 3)))
        axes.annotate("thesis", (thesis, 1), xycoords=("data", "axes fraction"), xytext=(3, -8), textcoords="offset points", color=THESIS, fontsize=8.5)
    axes.set(yticks=places, yticklabels=rows.arm, ylim=(-0.7, len(rows) - 0.3), xlabel=f"{label}, 95 % interval")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    return finish(figure, title, data)


@styled
def by_grade(arms: Mapping[str, Sequence[Interval]], data: str, title: str = "", label: str = "recall", level: float | None = None) -> Figure:
    """Bars by grade with intervals: for each arm five mappings value, low, high; ``level`` draws a dashed line."""
    palette, width = colours(list(arms)), 0.8 / len(arms)
    figure, axes = canvas(6.4, 3.2)
    for i, (arm, values) in enumerate(arms.items()):
        x = np.arange(len(values)) + (i - (len(arms) - 1) / 2) * width
        height = np.array([v["value"] for v in values], float)
        errors = np.abs(np.array([[v["low"], v["high"]] for v in values], float).T - height)
        shade = [GRADES[k] for k in range(len(values))] if len(arms) == 1 else palette[arm]
        axes.bar(x, height, width * 0.92, color=shade, label=arm, alpha=0.9)
        axes.errorbar(x, height, yerr=errors, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    if level is not None:
        axes.axhline(level, color=SOFT, lw=1, ls=(0, (4, 3)))
    axes.set(xticks=range(5), xticklabels=_KL, ylabel=label, ylim=(0, 1))
    axes.grid(axis="y")
    if len(arms) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return finish(figure, title, data)


@styled
def lines(table: pd.DataFrame, data: str, title: str = "", xlabel: str = "level", ylabel: str = "QWK relative to the clean films") -> Figure:
    """A score against the strength of a disturbance: table with arm, level, value, low, high; the band is the interval."""
    palette, ends = colours(table.arm), {}
    figure, axes = canvas(6.0, 3.2)
    for arm, rows in table.groupby("arm", sort=False):
        axes.fill_between(rows.level, rows.low, rows.high, color=palette[arm], alpha=0.13, lw=0)
        axes.plot(rows.level, rows.value, "o-", ms=4, color=palette[arm])
        ends[arm] = rows.value.iloc[-1]
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(axis="y")
    label_ends(axes, ends, palette)
    return finish(figure, title, data)


@styled
def two_by_two(cells: Mapping[str, Interval], data: str, title: str = "", label: str = "accuracy") -> Figure:
    """The 2 x 2 as two lines: parallel where the modules do not help each other. Cells: neither, gct, wavelet, both."""
    figure, axes = canvas(4.6, 3.4)
    ends, palette = {}, {"without wavelets": ARMS[0], "with wavelets": ARMS[1]}
    for name, pair, shift in (("without wavelets", ("neither", "gct"), -0.02), ("with wavelets", ("wavelet", "both"), 0.02)):
        values = [cells[cell]["value"] for cell in pair]
        errors = np.abs([[cells[c]["value"] - cells[c][end] for c in pair] for end in ("low", "high")])
        axes.errorbar(np.arange(2) + shift, values, yerr=errors, fmt="o-", ms=6, elinewidth=1.2, color=palette[name])
        ends[name] = values[1]
    axes.set(xticks=(0, 1), xticklabels=("no gates", "gates (GCT)"), xlim=(-0.25, 1.25), ylabel=f"{label}, 95 % interval")
    axes.grid(axis="y")
    label_ends(axes, ends, palette)
    return finish(figure, title, data)


@styled
def bars(values: pd.Series, data: str, title: str = "", label: str = "", digits: int = 0) -> Figure:
    """Plain horizontal bars, each with its number, the first on top."""
    figure, axes = canvas(6.0, 0.36 * len(values) + 1.1)
    places = np.arange(len(values))[::-1]
    axes.barh(places, values.to_numpy(), height=0.66, color=ARMS[0], alpha=0.85)
    for place, value in zip(places, values, strict=True):
        axes.annotate(f"{value:.{digits}f}", (max(value, 0), place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set(yticks=places, yticklabels=list(values.index), xlabel=label)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    return finish(figure, title, data)
