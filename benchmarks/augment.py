"""Films a second of each augmentation recipe, beside torchvision's v2 transforms -> data/results/augmentation_speed.json.

    python -m benchmarks.augment [--films 64] [--size 224] [--rounds 7]

All take turns in every round; medians over rounds. Processor seconds are recorded beside the wall clock, because a
machine shared with other work shows less of its speed on the wall; `load` says how busy it was.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch
from torchvision.transforms import v2

from koalib.data.augment import RECIPES, standardise
from koalib.study.ledger import record_measurement

TORCHVISION = v2.Compose([
    v2.RandomHorizontalFlip(),
    v2.RandomAffine(10, translate=(0.05, 0.05), scale=(0.9, 1.1), interpolation=v2.InterpolationMode.BILINEAR),
    v2.ColorJitter(contrast=0.25),
    v2.GaussianNoise(sigma=0.05),
])  # fmt: skip


def rivals(x: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Our recipes on the batch, and torchvision's pipeline film by film, which gives each film its own parameters."""
    unit = (x - x.amin()) / (x.amax() - x.amin())
    ours = {name: lambda recipe=recipe: recipe(x, torch.Generator().manual_seed(0)) for name, recipe in RECIPES.items()}
    return ours | {"torchvision v2, film by film": lambda: torch.stack([TORCHVISION(film) for film in unit])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    bytes_ = torch.randint(0, 256, (options.films, options.size, options.size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    runs = rivals(standardise(bytes_)) | {"standardise": lambda: standardise(bytes_)}
    wall, processor = {name: [] for name in runs}, {name: [] for name in runs}
    for round_ in range(options.rounds + 1):
        for name, run in runs.items():
            at, cpu = time.perf_counter(), time.process_time()
            run()
            if round_:  # the first round warms up
                wall[name].append(time.perf_counter() - at)
                processor[name].append(time.process_time() - cpu)
    rates = {name: {"films_per_second": round(options.films / statistics.median(wall[name])),
                    "processor_ms_per_film": round(1e3 * statistics.median(processor[name]) / options.films, 3)} for name in runs}  # fmt: skip
    record_measurement("augmentation_speed", {"load": os.getloadavg()[0], "films": options.films, "size": options.size, "rates": rates})
    for name, rate in rates.items():
        print(f"{name:30s} {rate['films_per_second']:6d} films/s, {rate['processor_ms_per_film']:.2f} ms of processor a film")


if __name__ == "__main__":
    main()
