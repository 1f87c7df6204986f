"""The phantom as a data set: made once a seed, then read from the cache like any other."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from filelock import FileLock

from koalib.data.cache import cached_array
from koalib.data.images import resize
from koalib.data.registry import TEXTS
from koalib.paths import atomic_write, cache_dir

if TYPE_CHECKING:
    from koalib.data.phantom import Phantoms

PHANTOM_SIZE = 224


def phantom_films(patients: int, seed: int) -> tuple[pd.DataFrame, str, np.ndarray]:
    """Table, fingerprint and uint8 (N, 224, 224) films with bone bright.

    The fingerprint is of the generator's source, the number of patients and the seed, so an old cache is never
    taken for new films.
    """
    source = b"".join(file.read_bytes() for file in sorted(Path(__file__).with_name("phantom").glob("*.py")))
    fingerprint = hashlib.sha256(source + f"{patients} {seed}".encode()).hexdigest()[:16]
    file = cache_dir() / "manifests" / f"phantom-{fingerprint}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    array = cache_dir() / "pixels" / f"phantom-{fingerprint}.npy"
    with FileLock(f"{file}.lock"):
        if not (file.exists() and array.exists()):
            _make(patients, seed, fingerprint, file)
    types = {column: str for column in TEXTS}
    table = pd.read_csv(io.BytesIO(file.read_bytes()), dtype=types)
    table = table.fillna({column: "" for column in types if column in table})
    return table, fingerprint, cached_array(f"phantom-{fingerprint}", (len(table), PHANTOM_SIZE, PHANTOM_SIZE), _never)


def _make(patients: int, seed: int, fingerprint: str, file: Path) -> None:
    from koalib.data.phantom import make_phantoms  # compiles its kernel, which an open cache need not wait for

    phantoms = make_phantoms(patients, size=PHANTOM_SIZE, seed=seed)
    films = upright(phantoms)
    flags = {"low_contrast": films.std(axis=(1, 2)) < 15, "bit16": False, "two_knees": False}
    table = phantoms.table.assign(path="", group=phantoms.table["patient"], **flags)
    cached_array(f"phantom-{fingerprint}", films.shape, lambda out: np.copyto(out, films))
    atomic_write(file, table.to_csv(index=False))


def upright(phantoms: Phantoms) -> np.ndarray:
    """The phantoms' films (N, S, S) with bone bright: the inverted ones turned."""
    inverted = phantoms.table["inverted"].to_numpy(dtype=bool)
    return np.where(inverted[:, None, None], 255 - phantoms.pixels, phantoms.pixels)


def shrink(films: np.ndarray, out: np.ndarray) -> None:
    """Films (N, S, S) into ``out`` (N, s, s), by the one preprocessing that real films go through."""
    for index, film in enumerate(films):
        out[index] = resize(film / np.float32(255), out.shape[1])


def _never(_: np.ndarray) -> None:
    raise AssertionError("the films are made together with their table")
