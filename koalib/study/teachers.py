"""What teachers say of the films that a student trains on: only of films that they were not trained on themselves.

A network that is asked about its own training films answers with the grades it was shown. Teachers are therefore runs over folds,
and each speaks of the fold that it was tested on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from koalib.study import ledger


@dataclass(frozen=True)
class Taught:
    """What the teachers say: their runs, and mean probabilities, columns p0 ... p4, by image id."""

    runs: tuple[str, ...]
    films: pd.DataFrame


def taught(study: str, runs: Sequence[str]) -> Taught | None:
    """Mean out-of-fold probabilities of the runs; None without runs.

    Raises:
        UserError: the ledger holds no such run.
    """
    if not runs:
        return None
    tables = [ledger.read_predictions(study, run, "oof") for run in runs]
    said = pd.concat([table[["image_id"]].join(pd.DataFrame(ledger.probabilities(table), columns=ledger.PROBABILITIES)) for table in tables])
    return Taught(tuple(runs), said.groupby("image_id").mean())
