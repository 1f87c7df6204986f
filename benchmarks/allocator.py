"""Training steps a second with and without `koalib.machine.keep_memory`, each in a process of its own, by turns.

    python -m benchmarks.allocator [--threads 1] [--rounds 3]

Prints films a second and the ratio for two film sizes, and the peak memory of each.
"""

import argparse
import json
import subprocess
import sys
import time
from statistics import median

import torch

from benchmarks.memory import peak_mebibytes
from koalib.machine import keep_memory, processor
from koalib.model.weights import create
from koalib.study.predict import model_input

MODEL, BATCH, SIZES, SECONDS = "tf_efficientnet_lite0", 32, (160, 224), 8.0


def measure(keep: bool, size: int, threads: int) -> dict:
    """Films a second and peak memory (MB) of plain fp32 steps."""
    torch.set_num_threads(threads)
    if keep:
        keep_memory()
    model = create(MODEL).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    films = model_input(torch.randint(0, 255, (BATCH, size, size), dtype=torch.uint8))
    steps, started = -2, 0.0
    while steps < 1 or time.perf_counter() - started < SECONDS:
        loss = model(films).logsumexp(1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        steps += 1
        if steps == 0:  # the first two warm up
            started = time.perf_counter()
    return {"films_per_second": steps * BATCH / (time.perf_counter() - started), "peak_mb": peak_mebibytes()}


def main() -> None:
    """Measure by turns and print the medians."""
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--one", nargs=2, type=int, metavar=("KEEP", "SIZE"), help=argparse.SUPPRESS)
    chosen = words.parse_args()
    if chosen.one:
        print(json.dumps(measure(bool(chosen.one[0]), chosen.one[1], chosen.threads)))
        return
    print(f"{processor()}, {chosen.threads} threads, {MODEL}, batch {BATCH}, fp32")
    for size in SIZES:
        found: dict[int, list[dict]] = {0: [], 1: []}
        for _ in range(chosen.rounds):
            for keep in found:
                command = [sys.executable, "-m", "benchmarks.allocator", "--threads", str(chosen.threads), "--one", str(keep), str(size)]
                found[keep].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        default, kept = (median(row["films_per_second"] for row in found[keep]) for keep in (0, 1))
        peaks = [max(row["peak_mb"] for row in found[keep]) for keep in (0, 1)]
        print(f"{size} px: {default:.1f} films/s by default, {kept:.1f} kept, {kept / default:.2f} x; peak {peaks[0]:.0f} and {peaks[1]:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
