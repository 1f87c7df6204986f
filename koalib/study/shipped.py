"""The shipped grader's file and the ledger's record of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from koalib.errors import UserError
from koalib.model.checkpoints import read_checkpoint
from koalib.paths import WEIGHTS
from koalib.study import ledger
from koalib.study.calibration import temper

GRADER = WEIGHTS / "grader.safetensors"
STUDY = "headline"  #: the study whose run it is


def sha256(file: Path) -> str:
    """Checksum of a file of weights."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def shipped_record() -> dict | None:
    """The ledger's record of the shipped file; None while none is shipped, or in a ledger of one's own that does not know it."""
    if not GRADER.is_file():
        return None
    digest = sha256(GRADER)
    return next((run for run in ledger.read_runs(STUDY) if run.get("file_sha256") == digest), None)


def latest() -> str:
    """The split it is shown on: test once that is opened, validation before."""
    record = shipped_record()
    return "test" if record and ledger.opened(STUDY, record["name"]) else "val"


def seal() -> str:
    """In words, where the official test stands for the shipped file (docs/protocol.md, sections 1 and 7)."""
    record, openings = shipped_record(), ledger.openings(STUDY)
    if not openings:
        return "sealed, predicted and not looked at"
    first = openings[0]["unsealed_at"][:10]
    if record is None or not ledger.opened(STUDY, record["name"]):
        return f"closed for this file, which was made after the test was opened on {' and '.join(opening['unsealed_at'][:10] for opening in openings)}"
    if record["name"] in openings[0]["runs"]:
        return f"opened once by this study, on {first}; scores of five earlier fine-tunings on it were known"
    last = openings[-1]["unsealed_at"][:10]
    return f"second opening, on {last}, by a protocol of its own; the first, on {first}, scored another grader"


def before() -> dict | None:
    """The record of the grader that the first opening scored, where another is shipped since; None where there is none."""
    record, openings = shipped_record(), ledger.openings(STUDY)
    if record is None or not openings or record["name"] in openings[0]["runs"]:
        return None
    graders = [run for run in ledger.read_runs(STUDY) if "file_sha256" in run and run["name"] in openings[0]["runs"]]
    return max(graders, key=lambda run: run["finished_at"], default=None)


def predictions(split: str) -> tuple[pd.DataFrame, np.ndarray, dict]:
    """The shipped grader's films of a split, its probabilities (N, 5) after its temperature, and its decision rule.

    Raises:
        UserError: the split is sealed, or no grader is shipped.
    """
    record = shipped_record()
    if record is None:
        raise UserError(f"{GRADER.name}: no grader is shipped; scripts/ship_grader.py makes one from a run")
    return tempered(record["name"], split, read_checkpoint(GRADER)[1]["decision"])


def predictions_before(split: str) -> tuple[pd.DataFrame, np.ndarray, dict] | None:
    """The same of the grader that the first opening scored (`before`), from the ledger; None where there is none."""
    record = before()
    return None if record is None else tempered(record["name"], split, record["decision"])


def tempered(run: str, split: str, rule: dict) -> tuple[pd.DataFrame, np.ndarray, dict]:
    """A recorded run's films of a split, its probabilities (N, 5) after the rule's temperature, and the rule."""
    table = ledger.read_predictions(STUDY, run, split)
    return table, temper(ledger.probabilities(table), rule["temperature"]), rule
