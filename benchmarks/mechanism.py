"""C7 and C8 on phantoms that no run has seen: ``python -m benchmarks.mechanism [--patients 200]``. Writes data/results/mechanism.json.

Takes the saved models of the study ``mechanism`` (``koalib study run mechanism``). Each answer is recorded as it comes; a later call, of the same commit, asks what is left.
"""

from __future__ import annotations

import argparse
import sys
import time

from koalib.machine import commit
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
    models, fresh = mechanism.saved_models(runs), mechanism.phantoms_at(chosen.patients, chosen.size, SEED)
    asked = {"runs": runs, "films": len(fresh.films), "size": chosen.size, "resamples": chosen.resamples, "commit": commit()}
    before, started = mechanism.measurement(), time.monotonic()
    found = before if asked.items() <= before.items() else asked
    for name, question in mechanism.questions(models, fresh, chosen.resamples).items():
        if name not in found:
            found = found | {name: question()}
            record_measurement("mechanism", found)
            print(f"{name}: measured, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    rows = {kind: found[kind] for kind in (*STRENGTHS, "localisation")} | {f"response, {band}": found["bands"][band] for band in PARTS}
    for name, row in rows.items():
        print(f"{name}: {row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}), {row['seeds']} seeds")


if __name__ == "__main__":
    main()
