"""Training speed against the loop that tutorials teach and against fastai, in one run.

    python -m benchmarks.trainer [--films 640] [--rounds 7] [--data DIR]

Same backbone (tf_efficientnet_lite0 from ImageNet), same film size, the same augmentations in kind. The rivals take
turns; the figure is the median of films a second. Writes data/results/trainer.json. fastai is measured where it is
installed, and said to be absent where it is not.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from koalib.data.datasets import load
from koalib.machine import precision, processor
from koalib.model.weights import create
from koalib.study import ledger
from koalib.study.experiment import Experiment
from koalib.study.training import Films, fit

MODEL, SIZE, BATCH = "tf_efficientnet_lite0", 224, 32


def write_tree(folder: Path, pixels: np.ndarray, grade: np.ndarray) -> None:
    """The films as a folder by grade, as ImageFolder and fastai want them."""
    for part, every in (("train", slice(None)), ("valid", slice(None, None, 20))):
        for row in range(len(grade))[every]:
            file = folder / part / str(grade[row]) / f"{row}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[row]).save(file)


def tutorial_loop(folder: Path) -> Callable[[], None]:
    """One epoch as tutorials teach it: ImageFolder, transforms film by film, two workers, fp32, NCHW."""
    change = T.Compose([T.Grayscale(3), T.Resize((SIZE, SIZE)), T.RandomHorizontalFlip(), T.RandomAffine(10, (0.05, 0.05), (0.9, 1.1)),
                        T.ColorJitter(brightness=0.2, contrast=0.25), T.ToTensor(), T.Normalize([0.5] * 3, [0.5] * 3)])
    batches = DataLoader(ImageFolder(folder / "train", change), BATCH, shuffle=True, num_workers=2, drop_last=True)
    model = create(MODEL, "imagenet", in_chans=3, fast=False).train()
    optimizer, loss_of = torch.optim.AdamW(model.parameters(), lr=6e-4), torch.nn.CrossEntropyLoss()

    def epoch() -> None:
        for x, grade in batches:
            optimizer.zero_grad()
            loss_of(model(x), grade).backward()
            optimizer.step()

    return epoch


def fastai_epoch(folder: Path) -> Callable[[], None]:
    """One epoch of fastai's own training, all layers free."""
    from fastai.vision.all import ImageDataLoaders, Resize, aug_transforms, vision_learner

    loaders = ImageDataLoaders.from_folder(folder, item_tfms=Resize(SIZE), batch_tfms=aug_transforms(max_rotate=10, max_lighting=0.2), bs=BATCH, num_workers=2)
    learner = vision_learner(loaders, MODEL, pretrained=False)
    learner.unfreeze()

    def epoch() -> None:
        with learner.no_bar(), learner.no_logging():
            learner.fit(1, 6e-4)

    return epoch


def our_epoch(pixels: np.ndarray, grade: np.ndarray) -> Callable[[], None]:
    """One epoch of this project's trainer; its checkpoint and validation included."""
    experiment = Experiment("chen2018", MODEL, "imagenet", size=SIZE, batch=BATCH, epochs=1)
    rows = np.arange(len(grade))
    films = Films(pixels, grade, rows.astype(str), rows, rows[::20])
    model = create(MODEL, "imagenet")

    def epoch() -> None:
        with tempfile.TemporaryDirectory() as out:
            fit(experiment, model, films, Path(out))

    return epoch


def main() -> None:
    """Measure, print, record."""
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--films", type=int, default=640)
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--data", default=None)
    options = words.parse_args()
    knees = load("chen2018", data=options.data).select("train")
    chosen = np.sort(np.random.default_rng(0).permutation(len(knees))[: options.films])
    pixels, grade = np.ascontiguousarray(knees.pixels(SIZE)[chosen]), knees.table.grade.to_numpy()[chosen]
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder), pixels, grade)
        rivals = {"koalib": our_epoch(pixels, grade), "tutorial loop": tutorial_loop(Path(folder))}
        try:
            rivals["fastai"] = fastai_epoch(Path(folder))
        except ImportError as error:
            print(f"fastai: not measured, it is not installed ({error})")
        seconds: dict[str, list[float]] = {name: [] for name in rivals}
        for turn in range(options.rounds + 1):
            for name, epoch in rivals.items():
                started = time.perf_counter()
                epoch()
                if turn:  # the first is a warm-up
                    seconds[name].append(time.perf_counter() - started)
            print(f"round {turn} of {options.rounds}: " + ", ".join(f"{n} {options.films / s[-1]:.1f} films/s" for n, s in seconds.items() if s))
    rate = {name: options.films / statistics.median(s) for name, s in seconds.items()}
    print(f"{processor()}, {precision()}, {torch.get_num_threads()} threads")
    for name, films in rate.items():
        print(f"{name:14s} {films:6.1f} films/s, koalib is {rate['koalib'] / films:.2f} times as fast")
    ledger.record_measurement("trainer", {"model": MODEL, "size": SIZE, "batch": BATCH, "films": options.films, "precision": precision(), "films_per_second": rate, "seconds": seconds})


if __name__ == "__main__":
    main()
