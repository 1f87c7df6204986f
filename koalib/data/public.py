"""The public sets as ``Films``: the committed manifest joined with the reader's copy."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from koalib.data.films import Films, films_of
from koalib.data.registry import info, locate, read_manifest
from koalib.data.sources import open_source
from koalib.errors import UserError


def films(name: str, data: str | Path | None, two_knees: str) -> Films:
    """Films of a public set; the copy itself is read only when an array of pixels has to be made.

    Raises:
        UserError: the copy lacks films of the set.
    """
    manifest, where, root = listing(name, data)
    return films_of(name, manifest, dict(zip(manifest["path"], where)), root, two_knees)


def listing(name: str, data: str | Path | None) -> tuple[pd.DataFrame, list[str], Path]:
    """Manifest, the path of each of its films in the copy, and the copy."""
    manifest, root = read_manifest(name), locate(name, data)
    with open_source(root) as source:
        where = info(name).films(source)
    missing = [path for path in manifest["path"] if path not in where]
    if missing:
        raise UserError(f"{root}: lacks {len(missing)} films of {name} (first: {missing[0]}); see koalib data verify {name}")
    return manifest, [where[path] for path in manifest["path"]], root
