"""Seconds for 10,000 patient resamples of a run of 1,656 films, against a loop over scikit-learn.

    python -m benchmarks.bootstrap

The loop is timed on a few resamples and multiplied: in full it takes minutes. Both are timed in turn, five times.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from sklearn import metrics as sk

from koalib.study import metrics
from koalib.study.ledger import record_measurement

FILMS, RESAMPLES, LOOPED, ROUNDS = 1656, 10_000, 40, 5


def films(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grade, probabilities and patient of films like those of chen2018's test split: two knees a patient."""
    rng = np.random.default_rng(seed)
    grade = rng.choice(5, FILMS, p=np.array([639, 296, 447, 223, 51]) / FILMS)
    p = rng.dirichlet(np.full(5, 0.6), FILMS) + 0.5 * np.eye(5)[grade]
    return grade, p / p.sum(axis=1, keepdims=True), np.repeat(np.arange(FILMS // 2), 2)


def loop_over_sklearn(grade: np.ndarray, p: np.ndarray, patient: np.ndarray, n: int) -> list[dict]:
    """The same resampling as one writes it first: draw patients, gather their films, call scikit-learn."""
    rng, decided, rows = np.random.default_rng(0), p.argmax(axis=1), [np.flatnonzero(patient == k) for k in np.unique(patient)]
    found = []
    for _ in range(n):
        again = np.concatenate([rows[k] for k in rng.integers(0, len(rows), len(rows))])
        truth, guess = grade[again], decided[again]
        precision, recall, f1, _ = sk.precision_recall_fscore_support(truth, guess, labels=range(5), zero_division=0)
        found.append({
            "accuracy": sk.accuracy_score(truth, guess), "qwk": sk.cohen_kappa_score(truth, guess, weights="quadratic"),
            "mae": sk.mean_absolute_error(truth, guess), "macro_precision": precision.mean(), "macro_recall": recall.mean(),
            "macro_f1": f1.mean(), **{f"recall_{k}": r for k, r in enumerate(recall)},
        })
    return found


def main() -> None:
    """Time both in turn, print and record the medians."""
    case, ours, theirs = films(), [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        intervals = metrics.bootstrap(*case, n=RESAMPLES)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        looped = loop_over_sklearn(*case, LOOPED)
        theirs.append((time.perf_counter() - start) * RESAMPLES / LOOPED)
    seconds, loop = statistics.median(ours), statistics.median(theirs)
    print(f"{RESAMPLES} patient resamples of {FILMS} films")
    print(f"  koalib, {len(intervals)} scores     {seconds:8.2f} s")
    print(f"  loop over scikit-learn, {len(looped[0])} {loop:8.1f} s  ({LOOPED} resamples, scaled)")
    print(f"  ratio                   {loop / seconds:8.0f}")
    record_measurement("bootstrap", {
        "films": FILMS, "resamples": RESAMPLES, "seconds": seconds, "scores": len(intervals), "loop_seconds": loop,
        "loop_scores": len(looped[0]), "loop_resamples_timed": LOOPED, "rounds": ROUNDS, "ratio": loop / seconds,
    })


if __name__ == "__main__":
    main()
