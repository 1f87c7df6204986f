"""Make data/weights/grader.safetensors from a run of a study on this machine: half precision, with its decision rule.

    python scripts/ship_grader.py headline RUN

The file's own predictions go into the ledger as a run of its own (variant ``shipped``), from which the model card is
computed. Refuses a file over 16 MB, and one that half precision has changed: over .005 from the run's validation scores.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from koalib.data.datasets import load
from koalib.errors import UserError
from koalib.model.weights import load_checkpoint, save_checkpoint
from koalib.paths import WEIGHTS
from koalib.study import ledger
from koalib.study.experiment import Experiment
from koalib.study.outcome import WEIGHTS_FILE, predictions_of, score_splits
from koalib.study.roles import assign_roles
from koalib.study.runner import work_folder

LIMIT_MB, TOLERANCE = 16, 5e-3


def ship(study: str, run: str) -> None:
    """Write the file and its run, after checking it against the record of the run it comes from.

    Raises:
        UserError: no such run here, a file too large, or scores that half precision has changed.
    """
    folder, target = work_folder(study, run), WEIGHTS / "grader.safetensors"
    if not (folder / WEIGHTS_FILE).is_file():
        raise UserError(f"{study}/{run}: its weights are not on this machine; koalib study run {study} makes them")
    record = json.loads((folder / ledger.RUN_FILE).read_text())
    model, metadata = load_checkpoint(folder / WEIGHTS_FILE)
    draft = save_checkpoint(model, folder / target.name, metadata, half=True)
    if draft.stat().st_size > LIMIT_MB * 2**20:
        raise UserError(f"{draft.name}: {draft.stat().st_size / 2**20:.1f} MB is more than {LIMIT_MB}; choose a smaller network")
    experiment = Experiment.from_dict(record["experiment"])
    dataset = load(experiment.dataset)
    predictions = predictions_of(load_checkpoint(draft)[0], dataset, dataset.pixels(experiment.size), assign_roles(experiment, dataset.table))
    scores = score_splits(predictions)
    for name in ("accuracy", "qwk"):
        before, after = (found["val"][name]["value"] for found in (record["scores"], scores))
        print(f"validation {name}: run {before:.4f}, shipped file {after:.4f}")
        if abs(after - before) > TOLERANCE:
            raise UserError(f"{draft.name}: half precision moves validation {name} from {before:.4f} to {after:.4f}; it is not shipped")
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    shipped = experiment.but(variant="shipped").run_name.rpartition("-")[0] + f"-{digest[:8]}"
    with tempfile.TemporaryDirectory() as made:
        ledger.write_predictions(Path(made) / ledger.PREDICTIONS_FILE, predictions)
        ledger.write_json(Path(made) / ledger.RUN_FILE, record | {"shipped_from": run, "file_sha256": digest, "precision": "fp32", "scores": scores})
        if not ledger.has_run(study, shipped):
            ledger.publish_run(study, shipped, Path(made))
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    draft.replace(target)
    print(f"{target.name}: {target.stat().st_size / 2**20:.1f} MB, {study}/{shipped}")


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("study")
    words.add_argument("run")
    chosen = words.parse_args()
    try:
        ship(chosen.study, chosen.run)
    except UserError as error:
        sys.exit(f"ship_grader: {error}")
