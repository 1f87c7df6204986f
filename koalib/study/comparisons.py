"""What a study's recorded predictions say: arms as arrays on the same films, their scores, and what is compared.

All of it is read from the ledger when it is asked for; ``docs/statistics.md`` says how scores and intervals are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from koalib.study import ledger, metrics
from koalib.study.experiment import Experiment
from koalib.study.experiments import Arm, Panel, find_study
from koalib.study.runner import recorded, standing
from koalib.study.stats import Difference, a_against_a, contrast

SELECTED_ON = {"val": "validation", "oof": "out of fold", "test": "test"}
SCORES = ("accuracy", "macro_f1", "four_scores", "qwk", "mae", "rps")  #: shown of every study
AGAINST_ITSELF = "A/A: {}, other seeds"


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

    @property
    def data(self) -> str:
        """Which films these are, in words."""
        return f"{self.dataset}, {len(self.grade)} films ({self.films_of})"

    def contrast(self, coefficients: dict[str, float], only: Sequence[str], n: int = 10_000) -> dict[str, Difference]:
        """Sum of coefficient x score over arms, for the scores named; patients and seeds are each redrawn, and their deviations added."""
        arms = [self.probabilities[name] for name in coefficients]
        return contrast(self.grade, arms, list(coefficients.values()), self.group, n=n, only=only)

    def against_itself(self, name: str, only: Sequence[str], n: int = 10_000) -> dict[str, Difference]:
        """An arm's difference from itself between seeds (A/A), for the scores named; empty while it has a single seed."""
        p = self.probabilities[name]
        return a_against_a(self.grade, p, self.group, n=n, only=only) if len(p) > 1 else {}


def arm(study: str, name: str) -> Arm:
    """An arm of a study by its name, ``model/variant``."""
    return next(a for a in find_study(study).arms if a.name == name)


def planned(study: str, arms: Sequence[str]) -> int:
    """Runs that a comparison of these arms needs, a learning-rate search not counted."""
    return sum(len(a.folds) * len(a.seeds) for a in (arm(study, name) for name in arms))


def chosen_runs(study: str) -> list[tuple[str, Experiment]]:
    """Experiments whose runs stand for their arm and are recorded, with the arm's name; runs that only searched a learning rate do not."""
    look = recorded(study)
    return [(arm.name, e) for arm in find_study(study).arms for e in arm.results(look) if ledger.has_run(study, standing(study, e).run_name)]


def arm_runs(study: str) -> dict[str, dict[tuple[int | None, int], str]]:
    """Recorded runs that stand for their arm: name of the run by fold and seed, for each arm that has any.

    The repetition of a run that failed stands under the fold and seed of that run.
    """
    found: dict[str, dict[tuple[int | None, int], str]] = {}
    for name, experiment in chosen_runs(study):
        found.setdefault(name, {})[experiment.fold, experiment.seed] = standing(study, experiment).run_name
    return found


def made(study: str, arms: Sequence[str]) -> int:
    """Runs of these arms that the ledger holds."""
    runs = arm_runs(study)
    return sum(len(runs.get(name, {})) for name in arms)


def stack(study: str, arms: Sequence[str], stay: bool = False) -> Stack | None:
    """The arms' predictions on the films that all of them graded, or None while they have no run in common.

    A fold study uses its out-of-fold films; an official split uses validation films until the runs' test is opened,
    then test films, unless it is to ``stay``. A seed counts when all its folds are recorded for every arm.
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
    used = [runs[name][fold, seed] for name in arms for seed in seeds for fold in complete]
    split = "oof" if None not in complete else "test" if not stay and all(ledger.opened(study, run) for run in used) else "val"
    tables = {name: [_films(study, [runs[name][fold, seed] for fold in complete], split) for seed in seeds] for name in arms}
    shared = set.intersection(*(set(table.image_id) for found in tables.values() for table in found))
    tables = {name: [table[table.image_id.isin(shared)] for table in found] for name, found in tables.items()}
    films = tables[arms[0]][0]
    return Stack(
        films.grade.to_numpy(), films.group.to_numpy(), {name: np.stack([ledger.probabilities(t) for t in found]) for name, found in tables.items()},
        SELECTED_ON[split], str(films.dataset.iloc[0]), len(arms) * len(seeds) * len(complete))


def _films(study: str, runs: Sequence[str], split: str) -> pd.DataFrame:
    """Predictions of one seed on all its films, in the order of their ids."""
    return pd.concat([ledger.read_predictions(study, run, split) for run in runs]).sort_values("image_id", ignore_index=True)


def panels(study: str) -> tuple[Panel, ...]:
    """The panels of a study of which something is recorded."""
    runs = arm_runs(study)
    return tuple(panel for panel in find_study(study).panels if any(arm.name in runs for arm in panel.arms))


def arm_scores(study: str, scores: Sequence[str] = SCORES, n: int = 10_000) -> pd.DataFrame:
    """One row an arm, whether run or not; ``n`` resamples.

    Returns:
        columns panel, arm (its label there), made and planned runs, films (how many, of what), and for each score its
        mean over seeds, ``_low`` and ``_high`` (95 %, films and seeds redrawn) and ``_runs`` (each seed alone); NaN where not run.
    """
    rows = []
    for panel in find_study(study).panels:
        for arm in panel.arms:
            found = stack(study, [arm.name], panel.chosen_by)
            row = {"panel": panel.title, "arm": panel.label(arm), "made": made(study, [arm.name]), "planned": planned(study, [arm.name]), "films": found.data if found else arm.needs or "-"}
            whole = found.contrast({arm.name: 1.0}, scores, n) if found else {}
            alone = [metrics.scores(found.grade, p) for p in found.probabilities[arm.name]] if found else []
            for name in scores:
                value = whole.get(name, Difference(np.nan, np.nan, np.nan, np.nan, 0))
                row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high, f"{name}_runs": [of[name] for of in alone]}
            rows.append(row)
    return pd.DataFrame(rows)


def contrasts(study: str, scores: Sequence[str] = SCORES, n: int = 10_000) -> pd.DataFrame:
    """What the study compares, the reference arm with itself (A/A) first: one row a comparison that has its runs; ``n`` resamples.

    Returns:
        columns panel, comparison, made and planned runs, seeds, films, and for each score its value, ``_low``, ``_high`` and ``_p``.
    """
    rows = []
    for panel in panels(study):
        reference = panel.arms[0].name
        for label, coefficients in {AGAINST_ITSELF.format(panel.label(panel.arms[0])): {reference: 0.0}, **panel.comparisons()}.items():
            found = stack(study, list(coefficients), panel.chosen_by)
            itself = coefficients == {reference: 0.0}
            differences = found and (found.against_itself(reference, scores, n) if itself else found.contrast(coefficients, scores, n))
            if not differences:
                continue
            row = {"panel": panel.title, "comparison": label, "made": made(study, list(coefficients)), "planned": planned(study, list(coefficients)), "seeds": differences[scores[0]].seeds, "films": found.data}
            for name in scores:
                d = differences[name]
                row |= {name: d.value, f"{name}_low": d.low, f"{name}_high": d.high, f"{name}_p": d.p}
            rows.append(row)
    return pd.DataFrame(rows)


def written(table: pd.DataFrame, scores: Sequence[str] = SCORES) -> pd.DataFrame:
    """A table of `arm_scores` or `contrasts` as text: ``value (low to high)`` for each score, ``made of planned`` for runs, seeds where they are known."""
    runs = [f"{m} of {p}" for m, p in zip(table["made"], table["planned"], strict=True)]
    runs = [f"{text}, {n} seed{'s' * (n > 1)}" for text, n in zip(runs, table["seeds"], strict=True)] if "seeds" in table else runs
    texts = {name: ["-" if np.isnan(v) else f"{v:.3f} ({low:.3f} to {high:.3f})" for v, low, high in zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)] for name in scores}
    names = [column for column in ("panel", "arm", "comparison") if column in table]
    return table[names].assign(runs=runs, films=table.films, **texts)


def modules(study: str) -> pd.DataFrame:
    """How far the new modules of each arm moved, mean over its recorded runs: gate (mean |gamma|) and branch (energy over the base's)."""
    records = {record["name"]: record.get("modules", {}) for record in ledger.read_runs(study)}
    found = {name: [records[run] for run in runs.values()] for name, runs in arm_runs(study).items()}
    return pd.DataFrame({name: {part: np.mean([np.nan if m.get(part) is None else m[part] for m in of]) for part in ("gate", "branch")} for name, of in found.items()}).T


def curve_table(study: str, arms: Sequence[str]) -> pd.DataFrame:
    """Learning curves of the arms' recorded runs, a row an epoch: arm, run, epoch, seconds, val_qwk and the rest."""
    records = {record["name"]: record for record in ledger.read_runs(study)}
    runs = arm_runs(study)
    return pd.DataFrame([{"arm": name, "run": run, **row} for name in arms for run in runs.get(name, {}).values() for row in records[run]["curve"]])
