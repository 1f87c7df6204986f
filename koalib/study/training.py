"""One training loop for a laptop, a GPU, several GPUs or several hosts (Hugging Face Accelerate).

A step depends on nothing but the experiment, the epoch and the step's number: the order of the films, the augmentation
and the dropout are seeded from them anew each time. So a run that was killed goes on from its last state and ends with
the same weights, bit for bit, as one that never was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from koalib.data.augment import Augment
from koalib.errors import UserError
from koalib.machine import device as best_device
from koalib.machine import keep_memory, precision
from koalib.model.groups import parameter_groups
from koalib.study.bar import TrainingBar
from koalib.study.checkpoint import Progress, check_writable, load_state, save_state
from koalib.study.experiment import Experiment
from koalib.study.losses import batch_mass, distilled, make_loss
from koalib.study.metrics import scores
from koalib.study.predict import autocast, model_input, predict

CHECKPOINT_SECONDS = 60.0


class TrainingFailed(RuntimeError):
    """The training cannot go on, through no mistake of the command: the line says at which films."""


class OutOfTime(RuntimeError):
    """The time given is used up; the state is saved and the run goes on with ``resume``."""


@dataclass(frozen=True)
class Films:
    """What a run reads: films (N, S, S) uint8, their grades (N,), ids, the rows that train and select, and its teachers' probabilities (N, 5), if it has any."""

    pixels: np.ndarray
    grade: np.ndarray
    image_id: np.ndarray
    train: np.ndarray
    val: np.ndarray
    taught: np.ndarray | None = None


def fit(experiment: Experiment, model: nn.Module, films: Films, out: Path, *, mode: str | None = None, resume: bool = False, deadline: float | None = None,
        report: Callable[[dict], None] | None = None, after_step: Callable[[nn.Module, str], None] | None = None,
        bars: bool | None = None) -> tuple[nn.Module, Progress]:
    """Train ``model`` and return it with its selected weights, and the curve by epoch.

    Args:
        out: folder of the state that ``resume`` goes on from.
        mode: ``fp32`` or ``bf16``; None leaves it to the experiment and this machine.
        deadline: ``time.monotonic()`` after which the state is saved and ``OutOfTime`` raised.
        report: called with each epoch's row of the curve.
        after_step: called after each step with the averaged network and the precision it runs in.
        bars: a progress bar; None shows it on a terminal and in an open notebook.

    Raises:
        TrainingFailed: the loss is not a number, which names the films of that batch, or the answers on validation are none.
        UserError: fewer films than processes, a state of another experiment, a folder that cannot be
            written to, a full disk (the last state stays).
    """
    keep_memory()
    accelerator = Accelerator(cpu=best_device().type == "cpu", mixed_precision="no")  # ours is the one autocast, whatever the launcher is configured for
    mode = precision(mode or experiment.precision, accelerator.device)
    world, rank = accelerator.num_processes, accelerator.process_index
    batch = min(experiment.batch, len(films.train))
    if batch < world:
        raise UserError(f"{batch} training films a step are too few for {world} processes; start fewer processes")
    check_writable(out)
    steps = len(films.train) // batch
    grades = torch.as_tensor(films.grade.astype(np.int64))
    loss_of, mass_of = make_loss(experiment, grades[films.train]), batch_mass(experiment, grades[films.train])
    augment = Augment.named(experiment.augment)

    model = model.to(accelerator.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(parameter_groups(model, experiment.lr, experiment.weight_decay, experiment.layer_decay, experiment.new_module_lr), fused=True)
    peak_lr = [group["lr"] for group in optimizer.param_groups]
    average = AveragedModel(model, multi_avg_fn=_moving_average(experiment.ema), use_buffers=True)
    kept = {"model": model, "average": average}
    progress, best = (load_state(out, experiment, kept, optimizer) if resume else None) or (Progress(), {})
    parallel = accelerator.prepare(model) if world > 1 else model

    started = saved = time.monotonic()
    seconds_before = progress.seconds

    def save() -> None:
        progress.seconds = seconds_before + time.monotonic() - started
        if accelerator.is_main_process:
            save_state(out, experiment, progress, kept, optimizer, best)

    bar = TrainingBar(experiment, progress, steps, batch, bars if accelerator.is_main_process else False)
    while progress.epoch < experiment.epochs and not _patience_over(experiment, progress):
        parallel.train()
        order = film_order(experiment, films, progress.epoch)
        while progress.step < steps:
            rows = np.sort(order[progress.step * batch : (progress.step + 1) * batch])[rank::world]
            seed = _step_seed(experiment.seed, progress.epoch, progress.step, rank)
            torch.manual_seed(seed)  # dropout, stochastic depth
            x = model_input(films.pixels[rows], accelerator.device)
            x = augment(x, generator=torch.Generator(device=x.device).manual_seed(seed))
            for group, lr in zip(optimizer.param_groups, peak_lr, strict=True):
                group["lr"] = lr * lr_factor(experiment, progress.epoch * steps + progress.step, steps)
            with autocast(mode, accelerator.device):
                logits = parallel(x)
            grade = grades[rows].to(accelerator.device)
            loss = loss_of(logits.float(), grade)
            if films.taught is not None:
                loss = distilled(loss, logits.float(), torch.from_numpy(films.taught[rows]).to(loss), experiment.teacher_share)
            if world > 1:  # the mean over all processes' films, which the mean of their means is not
                loss = loss * mass_of(grade) / accelerator.reduce(mass_of(grade), "mean")
            if not math.isfinite(value := accelerator.reduce(loss.detach(), "mean").item()):
                raise TrainingFailed(f"loss is {value} in epoch {progress.epoch + 1} at films {', '.join(films.image_id[rows])}; try a smaller --lr")
            optimizer.zero_grad(set_to_none=True)
            accelerator.backward(loss)
            optimizer.step()
            average.update_parameters(model)
            progress.step += 1
            progress.loss_sum += value
            bar.step()
            if after_step:
                after_step(average.module, mode)
            if deadline is not None and time.monotonic() > deadline:
                save()
                raise OutOfTime(f"stopped in epoch {progress.epoch + 1} after {progress.step} of {steps} steps; --resume goes on")
            if progress.step < steps and time.monotonic() - saved > CHECKPOINT_SECONDS:
                save()
                saved = time.monotonic()
        if world > 1:  # each process has seen other films: running statistics differ until they are shared, and with them the kappa that may end the run
            broadcast(list(average.module.buffers()))
        row = _close_epoch(experiment, average.module, films, progress, best, mode, steps)
        row["seconds"] = round(seconds_before + time.monotonic() - started, 1)
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            save()
            saved = time.monotonic()
        if report and accelerator.is_main_process:
            bar.clear()
            report(row)
    bar.close()
    if best:
        average.module.load_state_dict(best)
    return average.module.eval(), progress


def _close_epoch(experiment: Experiment, model: nn.Module, films: Films, progress: Progress, best: dict[str, Tensor], mode: str, steps: int) -> dict:
    """Score the averaged weights on validation, keep them if they are the best so far, add a row to the curve."""
    p = predict(model, films.pixels[films.val], flip=False, precision=mode)
    if not np.isfinite(p).all():
        raise TrainingFailed(f"the network's answers are no numbers after epoch {progress.epoch + 1}; try a smaller --lr")
    val = scores(films.grade[films.val], p)
    qwk = None if math.isnan(val["qwk"]) else val["qwk"]  # undefined on films of one grade; JSON knows no NaN
    row = {"epoch": progress.epoch + 1, "loss": progress.loss_sum / steps, "val_accuracy": val["accuracy"], "val_qwk": qwk, "val_rps": val["rps"]}
    progress.curve.append(row)
    if qwk is not None and qwk > progress.best_qwk:  # which patience counts from, whatever is selected
        progress.best_qwk, progress.best_epoch = qwk, progress.epoch + 1
        if experiment.select == "best":
            best.update({key: value.detach().clone() for key, value in model.state_dict().items()})
    progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
    return row


def film_order(experiment: Experiment, films: Films, epoch: int) -> np.ndarray:
    """Rows in the order of this epoch: a permutation, or a draw with equal chances for each grade."""
    rng = np.random.default_rng([experiment.seed, epoch])
    if experiment.sampler == "shuffle":
        return rng.permutation(films.train)
    grade = films.grade[films.train]
    weight = 1.0 / np.bincount(grade, minlength=5)[grade]
    return rng.choice(films.train, size=len(films.train), p=weight / weight.sum())


def lr_factor(experiment: Experiment, step: int, steps: int) -> float:
    """Share of the peak learning rate at a step counted over all epochs: linear warm-up, then the schedule."""
    warmup, total = experiment.warmup * steps, experiment.epochs * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(total - warmup, 1)
    if experiment.schedule == "cosine":
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
    if experiment.schedule == "step":
        return 1.0 if done < 0.6 else 0.1 if done < 0.85 else 0.01
    return 1.0


def _moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """Exponential moving average whose decay warms up, so that the first steps are soon forgotten; counters are copied."""
    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(count)) / (10 + int(count))) if decay else 1.0
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, share)
        else:
            torch._foreach_copy_(averaged, current)
    return update


def _step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _patience_over(experiment: Experiment, progress: Progress) -> bool:
    return experiment.patience is not None and progress.epoch - max(progress.best_epoch, 0) >= experiment.patience
