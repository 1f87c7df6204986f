"""Comparing models on the same films: differences, interactions, McNemar by patient, Holm.

Two things vary when a training is repeated on new patients: the films and the seed. The bootstrap here redraws patients
(with all their films) under the seeds there are, redraws seeds on the films there are, and adds the two deviations: the
variance of two crossed samples, with the share of their interaction counted twice and so a little wide (Cameron, Gelbach
& Miller 2011, doi 10.1198/jbes.2010.07136). Redrawing both at once would count it three times (Owen 2007, doi
10.1214/07-AOAS122). S seeds are drawn S - 1 at a time: with so few, drawing S would make the variance of their mean too
small by (S - 1)/S (Rao & Wu 1988, JASA 83:231-241). ``benchmarks/coverage.py`` measures the result.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from koalib.errors import UserError
from koalib.study import metrics


@dataclass(frozen=True)
class Difference:
    """A contrast between arms: its value, 95 % interval, two-sided p-value, and the number of seeds behind it."""

    value: float
    low: float
    high: float
    p: float
    seeds: int


def contrast(
    grade: np.ndarray, arms: Sequence[np.ndarray], coefficients: Sequence[float], groups: np.ndarray,
    n: int = 10_000, seed: int = 0, paired_seeds: bool = True, only: Collection[str] | None = None,
) -> dict[str, Difference]:
    """Sum of coefficient x score over arms, for every score of `metrics.scores`; an arm's score is its mean over seeds.

    Args:
        grade: the truth, (N,).
        arms: probabilities of each arm on the same N films, (S, N, 5) with one entry a seed, or (N, 5).
        coefficients: one an arm: (1, -1) is a difference, (1, -1, -1, 1) an interaction.
        groups: patient or duplicate group of each film, (N,).
        n: resamples.
        paired_seeds: seed s of all arms shares its start and its order of films, so they are drawn together.
        only: names of the scores that are wanted, all by default.

    Raises:
        UserError: arms of different films, or of different numbers of seeds where these are paired.
    """
    arms = [np.asarray(a)[None] if np.ndim(a) == 2 else np.asarray(a) for a in arms]
    seeds = [len(arm) for arm in arms]
    if len(arms) != len(coefficients):
        raise UserError(f"{len(coefficients)} coefficients for {len(arms)} arms: give one to each")
    if paired_seeds and len(set(seeds)) > 1:
        raise UserError(f"arms with {seeds} seeds cannot be paired; run the missing seeds, or compare with paired_seeds=False")
    codes = metrics.group_codes(groups, len(grade))
    weights = metrics.resampling_weights(codes.max() + 1, n, seed)
    draw = np.random.default_rng([seed, 1])
    shares = [seed_shares(s, n, draw) for s in (seeds[:1] if paired_seeds else seeds)]
    shares = shares * len(arms) if paired_seeds else shares

    points, draws = [], []
    for arm, share in zip(arms, shares, strict=True):
        by_seed = [metrics.scores(grade, p) for p in arm]
        points.append(_mean(by_seed))
        of_patients = _mean([metrics.resampled_scores(grade, p, codes, weights, only=only) for p in arm])
        draws.append({name: values + (share - 1 / len(arm)) @ [scores[name] for scores in by_seed] for name, values in of_patients.items()})
    found = {}
    for name in draws[0]:
        value, resampled = (sum(c * arm[name] for c, arm in zip(coefficients, of, strict=True)) for of in (points, draws))
        found[name] = Difference(float(value), *metrics.percentile_interval(resampled), p_value(resampled), min(seeds))
    return found


def _mean(by_seed: list[dict]) -> dict:
    """Mean over seeds of each score."""
    return {name: sum(scores[name] for scores in by_seed) / len(by_seed) for name in by_seed[0]}


def seed_shares(seeds: int, n: int, draw: np.random.Generator) -> np.ndarray:
    """Weight of each seed in each resample, (n, seeds); rows sum to 1. A single seed always counts fully."""
    if seeds == 1:
        return np.ones((n, 1))
    return draw.multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=n) / (seeds - 1)


def p_value(draws: np.ndarray) -> float:
    """Two-sided bootstrap p-value of "no difference": below 0.05 when the 95 % percentile interval leaves out 0."""
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return float("nan")
    tail = min(np.sum(draws <= 0), np.sum(draws >= 0))
    return float(min(1.0, 2 * (tail + 1) / (len(draws) + 1)))


def paired_difference(grade: np.ndarray, a: np.ndarray, b: np.ndarray, groups: np.ndarray, **options: object) -> dict[str, Difference]:
    """Scores of a minus scores of b on the same films; arguments as in `contrast`."""
    return contrast(grade, [a, b], [1, -1], groups, **options)


def a_against_a(grade: np.ndarray, arm: np.ndarray, groups: np.ndarray, **options: object) -> dict[str, Difference]:
    """One arm against itself, half of its seeds (S, N, 5) against the other half: what seeds alone do to a difference.

    Raises:
        UserError: the arm has a single seed.
    """
    half = len(arm) // 2
    if not half:
        raise UserError("an arm is compared with itself over its seeds: at least two are needed")
    return contrast(grade, [arm[:half], arm[half : 2 * half]], [1, -1], groups, paired_seeds=False, **options)


def clustered_mcnemar(correct_a: np.ndarray, correct_b: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """McNemar's test where the films of a patient are not independent.

    Obuchowski 1998, doi 10.1002/(SICI)1097-0258(19980715)17:13<1495::AID-SIM863>3.0.CO;2-I, in the form that
    Yang, Sun & Hardin 2010 (doi 10.1002/bimj.201000035) show it to have: with d_k the discordant films of patient k in
    favour of a minus those in favour of b, X2 = (K-1)/K (sum d_k)^2 / sum d_k^2 on one degree of freedom.

    Args:
        correct_a, correct_b: whether each model was right, bool (N,) or, for S seeds, (S, N).
        groups: (N,).

    Returns:
        films for a alone (``only_a``) and b alone (``only_b``), ``statistic``, ``p``.
    """
    a, b = (np.atleast_2d(np.asarray(c)).astype(int) for c in (correct_a, correct_b))
    if a.shape != b.shape:
        raise UserError(f"verdicts of shape {a.shape} and {b.shape}: both models must grade the same films")
    codes = metrics.group_codes(groups, a.shape[1])
    by_patient = np.bincount(codes, weights=(a - b).sum(axis=0))
    spread, patients = np.sum(by_patient**2), len(by_patient)
    statistic = float((patients - 1) / patients * by_patient.sum() ** 2 / spread) if spread else 0.0
    return {"only_a": int((a > b).sum()), "only_b": int((b > a).sum()), "statistic": statistic, "p": float(chi2.sf(statistic, 1))}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values of a family of contrasts (Holm 1979); a contrast not tested (NaN) is not counted."""
    from statsmodels.stats.multitest import multipletests  # a second to import, needed once

    tested = {name: p for name, p in p_values.items() if np.isfinite(p)}
    adjusted = multipletests(list(tested.values()), method="holm")[1] if tested else []
    return {name: float("nan") for name in p_values} | {name: float(p) for name, p in zip(tested, adjusted, strict=True)}
