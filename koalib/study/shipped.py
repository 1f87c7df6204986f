"""The shipped grader's file and the ledger's record of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from koalib.errors import UserError
from koalib.paths import WEIGHTS
from koalib.study import ledger

GRADER = WEIGHTS / "grader.safetensors"
STUDY = "headline"  #: the study whose run it is


def sha256(file: Path) -> str:
    """Checksum of a file of weights."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def shipped_record() -> dict | None:
    """The ledger's record of the shipped file, None while none is shipped.

    Raises:
        UserError: the ledger does not know this file.
    """
    if not GRADER.is_file():
        return None
    digest = sha256(GRADER)
    found = next((run for run in ledger.read_runs(STUDY) if run.get("file_sha256") == digest), None)
    if found is None:
        raise UserError(f"{GRADER.name}: the ledger holds no run of this file; scripts/ship_grader.py writes both")
    return found
