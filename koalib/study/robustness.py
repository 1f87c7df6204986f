"""Films made worse on purpose: how much of a model's score survives noise, blur, low contrast and compression.

After Hendrycks & Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions*, ICLR 2019, arXiv 1903.12261;
scores are given relative to the clean films, so that a better model does not look more robust merely by being better.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from koalib.errors import UserError
from koalib.study import metrics

#: strengths by kind, the first leaves the film as it is. noise: standard deviation in those of the film; blur: standard
#: deviation in per cent of the film's side; contrast: share of the spread that is taken away; jpeg: 100 - quality
STRENGTHS: dict[str, tuple[float, ...]] = {
    "noise": (0, 0.1, 0.2, 0.4, 0.8), "blur": (0, 1, 2, 3, 5), "contrast": (0, 0.4, 0.6, 0.8, 0.9), "jpeg": (0, 50, 80, 90, 95),
}


def disturb(films: np.ndarray, kind: str, strength: float, seed: int = 0) -> np.ndarray:
    """Films (N, S, S) uint8 made worse; strength 0 returns them unchanged, noise repeats under the same seed."""
    if kind not in STRENGTHS:
        raise UserError(f"disturbance {kind!r}: choose one of {', '.join(STRENGTHS)}")
    if strength == 0:
        return films
    if kind == "jpeg":
        return np.stack([_jpeg(film, round(100 - strength)) for film in films])
    x = films.astype(np.float32)
    mean, spread = x.mean(axis=(1, 2), keepdims=True), x.std(axis=(1, 2), keepdims=True)
    if kind == "noise":
        x = x + strength * spread * np.random.default_rng(seed).standard_normal(x.shape, dtype=np.float32)
    elif kind == "blur":
        x = gaussian_filter(x, sigma=(0, *2 * [strength / 100 * films.shape[-1]]))
    else:
        x = mean + (1 - strength) * (x - mean)
    return np.clip(np.round(x), 0, 255).astype(np.uint8)


def _jpeg(film: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(film).save(stream, "JPEG", quality=max(quality, 1))
    return np.asarray(Image.open(stream))


def kept_scores(
    arms: Mapping[str, Sequence[Callable[[np.ndarray], np.ndarray]]], films: np.ndarray, grade: np.ndarray, groups: np.ndarray,
    kind: str, score: str = "qwk", resamples: int = 10_000, seed: int = 0,
) -> pd.DataFrame:
    """Score on disturbed films divided by the score on clean ones, mean over an arm's models.

    Args:
        arms: for each arm its models, each a function from films (N, S, S) to probabilities (N, 5).
        kind: a key of ``STRENGTHS``.

    Returns:
        arm, level (the strength), value, low, high: 95 % intervals over groups, the same resamples for all.
    """
    codes = metrics.group_codes(groups, len(grade))
    weights = metrics.resampling_weights(codes.max() + 1, resamples, seed)
    worse = {strength: disturb(films, kind, strength, seed) for strength in STRENGTHS[kind]}
    rows = []
    for arm, models in arms.items():
        clean = None
        for strength, shown in worse.items():
            found = [model(shown) for model in models]
            point = np.mean([metrics.scores(grade, p)[score] for p in found])
            drawn = np.mean([metrics.resampled_scores(grade, p, codes, weights, only=(score,))[score] for p in found], axis=0)
            clean = clean or (point, drawn)
            low, high = metrics.percentile_interval(drawn / clean[1])
            rows.append({"arm": arm, "level": strength, "value": point / clean[0], "low": low, "high": high})
    return pd.DataFrame(rows)
