"""Three ways to fine-tune one network on one set of films: this project's trainer, the loop of the tutorials, fastai.

Each is a function of a `Task` and of ``after_step``, which it calls after every step with a function that gives the
probabilities of the validation films (N, 5), as the network then stands. They differ in what they are meant to differ
in, and share the ImageNet weights, the film size, the batch and the kinds of augmentation (mirror, turn, zoom, shift,
brightness, contrast; ours adds noise).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from koalib.model import sources
from koalib.model.weights import create
from koalib.study.experiment import Experiment
from koalib.study.predict import predict
from koalib.study.training import Films, fit

MODEL = "tf_efficientnet_lite0"
LEARNING_RATE = 6e-4  # of the two that use AdamW; fastai keeps its own default
GREY = ([0.5] * 3, [0.5] * 3)  # mean and spread that the network's ImageNet weights were made for

Probabilities = Callable[[], np.ndarray]
AfterStep = Callable[[Probabilities], None]


@dataclass(frozen=True)
class Task:
    """What all of them are given: the same pixels as one array and as a folder by grade, and the plan."""

    pixels: np.ndarray  #: uint8 (N, size, size), training films first
    grade: np.ndarray
    train: int  #: films that train; the others validate
    folder: Path
    size: int
    batch: int
    epochs: int
    seed: int


    def write_folder(self) -> None:
        """``train`` and ``valid`` by grade, as ImageFolder and fastai want them; one batch for fastai's own validation."""
        for row, (film, grade) in enumerate(zip(self.pixels[: self.train + self.batch], self.grade, strict=False)):
            file = self.folder / ("train" if row < self.train else "valid") / str(grade) / f"{row:05d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(film).save(file)


def koalib(task: Task, after_step: AfterStep) -> None:
    """This project's trainer as `koalib train` runs it; the moving average is what is validated."""
    rows = np.arange(len(task.grade))
    # ``after_step`` validates; the trainer's own look at the end of an epoch is kept to one batch of films
    films = Films(task.pixels, task.grade, rows.astype(str), rows[: task.train], rows[task.train :][: task.batch])
    experiment = Experiment("chen2018", MODEL, "imagenet", size=task.size, batch=task.batch, epochs=task.epochs, seed=task.seed, lr=LEARNING_RATE,
                            ema=0.99)  # for fewer than 1,000 steps, see docs/training.md
    torch.manual_seed(task.seed)
    model = create(MODEL, "imagenet")
    with tempfile.TemporaryDirectory() as out:
        fit(experiment, model, films, Path(out), bars=False,
            after_step=lambda average, mode: after_step(lambda: predict(average, task.pixels[task.train :], flip=False, precision=mode)))


def tutorial(task: Task, after_step: AfterStep) -> None:
    """ImageFolder, transforms film by film, a DataLoader with two workers, cross-entropy, AdamW, fp32, NCHW."""
    change = T.Compose([T.Resize((task.size, task.size)), T.RandomHorizontalFlip(), T.RandomAffine(10, (0.05, 0.05), (0.9, 1.1)),
                        T.ColorJitter(brightness=0.2, contrast=0.25), T.ToTensor(), T.Normalize(*GREY)])
    torch.manual_seed(task.seed)
    batches = DataLoader(ImageFolder(task.folder / "train", change), task.batch, shuffle=True, num_workers=2, drop_last=True)
    model = create(MODEL, "imagenet", in_chans=3, fast=False)
    optimizer, loss_of = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE), nn.CrossEntropyLoss()
    model.train()
    for _ in range(task.epochs):
        for x, grade in batches:
            optimizer.zero_grad()
            loss_of(model(x), grade).backward()
            optimizer.step()
            after_step(lambda: rgb_probabilities(model, task))


def fastai(task: Task, after_step: AfterStep) -> None:
    """``vision_learner(...).fine_tune(epochs)``: one epoch of the head alone, then all layers in one cycle."""
    from fastai.vision.all import Callback, ImageDataLoaders, Resize, aug_transforms, set_seed, vision_learner

    class Watch(Callback):
        def after_batch(self) -> None:
            if self.training:
                after_step(lambda: rgb_probabilities(self.learn.model, task))

    set_seed(task.seed)
    loaders = ImageDataLoaders.from_folder(task.folder, item_tfms=Resize(task.size), bs=task.batch, num_workers=2, seed=task.seed,
                                           batch_tfms=aug_transforms(max_rotate=10, max_zoom=1.1, max_warp=0, max_lighting=0.2))
    overlay = sources.find(sources.tagged(MODEL)).overlay()
    learner = vision_learner(loaders, MODEL, pretrained_cfg_overlay=overlay, cbs=Watch())
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(task.epochs)


@torch.inference_mode()
def rgb_probabilities(model: nn.Module, task: Task) -> np.ndarray:
    """Probabilities (N, 5) of the validation films from a network that takes three normalised channels."""
    prepare = T.Compose([T.ToPILImage(), T.Grayscale(3), T.Resize((task.size, task.size)), T.ToTensor(), T.Normalize(*GREY)])
    was_training = model.training
    model.eval()
    rows: list[Tensor] = []
    for batch in np.array_split(task.pixels[task.train :], max(1, (len(task.pixels) - task.train) // 64)):
        rows.append(torch.softmax(model(torch.stack([prepare(film) for film in batch])).float(), dim=1))
    model.train(was_training)
    return torch.cat(rows).double().numpy()


RIVALS: dict[str, Callable[[Task, AfterStep], None]] = {"koalib": koalib, "tutorial": tutorial, "fastai": fastai}
