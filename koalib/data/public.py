"""The public sets as ``Films``: the committed manifest joined with the reader's copy."""

from __future__ import annotations

from pathlib import Path

from koalib.data.films import Films, films_of
from koalib.data.registry import info, locate, read_manifest
from koalib.data.sources import open_source
from koalib.errors import UserError


def films(name: str, data: str | Path | None, two_knees: str) -> Films:
    """Films of a public set; the copy itself is read only when an array of pixels has to be made."""
    manifest = read_manifest(name)
    root = locate(name, data)
    with open_source(root) as source:
        stamp, where = source.stamp(), info(name).films(source)
    missing = [path for path in manifest["path"] if path not in where]
    if missing:
        raise UserError(f"{root}: lacks {len(missing)} films of {name} (first: {missing[0]}); see koalib data verify {name}")
    return films_of(name, manifest, where, root, stamp, two_knees)
