"""Phantom beside real films, as curves: grey values, spectra, joint spaces. Curves show no film."""

from __future__ import annotations

import numpy as np
import pandas as pd

from koalib.data.registry import GRADES


def grey_histogram(films: np.ndarray, bins: int = 64) -> dict[str, list[float]]:
    """Share of pixels by grey value over all films, uint8 (N, S, S): ``grey`` (centres of the bins) and ``share``."""
    count, edges = np.histogram(films, bins=bins, range=(0, 256))
    return {"grey": ((edges[:-1] + edges[1:]) / 2).tolist(), "share": (count / count.sum()).round(6).tolist()}


def film_quantiles(films: np.ndarray) -> dict[str, list[float]]:
    """Quantiles over films of a film's mean and of its standard deviation."""
    at = np.array([0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99])
    flat = films.reshape(len(films), -1)
    mean, std = (np.concatenate([stat(part, axis=1) for part in np.array_split(flat, max(1, len(flat) // 256))]) for stat in (np.mean, np.std))
    return {"quantile": at.tolist(), "mean": np.quantile(mean, at).round(2).tolist(), "std": np.quantile(std, at).round(2).tolist()}


def radial_spectrum(films: np.ndarray) -> dict[str, list[float]]:
    """Mean power of standardised films by spatial frequency, in cycles a film from 1 to S / 2.

    A Hann window keeps the film's borders out of it; the median over films keeps outliers out.
    """
    size = films.shape[1]
    window = np.hanning(size)[:, None] * np.hanning(size)
    fy, fx = np.fft.fftfreq(size, 1 / size)[:, None], np.fft.rfftfreq(size, 1 / size)
    ring = np.rint(np.hypot(fy, fx)).astype(int)
    weight = np.where((fx > 0) & (fx < size // 2), 2.0, 1.0) * np.ones_like(fy)
    share = np.bincount(ring.ravel(), weight.ravel())
    rows = []
    for film in films:
        z = (film - film.mean()) / max(film.std(), 1.0)
        power = np.abs(np.fft.rfft2(z * window)) ** 2
        rows.append(np.bincount(ring.ravel(), (power * weight).ravel()) / share)
    frequency = np.arange(1, size // 2 + 1)
    return {"cycles_per_film": frequency.tolist(), "power": np.median(rows, axis=0)[frequency].round(4).tolist()}


def profile_gap(films: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Height of the dark joint space in each compartment, (N, 2) lateral and medial, in shares of the film.

    A measure that needs no truth, so it can be taken of real films and phantoms alike: the mean grey profile across a
    third of the lateral and of the medial plateau is searched for its darkest place near the middle of the film; the gap
    is the width of the valley at half its depth.

    Args:
        right: bool (N,), True for right knees (lateral on the left of the film).
    """
    size = films.shape[1]
    left, other = slice(int(0.20 * size), int(0.34 * size)), slice(int(0.66 * size), int(0.80 * size))
    out = np.empty((len(films), 2))
    for i, film in enumerate(films):
        lateral, medial = (left, other) if right[i] else (other, left)
        out[i] = [_valley(film[:, band].astype(float)) / size for band in (lateral, medial)]
    return out


def _valley(band: np.ndarray) -> float:
    """Mean over columns of the width at half depth of the darkest valley in the middle of the film, pixels."""
    size = len(band)
    low, high, reach = int(0.42 * size), int(0.72 * size), max(3, int(0.06 * size))
    widths = []
    for column in band.T:
        smooth = np.convolve(column, np.ones(3) / 3, mode="same")
        rows = np.arange(low, high)
        drop = np.minimum([smooth[r - reach : r].max() for r in rows], [smooth[r + 1 : r + reach + 1].max() for r in rows]) - smooth[rows]
        at = rows[int(np.argmax(drop))]
        level = smooth[at] + drop.max() / 2
        up, down = at, at
        while up > 0 and smooth[up] < level:
            up -= 1
        while down < size - 1 and smooth[down] < level:
            down += 1
        widths.append(down - up - 1)
    return float(np.median(widths))


def gaps_by_grade(films: np.ndarray, table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Median and quartiles of the narrower compartment's gap, in shares of the film, by grade."""
    gap = profile_gap(films, (table["side"] == "R").to_numpy()).min(axis=1)
    grade = table["grade"].to_numpy()
    quartiles = {g: np.quantile(gap[grade == g], [0.25, 0.5, 0.75]).round(4).tolist() for g in GRADES if (grade == g).any()}
    return {str(g): dict(zip(("low", "median", "high"), q, strict=True)) for g, q in quartiles.items()}


def curves(films: np.ndarray, table: pd.DataFrame) -> dict:
    """All curves of one data set; films uint8 (N, S, S), bone bright, rows aligned with the table."""
    return {
        "films": len(films),
        "histogram": grey_histogram(films),
        "film": film_quantiles(films),
        "spectrum": radial_spectrum(films),
        "gap": gaps_by_grade(films, table),
    }
