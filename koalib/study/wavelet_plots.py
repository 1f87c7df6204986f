"""Figures of the chapter on wavelets and gates: lines, bands, receptive fields, gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pywt
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from koalib.study.style import ARMS, FAINT, GRADES, INK, SEQUENTIAL, SOFT, canvas, finish, styled

SIGNED = "RdBu_r"
DPI = 80  #: many figures of one notebook, which must stay small


@styled
def line_of_film(film: np.ndarray, column: int, rows: slice, data: str, title: str = "") -> Figure:
    """A film with one vertical line marked, and the grey values along that line."""
    figure, (left, right) = canvas(7.6, 2.7, 1, 2, dpi=DPI, width_ratios=(1, 2.1))
    left.imshow(film, vmin=0, vmax=255)
    left.plot([column, column], [rows.start, rows.stop], color=ARMS[1], lw=2)
    left.set(xticks=[], yticks=[])
    left.spines[:].set_visible(False)
    right.plot(np.arange(rows.start, rows.stop), film[rows, column], color=ARMS[1], lw=1.4)
    right.set(xlabel="row of the film, from the femur down into the tibia", ylabel="grey value", xlim=(rows.start, rows.stop - 1))
    right.grid(axis="y")
    return finish(figure, title, data)


@styled
def pyramid(line: np.ndarray, approximations: Sequence[np.ndarray], details: Sequence[np.ndarray], data: str, title: str = "") -> Figure:
    """A line and its decomposition: what remains (left) and what was taken out (right), a level a row, finest first.

    Approximations are drawn at the height of the grey values they stand for: level i is divided by sqrt(2)**i.
    """
    figure, axes = canvas(7.6, 1.05 * len(details) + 0.9, len(details), 2, dpi=DPI, sharex=True)
    limit = max(np.abs(d).max() for d in details) * 1.05
    for level, (row, low, high) in enumerate(zip(axes, approximations, details, strict=True), 1):
        width = 2**level
        row[0].plot(line, color=FAINT, lw=1.2)
        row[0].stairs(low / 2 ** (level / 2), np.arange(len(low) + 1) * width, color=ARMS[0], lw=1.4, baseline=None)
        row[1].axhline(0, color=FAINT, lw=0.8)
        row[1].bar((np.arange(len(high)) + 0.5) * width, high, width * 0.8, color=ARMS[1])
        row[1].set_ylim(-limit, limit)
        row[0].set_ylabel(f"level {level}")
    axes[0, 0].set_title("approximation: what remains")
    axes[0, 1].set_title("detail: what was taken out")
    for axis in axes[-1]:
        axis.set_xlabel("pixel of the line")
    return finish(figure, title, data)


@styled
def wavelet_shapes(names: Sequence[str], data: str, title: str = "") -> Figure:
    """Scaling function and wavelet of some families, as PyWavelets draws them."""
    figure, axes = canvas(7.6, 1.9, 1, len(names), dpi=DPI)
    for axis, name in zip(axes, names, strict=True):
        wavelet = pywt.Wavelet(name)
        phi, psi, x = wavelet.wavefun(level=8)
        axis.axhline(0, color=FAINT, lw=0.8)
        axis.plot(x, phi, color=ARMS[0], lw=1.4, label="scaling (low)")
        axis.plot(x, psi, color=ARMS[1], lw=1.4, label="wavelet (high)")
        axis.set_title(f"{name}: {len(wavelet.dec_lo)} taps", loc="center")
        axis.set(yticks=[])
        axis.spines["left"].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=8, handlelength=1.2)
    return finish(figure, title, data)


@styled
def bands(film: np.ndarray, four: np.ndarray, data: str, title: str = "", names: Sequence[str] = ("LL", "LH", "HL", "HH")) -> Figure:
    """A film (H, W) beside the four bands (4, h, w) of one level; details are signed, zero is white, all on one scale."""
    figure, axes = canvas(7.9, 2.05, 1, 5, dpi=DPI)
    limit = np.quantile(np.abs(four[1:]), 0.999)
    for axis, name, picture in zip(axes, ("film", *names), (film, *four), strict=True):
        grey = name in ("film", names[0])
        axis.imshow(picture, **({} if grey else {"cmap": SIGNED, "vmin": -limit, "vmax": limit}))
        axis.set_title(name, loc="center")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_color(FAINT)
    return finish(figure, title, data)


@styled
def noise_and_edge(table: pd.DataFrame, data: str, title: str = "") -> Figure:
    """Size of coefficients by level, doubling axis: the columns of ``table`` are the kinds, its index the levels."""
    figure, axes = canvas(5.4, 2.9, dpi=DPI)
    for colour, (name, values) in zip(ARMS, table.items(), strict=False):
        axes.plot(table.index, values, "o-", ms=5, color=colour)
        axes.annotate(name, (table.index[-1], values.iloc[-1]), xytext=(9, 0), textcoords="offset points", va="center", color=colour, annotation_clip=False)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.set(xlabel="level of the decomposition", ylabel="size of a coefficient", xticks=table.index)
    axes.grid(axis="y")
    return finish(figure, title, data)


@styled
def receptive_fields(fields: Mapping[str, np.ndarray], data: str, title: str = "", window: int | None = None) -> Figure:
    """Mean absolute gradient of the centre, each map divided by its largest value, logarithmic colours."""
    figure, axes = canvas(8.2, 1.85, 1, len(fields), dpi=DPI)
    for axis, (name, field) in zip(axes, fields.items(), strict=True):
        image = axis.imshow(field / field.max(), cmap="magma", norm=LogNorm(1e-4, 1), interpolation="nearest")
        axis.set_facecolor("black")
        axis.set_title(name, loc="center", fontsize=9)
        axis.set(xticks=[], yticks=[])
        if window:
            corner = (field.shape[0] - window) / 2 - 0.5
            axis.add_patch(Rectangle((corner, corner), window, window, fill=False, ec="#7fd4ff", lw=0.9, ls=(0, (3, 2))))
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.01)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5)
    return finish(figure, title, data)


@styled
def gate_curves(gammas: Sequence[float], data: str, title: str = "") -> Figure:
    """Gate 1 + tanh(gamma n) of a channel against its share n of the energy, 1 being the average channel's."""
    figure, axes = canvas(5.4, 2.7, dpi=DPI)
    share = np.linspace(0, 4, 200)
    for colour, gamma in zip((ARMS[0], ARMS[5], SOFT, ARMS[4], ARMS[1]), gammas, strict=True):
        gate = 1 + np.tanh(gamma * share)
        axes.plot(share, gate, color=colour)
        axes.annotate(f"$\\gamma$ = {gamma:+.1f}" if gamma else "$\\gamma$ = 0: the start", (4, gate[-1]), xytext=(6, 0), textcoords="offset points", va="center", color=colour, annotation_clip=False)
    axes.set(xlabel="$n_c$: size of the channel relative to the root mean square of all", ylabel="gate $g_c$", ylim=(-0.05, 2.05), xlim=(0, 4))
    axes.grid(axis="y")
    return finish(figure, title, data)


@styled
def gates_by_block(gates: Mapping[str, np.ndarray], data: str, title: str = "") -> Figure:
    """Gates of every channel (films, C), a block a column: each point is a channel's mean over films; the line is "no change"."""
    figure, axes = canvas(7.6, 2.9, dpi=DPI)
    rng = np.random.default_rng(0)
    for place, values in enumerate(gates.values()):
        means = values.mean(0)
        axes.scatter(place + rng.uniform(-0.28, 0.28, len(means)), means, s=5, color=ARMS[0], alpha=0.45, lw=0)
        low, high = np.quantile(means, (0.05, 0.95))
        axes.plot([place, place], [low, high], color=INK, lw=1.4)
    axes.axhline(1, color=ARMS[1], lw=1.2)
    axes.annotate("line: before training, every gate is 1", (0.01, 0.95), xycoords="axes fraction", color=ARMS[1], fontsize=8.5)
    axes.set(xticks=range(len(gates)), xticklabels=gates.keys(), xlabel="stage and block", ylabel="gate of a channel")
    axes.grid(axis="y")
    return finish(figure, title, data)


@styled
def gates_by_grade(gates: np.ndarray, grades: np.ndarray, data: str, title: str = "") -> Figure:
    """How the channels' gates (films, C) of one block part between grades: each grade's mean minus the mean of all films."""
    figure, axes = canvas(6.2, 2.7, dpi=DPI)
    order = np.argsort(gates.mean(0))
    for grade in np.unique(grades):
        axes.plot((gates[grades == grade].mean(0) - gates.mean(0))[order], color=GRADES[grade], lw=1.1, label=f"KL {grade}")
    axes.set(xlabel="channel, in order of its mean gate", ylabel="gate minus mean of all films")
    axes.grid(axis="y")
    axes.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1), handlelength=1, columnspacing=1)
    return finish(figure, title, data)


@styled
def shares(table: pd.DataFrame, data: str, title: str = "", label: str = "") -> Figure:
    """A small table as shaded cells with their numbers."""
    figure, axes = canvas(0.85 * table.shape[1] + 1.9, 0.34 * table.shape[0] + 1.1, dpi=DPI)
    top = float(table.max().max())
    axes.imshow(table, cmap=SEQUENTIAL, vmin=0, vmax=top * 1.15, aspect="auto")
    for (i, j), value in np.ndenumerate(table.to_numpy()):
        axes.text(j, i, f"{value:.3f}", ha="center", va="center", fontsize=8.5, color="white" if value > 0.6 * top else INK)
    axes.set(xticks=range(table.shape[1]), xticklabels=table.columns, yticks=range(table.shape[0]), yticklabels=table.index, xlabel=label)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return finish(figure, title, data)
