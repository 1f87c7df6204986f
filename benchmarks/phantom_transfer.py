"""Does a model of one world grade the other? Real films <-> phantom -> data/results/phantom_transfer.json.

    python -m benchmarks.phantom_transfer [--patients 500] [--data DIR]

Two short runs of the same size, one on training films of chen2018, one on phantoms; each grades the other's validation
films and its own. QWK by argmax with a 95 % interval from resampled patients; chance is 0.
"""

from __future__ import annotations

import argparse

from benchmarks.small_runs import EPOCHS, MODEL, SIZE, settings, short_run, some_patients
from koalib.data.datasets import load
from koalib.study.ledger import record_measurement
from koalib.study.metrics import bootstrap, scores
from koalib.study.predict import predict

RESAMPLES = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=500)
    parser.add_argument("--data", default=None)
    options = parser.parse_args()
    worlds = {"chen2018": load("chen2018", data=options.data), "phantom": load("phantom", n=1_000)}
    result = {}
    for source, dataset in worlds.items():
        train = some_patients(dataset, "train", options.patients)
        model = short_run(dataset, settings(source, "standard", 0), train, some_patients(dataset, "val", 50))
        for target, other in worlds.items():
            val = some_patients(other, "val", None)
            grade, p = other.table["grade"].to_numpy()[val], predict(model, other.pixels(SIZE)[val], flip=False)
            low, high = bootstrap(grade, p, other.table["group"].to_numpy()[val], RESAMPLES)["qwk"]
            result[f"{source} -> {target}"] = {"qwk": round(scores(grade, p)["qwk"], 4), "low": round(low, 4), "high": round(high, 4), "films": len(val), "trained_on": len(train)}
            print(f"{source} -> {target}: {result[f'{source} -> {target}']}", flush=True)
    record_measurement("phantom_transfer", {"setting": {"model": MODEL, "size": SIZE, "epochs": EPOCHS}, "qwk": result})


if __name__ == "__main__":
    main()
