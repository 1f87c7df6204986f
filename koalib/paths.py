"""Where things are: the project's own folders, the cache, the reader's data."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from koalib.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
MANIFESTS = ROOT / "data" / "manifests"
WEIGHTS = ROOT / "data" / "weights"
FIGURES = ROOT / "figures"
PROTOCOL = ROOT / "docs" / "protocol.md"
SECOND_PROTOCOL = ROOT / "docs" / "protocol_grader.md"


def results_dir() -> Path:
    """The ledger's folder: ``KOALIB_RESULTS``, else ``data/results`` of the project."""
    return Path(os.environ.get("KOALIB_RESULTS") or ROOT / "data" / "results")


def cache_dir() -> Path:
    """Where caches go: ``KOALIB_CACHE``, else the user's cache folder. It is made when missing."""
    fallback = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "koalib"
    folder = Path(os.environ.get("KOALIB_CACHE") or fallback)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: no cache can be made there ({error.strerror}); set KOALIB_CACHE to a folder you may write to") from error
    return folder


def data_dir(data: str | Path | None = None) -> Path | None:
    """The folder of the real data sets: the argument, else ``KOALIB_DATA``, else None.

    Raises:
        UserError: the folder that was named does not exist.
    """
    named = str(data or os.environ.get("KOALIB_DATA") or "")
    if not named:
        return None
    folder = Path(named).expanduser().resolve()
    if not folder.is_dir():
        raise UserError(f"{named}: no such folder; --data (or KOALIB_DATA) must name the folder that holds the data sets")
    return folder


def atomic_write(path: str | Path, content: bytes | str) -> Path:
    """Write a file whole or not at all: a temporary file beside it, synced, then renamed over it.

    Raises:
        UserError: the folder cannot be written to, or the disk is full; what was there before stays.
    """
    path = Path(path)
    content = content.encode("utf-8") if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise UserError(f"{path}: could not be written ({error.strerror}); free some space or choose another folder, what was there before is untouched") from error
    return path
