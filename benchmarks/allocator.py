"""Films a second, in training and in prediction, with and without `koalib.machine.keep_memory`, each in a process of its own, by turns.

    python -m benchmarks.allocator [--threads 1] [--rounds 3]

Prints films a second and the ratio for two film sizes, and the peak memory of each. Batches are those of `fit` and `predict`.
"""

import argparse
import inspect
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.memory import peak_mebibytes
from koalib.machine import keep_memory, processor
from koalib.model.weights import create
from koalib.study.experiment import Experiment
from koalib.study.predict import model_input, predict

MODEL, SIZES, SECONDS = "tf_efficientnet_lite0", (160, 224), 8.0
BATCH = {"train": Experiment.batch, "predict": inspect.signature(predict).parameters["batch"].default}


def batches(task: str, size: int) -> Callable[[], None]:
    """A function that does one batch of plain fp32 training or prediction."""
    model = create(MODEL).to(memory_format=torch.channels_last).train(task == "train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    films = model_input(torch.randint(0, 255, (BATCH[task], size, size), dtype=torch.uint8))

    def train() -> None:
        loss = model(films).logsumexp(1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def grade() -> None:
        model(films)

    return train if task == "train" else grade


def measure(task: str, keep: bool, size: int, threads: int) -> dict:
    """Films a second and peak memory (MB)."""
    torch.set_num_threads(threads)
    if keep:
        keep_memory()
    one, done = batches(task, size), 0
    for _ in range(2):  # to warm up
        one()
    started = time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        one()
        done += BATCH[task]
    return {"films_per_second": done / (time.perf_counter() - started), "peak_mb": peak_mebibytes()}


def main() -> None:
    """Measure by turns and print the medians."""
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--one", nargs=3, metavar=("TASK", "KEEP", "SIZE"), help=argparse.SUPPRESS)
    chosen = words.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.one[0], chosen.one[1] == "1", int(chosen.one[2]), chosen.threads)))
        return
    print(f"{processor()}, {chosen.threads} threads, {MODEL}, fp32")
    for task, size in itertools.product(BATCH, SIZES):
        found: dict[int, list[dict]] = {0: [], 1: []}
        for _, keep in itertools.product(range(chosen.rounds), found):
            command = [sys.executable, "-m", "benchmarks.allocator", "--threads", str(chosen.threads), "--one", task, str(keep), str(size)]
            found[keep].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        default, kept = (median(row["films_per_second"] for row in found[keep]) for keep in (0, 1))
        peaks = [max(row["peak_mb"] for row in found[keep]) for keep in (0, 1)]
        print(f"{task}, {size} px: {default:.1f} films/s by default, {kept:.1f} kept, {kept / default:.2f} x; peak {peaks[0]:.0f} and {peaks[1]:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
