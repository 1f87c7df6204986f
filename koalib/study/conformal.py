"""Sets of grades that hold the truth nine times in ten, without a gap between their grades.

Ordinal adaptive prediction sets (Lu, Angelopoulos & Pomerantz, MICCAI 2022, arXiv 2207.02238):
start at the most probable grade and take in the more probable neighbour, again and again. The score of a grade is the
probability gathered before it came in, so that the sets are nested and contiguous; crepes turns the
scores of films that were not trained on into one threshold.
"""

from __future__ import annotations

import numpy as np
from crepes import ConformalClassifier

from koalib.study.metrics import N_GRADES, check_predictions, group_codes, percentile_interval, resampling_weights

_ROUNDING = 1e-5  #: of scores that other threads, another processor or six recorded digits give; below any gap that matters


def gathered_before(p: np.ndarray) -> np.ndarray:
    """Nonconformity of every grade, (N, 5): the probability in the contiguous set just before the grade joins it.

    The most probable grade has 0. Between two equal neighbours the lower one comes first.
    """
    p = np.asarray(p, dtype=float)
    rows = np.arange(len(p))
    padded = np.pad(p, ((0, 0), (1, 1)), constant_values=-1.0)  # beyond the ends there is nothing to take in
    low = high = padded.argmax(axis=1)
    mass, scores = padded[rows, low], np.zeros((len(p), N_GRADES + 2))
    for _ in range(N_GRADES - 1):
        down = padded[rows, low - 1] >= padded[rows, high + 1]
        low, high = np.where(down, low - 1, low), np.where(down, high, high + 1)
        joins = np.where(down, low, high)
        scores[rows, joins] = mass
        mass = mass + padded[rows, joins]
    return scores[:, 1:-1]


def fit_conformal(p: np.ndarray, grade: np.ndarray, coverage: float = 0.9) -> float:
    """The threshold q of `prediction_set` that gives the coverage on exchangeable films.

    Args:
        p: probabilities (N, 5) of films that took no part in training, tempered as they will be in use.
        grade: their truth, (N,).

    Returns:
        The largest score whose conformal p-value reaches 1 - coverage: the ceil((N + 1) coverage)-th smallest,
        or the next where that product is whole; 1.0 (every grade) where there are too few films for that. It is lifted
        by a hair, and by no more than half the way to the next score: it is the score of one of these films, which
        would else fall on either side of it by rounding when it is graded again.
    """
    grade, p = check_predictions(grade, p)
    scores = gathered_before(p)[np.arange(len(grade)), grade]
    candidates = np.append(np.unique(scores), 1.0)
    accepted = ConformalClassifier().fit(scores).predict_set(candidates[:, None], confidence=coverage, smoothing=False)
    score = candidates[accepted[:, 0] == 1].max()
    return float(min(score + _ROUNDING, (score + min(candidates[candidates > score], default=score)) / 2))


def prediction_set(p: np.ndarray, q: float) -> tuple[int, ...]:
    """The contiguous grades of one film, p is (5,); it always holds the most probable one."""
    return tuple(int(k) for k in np.flatnonzero(gathered_before(np.asarray(p)[None])[0] <= q))


def prediction_sets(p: np.ndarray, q: float) -> np.ndarray:
    """The same for many films: bool (N, 5)."""
    return gathered_before(p) <= q


def coverage_by_grade(p: np.ndarray, grade: np.ndarray, groups: np.ndarray, q: float, n: int = 10_000, seed: int = 0) -> dict[str, dict]:
    """Share of films whose set holds the truth and mean size of the sets: for each grade and for "all".

    A marginal guarantee says nothing about a single grade, so each is shown, with its interval over groups.

    Returns:
        {"0" ... "4", "all": {"n", "coverage", "low", "high", "size"}}; a grade without films is left out.
    """
    grade, p = check_predictions(grade, p)
    sets, codes = prediction_sets(p, q), group_codes(groups, len(grade))
    held = sets[np.arange(len(grade)), grade]
    weights = resampling_weights(codes.max() + 1, n, seed)
    table = {}
    for name, these in [*((str(k), grade == k) for k in range(N_GRADES)), ("all", np.ones(len(grade), bool))]:
        if not these.any():
            continue
        hits, films = (weights @ np.bincount(codes, weights=w, minlength=weights.shape[1]) for w in (held & these, these))
        with np.errstate(invalid="ignore"):
            low, high = percentile_interval(hits / films)
        table[name] = {"n": int(these.sum()), "coverage": float(held[these].mean()), "low": low, "high": high, "size": float(sets[these].sum(1).mean())}
    return table
