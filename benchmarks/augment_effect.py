"""What each change of the training films does to validation QWK, chen2018 -> data/results/augmentation.json.

    python -m benchmarks.augment_effect [--seeds 1] [--patients 500] [--data DIR] [--only RECIPE]

One short run a recipe and seed; all else is equal, down to the order of the films. What the file holds already is
skipped, so the command goes on where it was stopped. Differences are to ``none``, paired by film, with a 95 % interval
from resampled patients; with one seed the interval does not hold the chance of training.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.small_runs import EPOCHS, MODEL, SIZE, settings, short_run, some_patients
from koalib.data.augment import HARMFUL, HARMLESS
from koalib.data.datasets import KneeDataset, load
from koalib.study.ledger import read_measurement, record_measurement
from koalib.study.metrics import group_codes, percentile_interval, resampling_weights, scores
from koalib.study.predict import predict

NAME = "augmentation"
RECIPES = ("none", *HARMLESS, "standard", *HARMFUL)
RESAMPLES = 2_000


def weighted_kappa(grade: np.ndarray, given: np.ndarray, weight: np.ndarray) -> float:
    """Quadratic weighted kappa of weighted films."""
    table = np.zeros((5, 5))
    np.add.at(table, (grade, given), weight)
    cost = (np.arange(5)[:, None] - np.arange(5)) ** 2
    return 1 - (cost * table).sum() / (cost * np.outer(table.sum(1), table.sum(0)) / table.sum()).sum()


def difference(grade: np.ndarray, given: np.ndarray, base: np.ndarray, groups: np.ndarray) -> list[float]:
    """QWK of ``given`` minus that of ``base``: value, low, high."""
    codes = group_codes(groups, len(grade))
    drawn = resampling_weights(int(codes.max()) + 1, RESAMPLES, 0)
    each = [weighted_kappa(grade, given, w[codes]) - weighted_kappa(grade, base, w[codes]) for w in drawn]
    whole = np.ones(len(grade))
    value = weighted_kappa(grade, given, whole) - weighted_kappa(grade, base, whole)
    return [round(float(v), 4) for v in (value, *percentile_interval(np.array(each)))]


def measure(dataset: KneeDataset, recipe: str, seed: int, train: np.ndarray, val: np.ndarray) -> dict:
    started = time.monotonic()
    experiment = settings(dataset.name, recipe, seed)
    p = predict(short_run(dataset, experiment, train, val), dataset.pixels(SIZE)[val], flip=False)
    got = scores(dataset.table["grade"].to_numpy()[val], p)
    return {"qwk": round(got["qwk"], 4), "accuracy": round(got["accuracy"], 4), "given": "".join(map(str, p.argmax(1))), "seconds": round(time.monotonic() - started)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--patients", type=int, default=500)
    parser.add_argument("--data", default=None)
    parser.add_argument("--only", choices=RECIPES)
    options = parser.parse_args()
    dataset = load("chen2018", data=options.data)
    train, val = some_patients(dataset, "train", options.patients), some_patients(dataset, "val", None)
    grade, groups = dataset.table["grade"].to_numpy()[val], dataset.table["group"].to_numpy()[val]
    setting = {"dataset": "chen2018", "model": MODEL, "size": SIZE, "epochs": EPOCHS, "films": len(train), "validation_films": len(val)}
    known = read_measurement(NAME) or {}
    runs = known.get("runs", {}) if known.get("setting") == setting else {}
    for seed in range(options.seeds):
        for recipe in [options.only] if options.only else RECIPES:
            if str(seed) in runs.get(recipe, {}):
                continue
            run = measure(dataset, recipe, seed, train, val)
            runs.setdefault(recipe, {})[str(seed)] = run
            if base := runs.get("none", {}).get(str(seed)):
                for other in (by_seed[str(seed)] for by_seed in runs.values() if "difference" not in by_seed.get(str(seed), {"difference": None})):
                    other["difference"] = difference(grade, *(np.array(list(r["given"]), int) for r in (other, base)), groups)
            record_measurement(NAME, {"setting": setting, "runs": runs})
            print(f"{recipe:14s} seed {seed}: QWK {run['qwk']:.3f}, {run.get('difference')}, {run['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
