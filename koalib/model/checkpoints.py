"""Our weights on disk: one safetensors file with its recipe inside, written whole or not at all.

The metadata travels as JSON under the key ``koalib``: at least the model's name and options, the number of classes and
of input channels; training adds film size, temperature, thresholds and the run it came from.  Safetensors holds numbers
only, so that reading somebody else's file can never run code.
"""

from __future__ import annotations

import json
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from koalib.errors import UserError
from koalib.paths import atomic_write

KEY = "koalib"


class CheckpointError(UserError):
    """A checkpoint that is missing, cut short, not ours, or of another model."""


def save_checkpoint(model: nn.Module, path: str | Path, metadata: dict | None = None, half: bool = False) -> Path:
    """Write a model made by `koalib.model.weights.create` with its recipe and ``metadata``.

    Args:
        half: store matrices and kernels in half precision, for shipping; vectors (norms, biases, scales, running
            statistics) stay whole, since their range decides the output and they weigh nothing.
    """
    recipe = getattr(model, "recipe", None)
    if recipe is None:
        raise CheckpointError(f"{Path(path).name}: only models made by koalib.model.weights.create can be saved, others carry no recipe to rebuild them")
    tensors = {name: _stored(tensor, half) for name, tensor in model.state_dict().items()}
    content = safetensors.torch.save(tensors, {KEY: json.dumps({**(metadata or {}), **recipe}, sort_keys=True)})
    return atomic_write(path, content)


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors (floating ones in float32) and metadata of one of our files.

    Raises:
        CheckpointError: no such file, cut short or damaged, or not written by `save_checkpoint`.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; name a .safetensors checkpoint written by koalib train")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged or cut short, or no safetensors file at all ({_one_line(error)}); copy or train it again") from error
    if text is None:
        raise CheckpointError(f"{path}: no checkpoint of ours, it carries no recipe; ImageNet weights go into the folder KOALIB_WEIGHTS and are asked for as 'imagenet'")
    try:
        metadata = json.loads(text)
        metadata["model"], metadata["options"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its recipe cannot be read ({_one_line(error)}); copy or train it again") from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}, metadata


def _stored(tensor: Tensor, half: bool) -> Tensor:
    """The tensor as it is written: on the CPU, contiguous, in half precision only where no value overflows."""
    tensor = tensor.detach().cpu().contiguous()
    if not half or tensor.dim() < 2 or tensor.dtype != torch.float32:
        return tensor
    small = tensor.half()
    return small if torch.isfinite(small).all() else tensor


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
