"""Make the committed manifests anew from the published sets: ``python -m koalib.data.manifests NAME``."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from koalib.data.curate import describe_film, read_all, twins_of, unique_ids
from koalib.data.duplicates import COARSE_ALIKE, COARSE_SAME, FINE_ALIKE, Pairs, alike, coarse, fine, groups_of, joined
from koalib.data.films import half_of
from koalib.data.images import scaled, side_from_name
from koalib.data.own import OAI_NAME
from koalib.data.rasters import Raster
from koalib.data.registry import info, locate
from koalib.data.sources import open_source
from koalib.paths import MANIFESTS, atomic_write, data_dir

COLUMNS = (
    "image_id", "path", "split", "grade", "patient", "side", "group", "width", "height", "mode", "sha256", "inverted",
    "low_contrast", "bit16", "two_knees", "exact_twin_of", "mirrored_twin_of", "conflicting_grade",
)  # fmt: skip


def make_manifest(name: str, data: str | None = None) -> pd.DataFrame:
    """Measure every film of a public set; rows in the order of split, grade and name."""
    with open_source(locate(name, data)) as source:
        films = info(name).films(source)
        keys = sorted(films, key=lambda key: (_split_order(key), key))
        measured = read_all(source, [films[key] for key in keys], _measure, name)
    table = pd.concat([_labels(name, keys), pd.DataFrame([facts for facts, _ in measured])], axis=1)
    table["exact_twin_of"] = twins_of(table["sha256"], table["image_id"])
    pairs = same_exposure([thumbnails for _, thumbnails in measured]) if name == "gornale2020" else None
    table["group"] = table["patient"] if pairs is None else _numbered(groups_of(pairs, len(table)))
    table["mirrored_twin_of"] = "" if pairs is None else _mirrored_twins(pairs, table)
    table["conflicting_grade"] = False if pairs is None else table.groupby("group")["grade"].transform("nunique") > 1
    return table[list(COLUMNS)]


def same_exposure(films: list[list[tuple[np.ndarray, np.ndarray]]]) -> Pairs:
    """Pairs of films that show the same exposure, whole or by one of their halves.

    Each film is a list of (coarse, fine) thumbnails: of the whole and, for a film of both knees, of its halves.
    Two are the same when their coarse thumbnails correlate above .995 or their fine ones above .6.
    """
    owner = np.array([number for number, parts in enumerate(films) for _ in parts])
    parts = [part for film in films for part in film]
    found = joined(alike(np.stack([c for c, _ in parts]), COARSE_ALIKE), alike(np.stack([f for _, f in parts]), FINE_ALIKE))
    first, second = owner[found.first], owner[found.second]
    return Pairs(first, second, found.straight, found.mirrored).keep(first != second)


def _measure(raster: Raster, _: int) -> tuple[dict, list[tuple[np.ndarray, np.ndarray]]]:
    facts, pixels = describe_film(raster), scaled(raster)
    halves = ("", "L", "R") if facts["two_knees"] else ("",)
    return facts, [(coarse(half_of(pixels, half)), fine(half_of(pixels, half))) for half in halves]


def _split_order(key: str) -> int:
    return ("train", "val", "test").index(key.split("/")[0]) if key.split("/")[0] in ("train", "val", "test") else 0


def _labels(name: str, keys: list[str]) -> pd.DataFrame:
    """What the paths say."""
    paths = [PurePosixPath(key) for key in keys]
    oai = [OAI_NAME.match(path.stem) for path in paths]
    return pd.DataFrame({
        "image_id": unique_ids(keys),
        "path": keys,
        "split": [path.parts[0] if name == "chen2018" else "all" for path in paths],
        "grade": [int(path.parent.name[0]) for path in paths],
        "patient": [found[1] if found else "" for found in oai],
        "side": [side_from_name(path.stem) or "" if found else "" for path, found in zip(paths, oai)],
    })


def _numbered(groups: np.ndarray) -> list[str]:
    return [f"g{group:04d}" for group in groups]


def _mirrored_twins(pairs: Pairs, table: pd.DataFrame) -> list[str]:
    """For each film the first earlier one that it mirrors."""
    mirrored = pairs.keep(pairs.by_mirror & (pairs.mirrored > COARSE_SAME))
    first = pd.Series(mirrored.first).groupby(mirrored.second).min()
    return [table["image_id"][first[row]] if row in first.index else "" for row in range(len(table))]


def main(name: str) -> None:
    """Write ``data/manifests/NAME.csv``; the second expert's grades are added where their file lies beside the set."""
    table = make_manifest(name)
    second = Path(data_dir() or ".") / f"{name}_expert2.csv"
    if second.exists():
        table["second_grade"] = table["path"].map(pd.read_csv(second).set_index("file")["expert2"])
    atomic_write(MANIFESTS / f"{name}.csv", table.to_csv(index=False))


if __name__ == "__main__":
    main(sys.argv[1])
