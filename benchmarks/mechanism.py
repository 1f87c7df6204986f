"""C7 and C8 on phantoms that no run has seen: ``python -m benchmarks.mechanism [--patients 200]``. Writes data/results/mechanism.json.

Takes the saved models of the study ``mechanism`` (``koalib study run mechanism``).
"""

from __future__ import annotations

import argparse
import sys
import time

from koalib.study import mechanism
from koalib.study.bands import PARTS
from koalib.study.ledger import record_measurement
from koalib.study.robustness import STRENGTHS

SEED = 20_000  #: of the phantoms; the study's own have seed 0


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and record."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--patients", type=int, default=200)
    words.add_argument("--size", type=int, default=160)
    words.add_argument("--resamples", type=int, default=10_000)
    chosen = words.parse_args(arguments)
    runs = mechanism.saved_runs()
    started = time.monotonic()

    def report(question: str) -> None:
        print(f"{question}: measured, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    found = {"runs": runs} | mechanism.measure(mechanism.saved_models(runs), chosen.patients, chosen.size, SEED, chosen.resamples, report)
    rows = {kind: found[kind] for kind in (*STRENGTHS, "localisation")} | {f"response, {band}": found["bands"][band] for band in PARTS}
    for name, row in rows.items():
        print(f"{name}: {row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}), {row['seeds']} seeds")
    record_measurement("mechanism", found)


if __name__ == "__main__":
    main()
