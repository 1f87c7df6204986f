"""Make data/weights/grader.safetensors from a run of a study on this machine: half precision, with its decision rule.

    python scripts/ship_grader.py headline RUN

Refuses a file over 16 MB, and one whose validation scores differ from the run's record by more than 1e-3.
"""

import argparse
import json
import sys

from koalib.errors import UserError
from koalib.model.weights import load_checkpoint, save_checkpoint
from koalib.paths import WEIGHTS
from koalib.study.evaluation import evaluate
from koalib.study.ledger import RUN_FILE
from koalib.study.outcome import WEIGHTS_FILE
from koalib.study.runner import work_folder

LIMIT_MB, TOLERANCE = 16, 1e-3


def ship(study: str, run: str) -> None:
    """Write the file, then check it against the run's record.

    Raises:
        UserError: no such run here, a file too large, or scores that do not repeat.
    """
    folder, target = work_folder(study, run), WEIGHTS / "grader.safetensors"
    if not (folder / WEIGHTS_FILE).is_file():
        raise UserError(f"{study}/{run}: its weights are not on this machine; koalib study run {study} makes them")
    record = json.loads((folder / RUN_FILE).read_text())
    model, metadata = load_checkpoint(folder / WEIGHTS_FILE)
    draft = save_checkpoint(model, folder / target.name, metadata, half=True)
    if draft.stat().st_size > LIMIT_MB * 2**20:
        raise UserError(f"{draft.name}: {draft.stat().st_size / 2**20:.1f} MB is more than {LIMIT_MB}; choose a smaller network")
    found = evaluate(draft, record["experiment"]["dataset"], split="val")
    for name in ("accuracy", "qwk"):
        recorded = record["scores"]["val"][name]["value"]
        print(f"validation {name}: recorded {recorded:.4f}, shipped file {found[name]:.4f}")
        if abs(found[name] - recorded) > TOLERANCE:
            raise UserError(f"{draft.name}: validation {name} {found[name]:.4f} is not the recorded {recorded:.4f}; it is not shipped")
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    draft.replace(target)
    print(f"{target.name}: {target.stat().st_size / 2**20:.1f} MB")


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("study")
    words.add_argument("run")
    chosen = words.parse_args()
    try:
        ship(chosen.study, chosen.run)
    except UserError as error:
        sys.exit(f"ship_grader: {error}")
