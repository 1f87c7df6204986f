"""What the runs of the study ``external`` say: scores at home, abroad as they are, and after each correction."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from koalib.data.datasets import grouped_folds
from koalib.errors import UserError
from koalib.study import ledger
from koalib.study.calibration import slope_intercept, temper
from koalib.study.conformal import prediction_sets
from koalib.study.external import JOURNEYS, NAME, Journey, predictions, progress, run, runs_of, sources
from koalib.study.localisation import mean_by_group
from koalib.study.metrics import N_GRADES
from koalib.study.recalibration import AS_THEY_ARE, ESTIMATED, KNOWN, RECALIBRATED, STEPS, corrected, recalibrated_sets
from koalib.study.stats import contrast

AT_HOME = "at home"
SCORES = ("accuracy", "qwk", "auc_kl2", "rps")
FOLDS = 5
_ENDS = (("", "value"), ("_low", "low"), ("_high", "high"))
GAINS = ((AS_THEY_ARE, KNOWN, "shift of grades"), (AS_THEY_ARE, ESTIMATED, "shift of grades, without labels"), (KNOWN, RECALIBRATED, "miscalibration"))


def summarise(resamples: int = 10_000) -> dict:
    """All tables of the measurement ``external``.

    Returns:
        ``rows``: a row a journey and step (``STEPS``, before them ``at home``) with scores and 95 % intervals over groups and models,
        calibration at KL >= 2 and the 90 % sets' coverage; a journey without runs is one row of ``step`` "not run".
        ``gains``: how much each kind of correction lowers the ranked probability score, paired. ``shares``: of the grades
        where the models were trained, as estimated abroad, as they are abroad. ``runs``: the names of the ledger's runs behind all this.
    """
    rows, gains, shares, names = [], [], [], []
    for journey in JOURNEYS:
        runs = runs_of(journey)
        head = {"from": journey.home, "to": journey.to, "model": journey.arm, "study": journey.study, "models": len(runs)}
        if not runs:
            rows.append(head | {"films": 0, "step": "not run"})
            continue
        rows.append(head | _at_home(journey, runs, resamples))
        more = _of(runs, resamples)
        names += [run["name"] for run in runs]
        rows += [head | row for row in more["rows"]]
        gains += [head | row for row in more["gains"]]
        shares.append(head | more["shares"])
    return {"rows": _plain(rows), "gains": _plain(gains), "shares": shares, "runs": names, "sets_at": 0.9, "folds": FOLDS, "resamples": resamples}


def run_and_record(data: str | Path | None = None) -> str:
    """Let models travel that have not yet, record the measurement anew, and say in a line what the ledger holds."""
    made = run(data)
    ledger.record_measurement(NAME, summarise())
    done, planned = progress()
    return f"{NAME}: {len(made)} new runs, {done} of {planned} recorded; other models have to be trained first"


def table() -> pd.DataFrame:
    """The recorded rows: a row a journey and step; empty while nothing is recorded."""
    return pd.DataFrame(recorded("rows"))


def shares_table() -> pd.DataFrame:
    """Shares of the five grades, a row a journey and place: where the models were trained, as estimated abroad, as they are abroad."""
    rows = [(row["model"], row["to"], place.replace("_", " "), *row[place]) for row in recorded("shares") for place in ("trained_on", "estimated", "abroad")]
    return pd.DataFrame(rows, columns=["model", "to", "shares", *(f"KL {k}" for k in range(N_GRADES))])


def recorded(part: str) -> list[dict]:
    """A part of the recorded measurement: rows, gains or shares; empty while nothing is recorded."""
    return (ledger.read_measurement(NAME) or {part: []})[part]


def _of(runs: list[dict], resamples: int) -> dict:
    """Rows, gains and shares of one journey."""
    table, home = predictions(runs)
    grade, group = table.grade.to_numpy(), table.group.to_numpy()
    fold = grouped_folds(table, FOLDS)
    sources_of = [np.array(run["trained_on"]["grade_shares"]) for run in runs]
    by_model = [corrected(p, grade, fold, source) for p, source in zip(home, sources_of, strict=True)]
    arms = {step: np.stack([found[step] for found in by_model]) for step in STEPS}
    sets = {AS_THEY_ARE: [prediction_sets(p, run["decision"]["conformal"]) for p, run in zip(home, runs, strict=True)],
            RECALIBRATED: [recalibrated_sets(p, grade, fold) for p in home]}
    rows = [_scored(step, arm, grade, group, resamples) | _covered(sets.get(step), grade, group, resamples) for step, arm in arms.items()]
    gains = []
    for before, after, what in GAINS:
        found = contrast(grade, [arms[before], arms[after]], [1, -1], group, n=resamples)
        gains.append({"what": what, "from_step": before, "to_step": after} | {f"{name}{end}": getattr(found[name], part) for name in ("rps", "brier") for end, part in _ENDS})
    mean = {"trained_on": np.mean(sources_of, axis=0), "estimated": arms[ESTIMATED].mean(axis=(0, 1)), "abroad": np.bincount(grade, minlength=N_GRADES) / len(grade)}
    return {"rows": rows, "gains": gains, "shares": {name: values.round(4).tolist() for name, values in mean.items()}}


def _scored(step: str, arm: np.ndarray, grade: np.ndarray, group: np.ndarray, resamples: int) -> dict:
    """Scores of one step, mean over the models of ``arm`` (S, N, 5), and its calibration at KL >= 2."""
    found = contrast(grade, [arm], [1], group, n=resamples)
    row = {"films": len(grade), "step": step, "ece": found["ece"].value}  # without an interval: its resamples are biased upwards
    for name in SCORES:
        row |= {f"{name}{end}": getattr(found[name], part) for end, part in _ENDS}
    try:
        fitted = slope_intercept(arm.reshape(-1, N_GRADES), np.tile(grade, len(arm)), np.tile(group, len(arm)))
    except UserError:  # all films on one side of KL >= 2
        return row
    return row | {f"{name}{end}": fitted[name][part] for name in fitted for end, part in _ENDS}


def _covered(sets: list[np.ndarray] | None, grade: np.ndarray, group: np.ndarray, resamples: int) -> dict:
    """How often the 90 % sets hold the truth and how many grades they name, mean over models; nothing without sets."""
    if sets is None:
        return {}
    stacked = np.stack(sets)
    held = mean_by_group(stacked[:, np.arange(len(grade)), grade].mean(axis=0), group, resamples)
    return {"coverage": held["value"], "coverage_low": held["low"], "coverage_high": held["high"], "set_size": float(stacked.sum(axis=2).mean())}


def _at_home(journey: Journey, runs: list[dict], resamples: int) -> dict:
    """The same models on films of their own set that they were neither trained nor, where a fold tests, selected on."""
    by_seed: dict[int, list] = {}
    travelled = {run["source"]["run"] for run in runs}
    for run in (source for source in sources(journey) if source["name"] in travelled):
        split = "val" if run["fold"] is None else "oof"
        table = ledger.read_predictions(journey.study, run["name"], split)
        p = temper(ledger.probabilities(table), run["decision"]["temperature"])
        by_seed.setdefault(run["seed"], []).append(table.assign(**dict(zip(ledger.PROBABILITIES, p.T, strict=True))))
    tables = [pd.concat(parts).sort_values("image_id", ignore_index=True) for parts in by_seed.values()]
    films = max(tables, key=len)
    complete = [table for table in tables if len(table) == len(films)]
    arm = np.stack([table[ledger.PROBABILITIES].to_numpy() for table in complete])
    return _scored(AT_HOME, arm, films.grade.to_numpy(), films.group.to_numpy(), resamples)


def _plain(rows: list[dict]) -> list[dict]:
    """Rows as JSON has them: what is not finite becomes None."""
    return [{key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()} for row in rows]
