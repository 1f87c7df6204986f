"""Which film trains, selects, tests: decided from the table alone, before any pixel is read."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from koalib.data.datasets import assert_disjoint, grouped_folds
from koalib.errors import UserError
from koalib.study.experiment import Experiment

OFFICIAL = ("train", "val", "test")


def assign_roles(experiment: Experiment, table: pd.DataFrame) -> pd.Series:
    """Role of each row: train, val, oof (the fold that is tested), test (an official test split) or unused.

    Raises:
        UserError: no validation films, or all of one grade; a grade without training films; too few groups for the folds.
    """
    roles = _official(experiment, table) if experiment.fold is None else _folds(experiment, table)
    grades = np.sort(table.grade[roles == "train"].unique())
    if not (roles == "val").any():
        raise UserError(f"{experiment.dataset}: no validation films; give it a val split, or choose a fold with --fold")
    if (one := table.grade[roles == "val"].unique()).size == 1:
        raise UserError(f"{experiment.dataset}: all validation films are of grade {one[0]}, which leaves the kappa that selects undefined; "
                        "give its val split films of several grades")
    missing = sorted(set(range(5)) - set(grades.tolist()))
    if missing:
        raise UserError(f"{experiment.dataset}: no training film of grade {', '.join(map(str, missing))}; all five grades are needed")
    if not experiment.leaky:
        used = roles != "unused"
        assert_disjoint(table[used].assign(split=roles[used]))
    return roles


def _official(experiment: Experiment, table: pd.DataFrame) -> pd.Series:
    """The data set's own split."""
    roles = table.split.fillna("unused").astype(str)
    if not (roles == "train").any():
        if roles.isin(OFFICIAL).any():
            raise UserError(f"{experiment.dataset}: no film of its split is for training; call those of the training set train, or choose a fold with --fold")
        raise UserError(f"{experiment.dataset}: it has no split of its own; choose a fold with --fold 0 ... {experiment.folds - 1}")
    return roles.where(roles.isin(OFFICIAL), "unused")


def _folds(experiment: Experiment, table: pd.DataFrame) -> pd.Series:
    """Fold k tests, fold k+1 selects; films of an official test split keep that role."""
    official_test = (table.split == "test").to_numpy()
    pool = table[table.split == "train"] if experiment.training_set == "train_split" else table[~official_test]
    if pool.empty:
        raise UserError(f"{experiment.dataset}: has no official training films; leave out training_set={experiment.training_set!r}")
    if pool.group.nunique() < experiment.folds:
        raise UserError(f"{experiment.dataset}: {pool.group.nunique()} patients or groups are too few for {experiment.folds} folds")
    if experiment.training_set == "random":
        fold = _random_folds(pool, experiment.folds)
    else:
        fold = grouped_folds(pool, experiment.folds, seed=0)
    k = experiment.fold
    inner = pd.Series(np.where(fold == k, "oof", np.where(fold == (k + 1) % experiment.folds, "val", "train")), index=pool.index)
    if experiment.training_set in ("twins", "no_twins"):
        inner = _with_twins(pool, inner, swap=experiment.training_set == "twins")
    roles = pd.Series(np.where(official_test, "test", "unused"), index=table.index, dtype=object)
    roles[inner.index] = inner
    return roles


def _random_folds(pool: pd.DataFrame, folds: int) -> np.ndarray:
    """The usual image-level split, blind to patients and twins."""
    fold = np.empty(len(pool), dtype=int)
    for k, (_, test) in enumerate(StratifiedKFold(folds, shuffle=True, random_state=0).split(pool, pool.grade)):
        fold[test] = k
    return fold


def _with_twins(pool: pd.DataFrame, roles: pd.Series, swap: bool) -> pd.Series:
    """Test one film a group; with ``swap`` its twins train, in the place of as many other films of the same grades.

    Without ``swap`` the twins are unused, so both training sets have the same size and grade mix.
    """
    tested = pool[roles == "oof"]
    first = ~tested.group.duplicated()
    roles = roles.copy()
    roles[tested.index[~first]] = "unused"
    if not swap:
        return roles
    twins = tested[~first]
    rng = np.random.default_rng(0)
    for grade, count in twins.grade.value_counts().sort_index().items():
        train = pool.index[(roles == "train") & (pool.grade == grade)]
        leave = rng.choice(train, size=min(count, len(train)), replace=False)
        roles[leave] = "unused"
        roles[twins.index[twins.grade == grade][: len(leave)]] = "train"
    return roles
