"""What is wrong with a set of films: copies, mirror images, inverted films, mixed patients, shortcuts, label conflicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency

from koalib.data import own, public
from koalib.data.curate import describe_film, read_all, read_each
from koalib.data.duplicates import COARSE_ALIKE, FINE_CONFIRMS, Pairs, alike, coarse, correlated, fine, groups_of, joined, unit
from koalib.data.images import scaled
from koalib.data.rasters import Raster
from koalib.data.registry import DATASETS, GRADES
from koalib.data.sources import open_source
from koalib.errors import UserError

SPLITS = 200
TEST_SHARE = 0.2
SHORTCUT_P, SHORTCUT_FILMS = 1e-3, 10
PROPERTIES = ("size", "mode", "bit16", "two_knees", "inverted", "low_contrast")


@dataclass(frozen=True)
class Audit:
    """``report`` is the JSON document of ``koalib data audit``; ``films`` one row a film that can be read, ``thumbnails``
    their coarse pictures (N, 24, 24), ``root`` and ``where`` find the file of each; ``unreadable`` one row a film that
    cannot be read, with the reason."""

    report: dict
    films: pd.DataFrame
    unreadable: pd.DataFrame
    thumbnails: np.ndarray
    root: Path
    where: list[str]


@dataclass(frozen=True)
class Twins:
    """Pairs of films of the same exposure, each pair in one of the three kinds."""

    exact: Pairs
    near: Pairs
    mirrored: Pairs

    @property
    def all(self) -> Pairs:
        """Every pair."""
        return joined(self.exact, self.near, self.mirrored)


def audit(name: str, data: str | Path | None = None) -> Audit:
    """Audit a public set or the reader's own films (folder, zip or CSV).

    Raises:
        UserError: no such set, or none of its films can be read. Those that cannot are named in the report.
    """
    if name == "phantom":
        raise UserError("phantom: made here without twins or shared patients; audit a public set or a path of your own")
    table, where, root = public.listing(name, data) if name in DATASETS else own.listing(name)
    with open_source(root) as source:
        measured = read_each(source, where, _measure, f"audit {name}")
        films, unreadable, thumbnails = _sorted(table, measured, root)
        where = [path for path, found in zip(where, measured) if not isinstance(found, UserError)]

        def details(rows: np.ndarray) -> np.ndarray:
            return np.stack(read_all(source, [where[row] for row in rows], lambda raster, i: fine(_upright(raster, films["inverted"][rows[i]])), f"compare {name}"))

        twins = find_twins(films, thumbnails, details)
    found = report(films, twins) | {"unreadable": list(unreadable["unreadable"])}
    return Audit(found, films.assign(twin_group=groups_of(twins.all, len(films))), unreadable, thumbnails, root, where)


def _sorted(table: pd.DataFrame, measured: list, root: Path) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """The films that could be measured, those that could not, with the reason as ``unreadable``, and the thumbnails."""
    table = table[["image_id", "path", "split", "grade", "patient", "side"]]
    broken = np.array([isinstance(found, UserError) for found in measured])
    if broken.all():
        raise UserError(f"{root}: none of its {len(measured)} films can be read (first: {measured[0]})")
    read = [found for found in measured if not isinstance(found, UserError)]
    films = pd.concat([table[~broken].reset_index(drop=True), pd.DataFrame([facts for facts, _ in read])], axis=1)
    films["size"] = films["width"].astype(str) + "x" + films["height"].astype(str)
    unreadable = table[broken].assign(unreadable=[str(found) for found in measured if isinstance(found, UserError)])
    return films, unreadable, np.stack([thumbnail for _, thumbnail in read])


def find_twins(films: pd.DataFrame, thumbnails: np.ndarray, details: Callable[[np.ndarray], np.ndarray]) -> Twins:
    """Pairs whose coarse thumbnails correlate above .995 and whose fine ones (``details(rows)``) confirm it above .5.

    Two knees of one patient look alike, mirrored, and are no copies: a pair of a left and a right is passed over.
    """
    pairs = alike(thumbnails, COARSE_ALIKE)
    patient, side = (films[column].to_numpy(dtype=str) for column in ("patient", "side"))
    other_knee = (patient[pairs.first] == patient[pairs.second]) & (patient[pairs.first] != "") & (side[pairs.first] != side[pairs.second])
    pairs = pairs.keep(~other_knee)
    rows, places = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    if not len(rows):
        return Twins(pairs, pairs, pairs)
    confirmed = correlated(details(rows), Pairs(*places.reshape(2, -1), pairs.straight, pairs.mirrored)).closest > FINE_CONFIRMS
    same = films["sha256"].to_numpy()
    exact = same[pairs.first] == same[pairs.second]
    return Twins(pairs.keep(exact), pairs.keep(~exact & confirmed & ~pairs.by_mirror), pairs.keep(~exact & confirmed & pairs.by_mirror))


def report(films: pd.DataFrame, twins: Twins) -> dict:
    """The findings as one JSON document; films are named by ``image_id``."""
    n, ids = len(films), films["image_id"].to_numpy()
    everything = _groups(twins.all, n)
    grades = films["grade"].to_numpy()

    def named(groups: list[np.ndarray]) -> list[list[str]]:
        return [list(ids[group]) for group in groups]

    return {
        "images": n,
        "exact_duplicates": named(_groups(twins.exact, n)),
        "near_duplicates": named(_groups(twins.near, n)),
        "mirrored_twins": named(_groups(twins.mirrored, n)),
        "label_conflicts": named([group for group in everything if len(set(grades[group])) > 1]),
        "inverted": list(ids[films["inverted"].to_numpy()]),
        "patients_in_several_splits": patients_in_several_splits(films),
        "shortcuts": shortcuts(films),
        "twin_share_random_split": round(twin_share(twins.all, n)[0], 4),
    }


def patients_in_several_splits(films: pd.DataFrame) -> list[str]:
    """Patients with films in more than one split."""
    known = films[films["patient"].astype(str) != ""]
    splits = known.groupby("patient")["split"].nunique()
    return list(splits.index[splits > 1].astype(str))


def shortcuts(films: pd.DataFrame) -> list[dict]:
    """Properties of the file, not of the knee, that go with the grade (chi-squared test, Bonferroni, at least 10 films).

    Each finding has the property, its value, the films that have it by grade, the p-value, and the grades that never occur with it.
    """
    tables = [(name, value, films[name] == value) for name in PROPERTIES for value in films[name].unique() if name in ("size", "mode") or value]
    tested = [(name, value, has) for name, value, has in tables if SHORTCUT_FILMS <= has.sum() <= len(films) - SHORTCUT_FILMS]
    found = []
    for name, value, has in tested:
        counts = pd.crosstab(has, films["grade"])
        p = float(chi2_contingency(counts).pvalue) * len(tested)
        if p < SHORTCUT_P:
            by_grade = {grade: int(counts.loc[True].get(grade, 0)) for grade in GRADES}
            never = [grade for grade in counts.columns if by_grade.get(grade) == 0]
            found.append({"property": name, "value": str(value), "films": by_grade, "p": p, "never_with_grades": [int(grade) for grade in never]})
    return found


def twin_share(twins: Pairs, n: int, seed: int = 0) -> tuple[float, float]:
    """Share of the test films of a random 80/20 split that have a twin in training: mean and standard deviation over 200 splits."""
    if not len(twins.first):
        return 0.0, 0.0
    rng = np.random.default_rng(seed)
    size = round(TEST_SHARE * n)
    shares = []
    for _ in range(SPLITS):
        tested = np.zeros(n, bool)
        tested[rng.permutation(n)[:size]] = True
        across = tested[twins.first] != tested[twins.second]
        leaked = np.where(tested[twins.first], twins.first, twins.second)[across]
        shares.append(len(np.unique(leaked)) / size)
    return float(np.mean(shares)), float(np.std(shares))


def neighbour_accuracy(thumbnails: np.ndarray, grades: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Accuracy of copying the grade of the most similar film (mirror images allowed), each film left out in turn.

    With ``groups`` a film's own group is left out as well: what remains once twins cannot be copied from.
    """
    nearest = alike_matrix(thumbnails)
    np.fill_diagonal(nearest, -np.inf)
    if groups is not None:
        nearest[groups[:, None] == groups[None, :]] = -np.inf
    return float((grades[nearest.argmax(axis=1)] == grades).mean())


def alike_matrix(thumbnails: np.ndarray) -> np.ndarray:
    """float32 (N, N): correlation of every film with every other, or with its mirror image where that is larger."""
    straight = unit(thumbnails)
    return np.maximum(straight @ straight.T, straight @ unit(thumbnails[:, :, ::-1]).T)


def _measure(raster: Raster) -> tuple[dict, np.ndarray]:
    facts = describe_film(raster)
    return facts, coarse(_upright(raster, facts["inverted"]))


def _upright(raster: Raster, inverted: bool) -> np.ndarray:
    pixels = scaled(raster)
    return 1 - pixels if inverted else pixels


def _groups(pairs: Pairs, n: int) -> list[np.ndarray]:
    """Rows of each group of two and more, in the order of their first film."""
    numbers = groups_of(pairs, n)
    members = pd.Series(np.arange(n)).groupby(numbers, sort=False).agg(list)
    return [np.array(rows) for rows in members if len(rows) > 1]
