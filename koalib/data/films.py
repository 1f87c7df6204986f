"""Films as rows: from a manifest and a source to the knees of a data set and their cached pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from koalib.data.curate import read_all
from koalib.data.images import film_hash, resize, scaled
from koalib.data.rasters import Raster
from koalib.data.registry import DATASETS
from koalib.data.sources import open_source
from koalib.errors import UserError

PREPARATION = 1
"""Part of every fingerprint: raise it when ``resize``, the way films are turned or cut, or what is measured of a film changes."""


@dataclass(frozen=True)
class Films:
    """What ``datasets.load`` needs: a table of knees, what identifies it, and a function that fills an array with them.

    The pixels follow from the fingerprint alone: ``fill`` raises UserError at a film that is not the manifest's.
    """

    table: pd.DataFrame
    fingerprint: str
    fill: Callable[[np.ndarray], None]


def films_of(name: str, manifest: pd.DataFrame, where: dict[str, str], root: Path, two_knees: str) -> Films:
    """Knees of the films in ``manifest``; ``where`` maps its paths to those in the source at ``root``."""
    table = (cut_table if two_knees == "cut" else drop_table)(manifest)
    facts = table[["image_id", "split", "grade", "group", "sha256", "inverted"]].to_csv(index=False)
    fingerprint = hashlib.sha256(f"{PREPARATION} {facts}".encode()).hexdigest()[:16]

    def fill(out: np.ndarray) -> None:
        knees = table.reset_index().groupby("path", sort=False)
        paths, rows = list(knees.groups), [list(zip(knee["index"], knee["half"])) for _, knee in knees]
        inverted, published = (dict(zip(table["path"], table[column])) for column in ("inverted", "sha256"))
        remedy = f"put the film back, koalib data verify {name} names every such film" if name in DATASETS else "save it anew and load the set again"

        def write(raster: Raster, index: int) -> None:
            if film_hash(raster) != published[paths[index]]:
                raise UserError(f"{root}: {where[paths[index]]} has other pixels than the manifest of {name} says; {remedy}")
            pixels = scaled(raster)
            pixels = 1 - pixels if inverted[paths[index]] else pixels
            for row, half in rows[index]:
                out[row] = resize(half_of(pixels, half), out.shape[1])

        with open_source(root) as source:
            read_all(source, [where[path] for path in paths], write, f"{name} {out.shape[1]} px")

    return Films(table.drop(columns="half"), fingerprint, fill)


def drop_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """One row a single-knee film."""
    return manifest[~manifest["two_knees"]].assign(half="").reset_index(drop=True)


def cut_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """One row a knee: a film of both becomes two rows, the patient's right knee being on the film's left."""
    single, wide = manifest[~manifest["two_knees"]], manifest[manifest["two_knees"]]
    halves = [wide.assign(image_id=wide["image_id"] + f"_{side}", side=side, half=side) for side in "RL"]
    return pd.concat([single.assign(half=""), *halves]).sort_index(kind="stable").reset_index(drop=True)


def half_of(pixels: np.ndarray, half: str) -> np.ndarray:
    """The whole film, or the half that shows the patient's right (``R``, on the film's left) or left knee (``L``)."""
    middle = pixels.shape[1] // 2
    return {"": pixels, "R": pixels[:, :middle], "L": pixels[:, middle:]}[half]
