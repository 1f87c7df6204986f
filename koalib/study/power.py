"""What a comparison can see: films needed for a difference, differences seen with the films there are."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from koalib.errors import UserError
from koalib.study.metrics import by_group, group_codes


def design_effect(films_per_patient: float, correlation: float) -> float:
    """How many times more films are needed because those of one patient resemble each other (Kish 1965)."""
    return 1 + (films_per_patient - 1) * correlation


def films_needed(difference: float, discordance: float, power: float = 0.8, alpha: float = 0.05, design: float = 1.0) -> int:
    """Films for which a paired difference in accuracy is seen with the given power.

    Connor 1987 (Biometrics 43:207-211): n = (z_alpha sqrt(psi) + z_beta sqrt(psi - d^2))^2 / d^2 for McNemar's test.

    Args:
        difference: of the two accuracies, 0.024 for 2.4 points.
        discordance: share of films that only one of the two gets right; at least the difference.
        design: see `design_effect`.
    """
    if not 0 < difference <= discordance <= 1:
        raise UserError(f"difference {difference} with discordance {discordance}: 0 < difference <= discordance <= 1 is needed")
    z_alpha, z_beta = norm.ppf(1 - alpha / 2), norm.ppf(power)
    root = z_alpha * math.sqrt(discordance) + z_beta * math.sqrt(discordance - difference**2)
    return math.ceil(design * (root / difference) ** 2)


def detectable_difference(
    films: int, discordance: float, seed_sd: float, seeds: int, lasting: float = 0.25,
    arms: int = 2, power: float = 0.8, alpha: float = 0.05, design: float = 1.0,
) -> float:
    """Smallest difference in accuracy seen with the given power, patients and seeds both varying.

    The variance of a contrast of ``arms`` mean accuracies is arms/2 (design lasting discordance / films + 2 seed_sd^2 / seeds):
    only the ``lasting`` part of the discordance belongs to the arms, the rest changes with every seed and is in seed_sd.

    Args:
        seed_sd: standard deviation of the accuracy over seeds, 0.01 for one point.
        arms: 2 for a difference, 4 for the interaction of a 2 x 2.
    """
    variance = arms / 2 * (design * lasting * discordance / films + 2 * seed_sd**2 / seeds)
    return float((norm.ppf(1 - alpha / 2) + norm.ppf(power)) * math.sqrt(variance))


def smallest_seen(low: float, high: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest effect that a study with this 1 - alpha interval of its contrast would have seen with the given power.

    The interval's half width is z_alpha standard errors; z_alpha + z_beta of them are needed.
    """
    z_alpha, z_beta = norm.ppf(1 - alpha / 2), norm.ppf(power)
    return float((high - low) / 2 * (z_alpha + z_beta) / z_alpha)


def observed(correct_a: np.ndarray, correct_b: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """What `detectable_difference` is to be given, as two arms that were run show it.

    Args:
        correct_a, correct_b: whether each seed's model was right, bool (S, N) with two seeds or more. groups: (N,).

    Returns:
        films; discordance, mean over seeds; lasting, the share of it that two seeds have in common; seed_sd of the accuracy, over both
        arms; seeds; design, the variance of the mean difference with groups redrawn over that with films redrawn.
    """
    a, b = (np.asarray(correct).astype(float) for correct in (correct_a, correct_b))
    seeds, films = a.shape
    if seeds < 2:
        raise UserError("one seed shows neither its own spread nor what outlasts it; two are needed")
    differences = a - b
    discordance = np.mean(differences**2)
    common = (differences.sum(axis=0) ** 2 - (differences**2).sum(axis=0)).mean() / (seeds * (seeds - 1))
    centred = differences.mean(axis=0) - differences.mean()
    design = np.sum(by_group(centred[:, None], group_codes(groups, films)) ** 2) / np.sum(centred**2)
    spread = np.sqrt(np.mean([arm.mean(axis=1).var(ddof=1) for arm in (a, b)]))
    return {"films": films, "discordance": discordance, "lasting": common / discordance, "seed_sd": spread, "seeds": seeds, "design": design}


def most_discordant(excess: int, alpha: float = 0.05) -> int:
    """Largest number of discordant films with which an excess of that many is significant in the exact McNemar test."""
    discordant = excess
    while binomtest((discordant + 2 + excess) // 2, discordant + 2).pvalue < alpha:
        discordant += 2
    if binomtest((discordant + excess) // 2, discordant).pvalue >= alpha:
        raise UserError(f"an excess of {excess} films is never significant at {alpha}")
    return discordant


def power_of(films: int, difference: float, discordance: float, alpha: float = 0.05, design: float = 1.0) -> float:
    """Power of McNemar's test with that many films: the inverse of `films_needed`."""
    def missing(power: float) -> float:
        z_alpha, z_beta = norm.ppf(1 - alpha / 2), norm.ppf(power)
        return design * ((z_alpha * math.sqrt(discordance) + z_beta * math.sqrt(discordance - difference**2)) / difference) ** 2 - films

    return float(brentq(missing, alpha / 2, 1 - 1e-9)) if missing(1 - 1e-9) > 0 else 1.0
