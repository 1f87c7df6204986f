"""How well the joint-space measure does: ``python -m benchmarks.joint_space``. Writes ``data/results/joint_space.json``.

On phantoms, whose narrowest joint space is known: error in pixels and millimetres by compartment. On validation films
of chen2018, where nobody measured it: rank correlation of the narrower compartment with the readers' grade.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from koalib.clinic.joint_space import SIZE, measure
from koalib.data.datasets import load
from koalib.data.images import KneeImage
from koalib.data.phantom import make_phantoms
from koalib.data.phantom_films import upright
from koalib.study.ledger import record_measurement
from koalib.study.localisation import mean_by_group
from koalib.study.metrics import group_codes, percentile_interval, resampling_weights

PATIENTS, SEED = 500, 30_000  #: of phantoms that nothing was fitted on
DATASET, SPLIT = "chen2018", "val"
COMPARTMENTS = ("medial", "lateral", "narrower")


def widths(films: np.ndarray, right: np.ndarray, spacing: np.ndarray | None = None) -> pd.DataFrame:
    """Width of each compartment, NaN where none was measured: mm with a spacing, else shares of the knee's width.

    Args:
        films: uint8 (N, S, S). right: bool (N,), whether it is a right knee, whose lateral side is on the film's left.
        spacing: mm a pixel, (N,).
    """
    rows = []
    for i, film in enumerate(films):
        found = measure(KneeImage(film / np.float32(255), spacing_mm=None if spacing is None else (spacing[i], spacing[i])))
        left, other = (np.nan, np.nan) if found is None else (np.nan if width is None else width for width in (found.left, found.right))
        rows.append((other, left) if right[i] else (left, other))
    table = pd.DataFrame(rows, columns=COMPARTMENTS[:2])
    return table.assign(narrower=table.min(axis=1, skipna=False))


def errors(found: np.ndarray, truth: np.ndarray, patients: np.ndarray) -> dict:
    """Bias, mean absolute error and rank correlation on what was measured, and the error of always naming the mean."""
    there = np.isfinite(found)
    gap = found - truth
    low, high = np.quantile(gap[there], [0.025, 0.975])
    return {
        "measured": float(there.mean()), "bias": mean_by_group(gap, patients), "mean_absolute_error": mean_by_group(np.abs(gap), patients),
        "median_absolute_error": float(np.median(np.abs(gap[there]))), "limits_95": [float(low), float(high)],
        "error_of_naming_the_mean": float(np.abs(truth - truth.mean()).mean()), "spearman": rank_correlation(found, truth, patients),
    }


def rank_correlation(x: np.ndarray, y: np.ndarray, groups: np.ndarray, resamples: int = 10_000) -> dict:
    """Spearman's coefficient of the films where both are there, with a 95 % interval over groups.

    The ranks are those of all films; a resample weights them, as a bootstrap of Pearson's coefficient on ranks does.
    """
    there = np.isfinite(x) & np.isfinite(y)
    a, b = rankdata(x[there]), rankdata(y[there])
    codes = group_codes(groups[there], there.sum())
    weights = resampling_weights(codes.max() + 1, resamples, 0)
    drawn = [_weighted(a, b, row[codes]) for row in weights]
    low, high = percentile_interval(np.array(drawn))
    return {"value": float(_weighted(a, b, np.ones(len(a)))), "low": low, "high": high, "films": int(there.sum())}


def _weighted(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> float:
    a, b = a - np.average(a, weights=weight), b - np.average(b, weights=weight)
    with np.errstate(invalid="ignore"):  # a resample of one film over and over has no correlation, and is left out
        return (weight @ (a * b)) / np.sqrt((weight @ a**2) * (weight @ b**2))


def on_phantoms() -> dict:
    """Errors in mm and in pixels of a film of 224 px, for each compartment and the narrower one."""
    phantoms = make_phantoms(PATIENTS, size=SIZE, seed=SEED)
    table = phantoms.table
    spacing, patients = table.spacing_mm.to_numpy(), table.patient.to_numpy()
    found = widths(upright(phantoms), (table.side == "R").to_numpy(), spacing)
    truth = table[["medial_jsw_mm", "lateral_jsw_mm"]].set_axis(list(COMPARTMENTS[:2]), axis=1)
    truth = truth.assign(narrower=truth.min(axis=1))
    by_unit = {"mm": 1.0, "px": 1 / spacing}
    return {"films": len(table), "spacing_mm": float(np.median(spacing)), "grade": rank_correlation(found.narrower.to_numpy(), table.grade.to_numpy(float), patients)} | {
        unit: {name: errors(found[name].to_numpy() * scale, truth[name].to_numpy() * scale, patients) for name in COMPARTMENTS} for unit, scale in by_unit.items()}


def on_real_films() -> dict:
    """Share measured, rank correlation with the grade, and the median by grade; widths are shares of the knee's width."""
    knees = load(DATASET).select(SPLIT)
    table, found = knees.table, widths(knees.pixels(SIZE), (knees.table.side == "R").to_numpy())
    grade, patients = table.grade.to_numpy(), table.group.to_numpy()
    by_grade = {str(k): {"films": int((grade == k).sum()), "measured": float(found.narrower[grade == k].notna().mean()), "median": float(found.narrower[grade == k].median())} for k in range(5)}
    correlation = {name: rank_correlation(found[name].to_numpy(), grade.astype(float), patients) for name in COMPARTMENTS}
    return {"dataset": DATASET, "split": SPLIT, "films": len(table), "measured": float(found.narrower.notna().mean()), "spearman_with_grade": correlation, "by_grade": by_grade}


def main() -> None:
    """Measure, print and record."""
    report = {"size": SIZE, "phantom": on_phantoms(), "real": on_real_films()}
    print(json.dumps(report, indent=1))
    record_measurement("joint_space", report)


if __name__ == "__main__":
    main()
