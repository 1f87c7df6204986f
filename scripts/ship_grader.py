"""Make data/weights/grader.safetensors from recorded runs of a study whose weights are here: half precision, with its decision rule.

    python scripts/ship_grader.py headline RUN [RUN ...] [--size PIXELS]

Of several runs, each a continuation of the one before, the mean of the weights is shipped (Wortsman et al. 2022, arXiv 2109.01903).
The file's own predictions go into the ledger as a run of its own (variant ``shipped``), from which the model card is
computed; temperature, thresholds and conformal threshold are fitted on its validation films. Refuses a file over 16 MB,
and one that half precision has changed: over .005 from the same weights' validation scores before.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

from koalib.data.datasets import KneeDataset, load
from koalib.errors import UserError
from koalib.machine import commit, describe, versions
from koalib.model.weights import load_checkpoint, save_checkpoint
from koalib.paths import WEIGHTS, results_dir
from koalib.study import ledger, metrics
from koalib.study.experiment import Experiment
from koalib.study.outcome import WEIGHTS_FILE, decision_rule, predictions_of, score_splits
from koalib.study.predict import predict
from koalib.study.roles import assign_roles
from koalib.study.runner import work_folder

LIMIT_MB, TOLERANCE = 16, 5e-3


def mean_weights(models: list[nn.Module]) -> nn.Module:
    """The first model with the mean of all models' weights and running statistics; counters are the first's."""
    states = [model.state_dict() for model in models]
    models[0].load_state_dict({key: torch.stack([state[key] for state in states]).mean(0) if first.is_floating_point() else first
                               for key, first in states[0].items()})
    return models[0]


def _check_half(whole: nn.Module, half: nn.Module, dataset: KneeDataset, size: int) -> None:
    """Compare both on the validation films.

    Raises:
        UserError: half precision has changed their scores.
    """
    val = dataset.select("val")
    before, after = (metrics.scores(val.table.grade.to_numpy(), predict(model, val.pixels(size))) for model in (whole, half))
    for name in ("accuracy", "qwk"):
        print(f"validation {name}: {before[name]:.4f}, in half precision {after[name]:.4f}")
        if abs(after[name] - before[name]) > TOLERANCE:
            raise UserError(f"half precision moves validation {name} from {before[name]:.4f} to {after[name]:.4f}; it is not shipped")


def ship(study: str, runs: list[str], size: int | None = None) -> None:
    """Write the file and its run, after checking it.

    Raises:
        UserError: no such run here, a file too large, or scores that half precision has changed.
    """
    folders, target = [work_folder(study, run) for run in runs], WEIGHTS / "grader.safetensors"
    for run, folder in zip(runs, folders, strict=True):
        if not (folder / WEIGHTS_FILE).is_file():
            raise UserError(f"{study}/{run}: its weights are not on this machine; koalib study run {study} makes them")
    record = json.loads((results_dir() / study / runs[0] / ledger.RUN_FILE).read_text())
    models, (metadata, *_) = zip(*(load_checkpoint(folder / WEIGHTS_FILE) for folder in folders), strict=True)
    experiment = Experiment.from_dict(record["experiment"])
    experiment = experiment.but(variant="shipped", size=size or experiment.size)
    model, dataset = mean_weights(list(models)), load(experiment.dataset)
    draft = folders[0] / target.name
    save_checkpoint(model, draft, metadata, half=True)
    if draft.stat().st_size > LIMIT_MB * 2**20:
        raise UserError(f"{draft.name}: {draft.stat().st_size / 2**20:.1f} MB is more than {LIMIT_MB}; choose a smaller network")
    half = load_checkpoint(draft)[0]
    _check_half(model, half, dataset, experiment.size)
    predictions = predictions_of(half, dataset, dataset.pixels(experiment.size), assign_roles(experiment, dataset.table))
    decision = decision_rule(predictions)
    save_checkpoint(model, draft, metadata | {"size": experiment.size, "decision": decision, "run": " + ".join(runs)}, half=True)
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    shipped = f"{experiment.run_name.rpartition('-')[0]}-{digest[:8]}"
    of_training = {"curve", "best_epoch", "seconds", "modules"}  # these stand in the records of the runs it is made from
    record = {key: value for key, value in record.items() if key not in of_training}
    made = {"shipped_from": " + ".join(runs), "file_sha256": digest, "precision": "fp32", "decision": decision, "scores": score_splits(predictions),
            "commit": commit(), "versions": versions(), "machine": describe(), "finished_at": ledger.now()}
    with tempfile.TemporaryDirectory() as staging:
        ledger.write_predictions(Path(staging) / ledger.PREDICTIONS_FILE, predictions)
        ledger.write_json(Path(staging) / ledger.RUN_FILE, record | made | {"experiment": experiment.as_dict()})
        if not ledger.has_run(study, shipped):
            ledger.publish_run(study, shipped, Path(staging))
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    draft.replace(target)
    print(f"{target.name}: {target.stat().st_size / 2**20:.1f} MB, {study}/{shipped}")


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("study")
    words.add_argument("runs", nargs="+", metavar="RUN")
    words.add_argument("--size", type=int, help="pixels of the films it reads (default: the first run's)")
    chosen = words.parse_args()
    try:
        ship(chosen.study, chosen.runs, chosen.size)
    except UserError as error:
        sys.exit(f"ship_grader: {error}")
