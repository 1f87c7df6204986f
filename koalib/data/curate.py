"""Manifests: one row a film with its facts, measured from the films themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import TypeVar

import pandas as pd
from tqdm import tqdm

from koalib.data.images import decode, film_hash, scaled
from koalib.data.polarity import is_inverted
from koalib.data.rasters import Raster
from koalib.data.sources import Source
from koalib.errors import UserError

S, T = TypeVar("S"), TypeVar("T")
LOW_CONTRAST = 15 / 255
"""Standard deviation below which a film is called of low contrast: 15 grey levels of 256."""
WIDE = 2.5
"""A film at least this many times wider than high shows both knees."""


def describe_film(raster: Raster) -> dict:
    """Size, mode, hash and flags of one film."""
    pixels = scaled(raster)
    height, width = raster.values.shape
    return {
        "width": width,
        "height": height,
        "mode": raster.mode,
        "sha256": film_hash(raster),
        "inverted": bool(is_inverted(pixels)[0]),
        "low_contrast": bool(pixels.std() < LOW_CONTRAST),
        "bit16": raster.bits > 8,
        "two_knees": width >= WIDE * height,
    }


def describe_films(source: Source, paths: Iterable[str], label: str) -> pd.DataFrame:
    """``describe_film`` of every path, in order, read by as many threads as there are processors."""
    return pd.DataFrame(read_all(source, list(paths), lambda raster, _: describe_film(raster), label))


def read_all(source: Source, paths: list[str], use: Callable[[Raster, int], T], label: str) -> list[T]:
    """``use(raster, index)`` of every film, in order; a progress bar shows on a terminal."""
    def one(index: int) -> T:
        return use(decode(source.read(paths[index]), f"{source.root}: {paths[index]}"), index)

    return _in_threads(one, range(len(paths)), label)


def read_each(source: Source, paths: list[str], use: Callable[[Raster], T], label: str) -> list[T | UserError]:
    """``use(raster)`` of every film, in order; the error, which names path and reason, for one that cannot be read."""
    def one(path: str) -> T | UserError:
        try:
            return use(decode(source.read(path), path))
        except UserError as error:
            return error

    return _in_threads(one, paths, label)


def _in_threads(work: Callable[[S], T], items: Sequence[S], label: str) -> list[T]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm(pool.map(work, items), total=len(items), desc=label, unit="film", disable=None))


def unique_ids(paths: Iterable[str]) -> list[str]:
    """A film's stem, with its folders before it where stems repeat."""
    paths = [PurePosixPath(path) for path in paths]
    stems = pd.Series([path.stem for path in paths], dtype=str)
    repeated = stems.duplicated(keep=False)
    return [("_".join(path.with_suffix("").parts) if again else stem) for path, stem, again in zip(paths, stems, repeated)]


def twins_of(hashes: pd.Series, ids: pd.Series) -> pd.Series:
    """For each film the first film with the same pixels, empty for that first one and for films without a twin."""
    first = ids.groupby(hashes).transform("first")
    return first.where(first != ids, "")
