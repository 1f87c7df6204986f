"""Probabilities one may believe: temperature, thresholds, reliability, recalibration abroad.

Whatever is fitted here is fitted on films that are not scored with it: `cross_fit` does that fold by fold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logit, softmax

from koalib.errors import UserError
from koalib.study.metrics import (
    ECE_BINS, N_GRADES, by_group, check_predictions, expected_grade, from_confusion, group_codes, percentile_interval, resampling_weights,
)

_FLOOR = 1e-12  # a probability of zero would make any temperature infinitely wrong
_STEP = 0.01  # grid of the thresholds on the expected grade


def apply_temperature(log_p: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (N, 5) from logits or log-probabilities (N, 5) divided by the temperature."""
    return softmax(np.asarray(log_p, dtype=float) / temperature, axis=1)


def temper(p: np.ndarray, temperature: float) -> np.ndarray:
    """The same for probabilities: p^(1/T), normalised. T < 1 sharpens, T > 1 flattens."""
    return apply_temperature(np.log(np.maximum(p, _FLOOR)), temperature)


def fit_temperature(log_p: np.ndarray, grade: np.ndarray) -> float:
    """The temperature that minimises the negative log-likelihood (Guo et al. 2017, arXiv 1706.04599).

    Args:
        log_p: logits or log-probabilities, (N, 5): a constant a row changes nothing.
        grade: (N,) in 0-4.
    """
    log_p = np.maximum(log_softmax(np.asarray(log_p, dtype=float), axis=1), np.log(_FLOOR))
    grade, _ = check_predictions(grade, np.exp(log_p))
    rows = np.arange(len(grade))

    def loss(log_t: float) -> float:
        return -log_softmax(log_p / np.exp(log_t), axis=1)[rows, grade].mean()

    # convex in 1/T, so there is one minimum; the bounds stop a perfectly separated set at 1/20
    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-6}).x))


def fit_thresholds(p: np.ndarray, grade: np.ndarray) -> list[float]:
    """Four rising thresholds on the expected grade with the best quadratic weighted kappa on these films.

    Coordinate ascent on a grid of 0.01 from two starts, plain rounding and the cuts that give every grade its share;
    it is exact in each coordinate, deterministic, and ends where no single threshold can be moved to advantage. Of equally
    good places it takes the middle one. Films of a single grade have no kappa: plain rounding is returned.
    """
    grade, p = check_predictions(grade, p)
    if len(np.unique(grade)) == 1:
        return np.arange(0.5, N_GRADES - 1).tolist()
    expected, edges = expected_grade(p), np.arange(0, N_GRADES - 1 + _STEP, _STEP)
    # below[k, j]: films of grade k whose expected grade lies under edge j
    below = np.stack([np.searchsorted(np.sort(expected[grade == k]), edges, side="left") for k in range(N_GRADES)])
    shares = np.cumsum(np.bincount(grade, minlength=N_GRADES))[:-1] / len(grade)
    starts = (np.arange(0.5, N_GRADES - 1), np.quantile(expected, shares))
    found = [_climb(below, np.searchsorted(edges, start).clip(0, len(edges) - 1), np.bincount(grade, minlength=N_GRADES)) for start in starts]
    return [round(float(edges[i]), 2) for i in max(found)[1]]


def _climb(below: np.ndarray, cuts: np.ndarray, truth: np.ndarray) -> tuple[float, tuple[int, ...]]:
    """Best kappa that moving one cut (an index of an edge) after the other reaches, and the cuts."""
    def kappa(rows: np.ndarray) -> np.ndarray:  # (M, 4) cuts -> (M,)
        cumulative = np.moveaxis(below[:, rows], 0, 1)  # (M, 5, 4)
        ends = np.broadcast_to(truth[:, None], (*cumulative.shape[:2], 1))
        return np.nan_to_num(from_confusion(np.diff(np.concatenate([cumulative, ends], 2), axis=2, prepend=0))["qwk"], nan=-1)

    cuts, best = np.sort(cuts), -np.inf
    while True:
        for i in range(len(cuts)):
            low, high = (cuts[i - 1] if i else 0), (cuts[i + 1] if i + 1 < len(cuts) else below.shape[1] - 1)
            tries = np.repeat(cuts[None], high - low + 1, axis=0)
            tries[:, i] = np.arange(low, high + 1)
            reached = kappa(tries)
            level = np.flatnonzero(reached >= reached.max() - 1e-12)
            cuts = tries[level[len(level) // 2]]
        if reached.max() <= best + 1e-12:
            return float(best), tuple(int(c) for c in cuts)
        best = reached.max()


def slope_intercept(p: np.ndarray, grade: np.ndarray, groups: np.ndarray) -> dict[str, dict[str, float]]:
    """Calibration of P(KL >= 2): slope and intercept of the logistic recalibration, with 95 % intervals.

    ``slope``: of logit P(KL >= 2) in a logistic regression of the event on it; 1 is right, below 1 too extreme.
    ``intercept``: of the same with the slope held at 1 (calibration in the large); 0 is right, above 0 too low.
    Cox 1958, doi 10.1093/biomet/45.3-4.562; Van Calster et al. 2019, doi 10.1186/s12916-019-1466-7.
    Standard errors are clustered by group (sandwich). A model that separates the two sides without error has an infinite
    slope and no interval.

    Raises:
        UserError: all films on one side of KL >= 2.
    """
    import statsmodels.api as sm  # a second to import, needed by reports only

    grade, p = check_predictions(grade, p)
    event, score = (grade >= 2).astype(float), logit(p[:, 2:].sum(axis=1).clip(1e-6, 1 - 1e-6))
    clusters = {"cov_type": "cluster", "cov_kwds": {"groups": group_codes(groups, len(grade))}}
    if event.min() == event.max():
        raise UserError("calibration at KL >= 2: the films are all on one side of it; films of both sides are needed")
    large = sm.GLM(event, np.ones((len(event), 1)), sm.families.Binomial(), offset=score).fit(**clusters)
    found = {"slope": (np.inf, np.nan, np.nan), "intercept": (large.params[0], *large.conf_int()[0])}
    if score[event == 1].min() < score[event == 0].max():
        slope = sm.GLM(event, sm.add_constant(score), sm.families.Binomial()).fit(**clusters)
        found["slope"] = (slope.params[1], *slope.conf_int()[1])
    return {name: dict(zip(("value", "low", "high"), map(float, ends), strict=True)) for name, ends in found.items()}


def ece_if_calibrated(p: np.ndarray, n: int = 2000, seed: int = 0) -> dict[str, float]:
    """The ECE that a perfectly calibrated model with these probabilities (N, 5) would show: mean, and 95 % of its draws.

    Grades are drawn from p itself (consistency resampling: Broecker & Smith 2007, doi 10.1175/WAF993.1). An ECE inside
    the range is no evidence of miscalibration. Films are drawn one by one; two knees alike would widen the range a little.
    """
    top = np.asarray(p, dtype=float).max(axis=1)
    bins = np.eye(ECE_BINS)[np.minimum((top * ECE_BINS).astype(int), ECE_BINS - 1)]
    right = np.random.default_rng(seed).random((n, len(top))) < top
    draws = np.abs((right - top) @ bins).sum(axis=1) / len(top)
    low, high = percentile_interval(draws)
    return {"mean": float(draws.mean()), "low": low, "high": high}


def reliability(probability: np.ndarray, event: np.ndarray, groups: np.ndarray, bins: int = 10, n: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """A reliability diagram's points: bins with equally many films, their mean probability and observed share.

    Args:
        probability: of the event, (N,): P(KL >= 2), or the largest probability with "argmax is right" as the event.
        event: bool (N,).
        groups: (N,); the intervals of the shares resample them.

    Returns:
        columns predicted, observed, low, high, films; a row a bin, fewer where probabilities repeat.
    """
    probability, event, codes = np.asarray(probability, float), np.asarray(event, bool), group_codes(groups, len(event))
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]))
    member = np.eye(len(edges) + 1)[np.searchsorted(edges, probability, side="right")]
    member = member[:, member.any(axis=0)]
    weights = resampling_weights(codes.max() + 1, n, seed)
    with np.errstate(invalid="ignore"):
        resampled = (weights @ by_group(member * event[:, None], codes)) / (weights @ by_group(member, codes))
    films = member.sum(axis=0)
    low, high = np.transpose([percentile_interval(column) for column in resampled.T])
    return pd.DataFrame({"predicted": probability @ member / films, "observed": event @ member / films, "low": low, "high": high, "films": films.astype(int)})


def cross_fit(
    p: np.ndarray, grade: np.ndarray, fold: np.ndarray,
    fit: Callable[[np.ndarray, np.ndarray], Any], apply: Callable[[np.ndarray, Any], np.ndarray],
) -> np.ndarray:
    """Fit on all folds but one and apply to that one, for every fold: nothing is scored by what it helped to fit.

    Example:
        ``tuned = cross_fit(p, grade, fold, fit_thresholds, decide)`` gives the grades (N,) behind ``*_tuned``.
    """
    grade, p = check_predictions(grade, p)
    parts = {k: apply(p[fold == k], fit(p[fold != k], grade[fold != k])) for k in np.unique(fold)}
    first = next(iter(parts.values()))
    out = np.empty((len(p), *first.shape[1:]), dtype=first.dtype)
    for k, part in parts.items():
        out[fold == k] = part
    return out


def fit_prior(p: np.ndarray, source: np.ndarray, rounds: int = 1000) -> np.ndarray:
    """Shares of the grades in an unlabelled set, (5,), by expectation-maximisation.

    Saerens, Latinne & Decaestecker 2002, doi 10.1162/089976602753284446. It tells a shift of grades from
    miscalibration: it may change the shares of the grades, but not how a grade looks.

    Args:
        p: calibrated probabilities on the new set, (N, 5).
        source: shares of the grades where the model was trained, (5,).
    """
    prior = np.asarray(source, dtype=float)
    for _ in range(rounds):
        updated = shift_prior(p, source, prior).mean(axis=0)
        if np.abs(updated - prior).max() < 1e-8:
            break
        prior = updated
    return updated


def shift_prior(p: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Probabilities (N, 5) as they would be if the grades had the shares ``target`` instead of ``source``."""
    if np.min(source) <= 0:
        raise UserError(f"shares {np.round(source, 4).tolist()}: every grade must occur where the model was trained")
    shifted = np.asarray(p, dtype=float) * (np.asarray(target, dtype=float) / np.asarray(source, dtype=float))
    return shifted / shifted.sum(axis=1, keepdims=True)
