"""The state from which an interrupted training goes on, bit for bit. Safetensors and JSON, never a pickle."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from koalib.errors import UserError
from koalib.paths import atomic_write
from koalib.study.experiment import Experiment

STATE_FILE = "resume.safetensors"


@dataclass
class Progress:
    """What is not a tensor: where the run is and what it has seen."""

    epoch: int = 0
    step: int = 0  #: optimizer steps done in this epoch
    loss_sum: float = 0.0  #: over the steps of this epoch
    seconds: float = 0.0
    curve: list[dict] = field(default_factory=list)
    best_epoch: int = -1  #: of the best validation QWK so far, whichever epoch's weights are kept
    best_qwk: float = -2.0


def check_writable(out: Path) -> None:
    """Make the run's folder and write there, so that a mistake shows before the training and not after it.

    Raises:
        UserError: it cannot be made or written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UserError(f"{out}: the run cannot be written there ({error.strerror}); choose another --out") from error


def save_state(out: Path, experiment: Experiment, progress: Progress, modules: dict[str, nn.Module], optimizer: Optimizer, best: dict[str, Tensor]) -> None:
    """Write the whole state into one file, whole or not at all."""
    tensors = {f"{name}/{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    tensors |= {f"best/{key}": value for key, value in best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": torch.as_tensor(value) for key, value in state.items()}
    # one tensor, one memory: safetensors refuses shared storage, and strides other than the standard ones
    tensors = {k: v.detach().cpu().contiguous().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    text = {"experiment": json.dumps(experiment.as_dict()), "progress": json.dumps(vars(progress))}
    atomic_write(out / STATE_FILE, save(tensors, metadata=text))


def load_state(out: Path, experiment: Experiment, modules: dict[str, nn.Module], optimizer: Optimizer) -> tuple[Progress, dict[str, Tensor]] | None:
    """Restore the state of ``out``; None when there is none (the run then starts anew).

    Raises:
        UserError: the file is truncated, or belongs to another experiment.
    """
    file = out / STATE_FILE
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as stored:
            text = stored.metadata() or {}
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}
        settings, progress = json.loads(text["experiment"]), Progress(**json.loads(text["progress"]))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{file}: cannot be read as the state of a run; delete it to start anew") from error
    if Experiment.from_dict(settings) != experiment:
        raise UserError(f"{file}: belongs to another experiment; choose another --out, or delete it to start anew")
    for name, module in modules.items():
        module.load_state_dict(_below(tensors, name))
    _load_optimizer(optimizer, _below(tensors, "optimizer"))
    return progress, _below(tensors, "best")


def _below(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _load_optimizer(optimizer: Optimizer, flat: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, values in optimizer.state.items():  # moments in the parameter's own memory layout, as they were
        for key, value in values.items():
            if value.shape == parameter.shape:
                values[key] = torch.empty_like(parameter).copy_(value)
