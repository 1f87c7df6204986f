"""The phantom's speed, and its curves beside those of real training films -> data/results/phantom.json.

    python -m benchmarks.phantom [--patients 150] [--films 1500] [--rounds 3] [--data DIR]

Only training films of chen2018 are read, and only curves of them are kept. Processor seconds are recorded beside the
wall clock, because a machine shared with other work shows less of its speed on the wall; `load` says how busy it was.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import time

import numpy as np

from koalib.data.compare import curves
from koalib.data.datasets import load
from koalib.data.phantom import make_phantoms
from koalib.data.phantom_films import upright
from koalib.study.ledger import record_measurement

HASH = "import hashlib; from koalib.data.phantom import make_phantoms; print(hashlib.sha256(make_phantoms(20).pixels.tobytes()).hexdigest())"


def speed(patients: int, rounds: int) -> dict:
    """Films a second, with texture tiles and kernels already there."""
    make_phantoms(1)
    wall, processor = [], []
    for seed in range(rounds):
        at, cpu = time.perf_counter(), time.process_time()
        make_phantoms(patients, seed=seed)
        wall.append(time.perf_counter() - at)
        processor.append(time.process_time() - cpu)
    films = 2 * patients
    return {"load": os.getloadavg()[0], "films_per_second": round(films / statistics.median(wall), 1), "processor_ms_per_film": round(1e3 * statistics.median(processor) / films, 2), "films": films}


def same_in_another_process() -> bool:
    """Whether a fresh process makes the same pixels."""
    other = subprocess.run([sys.executable, "-c", HASH], capture_output=True, text=True, check=True).stdout.split()[-1]
    return other == hashlib.sha256(make_phantoms(20).pixels.tobytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=150)
    parser.add_argument("--films", type=int, default=1_500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", default=None)
    options = parser.parse_args()
    measured = {"speed": speed(options.patients, options.rounds), "same_in_another_process": same_in_another_process()}
    real = load("chen2018", data=options.data).select("train")
    rows = np.sort(np.random.default_rng(0).choice(len(real), min(options.films, len(real)), replace=False))
    phantoms = make_phantoms(options.films // 2, seed=1)
    measured["curves"] = {"chen2018 train": curves(real.pixels(224)[rows], real.table.iloc[rows]), "phantom": curves(upright(phantoms), phantoms.table)}
    record_measurement("phantom", measured)
    print(measured["speed"], "| same in another process:", measured["same_in_another_process"])


if __name__ == "__main__":
    main()
