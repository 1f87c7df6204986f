"""Does a map lie where the disease is? Scored where the truth is known, and by covering parts of a film.

Pointing game: Zhang et al., IJCV 2018, doi 10.1007/s11263-017-1059-x. Share of energy: Wang et al., CVPR workshops 2020,
arXiv 1910.01279. Both are to be read against chance, which is the region's share of the film.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from koalib.study import ledger
from koalib.study.controls import border_region, cover, joint_region
from koalib.study.metrics import by_group, expected_grade, group_codes, percentile_interval, resampling_weights
from koalib.study.stats import paired_difference

_FLOOR = 1e-12  # of a probability, so that its logarithm is finite
LESION = ("joint_space", "osteophytes", "sclerosis")  #: what a reader looks at, by the phantom's masks


def pointing_game(maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """1 where a map's hottest pixel lies in the region, else 0; NaN where a film has no such region, (N,).

    Args:
        maps: (N, H, W), not negative. A map of zeros points nowhere and misses.
        regions: bool (N, H, W).
    """
    flat, inside = maps.reshape(len(maps), -1), regions.reshape(len(regions), -1)
    hit = inside[np.arange(len(flat)), flat.argmax(axis=1)] & (flat.max(axis=1) > 0)
    return np.where(inside.any(axis=1), hit.astype(float), np.nan)


def energy_share(maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Share of a map's sum that lies in the region, (N,); 0 for a map of zeros, NaN where a film has no such region."""
    total = maps.sum(axis=(1, 2))
    inside = (maps * regions).sum(axis=(1, 2))
    return np.where(regions.any(axis=(1, 2)), inside / np.where(total > 0, total, 1), np.nan)


def mean_by_group(values: np.ndarray, groups: np.ndarray, resamples: int = 10_000, seed: int = 0) -> dict[str, float]:
    """Mean over films with its 95 % interval by resampling groups (patients); films with NaN are left out.

    Returns:
        value, low, high, films.
    """
    kept = np.isfinite(values)
    codes = group_codes(np.asarray(groups)[kept], kept.sum())
    sums = by_group(np.stack([values[kept], np.ones(kept.sum())], axis=1), codes)
    drawn = resampling_weights(len(sums), resamples, seed) @ sums
    low, high = percentile_interval(drawn[:, 0] / drawn[:, 1])
    return {"value": float(values[kept].mean()), "low": low, "high": high, "films": int(kept.sum())}


def lesion(masks: dict[str, np.ndarray]) -> np.ndarray:
    """Joint space, osteophytes and sclerosis together, bool (N, S, S)."""
    return np.logical_or.reduce([np.asarray(masks[name], bool) for name in LESION])


def localisation(maps: np.ndarray, masks: dict[str, np.ndarray], groups: np.ndarray, resamples: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """Pointing game and energy share of maps on films whose truth is known.

    Args:
        maps: (N, S, S) from ``gradcam`` or ``occlusion``.
        masks: the phantom's masks by name, each (N, S, S).
        groups: patient of each film, (N,).

    Returns:
        A row a region (``lesion``, then its three parts) and score: region, score, value, low, high, films, chance.
        ``chance`` is what a map that is the same everywhere would reach.
    """
    regions = {"lesion": lesion(masks)} | {name: np.asarray(masks[name], bool) for name in LESION}
    rows = []
    for name, region in regions.items():
        area = mean_by_group(energy_share(np.ones_like(maps), region), groups, 1, seed)["value"]
        for score, values in (("pointing game", pointing_game(maps, region)), ("energy share", energy_share(maps, region))):
            rows.append({"region": name, "score": score, **mean_by_group(values, groups, resamples, seed), "chance": area})
    return pd.DataFrame(rows)


def occlusion_drop(
    predict: Callable[[np.ndarray], np.ndarray], films: np.ndarray, grade: np.ndarray, groups: np.ndarray, resamples: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """What covering the joint costs, against covering as many pixels along the border.

    Args:
        predict: films (N, S, S) uint8 to probabilities (N, 5).
        films, grade, groups: films centred on the joint, their truth and their patients.

    Returns:
        Rows ``joint``, ``border`` and ``joint - border`` for each score: covered, score, value (the harm, larger is
        worse), low, high, films. Scores: fall of accuracy, of quadratic weighted kappa (``qwk``) and of the probability
        of the true grade, rise of the negative log-likelihood, distance that the expected grade moved.
    """
    size, clear = films.shape[-1], predict(films)
    shown = {"joint": predict(cover(films, joint_region(size))), "border": predict(cover(films, border_region(size)))}
    harm = {name: _harm(clear, p, grade) for name, p in shown.items()}
    harm["joint - border"] = {score: harm["joint"][score] - harm["border"][score] for score in harm["joint"]}
    pairs = {"joint": (clear, shown["joint"]), "border": (clear, shown["border"]), "joint - border": (shown["border"], shown["joint"])}
    rows = []
    for name, (better, worse) in pairs.items():
        fall = paired_difference(grade, better, worse, groups, n=resamples, seed=seed, only=("qwk",))["qwk"]
        rows.append({"covered": name, "score": "qwk", "value": fall.value, "low": fall.low, "high": fall.high, "films": len(films)})
        rows += [{"covered": name, "score": score, **mean_by_group(values, groups, resamples, seed)} for score, values in harm[name].items()]
    return pd.DataFrame(rows)


def _harm(clear: np.ndarray, covered: np.ndarray, grade: np.ndarray) -> dict[str, np.ndarray]:
    """What covering a part did to each film, (N,) by score."""
    rows = np.arange(len(grade))
    before, after = clear[rows, grade], covered[rows, grade]
    return {
        "accuracy": (clear.argmax(axis=1) == grade).astype(float) - (covered.argmax(axis=1) == grade),
        "probability of the true grade": before - after,
        "negative log-likelihood": np.log(np.maximum(before, _FLOOR)) - np.log(np.maximum(after, _FLOOR)),
        "expected grade moved": np.abs(expected_grade(covered) - expected_grade(clear)),
    }


def covered_table() -> pd.DataFrame:
    """The recorded measurement ``occlusion`` of the shipped grader: a row a score, what covering each place costs; empty while not recorded."""
    recorded = ledger.read_measurement("occlusion")
    if recorded is None:
        return pd.DataFrame()
    rows = pd.DataFrame(recorded["rows"])
    text = [f"{value:.3f} ({low:.3f} to {high:.3f})" for value, low, high in zip(rows.value, rows.low, rows.high, strict=True)]
    return rows.assign(text=text).pivot(index="score", columns="covered", values="text")[["joint", "border", "joint - border"]].rename_axis(None, axis=1)
