"""A data set: a table, one row a knee, and its pixels, one memory-mapped array."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from koalib.data import own, public
from koalib.data.cache import cached_array
from koalib.data.films import Films
from koalib.data.phantom_films import PHANTOM_SIZE, phantom_films, shrink
from koalib.data.registry import DATASETS
from koalib.errors import UserError

PHANTOM_PATIENTS = 200


@dataclass(frozen=True)
class KneeDataset:
    """Knees with their grades.

    ``table`` has the columns image_id, path, split, grade, patient, side, group and the flags inverted,
    low_contrast, bit16, two_knees; ``fingerprint`` changes with any film, label or preprocessing rule.
    """

    name: str
    table: pd.DataFrame
    fingerprint: str
    store: Callable[[int], np.ndarray] = field(repr=False)
    rows: np.ndarray | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.table)

    def pixels(self, size: int) -> np.ndarray:
        """Read-only uint8 (N, size, size), aligned with ``table``, bone bright in every film.

        Memory-mapped from the disk cache, which is made on the first call (a selection that is no run of
        neighbouring rows is a copy in memory).
        """
        whole = self.store(size)
        if self.rows is None:
            return whole
        first, last = (self.rows[0], self.rows[-1] + 1) if len(self.rows) else (0, 0)
        if last - first == len(self.rows) and (np.diff(self.rows) == 1).all():
            return whole[first:last]
        return whole[self.rows]

    def select(self, which: str | np.ndarray | pd.Series) -> KneeDataset:
        """The rows of a split, or those where a boolean mask is true."""
        if isinstance(which, str):
            if which not in set(self.table["split"]):
                raise UserError(f"{self.name}: has no split {which!r}; it has {', '.join(sorted(set(self.table['split'])))}")
            which = self.table["split"] == which
        chosen = np.flatnonzero(np.asarray(which, dtype=bool))
        rows = chosen if self.rows is None else self.rows[chosen]
        return replace(self, table=self.table.iloc[chosen].reset_index(drop=True), rows=rows)


def load(name: str, data: str | Path | None = None, two_knees: str = "cut", n: int | None = None, seed: int = 0) -> KneeDataset:
    """Open a data set; its splits are asserted to share no patient and no duplicate.

    Args:
        name: ``phantom``, ``gornale2020``, ``chen2018``, or a path: a folder or zip by grade or split/grade, or a CSV.
        data: folder that holds the public sets; ``KOALIB_DATA`` when not given.
        two_knees: ``cut`` a film of both knees into two, each with its side and the film's grade, or ``drop`` it.
        n: number of patients of the phantom.
        seed: of the phantom.

    Raises:
        UserError: no such set or folder, unreadable films, a patient in two splits.
    """
    if two_knees not in ("cut", "drop"):
        raise UserError(f"two_knees={two_knees!r}: choose cut or drop")
    if name == "phantom":
        dataset = _phantom(PHANTOM_PATIENTS if n is None else n, seed)
    elif name in DATASETS:
        dataset = _from_films(name, public.films(name, data, two_knees))
    else:
        dataset = _from_films(name, own.films(name, two_knees))
    assert_disjoint(dataset.table)
    return dataset


def assert_disjoint(table: pd.DataFrame) -> None:
    """Every group (patient or set of duplicates) lies in one split only.

    Raises:
        UserError: names the first groups that do not.
    """
    splits = table.groupby("group")["split"].nunique()
    shared = list(splits.index[splits > 1])
    if shared:
        raise UserError(f"{len(shared)} groups lie in several splits (first: {', '.join(map(str, shared[:3]))}); put each patient's films, and all copies of a film, into one split")


def grouped_folds(table: pd.DataFrame, k: int = 5, seed: int = 0) -> np.ndarray:
    """Fold of each row, int (N,), 0..k-1: grades alike in every fold, no group in two (StratifiedGroupKFold).

    Raises:
        UserError: fewer groups than folds.
    """
    if table["group"].nunique() < k:
        raise UserError(f"{table['group'].nunique()} groups cannot be dealt into {k} folds; use more films or fewer folds")
    folds = np.full(len(table), -1)
    splitter = StratifiedGroupKFold(n_splits=k, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a grade with few films is dealt out as far as it goes
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(table, table["grade"], table["group"])):
            folds[held_out] = fold
    assert_disjoint(table.assign(split=folds))
    return folds


def _from_films(name: str, films: Films) -> KneeDataset:
    def store(size: int) -> np.ndarray:
        return cached_array(f"{Path(name).stem}-{films.fingerprint}-{size}", (len(films.table), size, size), films.fill)

    return KneeDataset(name, films.table, films.fingerprint, store)


def _phantom(patients: int, seed: int) -> KneeDataset:
    table, fingerprint, films = phantom_films(patients, seed)

    def store(size: int) -> np.ndarray:
        if size == PHANTOM_SIZE:
            return films
        return cached_array(f"phantom-{fingerprint}-{size}", (len(table), size, size), lambda out: shrink(films, out))

    return KneeDataset("phantom", table, fingerprint, store)
