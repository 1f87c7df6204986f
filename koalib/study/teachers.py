"""What teachers say of the films that a student trains on: only of films that they were not trained on themselves.

A network that is asked about its own training films answers with the grades it was shown. Teachers are therefore runs over folds,
and each speaks of the fold that it was tested on.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from koalib.study import ledger


def taught(study: str, runs: Sequence[str]) -> pd.DataFrame | None:
    """Mean out-of-fold probabilities of the runs, columns p0 ... p4, by image id; None without runs.

    Raises:
        UserError: the ledger holds no such run.
    """
    if not runs:
        return None
    tables = [ledger.read_predictions(study, run, "oof") for run in runs]
    said = pd.concat([table[["image_id"]].join(pd.DataFrame(ledger.probabilities(table), columns=ledger.PROBABILITIES)) for table in tables])
    return said.groupby("image_id").mean()
