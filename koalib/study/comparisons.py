"""Predictions of arms on the same films, as arrays that the statistics take: read from the ledger, nothing computed twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from koalib.study import ledger
from koalib.study.experiments import Arm, find_study
from koalib.study.stats import Difference, contrast
from koalib.study.summary import SELECTED_ON, chosen_runs


@dataclass(frozen=True)
class Stack:
    """Arms that graded the same films with the same seeds.

    grade and group are (N,); probabilities holds (S, N, 5) for each arm; ``films_of`` says which films these are.
    """

    grade: np.ndarray
    group: np.ndarray
    probabilities: dict[str, np.ndarray]
    films_of: str
    dataset: str
    runs: int

    def contrast(self, coefficients: dict[str, float], n: int = 10_000) -> dict[str, Difference]:
        """Sum of coefficient x score over arms, for every score; patients and seeds are redrawn together."""
        arms = [self.probabilities[name] for name in coefficients]
        return contrast(self.grade, arms, list(coefficients.values()), self.group, n=n)


def arm(study: str, name: str) -> Arm:
    """An arm of a study by its name, ``model/variant``."""
    return next(a for a in find_study(study).arms if a.name == name)


def planned(study: str, arms: Sequence[str]) -> int:
    """Runs that a comparison of these arms needs, a learning-rate search not counted."""
    return sum(len(a.folds) * len(a.seeds) for a in (arm(study, name) for name in arms))


def arm_runs(study: str) -> dict[str, dict[tuple[int | None, int], str]]:
    """Recorded runs that stand for their arm: name of the run by fold and seed, for each arm that has any."""
    found: dict[str, dict[tuple[int | None, int], str]] = {}
    for name, experiment in chosen_runs(study):
        found.setdefault(name, {})[experiment.fold, experiment.seed] = experiment.run_name
    return found


def stack(study: str, arms: Sequence[str]) -> Stack | None:
    """The arms' predictions on the films that all of them graded, or None while they have no run in common.

    A fold study uses its out-of-fold films; an official split uses validation films until the study is unsealed,
    then test films. A seed counts when all its folds are recorded for every arm.
    """
    runs = arm_runs(study)
    if any(name not in runs for name in arms):
        return None
    common = set.intersection(*(set(runs[name]) for name in arms))
    if not common:
        return None
    folds = {seed: {fold for fold, s in common if s == seed} for _, seed in common}
    complete = max(folds.values(), key=len)
    seeds = sorted(seed for seed, has in folds.items() if has == complete)
    split = "oof" if None not in complete else "test" if ledger.unsealed(study) else "val"
    tables = {name: [_films(study, [runs[name][fold, seed] for fold in complete], split) for seed in seeds] for name in arms}
    films = tables[arms[0]][0]
    return Stack(
        films.grade.to_numpy(), films.group.to_numpy(), {name: np.stack([ledger.probabilities(t) for t in found]) for name, found in tables.items()},
        SELECTED_ON[split], str(films.dataset.iloc[0]), len(arms) * len(seeds) * len(complete))


def _films(study: str, runs: Sequence[str], split: str) -> pd.DataFrame:
    """Predictions of one seed on all its films, in the order of their ids."""
    return pd.concat([ledger.read_predictions(study, run, split) for run in runs]).sort_values("image_id", ignore_index=True)


def curve_table(study: str, arms: Sequence[str]) -> pd.DataFrame:
    """Learning curves of the arms' recorded runs, a row an epoch: arm, run, epoch, seconds, val_qwk and the rest."""
    records = {record["name"]: record for record in ledger.read_runs(study)}
    runs = arm_runs(study)
    return pd.DataFrame([{"arm": name, "run": run, **row} for name in arms for run in runs.get(name, {}).values() for row in records[run]["curve"]])
