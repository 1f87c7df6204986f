"""How long a film and loading take, and what a long batch needs: ``python -m benchmarks.grader``. Writes ``data/results/grader.json``.

The reading as it is shipped, beside it the network alone: eager in fp32 and in bf16, and by ONNX Runtime where that is
installed; one after the other in each round, medians over the rounds. Then ``koalib grade``'s loop over a thousand
different phantoms in a process of its own, with the peak of its resident memory after 100 and after all of them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from benchmarks.memory import peak_mebibytes
from koalib.clinic.batch import grade_films
from koalib.clinic.grader import Grader
from koalib.clinic.heatmap import png
from koalib.clinic.session import samples
from koalib.data.phantom import make_phantoms
from koalib.study.explain import grade_and_look
from koalib.study.ledger import record_measurement
from koalib.study.predict import model_input

ROUNDS, FILMS = 25, 1000
FRESH = "import time; t = time.perf_counter(); from koalib.clinic.grader import Grader; u = time.perf_counter(); Grader.load(); print(u - t, time.perf_counter() - u)"


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def loading() -> dict[str, float]:
    """Seconds in a fresh process, medians of five: importing torch and the rest, then the model itself."""
    runs = [subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True).stdout.split() for _ in range(5)]
    imports, model = (statistics.median(map(float, times)) for times in zip(*runs, strict=True))
    return {"import_s": imports, "load_s": model}


def rivals(grader: Grader, film: bytes) -> dict[str, Callable[[], object]]:
    """What is timed: the whole reading of a film, and the network on film and mirror image in several ways."""
    x = model_input(np.random.default_rng(0).integers(0, 256, (1, grader.size, grader.size)).astype(np.uint8))
    pair = torch.cat([x, x.flip(-1)])

    def bf16() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return grade_and_look(grader.model, pair)

    def network() -> object:
        with torch.inference_mode():
            return grader.model(pair)

    found = {
        "film to reading with heat map": lambda: grader.grade(film),
        "network and heat map, eager fp32": lambda: grade_and_look(grader.model, pair),
        "network and heat map, eager bf16": bf16,
        "network without heat map, eager fp32": network,
    }
    return found | onnx(grader.model, pair)


def onnx(model: torch.nn.Module, pair: torch.Tensor) -> dict[str, Callable[[], object]]:
    """The network by ONNX Runtime, which gives no gradient and so no heat map; nothing where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grader.onnx"
        torch.onnx.export(model, (pair,), path, input_names=["film"], dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        runtime = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return {"network without heat map, ONNX Runtime fp32": lambda: runtime.run(None, {"film": pair.numpy()})}


def write_films(folder: Path) -> None:
    """A thousand different films as PNG files."""
    for number, film in enumerate(make_phantoms(FILMS // 2, size=224, seed=2).pixels):
        (folder / f"{number:04}.png").write_bytes(png(film))


def long_batch(folder: str) -> dict[str, float]:
    """Grade a folder as ``koalib grade`` does; peak memory in MiB after 100 films and at the end, seconds a film."""
    films, seen, started = sorted(Path(folder).glob("*.png")), {}, time.perf_counter()
    for number, _ in enumerate(grade_films(Grader.load(), films), 1):
        if number in (100, FILMS):
            seen[f"peak_after_{number}_mib"] = peak_mebibytes()
    return seen | {"films": len(films), "s_per_film": (time.perf_counter() - started) / len(films)}


def main() -> None:
    """Measure and record."""
    report: dict = loading()
    grader, times = Grader.load(), {}
    found = rivals(grader, samples()[2].content)
    for _ in range(ROUNDS):
        for name, work in found.items():
            times.setdefault(name, []).append(seconds(work))
    report |= {"model": grader.name, "rounds": ROUNDS, "median_s": {name: statistics.median(t) for name, t in times.items()}}
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        write_films(Path(folder))
        report["batch"] = pool.submit(long_batch, folder).result()
    record_measurement("grader", report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
