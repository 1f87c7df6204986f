"""The reader's own films as ``Films``: a folder or zip by grade or split/grade, or a CSV."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from filelock import FileLock
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from koalib.data.curate import describe_films, twins_of, unique_ids
from koalib.data.films import PREPARATION, Films, films_of
from koalib.data.images import side_from_name
from koalib.data.registry import GRADES, TEXTS
from koalib.data.sources import Source, open_source
from koalib.errors import UserError
from koalib.paths import atomic_write, cache_dir

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom")
GRADE_PREFIX = "(?:KL|grade)?[ _-]?"
OAI_NAME = re.compile(r"^(\d{7})(?:([LR])|_[12])$")
"""Names of films cut from the Osteoarthritis Initiative: patient, then the side or (re-crops) a running number."""


def films(path: str, two_knees: str) -> Films:
    """Films of a folder, a zip or a CSV; they are measured once, and the result is kept in the cache.

    Raises:
        UserError: no such path, no films, a grade that is none of 0..4, a film that is missing or unreadable.
    """
    manifest, root = manifest_of(path)
    return films_of(path, manifest, dict(zip(manifest["path"], manifest["path"])), root, two_knees)


def listing(path: str) -> tuple[pd.DataFrame, list[str], Path]:
    """Rows, the path of each film, and the root the paths are relative to; no film is read."""
    with _opened(path) as (source, rows):
        return rows, list(rows["path"]), source.root


def manifest_of(path: str) -> tuple[pd.DataFrame, Path]:
    """Manifest in the form of ``data/manifests``, and the root its paths are relative to."""
    with _opened(path) as (source, rows):
        root = source.root
        facts = _facts(source, rows, str(path))
    manifest = pd.concat([rows, facts], axis=1)
    manifest["exact_twin_of"] = twins_of(manifest["sha256"], manifest["image_id"])
    manifest["group"] = groups(manifest)
    return manifest, root


def groups(manifest: pd.DataFrame) -> pd.Series:
    """What a split must not divide: films joined by a chain of common patients and equal pixels.

    A group has the name of its first patient, or of its first film where no patient is known.
    """
    known = manifest["patient"].where(manifest["patient"] != "", "film " + manifest["image_id"])
    patients, pixels = (pd.factorize(column)[0] for column in (known, manifest["sha256"]))
    pixels += patients.max() + 1
    links = coo_array((np.ones(len(manifest), bool), (patients, pixels)), shape=(pixels.max() + 1,) * 2)
    number = connected_components(links, directed=False)[1][patients]
    named = manifest["patient"].where(manifest["patient"] != "").groupby(number).transform("first")
    return named.fillna(manifest["image_id"].groupby(number).transform("first"))


@contextmanager
def _opened(path: str) -> Iterator[tuple[Source, pd.DataFrame]]:
    place = Path(path).expanduser()
    is_table = place.suffix.lower() == ".csv" and place.is_file()
    with open_source(place.parent if is_table else place) as source:
        yield source, _rows_of_csv(place) if is_table else _rows_of_tree(source)


def _rows_of_tree(source: Source) -> pd.DataFrame:
    """The two folders above a film are its split (if it is no grade's) and its grade (a name that starts with 0..4)."""
    paths = [path for path in source.paths() if PurePosixPath(path).suffix.lower() in SUFFIXES]
    graded = [(path, grade) for path in paths if (grade := _folder_grade(PurePosixPath(path).parent.name)) is not None]
    if not graded:
        raise UserError(f"{source.root}: holds no films in folders named by grade (0, 1, 2, 3, 4, alone or in split folders); name a folder like that, or a CSV with the columns path and grade")
    if beyond := [path for path in paths if re.fullmatch(GRADE_PREFIX + "[5-9]", PurePosixPath(path).parent.name, re.IGNORECASE)]:
        raise UserError(f"{source.root}: {beyond[0]} lies in a folder of grade {PurePosixPath(beyond[0]).parent.name}; grades are 0, 1, 2, 3, 4")
    paths = [path for path, _ in graded]
    return _completed(pd.DataFrame({
        "path": paths,
        "grade": [grade for _, grade in graded],
        "split": [PurePosixPath(path).parent.parent.name or "all" for path in paths],
    }))


def _folder_grade(name: str) -> int | None:
    found = re.match(GRADE_PREFIX + r"([0-4])(?!\d)", name, re.IGNORECASE)
    return int(found[1]) if found else None


def _rows_of_csv(file: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not a CSV that can be read ({error})") from error
    if not {"path", "grade"} <= set(rows.columns) or rows.empty:
        raise UserError(f"{file}: needs the columns path and grade (patient, side and split are optional) and at least one row")
    grades = pd.to_numeric(rows["grade"], errors="coerce")
    wrong = np.flatnonzero(~grades.isin(GRADES))
    if len(wrong):
        raise UserError(f"{file}: row {wrong[0] + 2} has grade {rows['grade'].iloc[wrong[0]]!r}; grades are 0, 1, 2, 3, 4")
    return _completed(rows.assign(grade=grades.astype(int)))


def _completed(rows: pd.DataFrame) -> pd.DataFrame:
    """Ids, and the columns that were not given: patient and side from names of the Osteoarthritis Initiative."""
    rows = rows.assign(image_id=unique_ids(rows["path"]))
    stems = [PurePosixPath(path).stem for path in rows["path"]]
    known = [OAI_NAME.match(stem) for stem in stems]
    defaults = {
        "split": "all",
        "patient": [found[1] if found else "" for found in known],
        "side": [side_from_name(stem) or "" for stem in stems],
    }
    return rows.assign(**{column: value for column, value in defaults.items() if column not in rows.columns})


def _facts(source: Source, rows: pd.DataFrame, label: str) -> pd.DataFrame:
    """``describe_films``, kept in the cache as long as no file changes."""
    paths = list(rows["path"])
    key = hashlib.sha256(f"{PREPARATION} {source.stamp(paths)} {paths}".encode()).hexdigest()[:16]
    file = cache_dir() / "manifests" / f"{key}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        if not file.exists():
            atomic_write(file, describe_films(source, paths, label).to_csv(index=False))
    return pd.read_csv(io.BytesIO(file.read_bytes()), dtype={column: str for column in TEXTS}, keep_default_na=False)
