"""The ledger: every run and every measurement, and the seal on the test films.

    data/results/STUDY/RUN/run.json            what was run, on what, with which result
    data/results/STUDY/RUN/predictions.csv.gz  one row a film; none of a run that failed, whose run.json says why
    data/results/NAME.json                     other measurements

Every table and figure is computed from these files. Predictions on a sealed test split are recorded when a run ends,
and are not given out by `read_predictions` until `unseal` has left its record.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from koalib.data import registry
from koalib.errors import UserError
from koalib.machine import commit, describe, versions
from koalib.paths import atomic_write, results_dir

RUN_FILE, PREDICTIONS_FILE = "run.json", "predictions.csv.gz"
COLUMNS = ["dataset", "image_id", "group", "split", "grade", "p0", "p1", "p2", "p3", "p4"]
PROBABILITIES = COLUMNS[-5:]


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def write_json(path: Path, document: dict) -> Path:
    """Write JSON whole or not at all; what JSON does not know (NaN) is an error here, not for the reader."""
    return atomic_write(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


# ---------------------------------------------------------------- runs


def write_predictions(path: Path, predictions: pd.DataFrame) -> Path:
    """Write the predictions table; equal tables give equal bytes."""
    text = io.StringIO()
    predictions[COLUMNS].to_csv(text, index=False, float_format="%.6g", lineterminator="\n")
    return atomic_write(path, gzip.compress(text.getvalue().encode(), mtime=0))


def publish_run(study: str, name: str, source: Path) -> Path:
    """Put a finished run's record and predictions into the ledger, both or neither.

    Raises:
        UserError: the ledger cannot be written to.
    """
    target = results_dir() / study / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
        try:
            for file in (RUN_FILE, PREDICTIONS_FILE):
                shutil.copyfile(source / file, staging / file)
            os.chmod(staging, 0o755)
            os.rename(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{target.parent}: the ledger cannot be written to ({error.strerror}); the run itself is kept in {source}") from error
    return target


def publish_failure(study: str, name: str, failure: dict) -> Path:
    """Record that a run could not be finished: ``failure`` holds the reason under ``failed``, and there are no predictions."""
    stamp = {"commit": commit(), "versions": versions(), "machine": describe(), "finished_at": now()}
    return write_json(results_dir() / study / name / RUN_FILE, failure | stamp)


def has_run(study: str, name: str) -> bool:
    """Whether the ledger holds this run, finished."""
    folder = results_dir() / study / name
    return (folder / RUN_FILE).is_file() and (folder / PREDICTIONS_FILE).is_file()


def failure(study: str, name: str) -> dict | None:
    """The record of a run that failed; None of one that did not, or was not made."""
    file = results_dir() / study / name / RUN_FILE
    return json.loads(file.read_text()) if file.is_file() and not has_run(study, name) else None


def read_runs(study: str) -> list[dict]:
    """Records of all finished runs of a study, in the order of their names; each also holds its ``name``."""
    return [record for record in _records(study) if "failed" not in record]


def read_failures(study: str) -> list[dict]:
    """Records of the runs that failed: the reason under ``failed``, and the seed that they are repeated with."""
    return [record for record in _records(study) if "failed" in record]


def _records(study: str) -> list[dict]:
    files = sorted((results_dir() / study).glob(f"*/{RUN_FILE}"))
    return [json.loads(file.read_text()) | {"name": file.parent.name} for file in files if not file.parent.name.startswith(".")]


def read_predictions(study: str, name: str, split: str | None = None) -> pd.DataFrame:
    """Predictions of a run; rows of a sealed test split are left out until the study is unsealed, and for ever of a run made after that.

    Raises:
        UserError: no such run; or ``split`` names what is still sealed.
    """
    file = results_dir() / study / name / PREDICTIONS_FILE
    if not file.is_file():
        raise UserError(f"{study}/{name}: the ledger holds no such run; koalib study list shows what there is")
    table = pd.read_csv(file, dtype={"image_id": str, "group": str})
    hidden = sealed(table) & (not opened(study, name))
    if split is not None:
        table, hidden = table[table.split == split], hidden[table.split == split]
        if hidden.any():
            late = openings(study) and "it was made after the study was opened, and a choice it rests on may have seen the test"
            raise UserError(f"{study}/{name}: test predictions are sealed; {late or f'koalib study unseal {study} opens them under docs/protocol.md'}")
    return table[~hidden].reset_index(drop=True)


def probabilities(table: pd.DataFrame) -> np.ndarray:
    """The five probabilities of each row, float64 (N, 5), normalised again after having been written as text."""
    p = table[PROBABILITIES].to_numpy(float)
    return p / p.sum(axis=1, keepdims=True)


# ---------------------------------------------------------------- the seal


def sealed(table: pd.DataFrame) -> pd.Series:
    """Rows of the official test split of a public set, which the protocol keeps closed, whatever the set is called."""
    closed = [name for name, info in registry.DATASETS.items() if "test" in info.counts]
    by_name = table.dataset.isin(closed)
    hidden = by_name & (table.split == "test")
    for name in closed if not by_name.all() else ():
        hidden |= ~by_name & registry.of_split(table, name, "test")
    return hidden


def openings(study: str) -> list[dict]:
    """The records of the openings of a study's test predictions, the first first: one a protocol."""
    files = sorted((results_dir() / study).glob("unsealed*.json"))
    return sorted((json.loads(file.read_text()) for file in files), key=lambda record: record.get("unsealed_at", ""))


def opened(study: str, name: str) -> bool:
    """Whether the test predictions of a run may be seen: an opening of its study names it."""
    return any(name in record["runs"] for record in openings(study))


def unseal(study: str, protocol: Path, runs: Sequence[str]) -> dict:
    """Open the test predictions of a study's runs, once and for all under one protocol, and record when; what is opened already stays as it is.

    Args:
        protocol: its file's name begins with ``protocol``.
        runs: those that are opened.

    Raises:
        UserError: the test was opened for another study; the protocol is missing, not committed, or was changed since;
            or there are no runs.
    """
    file = results_dir() / study / f"{protocol.stem.replace('protocol', 'unsealed')}.json"
    if file.is_file():
        return json.loads(file.read_text())
    if opened_for := next((other.parent.name for other in sorted(results_dir().glob("*/unsealed*.json")) if other.parent != file.parent), None):
        raise UserError(f"{study}: the official test was opened for {opened_for}; by docs/protocol.md all other studies are judged on validation films")
    if not runs:
        raise UserError(f"{study}: the ledger holds no run of it; there is nothing to unseal")
    if not protocol.is_file():
        raise UserError(f"{protocol.name}: missing; write and commit the protocol before the test is opened")
    if not _committed(protocol):
        raise UserError(f"{protocol.name}: not committed as it stands; commit it before the test is opened")
    record = {"study": study, "unsealed_at": now(), "commit": commit(), "protocol_sha256": hashlib.sha256(protocol.read_bytes()).hexdigest(),
              "runs": list(runs)}
    write_json(file, record)
    return record


def _committed(file: Path) -> bool:
    git = ["git", "-C", str(file.parent)]
    try:
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", file.name], capture_output=True).returncode == 0
        return tracked and subprocess.run([*git, "diff", "--quiet", "HEAD", "--", file.name], capture_output=True).returncode == 0
    except OSError:
        return False


# ---------------------------------------------------------------- other measurements


def stamp() -> dict:
    """The machine, versions, commit and time of what is measured now; a part of a record that is renewed by itself has its own."""
    return {"machine": describe(), "versions": versions(), "commit": commit(), "measured_at": now()}


def record_measurement(name: str, measured: dict) -> Path:
    """Keep a measurement as ``data/results/NAME.json`` with its `stamp`; say so where no commit holds the code that made it."""
    stamped = stamp()
    if stamped["commit"].endswith("+"):
        print(f"{name}: measured with uncommitted changes of koalib (commit {stamped['commit']}); commit them and measure again", file=sys.stderr)
    return write_json(results_dir() / f"{name}.json", stamped | measured)


def read_measurement(name: str) -> dict | None:
    """A recorded measurement, or None."""
    file = results_dir() / f"{name}.json"
    return json.loads(file.read_text()) if file.is_file() else None
