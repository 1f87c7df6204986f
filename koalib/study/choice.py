"""How the shipped grader was chosen: the candidates of docs/protocol_grader.md and both shipped files, on the official validation films."""

from __future__ import annotations

import numpy as np
import pandas as pd

from koalib.study import ledger, shipped
from koalib.study.comparisons import arm_runs
from koalib.study.experiments import find_study
from koalib.study.metrics import scores


def candidates() -> pd.DataFrame:
    """One row a recorded candidate and file, by what decides.

    Returns:
        columns arm, run, accuracy (argmax), qwk_tuned (by the thresholds of the run's own record, fitted on the same films), and mean of the two, best first.
    """
    runs = arm_runs(shipped.STUDY)
    named = [(panel.label(arm), run) for panel in find_study(shipped.STUDY).panels if panel.second and panel.chosen_by for arm in panel.arms for run in runs.get(arm.name, {}).values()]
    files = [(label, record["name"]) for label, record in (("the shipped file", shipped.shipped_record()), ("the file before", shipped.before())) if record]
    records = {record["name"]: record for record in ledger.read_runs(shipped.STUDY)}
    rows = [{"arm": label, "run": run, **_scored(run, records[run]["decision"])} for label, run in named + files]
    table = pd.DataFrame(rows, columns=["arm", "run", "accuracy", "qwk_tuned"])
    return table.assign(mean=(table.accuracy + table.qwk_tuned) / 2).sort_values("mean", ascending=False, ignore_index=True)


def _scored(run: str, rule: dict) -> dict[str, float]:
    table, p, _ = shipped.tempered(run, "val", rule)
    grade = table.grade.to_numpy()
    return {"accuracy": scores(grade, p)["accuracy"], "qwk_tuned": scores(grade, p, np.asarray(rule["thresholds"]))["qwk"]}
