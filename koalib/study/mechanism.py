"""C7 and C8 on phantoms: do wavelets help against noise, do gates help to look at the lesion? Measured on saved models.

Both are contrasts of the 2 x 2, half the sum of the two arms with a module minus half the sum of the two without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from koalib.study import metrics
from koalib.study.explain import gradcam
from koalib.study.localisation import energy_share
from koalib.study.predict import model_input, predict
from koalib.study.robustness import STRENGTHS, disturb
from koalib.study.stats import seed_shares

WITH_WAVELETS = {"wavelet": 0.5, "both": 0.5, "neither": -0.5, "gct": -0.5}
WITH_GATES = {"gct": 0.5, "both": 0.5, "neither": -0.5, "wavelet": -0.5}
Models = Mapping[str, Sequence[nn.Module]]  #: arm -> one model a seed, the same seeds for all


def crossed(by_seed: np.ndarray, draws: np.ndarray, seed: int = 0) -> dict[str, float]:
    """A contrast with its 95 % interval over patients and seeds, as ``stats.contrast`` adds the two.

    Args:
        by_seed: the contrast of each seed, (S,). draws: the same for B resamples of the patients, (S, B).
    """
    shares = seed_shares(len(by_seed), draws.shape[1], np.random.default_rng([seed, 1]))
    low, high = metrics.percentile_interval(draws.mean(axis=0) + (shares - 1 / len(by_seed)) @ by_seed)
    return {"value": float(by_seed.mean()), "low": low, "high": high, "seeds": len(by_seed)}


def _contrast(coefficients: Mapping[str, float], models: Models, score: Callable[[nn.Module], tuple[float, np.ndarray]]) -> dict[str, float]:
    points, draws = 0.0, 0.0
    for arm, coefficient in coefficients.items():
        found = [score(model) for model in models[arm]]
        points = points + coefficient * np.array([point for point, _ in found])
        draws = draws + coefficient * np.array([drawn for _, drawn in found])
    return crossed(points, draws)


def under(models: Models, kind: str, films: np.ndarray, grade: np.ndarray, groups: np.ndarray, coefficients: Mapping[str, float] = WITH_WAVELETS, n: int = 10_000) -> dict[str, float]:
    """Kappa on disturbed films over kappa on clean ones, mean over the strengths of a kind, as a contrast between arms."""
    codes = metrics.group_codes(groups, len(grade))
    weights = metrics.resampling_weights(codes.max() + 1, n, 0)
    worse = [disturb(films, kind, strength) for strength in STRENGTHS[kind][1:]]

    def kept(model: nn.Module) -> tuple[float, np.ndarray]:
        p, q = predict(model, films, flip=False), [predict(model, shown, flip=False) for shown in worse]
        clean, drawn = metrics.scores(grade, p)["qwk"], metrics.resampled_scores(grade, p, codes, weights)["qwk"]
        points = [metrics.scores(grade, other)["qwk"] / clean for other in q]
        return float(np.mean(points)), np.mean([metrics.resampled_scores(grade, other, codes, weights)["qwk"] / drawn for other in q], axis=0)

    return _contrast(coefficients, models, kept)


def looking(models: Models, films: np.ndarray, lesion: np.ndarray, groups: np.ndarray, coefficients: Mapping[str, float] = WITH_GATES, n: int = 10_000) -> dict[str, float]:
    """Share of Grad-CAM's energy inside the lesion, as a contrast between arms. ``lesion`` is bool (N, S, S)."""
    codes = metrics.group_codes(groups, len(films))
    weights = metrics.resampling_weights(codes.max() + 1, n, 0)

    def inside(model: nn.Module) -> tuple[float, np.ndarray]:
        heat = np.concatenate([gradcam(model, model_input(films[i : i + 64])) for i in range(0, len(films), 64)])
        share = energy_share(heat, lesion)
        sums = weights @ metrics.by_group(np.stack([share, np.ones(len(share))], axis=1), codes)
        return float(share.mean()), sums[:, 0] / sums[:, 1]

    with torch.no_grad():
        return _contrast(coefficients, models, inside)
