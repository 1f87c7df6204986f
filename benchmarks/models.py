"""Table of every network of the study: parameters, multiply-adds, milliseconds and memory -> data/results/models.json.

    python -m benchmarks.models [--size 224] [--batch 16] [--rounds 3] [--only PART_OF_A_NAME]

Times are medians over rounds in which all networks take turns, in another order each time, so that a slower minute of the
machine hits all of them and none always comes after the same one.
Memory is how far a fresh process grows over one training step: weights, gradients, optimiser state, activations, scratch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Callable

import psutil
import torch
from torch import nn

from benchmarks.memory import peak_mebibytes
from koalib.machine import precision
from koalib.model.cost import multiply_adds, parameters
from koalib.model.weights import create, resolve
from koalib.study.experiments import STUDIES
from koalib.study.ledger import record_measurement

Network = tuple[str, str, str]  # timm's name of the backbone, gct, wavelet
CALLS = 2  #: timed together in each round


def networks() -> list[Network]:
    """All networks that the studies train, and each size of ConvNeXt beside its ConvWGCNet."""
    named = [(f"{family}_{size}", {}) for family in ("convnext", "convwgcnet") for size in ("atto", "femto", "pico", "nano", "tiny")]
    named += [(e.model, e.model_options) for study in STUDIES.values() for _, e in study.runs(lambda _: None)]
    resolved = (resolve(name, options) for name, options in named)
    return sorted({(backbone.partition(".")[0], modules["gct"], modules["wavelet"]) for backbone, modules in resolved})


def build(network: Network) -> nn.Module:
    """The network as the trainer runs it, channels last."""
    name, gct, wavelet = network
    torch.manual_seed(0)
    return create(name, gct=gct, wavelet=wavelet).to(memory_format=torch.channels_last)


def in_turn(chosen: list[Network], number: int) -> list[Network]:
    """The order of round ``number``: a permutation of its own."""
    return random.Random(number).sample(chosen, len(chosen))


def label(network: Network) -> str:
    """``convwgcnet_tiny``, ``tf_efficientnet_lite0 dwconv+add`` or a plain timm name."""
    name, gct, wavelet = network
    if (gct, wavelet) == ("none", "none"):
        return name
    if name.startswith("convnext_") and (gct, wavelet) == ("dwconv", "add"):
        return name.replace("convnext", "convwgcnet")
    return f"{name} {gct}+{wavelet}"


def some_films(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, 1, size, size).contiguous(memory_format=torch.channels_last)


def training_step(model: nn.Module, films: torch.Tensor, kind: str) -> Callable[[], None]:
    """One step of AdamW on random grades in the machine's precision."""
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4)
    grades = torch.arange(len(films)) % 5

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bf16"):
            loss = nn.functional.cross_entropy(model(films).float(), grades)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return step


def milliseconds(work: Callable[[], object], films: int) -> float:
    """Time of a call for each film, the mean of `CALLS` after one that warms up."""
    work()
    began = time.perf_counter()
    for _ in range(CALLS):
        work()
    return 1000 * (time.perf_counter() - began) / (CALLS * films)


def turn(network: Network, films: torch.Tensor, kind: str) -> tuple[float, float]:
    """Milliseconds a film of inference in fp32 and of a training step."""
    model = build(network).eval()
    with torch.inference_mode():
        inference = milliseconds(lambda: model(films), len(films))
    return inference, milliseconds(training_step(model.train(), films, kind), len(films))


def _grow(network: Network, batch: int, size: int, kind: str, threads: int, answer: multiprocessing.Queue) -> None:
    torch.set_num_threads(threads)
    training_step(build(("test_convnext", "none", "none")), some_films(2, 64), kind)()  # libraries load before the count starts
    before = psutil.Process().memory_info().rss / 2**20
    training_step(build(network).train(), some_films(batch, size), kind)()
    answer.put(peak_mebibytes() - before)


def memory(network: Network, *arguments) -> float:
    """Growth of a fresh process over one training step, MiB."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_grow, args=(network, *arguments, answer))
    process.start()
    grown = answer.get()
    process.join()
    return grown


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    ask.add_argument("--size", type=int, default=224)
    ask.add_argument("--batch", type=int, default=16)
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--only", default="", help="part of the networks' names; nothing is recorded then")
    asked = ask.parse_args()
    chosen = [network for network in networks() if asked.only in label(network)]
    kind, threads, load = precision(), torch.get_num_threads(), os.getloadavg()[0]
    films = some_films(asked.batch, asked.size)
    times: dict[Network, list[tuple[float, float]]] = {network: [] for network in chosen}
    for number in range(asked.rounds):
        for network in in_turn(chosen, number):
            times[network].append(turn(network, films, kind))
            print(f"round {number + 1}/{asked.rounds}  {label(network):45s} inference {times[network][-1][0]:7.1f}  training {times[network][-1][1]:7.1f} ms a film", flush=True)
    rows = []
    for network in chosen:
        inference, training = (statistics.median(column) for column in zip(*times[network]))
        model = build(network)
        rows.append({"name": label(network), "parameters": parameters(model), "multiply_adds": multiply_adds(model, asked.size),
                     "inference_ms": round(inference, 2), "training_ms": round(training, 2),
                     "training_mib": round(memory(network, asked.batch, asked.size, kind, threads))})
        print(rows[-1], flush=True)
    if not asked.only:
        record_measurement("models", {"size": asked.size, "batch": asked.batch, "rounds": asked.rounds, "inference_precision": "fp32", "training_precision": kind, "load_before": round(load, 2), "models": rows})


if __name__ == "__main__":
    main()
