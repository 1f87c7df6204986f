"""A study's table, computed from its predictions and nothing else: ``koalib study show``."""

from __future__ import annotations

import pandas as pd

from koalib.study import ledger
from koalib.study.experiment import Experiment
from koalib.study.experiments import find_study
from koalib.study.metrics import summary
from koalib.study.runner import recorded

SHOWN = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "qwk", "qwk_expected", "mae", "rps")
SELECTED_ON = {"val": "validation", "oof": "out of fold", "test": "test"}


def arm_predictions(study: str) -> dict[tuple[str, str], pd.DataFrame]:
    """Open predictions by arm (``model/variant``) and split, all folds and seeds of an arm together.

    Runs of a learning-rate search whose rate was not chosen are left out, as they are no results of the arm.
    """
    found: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for arm, experiment in chosen_runs(study):
        table = ledger.read_predictions(study, experiment.run_name).assign(run=experiment.run_name, seed=experiment.seed)
        for split, rows in table.groupby("split"):
            found.setdefault((arm, split), []).append(rows)
    return {key: pd.concat(tables, ignore_index=True) for key, tables in found.items()}


def chosen_runs(study: str) -> list[tuple[str, Experiment]]:
    """Recorded runs that stand for their arm, with the arm's name; runs that only searched a learning rate do not."""
    look = recorded(study)
    return [(arm.name, e) for arm in find_study(study).arms for e in arm.results(look) if ledger.has_run(study, e.run_name)]


def study_table(study: str) -> pd.DataFrame:
    """One row an arm and split: runs, films, scores with 95 % intervals over patients or duplicate groups."""
    rows = []
    for (arm, split), table in arm_predictions(study).items():
        found = summary(table.grade.to_numpy(), ledger.probabilities(table), table.group.to_numpy())
        row = {"arm": arm, "films_of": SELECTED_ON[split], "runs": table.run.nunique(), "films": len(table)}
        for name in SHOWN:
            row |= {name: found[name]["value"], f"{name}_low": found[name]["low"], f"{name}_high": found[name]["high"]}
        rows.append(row)
    return pd.DataFrame(rows)
