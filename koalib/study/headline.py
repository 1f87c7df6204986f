"""The headline of docs/protocol.md, section 7: rules fitted out of fold, the folds' models averaged, the official test scored once.

Fold k of the study ``headline`` tests films of train + val that its model never saw; all five predict the official test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from koalib.errors import UserError
from koalib.study import ledger
from koalib.study.calibration import cross_fit, fit_temperature, fit_thresholds, temper
from koalib.study.comparisons import arm, arm_runs
from koalib.study.conformal import coverage_by_grade, fit_conformal
from koalib.study.experiments import LITE0, LITE2
from koalib.study.metrics import decide, summary

STUDY, FOLDS = "headline", f"{LITE0}/folds"
FIRST = "the first grader's recipe"
TEACHERS = f"{LITE2}/folds"  #: of the second grader
AIM = {"accuracy": 0.74, "qwk_tuned": 0.90}
LEAST = {"accuracy": 0.705, "qwk_tuned": 0.86}


@dataclass(frozen=True)
class Rule:
    """What turns the members' probabilities into an answer, fitted on all out-of-fold films."""

    temperature: float
    thresholds: list[float]
    conformal: float


@dataclass(frozen=True)
class OutOfFold:
    """Every film of the folds by the models, one a seed, that did not see it: grade, group and fold are (N,), p, their mean, is (N, 5)."""

    grade: np.ndarray
    group: np.ndarray
    fold: np.ndarray
    p: np.ndarray


def members(name: str = FOLDS) -> list[str]:
    """The runs of an arm over folds in the order of their folds; none while not all are recorded."""
    runs = arm_runs(STUDY).get(name, {})
    return [run for _, run in sorted(runs.items())] if len(runs) == arm(STUDY, name).planned else []


def opened() -> bool:
    """Whether all folds are recorded and their test predictions may be seen."""
    return bool(members()) and all(ledger.opened(STUDY, run) for run in members())


def out_of_fold(name: str = FOLDS) -> OutOfFold:
    """The pooled out-of-fold predictions of an arm.

    Raises:
        UserError: not all folds are recorded.
    """
    if not members(name):
        raise UserError(f"{STUDY}: the folds of {name} are not all recorded; koalib study run {STUDY}")
    runs = arm_runs(STUDY)[name]
    tables = [ledger.read_predictions(STUDY, run, "oof").assign(fold=fold, seed=seed) for (fold, seed), run in sorted(runs.items())]
    films = pd.concat(tables, ignore_index=True).sort_values(["seed", "fold", "image_id"], ignore_index=True)
    seeds = films.seed.nunique()
    if any(ids.tolist() != films.image_id[: len(ids)].tolist() for _, ids in films.groupby("seed").image_id):
        raise UserError(f"{STUDY}: the seeds of {name} graded different films")
    p = ledger.probabilities(films).reshape(seeds, -1, 5).mean(axis=0)
    films = films.iloc[: len(p)]  # every seed graded the same films
    return OutOfFold(films.grade.to_numpy(), films.group.to_numpy(), films.fold.to_numpy(), p)


def fit_rule(found: OutOfFold) -> Rule:
    """Temperature by likelihood, thresholds for kappa, conformal threshold for 90 %, on all out-of-fold films."""
    temperature = fit_temperature(np.log(found.p.clip(1e-12)), found.grade)
    p = temper(found.p, temperature)
    return Rule(temperature, fit_thresholds(p, found.grade), fit_conformal(p, found.grade))


def scored_out_of_fold(found: OutOfFold) -> dict[str, dict]:
    """Scores where temperature and thresholds are fitted on the other folds: nothing is scored by what it helped to fit."""
    p = cross_fit(found.p, found.grade, found.fold, lambda p, grade: fit_temperature(np.log(p.clip(1e-12)), grade), temper)
    return summary(found.grade, p, found.group, tuned=cross_fit(p, found.grade, found.fold, fit_thresholds, decide))


def ensemble(rule: Rule) -> tuple[pd.DataFrame, np.ndarray]:
    """The official test films and the mean of the members' tempered probabilities, (N, 5).

    Raises:
        UserError: the test is sealed.
    """
    tables = [ledger.read_predictions(STUDY, run, "test").sort_values("image_id", ignore_index=True) for run in members()]
    if any(not table.image_id.equals(tables[0].image_id) for table in tables):
        raise UserError(f"{STUDY}: the members graded different test films")
    return tables[0], np.mean([temper(ledger.probabilities(table), rule.temperature) for table in tables], axis=0)


def rows() -> list[tuple[str, int, dict[str, dict]]]:
    """What there is to report: label, films, scores as `metrics.summary` gives them; nothing while folds are missing."""
    if not members():
        return []
    found = out_of_fold()
    rule = fit_rule(found)
    p = temper(found.p, rule.temperature)
    shown = [(f"{FIRST}, out of fold, rules fitted on the other folds", len(p), scored_out_of_fold(found)),
             (f"{FIRST}, out of fold, rules fitted on all (optimistic)", len(p), summary(found.grade, p, found.group, tuned=decide(p, rule.thresholds)))]
    if members(TEACHERS):
        taught = out_of_fold(TEACHERS)
        shown.append(("the second grader's teachers, out of fold, rules fitted on the other folds", len(taught.grade), scored_out_of_fold(taught)))
    if opened():
        films, p = ensemble(rule)
        shown.append((f"{FIRST}, official test, five models averaged", len(films), summary(films.grade.to_numpy(), p, films.group.to_numpy(), tuned=decide(p, rule.thresholds))))
    return shown


def reached(score: str, value: float) -> str:
    """In words, whether a point estimate on the official test reaches the aim, the least, or neither."""
    return "aim reached" if value >= AIM[score] else "least reached" if value >= LEAST[score] else "below the least"


def coverage() -> dict[str, dict]:
    """Coverage of the 90 % sets on the official test, for all films and by grade.

    Raises:
        UserError: the test is sealed, or folds are missing.
    """
    rule = fit_rule(out_of_fold())
    films, p = ensemble(rule)
    return coverage_by_grade(p, films.grade.to_numpy(), films.group.to_numpy(), rule.conformal)
