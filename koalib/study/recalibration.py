"""Probabilities of a model on films from elsewhere, corrected step by step: first the shares of the grades, then the rest.

Two things go wrong abroad. The grades may be commoner or rarer than where the model was trained (label shift): that is
mended by new shares alone, which can be estimated without a label. Or equal-looking films may deserve other
probabilities: that is miscalibration, and takes labels. What no step mends is lost: the order of the films.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from koalib.study.calibration import cross_fit, fit_prior, shift_prior
from koalib.study.conformal import fit_conformal, prediction_sets
from koalib.study.metrics import N_GRADES, check_predictions

AS_THEY_ARE, ESTIMATED, KNOWN, RECALIBRATED = "as they are", "shares estimated", "shares known", "recalibrated"
STEPS = (AS_THEY_ARE, ESTIMATED, KNOWN, RECALIBRATED)
_FLOOR = 1e-12  # of a probability, so that its logarithm is finite


def corrected(p: np.ndarray, grade: np.ndarray, fold: np.ndarray, source: np.ndarray) -> dict[str, np.ndarray]:
    """The probabilities (N, 5) after each of ``STEPS``; labels correct only films of folds other than their own.

    Args:
        p: the model's tempered probabilities abroad, (N, 5).
        grade: the truth, (N,). fold: of each film, no group in two, (N,).
        source: shares of the grades among the films that the model was trained on, (5,).

    Returns:
        ``as they are``; ``shares estimated`` by expectation-maximisation from the films alone (Saerens et al. 2002);
        ``shares known`` from labels; ``recalibrated`` with one slope and an offset a grade (`fit_bias_corrected`).
    """
    grade, p = check_predictions(grade, p)

    def shares(_: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels, minlength=N_GRADES) / len(labels)

    return {
        AS_THEY_ARE: p,
        ESTIMATED: shift_prior(p, source, fit_prior(p, source)),
        KNOWN: cross_fit(p, grade, fold, shares, lambda rows, target: shift_prior(rows, source, target)),
        RECALIBRATED: cross_fit(p, grade, fold, fit_bias_corrected, bias_corrected),
    }


def recalibrated_sets(p: np.ndarray, grade: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Contiguous 90 % sets of grades, bool (N, 5), whose recalibration and threshold come from other folds; arguments as in `corrected`."""

    def fit(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
        fitted = fit_bias_corrected(rows, labels)
        return fitted, fit_conformal(bias_corrected(rows, fitted), labels)

    return cross_fit(p, grade, fold, fit, lambda rows, found: prediction_sets(bias_corrected(rows, found[0]), found[1]))


def fit_bias_corrected(p: np.ndarray, grade: np.ndarray) -> np.ndarray:
    """Slope and five offsets, (6,), of bias-corrected temperature scaling by maximum likelihood.

    Alexandari, Kundaje & Shrikumar 2020, ICML, arXiv 1901.06852: softmax(slope log p + offset). The offsets hold any
    new shares of the grades, the slope says how much too sure the model is. The problem is convex; of the offsets only
    differences count, so they sum to 0.
    """
    grade, p = check_predictions(grade, p)
    log_p, truth = np.log(np.maximum(p, _FLOOR)), np.eye(N_GRADES)[grade]

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        log_q = log_softmax(x[0] * log_p + x[1:], axis=1)
        wrong = np.exp(log_q) - truth
        ridge = 1e-6 * x[1:]  # a grade without films would send its offset to minus infinity
        gradient = np.concatenate([[(wrong * log_p).sum() / len(p)], wrong.mean(axis=0) + ridge])
        return -(log_q * truth).sum() / len(p) + 0.5 * (ridge @ x[1:]), gradient

    found = minimize(loss, np.concatenate([[1.0], np.zeros(N_GRADES)]), jac=True, method="BFGS").x
    return np.concatenate([found[:1], found[1:] - found[1:].mean()])


def bias_corrected(p: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Probabilities (N, 5) with the slope and offsets of `fit_bias_corrected`."""
    return softmax(fitted[0] * np.log(np.maximum(p, _FLOOR)) + fitted[1:], axis=1)
