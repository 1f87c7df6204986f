"""Time and memory of our networks beside their rivals -> data/results/speed.json.

    python -m benchmarks.speed [--models tiny atto lite0] [--types fp32 bf16] [--rounds 7] [--batch 16]

Rivals take turns in every round. Wall-clock and processor time are both recorded: on a machine shared with other work
the second says more. What is measured anew replaces what was recorded before, case by case; each case names its machine.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import timm
import torch
from torch import nn

import koalib.model  # noqa: F401 (registers ConvWGCNet)
from benchmarks.memory import peak_mebibytes
from benchmarks.reference import use_reference
from koalib.model.depthwise import use_fast_depthwise
from koalib.machine import processor
from koalib.study.ledger import read_measurement, record_measurement, stamp

SIZE, CLASSES = 224, 5


def _build(name: str, **options: object) -> nn.Module:
    return timm.create_model(name, num_classes=CLASSES, **options)


def rivals(model: str) -> dict[str, Callable[[], nn.Module]]:
    """Networks to compare, by name: as timm ships it, with our gradient, and for ConvNeXt with wavelets in both forms."""
    plain = f"convnext_{model}" if model in ("atto", "femto", "pico", "nano", "tiny") else f"tf_efficientnet_{model}"
    found = {"plain": lambda: _build(plain), "fast gradient": lambda: use_fast_depthwise(_build(plain))}
    if plain.startswith("convnext"):
        ours = f"convwgcnet_{model}"
        found["reference wavelets"] = lambda: use_reference(_build(ours, gct="none"))
        found["wavelets and gates"] = lambda: _build(ours)
    return found


def works(network: nn.Module, precision: str, batch: int) -> dict[str, Callable[[], None]]:
    """The two things that are timed: inference and a training step without the optimiser."""
    network = network.to(memory_format=torch.channels_last)
    films = torch.randn(batch, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    grades = torch.randint(CLASSES, (batch,))
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")

    def forward() -> None:
        with torch.inference_mode(), autocast:
            network.eval()(films)

    def step() -> None:
        network.train().zero_grad()
        with autocast:
            loss = nn.functional.cross_entropy(network(films), grades)
        loss.backward()

    return {"forward": forward, "step": step}


def race(model: str, precision: str, batch: int, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """{rival: {work: {wall and processor seconds, median and least}}}, rivals taking turns."""
    entries = {name: works(build(), precision, batch) for name, build in rivals(model).items()}
    found = {}
    for work in ("forward", "step"):
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in entries}
        for round_ in range(rounds + 1):
            for name, entry in entries.items():
                wall, processor = time.perf_counter(), time.process_time()
                entry[work]()
                if round_:  # the first round warms up
                    seconds[name].append((time.perf_counter() - wall, time.process_time() - processor))
        for name, pairs in seconds.items():
            walls, processors = zip(*pairs)
            found.setdefault(name, {})[work] = {
                "wall": round(statistics.median(walls), 4), "least_wall": round(min(walls), 4),
                "processor": round(statistics.median(processors), 4), "least_processor": round(min(processors), 4)}  # fmt: skip
    return found


def growth(model: str, rival: str, precision: str, batch: int) -> float:
    """What two training steps add to the process's peak memory, in MiB; meant for a fresh process."""
    network = rivals(model)[rival]()
    works(network, precision, 1)["step"]()
    before = peak_mebibytes()
    step = works(network, precision, batch)["step"]
    for _ in range(2):
        step()
    return round(peak_mebibytes() - before, 1)


def _peak_in_fresh_process(*case: object) -> float:
    command = [sys.executable, "-m", "benchmarks.speed", "--peak", *map(str, case)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def ratios(case: dict[str, dict]) -> dict[str, dict[str, float]]:
    """Every rival's time and memory over the plain network's."""
    plain = case["plain"]
    return {name: {work: round(entry[work]["processor"] / plain[work]["processor"], 3) for work in ("forward", "step")}
            | {f"{work}_wall": round(entry[work]["wall"] / plain[work]["wall"], 3) for work in ("forward", "step")}
            | {"peak": round(entry["step_peak_mib"] / plain["step_peak_mib"], 3)} for name, entry in case.items()}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["tiny", "atto", "lite0"])
    parser.add_argument("--types", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--peak", nargs=4, metavar=("MODEL", "RIVAL", "TYPE", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(growth(*options.peak[:3], int(options.peak[3])))
        return
    record = (read_measurement("speed") or {}).get("cases", {})
    for model in options.models:
        for precision in options.types:
            case = race(model, precision, options.batch, options.rounds)
            for name, entry in case.items():
                entry["step_peak_mib"] = _peak_in_fresh_process(model, name, precision, options.batch)
            record[f"{model} {precision}"] = stamp() | {"batch": options.batch, "rounds": options.rounds, "rivals": case,
                                                        "over_plain": ratios(case)}  # fmt: skip
            record_measurement("speed", {"size": SIZE, "cases": record})
            for name, ratio in record[f"{model} {precision}"]["over_plain"].items():
                print(f"{model:6s} {precision} {name:20s} {case[name]['step']['wall']:6.2f} s a step, over plain: {ratio}, {processor()}", flush=True)


if __name__ == "__main__":
    main()
