"""C7 and C8 on phantoms: do wavelets help against noise, do gates help to look at the lesion? Measured on saved models.

All are contrasts of the 2 x 2, half the sum of the two arms with a module minus half the sum of the two without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from koalib.data.phantom_films import PHANTOM_SIZE, shrink, upright
from koalib.errors import UserError
from koalib.model.architectures import TWO_BY_TWO
from koalib.model.weights import load_checkpoint
from koalib.study import ledger, metrics
from koalib.study.bands import PARTS, response
from koalib.study.comparisons import arm_runs
from koalib.study.explain import gradcam
from koalib.study.localisation import energy_share, lesion
from koalib.study.outcome import WEIGHTS_FILE
from koalib.study.predict import model_input, predict
from koalib.study.robustness import STRENGTHS, disturb
from koalib.study.runner import work_folder
from koalib.study.stats import seed_shares

ARMS = tuple(TWO_BY_TWO)
WITH_WAVELETS = {"wavelet": 0.5, "both": 0.5, "neither": -0.5, "gct": -0.5}
WITH_GATES = {"gct": 0.5, "both": 0.5, "neither": -0.5, "wavelet": -0.5}
Models = Mapping[str, Sequence[nn.Module]]  #: arm -> one model a seed, the same seeds for all
Answers = Mapping[str, Sequence[np.ndarray]]  #: grades (N,) that each of `Models` gives
Score = tuple[float, np.ndarray]  #: of one model: its value, and that of B resamples of the patients


def saved_runs() -> dict[str, list[str]]:
    """The four arms' runs in the order of their seeds, of the seeds that all arms have.

    Raises:
        UserError: no seed has all four arms.
    """
    if not (runs := _standing()):
        raise UserError("mechanism: no seed has all four arms yet; koalib study run mechanism")
    return runs


def _standing() -> dict[str, list[str]]:
    """`saved_runs`, or nothing where no seed has all four arms."""
    made = arm_runs("mechanism")
    runs = {arm: made.get(f"convwgcnet_atto/{arm}", {}) for arm in ARMS}
    seeds = sorted(set.intersection(*(set(found) for found in runs.values())))
    return {arm: [found[seed] for seed in seeds] for arm, found in runs.items()} if seeds else {}


def saved_models(runs: Mapping[str, Sequence[str]]) -> Models:
    """The models of `saved_runs`.

    Raises:
        UserError: their weights are not on this machine.
    """
    return {arm: [load_checkpoint(work_folder("mechanism", name) / WEIGHTS_FILE)[0] for name in names] for arm, names in runs.items()}


def questions(models: Models, fresh: Fresh, n: int = 10_000) -> dict[str, Callable[[], dict]]:
    """What is asked of the models on phantoms that no run has seen: a name, and what answers it.

    ``localisation``: a contrast in the lesion; ``bands``: one for each of ``bands.PARTS`` in the joint; then one for each disturbance of ``STRENGTHS``.
    """
    clean = cache(partial(answers, models, fresh.films))
    return {
        "localisation": partial(looking, models, fresh.films, fresh.lesion, fresh.groups, n=n),
        "bands": partial(answering, models, fresh.films, fresh.joint, fresh.groups, n=n),
    } | {kind: lambda kind=kind: under(models, kind, fresh.films, fresh.grade, fresh.groups, clean(), n=n) for kind in STRENGTHS}


@dataclass(frozen=True)
class Fresh:
    """Phantoms as the runs saw theirs: films (N, S, S) uint8 with bone bright, grade and groups (N,), joint and lesion bool (N, S, S)."""

    films: np.ndarray
    grade: np.ndarray
    groups: np.ndarray
    joint: np.ndarray
    lesion: np.ndarray


def phantoms_at(patients: int, size: int, seed: int) -> Fresh:
    """Phantoms made and shrunk as for training: one that is made small has another noise, in the finest band above all."""
    from koalib.data.phantom import make_phantoms  # compiles its kernel, which the tables need not wait for

    made = make_phantoms(patients, size=PHANTOM_SIZE, seed=seed)
    films = np.empty((len(made.table), size, size), np.uint8)
    shrink(upright(made), films)

    def smaller(mask: np.ndarray) -> np.ndarray:
        """Pixels of which the region covers half or more."""
        return (functional.adaptive_avg_pool2d(torch.from_numpy(mask).float(), size) >= 0.5).numpy()

    return Fresh(films, made.table.grade.to_numpy(), made.table.patient.to_numpy(), smaller(made.masks["joint_space"]), smaller(lesion(made.masks)))


def measurement() -> dict:
    """The recorded measurement, or nothing where it is of other runs than those that stand for the arms today."""
    recorded = ledger.read_measurement("mechanism") or {}
    return recorded if recorded.get("runs") == _standing() else {}


def table() -> pd.DataFrame:
    """The measurement, a row a question: the arms' means, the contrast between arms with its interval; empty while not measured."""
    recorded = measurement()
    rows = {f"kappa kept under {kind}": recorded.get(kind) for kind in STRENGTHS} | {"Grad-CAM's energy in the lesion": recorded.get("localisation")}
    rows |= {f"energy inside / outside the joint, {part} (log2)": found for part, found in recorded.get("bands", {}).items()}
    return pd.DataFrame({name: {**row["arms"], "contrast": row["value"], "low": row["low"], "high": row["high"], "A/A": row["a_a"]} for name, row in rows.items() if row}).T


def crossed(by_seed: np.ndarray, draws: np.ndarray, seed: int = 0) -> dict[str, float]:
    """A contrast with its 95 % interval over patients and seeds, as ``stats.contrast`` adds the two.

    Args:
        by_seed: the contrast of each seed, (S,). draws: the same for B resamples of the patients, (S, B).
    """
    shares = seed_shares(len(by_seed), draws.shape[1], np.random.default_rng([seed, 1]))
    low, high = metrics.percentile_interval(draws.mean(axis=0) + (shares - 1 / len(by_seed)) @ by_seed)
    return {"value": float(by_seed.mean()), "low": low, "high": high, "seeds": len(by_seed)}


def _contrast(coefficients: Mapping[str, float], scored: Mapping[str, Sequence[Score]]) -> dict:
    """The contrast of scores by arm and seed, with the arms' own means, and how far the first two seeds of ``neither`` lie apart (A/A)."""
    points = sum(coefficient * np.array([point for point, _ in scored[arm]]) for arm, coefficient in coefficients.items())
    draws = sum(coefficient * np.array([drawn for _, drawn in scored[arm]]) for arm, coefficient in coefficients.items())
    alone = [point for point, _ in scored["neither"]]
    return crossed(points, draws) | {"a_a": abs(alone[0] - alone[1]) if len(alone) > 1 else None, "arms": {arm: float(np.mean([point for point, _ in of])) for arm, of in scored.items()}}


def _resampled_means(groups: np.ndarray, n: int) -> Callable[[np.ndarray], Score]:
    """A function from films' values (N,) to their mean and its resamples; films without a value (NaN) are left out."""
    codes = metrics.group_codes(groups, len(groups))
    weights = metrics.resampling_weights(codes.max() + 1, n, 0)

    def mean(values: np.ndarray) -> Score:
        there = np.isfinite(values)
        sums = weights @ metrics.by_group(np.stack([np.where(there, values, 0), there], axis=1), codes)
        return float(values[there].mean()), sums[:, 0] / sums[:, 1]

    return mean


def answers(models: Models, films: np.ndarray) -> Answers:
    """Every model's grades of the films."""
    return {arm: [predict(model, films, flip=False).argmax(axis=1) for model in of] for arm, of in models.items()}


def under(models: Models, kind: str, films: np.ndarray, grade: np.ndarray, groups: np.ndarray, clean: Answers, coefficients: Mapping[str, float] = WITH_WAVELETS, n: int = 10_000) -> dict:
    """Kappa on disturbed films over kappa on clean ones, mean over the strengths of a kind, as a contrast between arms.

    Args:
        clean: the models' `answers` on the films themselves.

    Raises:
        UserError: a model without any kappa on clean films.
    """
    codes = metrics.group_codes(groups, len(grade))
    weights = metrics.resampling_weights(codes.max() + 1, n, 0)
    disturbed = [answers(models, disturb(films, kind, strength)) for strength in STRENGTHS[kind][1:]]

    def kappas(said: np.ndarray) -> np.ndarray:
        """Of the films themselves, then of each resample, (1 + n,)."""
        cells = np.eye(metrics.N_GRADES**2)[metrics.N_GRADES * grade + said]
        counts = np.concatenate([cells.sum(axis=0)[None], weights @ metrics.by_group(cells, codes)])
        return metrics.from_confusion(counts.reshape(-1, metrics.N_GRADES, metrics.N_GRADES))["qwk"]

    def kept(arm: str, seed: int) -> Score:
        whole = kappas(clean[arm][seed])
        if not whole[0] > 0:
            raise UserError(f"kappa {whole[0]:.2f} on clean phantoms: a model that knows nothing has nothing to keep under {kind}; train it longer")
        with np.errstate(divide="ignore", invalid="ignore"):  # a resample without any kappa is left out of the interval
            share = np.mean([kappas(said[arm][seed]) for said in disturbed], axis=0) / whole
        return float(share[0]), share[1:]

    return _contrast(coefficients, {arm: [kept(arm, seed) for seed in range(len(of))] for arm, of in models.items()})


def looking(models: Models, films: np.ndarray, regions: np.ndarray, groups: np.ndarray, coefficients: Mapping[str, float] = WITH_GATES, n: int = 10_000) -> dict:
    """Share of Grad-CAM's energy inside the lesion, as a contrast between arms. ``regions`` is bool (N, S, S)."""
    mean = _resampled_means(groups, n)

    def inside(model: nn.Module) -> Score:
        heat = np.concatenate([gradcam(model, model_input(films[i : i + 64])) for i in range(0, len(films), 64)])
        return mean(energy_share(heat, regions))

    return _contrast(coefficients, {arm: [inside(model) for model in of] for arm, of in models.items()})


def answering(models: Models, films: np.ndarray, regions: np.ndarray, groups: np.ndarray, coefficients: Mapping[str, float] = WITH_WAVELETS, n: int = 10_000) -> dict[str, dict]:
    """By band and for all together, log2 of the first stage's energy inside the region over that outside, as a contrast between arms."""
    mean = _resampled_means(groups, n)
    found = {arm: [response(model, films, regions) for model in of] for arm, of in models.items()}
    return {band: _contrast(coefficients, {arm: [mean(each[:, i]) for each in of] for arm, of in found.items()}) for i, band in enumerate(PARTS)}
