"""The study ``external``: saved models of one set predict the films of the other, each as a run of the ledger.

Films abroad are single knees without their twins (one a duplicate group), or the validation films where a set has
a sealed test. Nothing is trained. A model that has seen a film of the other set may not travel there: what starts from
``chen2018`` is no answer to how a model of ``gornale2020`` does on it.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from koalib.data.datasets import KneeDataset, load
from koalib.data.registry import info
from koalib.machine import commit, describe, versions
from koalib.model.weights import load_checkpoint
from koalib.study import ledger, metrics, shipped
from koalib.study.calibration import temper
from koalib.study.comparisons import arm_runs, planned
from koalib.study.experiment import Experiment
from koalib.study.experiments import LITE0
from koalib.study.outcome import WEIGHTS_FILE
from koalib.study.predict import predict
from koalib.study.roles import assign_roles
from koalib.study.runner import work_folder

NAME = "external"
TITLE = "saved models on the other set's films, with and without recalibration"
SHIPPED = "the shipped grader"


@dataclass(frozen=True)
class Journey:
    """Models of one arm on the films of another set."""

    home: str
    to: str
    study: str
    arm: str  #: ``model/variant``, or `SHIPPED`


@dataclass(frozen=True)
class Traveller:
    """One saved model, its weights and the ledger's record of its training."""

    record: dict
    file: Path
    sha256: str

    @property
    def experiment(self) -> Experiment:
        """What it was trained with."""
        return Experiment.from_dict(self.record["experiment"])


JOURNEYS = (
    Journey("chen2018", "gornale2020", "headline", SHIPPED),
    Journey("chen2018", "gornale2020", "headline", f"{LITE0}/folds"),
    Journey("chen2018", "gornale2020", "loss", f"{LITE0}/soft"),
    Journey("gornale2020", "chen2018", "transfer", f"{LITE0}/imagenet"),
    Journey("gornale2020", "chen2018", "protocol", f"{LITE0}/no_twins"),
)


def sources(journey: Journey) -> list[dict]:
    """Records of the runs whose models make the journey; none while they are not recorded, nor of models that know other films than home's."""
    if journey.arm == SHIPPED:
        record = shipped.shipped_record()
        found = [record] if record else []
    else:
        wanted = set(arm_runs(journey.study).get(journey.arm, {}).values())
        found = [record for record in ledger.read_runs(journey.study) if record["name"] in wanted]
    return [record for record in found if record["experiment"]["dataset"] == journey.home]


def travellers(journey: Journey) -> list[Traveller]:
    """The journey's models whose weights are on this machine."""
    files = [(record, shipped.GRADER if journey.arm == SHIPPED else work_folder(journey.study, record["name"]) / WEIGHTS_FILE) for record in sources(journey)]
    return [Traveller(record, file, shipped.sha256(file)) for record, file in files if file.is_file()]


def films_abroad(name: str, data: str | Path | None = None) -> KneeDataset:
    """Films of a set for models of another: validation films where the set has a sealed test, else one film a group."""
    knees = load(name, data=data, two_knees="drop")
    return knees.select("val") if "test" in info(name).counts else knees.select(~knees.table.group.duplicated())


def grade_shares(experiment: Experiment, data: str | Path | None = None) -> list[float]:
    """Shares of the five grades among the films that trained a model."""
    table = load(experiment.dataset, data=data, n=experiment.patients).table
    return table.grade[assign_roles(experiment, table) == "train"].value_counts(normalize=True).sort_index().tolist()


def run_name(journey: Journey, traveller: Traveller) -> str:
    """Name of the run: that of the training with the other set in front, the weights' checksum at the end."""
    variant = f"{traveller.record['name'].split('-')[2]}_of_{journey.home}"
    named = traveller.experiment.but(dataset=journey.to, variant=variant).run_name
    return f"{named.rpartition('-')[0]}-{traveller.sha256[:8]}"


def run(data: str | Path | None = None) -> list[str]:
    """Let every model travel that has not yet; return the names of the new runs.

    Raises:
        UserError: a missing data set.
    """
    made = []
    for journey in JOURNEYS:
        for traveller in travellers(journey):
            name = run_name(journey, traveller)
            if not ledger.has_run(NAME, name):
                _travel(journey, traveller, name, data)
                made.append(name)
    return made


def _travel(journey: Journey, traveller: Traveller, name: str, data: str | Path | None) -> None:
    """Predict the films abroad and publish the run."""
    started, experiment, knees = time.perf_counter(), traveller.experiment, films_abroad(journey.to, data)
    model, metadata = load_checkpoint(traveller.file)
    p = predict(model, knees.pixels(metadata["size"]))
    table = pd.DataFrame({"dataset": knees.name, "image_id": knees.table.image_id, "group": knees.table.group, "split": knees.table.split, "grade": knees.table.grade,
                          **dict(zip(ledger.PROBABILITIES, p.T, strict=True))})
    record = {
        "experiment": experiment.as_dict(), "source": {"study": journey.study, "run": traveller.record["name"], "arm": journey.arm, "file_sha256": traveller.sha256},
        "data": {"name": knees.name, "fingerprint": knees.fingerprint}, "films": {"abroad": len(knees)}, "seed": experiment.seed, "fold": experiment.fold,
        "trained_on": {"name": journey.home, "grade_shares": grade_shares(experiment, data)}, "precision": "fp32", "commit": commit(), "versions": versions(),
        "machine": describe(), "finished_at": ledger.now(), "seconds": round(time.perf_counter() - started, 1), "decision": metadata["decision"],
        "scores": {"abroad": metrics.summary(knees.table.grade.to_numpy(), p, knees.table.group.to_numpy())},
    }
    with tempfile.TemporaryDirectory() as folder:
        ledger.write_predictions(Path(folder) / ledger.PREDICTIONS_FILE, table)
        ledger.write_json(Path(folder) / ledger.RUN_FILE, record)
        ledger.publish_run(NAME, name, Path(folder))


def progress() -> tuple[int, int]:
    """Runs that the ledger holds of those that the journeys plan."""
    return sum(len(runs_of(journey)) for journey in JOURNEYS), sum(1 if journey.arm == SHIPPED else planned(journey.study, [journey.arm]) for journey in JOURNEYS)


def runs_of(journey: Journey) -> list[dict]:
    """Recorded runs of the journey: those of the runs that stand for its arm today, or of the file shipped today."""
    wanted = {record["name"] for record in sources(journey)}
    return [record for record in ledger.read_runs(NAME) if record["source"]["arm"] == journey.arm and record["data"]["name"] == journey.to and record["source"]["run"] in wanted]


def predictions(runs: list[dict]) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """The films' table and each run's probabilities (N, 5), tempered as the run's own home asked for."""
    tables = [ledger.read_predictions(NAME, run["name"]) for run in runs]
    return tables[0], [temper(ledger.probabilities(table), run["decision"]["temperature"]) for table, run in zip(tables, runs, strict=True)]
