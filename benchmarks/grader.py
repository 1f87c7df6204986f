"""How long one film takes, and loading: ``python -m benchmarks.grader``. Writes ``data/results/grader.json``.

The grader as shipped, its forward pass alone in fp32 and in bf16, and ONNX Runtime where it is installed, one after the
other in each round, medians over the rounds. Also the memory of a long batch.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch

from koalib.clinic.grader import Grader
from koalib.clinic.heatmap import grade_and_look
from koalib.clinic.session import samples
from koalib.study.ledger import record_measurement
from koalib.study.predict import model_input

ROUNDS, BATCH = 15, 1000


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def rivals(grader: Grader, film: bytes) -> dict[str, Callable[[], object]]:
    """What is timed: the whole reading of a film, and the network with its heat map in several ways."""
    x = model_input(np.random.default_rng(0).integers(0, 256, (1, grader.size, grader.size)).astype(np.uint8))
    pair = torch.cat([x, x.flip(-1)])

    def bf16() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return grade_and_look(grader.model, pair)

    found = {"film, with heat map and mirror image": lambda: grader.grade(film), "network and heat map, fp32": lambda: grade_and_look(grader.model, pair), "network and heat map, bf16": bf16}
    try:
        import onnxruntime
    except ImportError:
        return found
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grader.onnx"
        torch.onnx.export(grader.model, (pair,), path, input_names=["film"], dynamo=True, verbose=False)
        runtime = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return found | {"network without heat map, ONNX Runtime": lambda: runtime.run(None, {"film": pair.numpy()})}


def batch_memory(grader: Grader, film: bytes) -> dict[str, float]:
    """Resident memory after 50 films and after a thousand, MiB."""
    process, seen = psutil.Process(), {}
    for number, _ in enumerate(grader.grade_many(film for _ in range(BATCH)), 1):
        if number in (50, BATCH):
            seen[f"after_{number}_mib"] = process.memory_info().rss / 2**20
    return seen


def main() -> None:
    """Measure and record."""
    loading = [seconds(Grader.load) for _ in range(5)]
    grader, film = Grader.load(), samples()[2].content
    found, times = rivals(grader, film), {}
    for _ in range(ROUNDS):
        for name, work in found.items():
            times.setdefault(name, []).append(seconds(work))
    report = {"model": grader.name, "load_s": statistics.median(loading), "first_load_s": loading[0], "median_s": {name: statistics.median(t) for name, t in times.items()}, "memory": batch_memory(grader, film)}
    record_measurement("grader", report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
