"""C7 and C8: run the saved models of the study ``mechanism`` on phantoms they have never seen; write data/results/mechanism.json."""

from __future__ import annotations

import numpy as np

from koalib.data.phantom import make_phantoms
from koalib.errors import UserError
from koalib.model.weights import load_checkpoint
from koalib.study import ledger, mechanism
from koalib.study.comparisons import arm_runs
from koalib.study.localisation import lesion
from koalib.study.outcome import WEIGHTS_FILE
from koalib.study.robustness import STRENGTHS
from koalib.study.runner import work_folder

ARMS = ("neither", "gct", "wavelet", "both")
PATIENTS, SIZE, SEED = 400, 160, 20_000  #: of phantoms that no run has seen: their seed is another


def saved_models() -> mechanism.Models:
    """The four arms' models by seed, of the seeds that all arms have."""
    runs = {arm: arm_runs("mechanism").get(f"convwgcnet_atto/{arm}", {}) for arm in ARMS}
    seeds = sorted(set.intersection(*(set(found) for found in runs.values())))
    if not seeds:
        raise UserError("mechanism: no seed has all four arms yet; koalib study run mechanism")
    return {arm: [load_checkpoint(work_folder("mechanism", runs[arm][seed]) / WEIGHTS_FILE)[0] for seed in seeds] for arm in ARMS}


def main() -> None:
    """Measure and record."""
    models = saved_models()
    phantoms = make_phantoms(PATIENTS, size=SIZE, seed=SEED)
    table, inverted = phantoms.table, phantoms.table.inverted.to_numpy(bool)
    films = np.where(inverted[:, None, None], 255 - phantoms.pixels, phantoms.pixels)
    grade, patients = table.grade.to_numpy(), table.patient.to_numpy()
    found = {kind: mechanism.under(models, kind, films, grade, patients) for kind in STRENGTHS}
    found["localisation"] = mechanism.looking(models, films, lesion(phantoms.masks), patients)
    for name, row in found.items():
        print(f"{name}: {row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}), {row['seeds']} seeds")
    ledger.record_measurement("mechanism", {"films": len(films), "size": SIZE, **found})


if __name__ == "__main__":
    main()
