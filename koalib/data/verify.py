"""Compare a reader's copy of a public set with its manifest, film by film and pixel by pixel."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from koalib.data.curate import read_each
from koalib.data.images import film_hash
from koalib.data.own import OAI_NAME, SUFFIXES
from koalib.data.registry import GRADES, DatasetInfo, info, locate, read_manifest
from koalib.data.sources import Source, open_source


def verify(name: str, data: str | Path | None = None) -> dict:
    """What the copy holds, lacks and has altered.

    Returns:
        ``dataset``, ``ok``, ``images`` (films found), ``counts`` {split: {grade: n}}, ``missing`` and ``changed``
        (image_id), ``unknown`` (paths of images that are not of the set), ``patients_in_several_splits``. What is
        published beside the set (re-crops of test patients, larger copies, the second reading) is passed over.

    Raises:
        DatasetMissing: there is no copy at all, with the steps to get one.
    """
    facts, manifest = info(name), read_manifest(name)
    with open_source(locate(name, data)) as source:
        films = facts.films(source)
        present = manifest[manifest["path"].isin(films)]
        hashes = read_each(source, [films[path] for path in present["path"]], film_hash, f"verify {name}")
        unknown = _unknown(facts, source, set(manifest["path"]))
    missing = manifest[~manifest["path"].isin(films)]
    changed = present[[found != expected for found, expected in zip(hashes, present["sha256"])]]
    shared = _patients_in_several_splits(films)
    return {
        "dataset": name,
        "ok": not (len(missing) or len(changed) or unknown or shared),
        "images": len(present),
        "counts": counts(present),
        "missing": list(missing["image_id"]),
        "changed": list(changed["image_id"]),
        "unknown": unknown,
        "patients_in_several_splits": shared,
    }


def counts(table: pd.DataFrame) -> dict[str, dict[int, int]]:
    """{split: {grade: number of films}}, every grade named."""
    numbers = table.groupby(["split", "grade"]).size()
    return {split: {grade: int(numbers.get((split, grade), 0)) for grade in GRADES} for split in table["split"].unique()}


def _unknown(facts: DatasetInfo, source: Source, known: set[str]) -> list[str]:
    """Images in the copy that belong neither to the set nor to what is published beside it."""
    images = [path for path in source.paths() if PurePosixPath(path).suffix.lower() in SUFFIXES]
    return [path for path in images if not facts.is_aside(path) and facts.key(path) not in known]


def _patients_in_several_splits(films: dict[str, str]) -> list[str]:
    """Patients whose films, going by their names, were put into more than one split folder."""
    splits: dict[str, set[str]] = {}
    for key in films:
        name = OAI_NAME.match(PurePosixPath(key).stem)
        if name:
            splits.setdefault(name[1], set()).add(key.split("/")[0])
    return sorted(patient for patient, found in splits.items() if len(found) > 1)
