"""Every network of the study by name, with the weights it starts from said aloud, never silently random.

`create` builds any timm model for one grey channel and five grades; the two modules of the thesis (gates and wavelets)
are options of every network with depthwise convolutions.
"""

from __future__ import annotations

import difflib
import inspect
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from koalib.errors import UserError
from koalib.model import sources
from koalib.model.checkpoints import CheckpointError, read_checkpoint, save_checkpoint
from koalib.model.convwgcnet import add_wavelets_and_gates
from koalib.model.depthwise import use_fast_depthwise
from koalib.model.heads import put_head

__all__ = ["CheckpointError", "create", "load_checkpoint", "save_checkpoint"]

# Options of the surgery; every other option goes to timm's constructor.
MODULES = tuple(inspect.signature(add_wavelets_and_gates).parameters)[1:]
HEAD_SCALE = 0.001  # a pretrained network starts with almost flat probabilities (ConvNeXt's head_init_scale in fine-tuning)


def create(name: str, pretrained: str = "none", num_classes: int = 5, in_chans: int = 1, fast: bool = True, head: str = "linear", **options) -> nn.Module:
    """Build a network; ``model.pretrained_source`` says where its weights came from, ``model.recipe`` how to build it again.

    Args:
        name: any timm name, ``convwgcnet_*`` among them.
        pretrained: ``none``, ``imagenet`` (found as `koalib.model.sources` says) or the path of one of our checkpoints,
            whose head is kept where the number of classes fits.
        in_chans: channels of the film, 1; a pretrained stem for RGB is summed over its channels.
        head: ``linear``, or ``coral`` for ordered grades (`koalib.model.heads`).
        fast: depthwise convolutions with this project's gradient (`koalib.model.depthwise`); same numbers, less time.
        options: ``gct``, ``wavelet`` and their settings; all else (``drop_path_rate``, ``img_size``) is timm's.

    Raises:
        UserError: no such model, option or weights; `CheckpointError` for a checkpoint that does not fit.
    """
    backbone, modules = resolve(name, options)
    build = {"num_classes": num_classes, "in_chans": in_chans, **{k: v for k, v in options.items() if k not in MODULES}}
    if pretrained == "none":
        model, source = _with_modules(_timm(backbone, **build), modules), "none"
    elif pretrained == "imagenet":
        model, source = _from_imagenet(backbone, build)
        model = _with_modules(model, modules)
    else:
        model, source = _from_checkpoint(Path(pretrained), backbone, modules, build)
    model = put_head(model, head, num_classes)
    model.pretrained_source = source
    if head != "linear":
        options = options | {"head": head}
    model.recipe = {"model": name, "options": options, "num_classes": num_classes, "in_chans": in_chans}
    return use_fast_depthwise(model) if fast else model


def needs_size(name: str) -> bool:
    """Whether a network is built for one size of film, as transformers with a table of positions are, and has to be told it (``img_size``)."""
    configuration = timm.get_pretrained_cfg(resolve(name, {})[0], allow_unregistered=True)
    return bool(configuration and configuration.fixed_input_size)


def load_checkpoint(path: str | Path, fast: bool = True) -> tuple[nn.Module, dict]:
    """Rebuild the model that `save_checkpoint` wrote, in eval mode, and return it with the metadata.

    Raises:
        CheckpointError: missing, damaged, not ours, or of a model that this version builds otherwise.
    """
    tensors, metadata = read_checkpoint(path)
    model = create(metadata["model"], num_classes=metadata["num_classes"], in_chans=metadata["in_chans"], fast=fast, **metadata["options"])
    _fill(model, tensors, path, metadata["model"])
    model.pretrained_source = f"checkpoint: {Path(path).name}"
    return model.eval(), metadata


def resolve(name: str, options: dict) -> tuple[str, dict]:
    """The plain timm backbone of a name, and the options of the modules put into it (none by default, but in ConvWGCNet)."""
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items() if key in MODULES}
    if name.startswith("convwgcnet_"):
        return name.replace("convwgcnet_", "convnext_"), {"gct": "dwconv", "wavelet": "add", **given}
    return name, {"gct": "none", "wavelet": "none", **given}


def _timm(name: str, **arguments) -> nn.Module:
    """timm's network, its complaints turned into one line."""
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        raise UserError(f"{name}: no such model; {'did you mean ' + ', '.join(near) if near else 'see timm.list_models()'}?")
    try:
        return timm.create_model(name, **arguments)
    except TypeError as error:
        raise UserError(f"{name}: an option it does not know ({error})") from error


def _plain(modules: dict) -> bool:
    return modules["gct"] == modules["wavelet"] == "none"


def _with_modules(model: nn.Module, modules: dict) -> nn.Module:
    return model if _plain(modules) else add_wavelets_and_gates(model, **modules)


def _from_imagenet(backbone: str, build: dict) -> tuple[nn.Module, str]:
    """The backbone with ImageNet weights; timm sums the stem and drops the head where they do not fit."""
    name = sources.tagged(backbone)
    source = sources.find(name)
    if source is None:
        raise sources.missing(name)
    try:
        model = _timm(name, pretrained=True, pretrained_cfg_overlay=source.overlay(), **build)
    except UserError:
        raise
    except Exception as error:  # damaged file, another model's weights, broken connection: each library has its own
        raise UserError(f"{name}: the weights found ({source.text}) cannot be loaded: {' '.join(str(error).split())[:160]}; replace them") from error
    if build["num_classes"] != model.pretrained_cfg["num_classes"]:
        _small_head(model)
    model.pretrained_cfg["state_dict"] = None  # timm would keep a second copy of all weights
    return model, source.text


def _from_checkpoint(path: Path, backbone: str, modules: dict, build: dict) -> tuple[nn.Module, str]:
    """Warm start from one of our files: of the same network, or of its plain backbone before the modules go in."""
    tensors, metadata = read_checkpoint(path)
    theirs = resolve(metadata["model"], metadata["options"])
    if theirs[0].partition(".")[0] != backbone.partition(".")[0] or metadata["in_chans"] != build["in_chans"]:
        raise CheckpointError(f"{path}: holds {metadata['model']} with {metadata['in_chans']} channel(s), which cannot start {backbone} with {build['in_chans']}")
    model = _timm(backbone, **build)
    keep_head = metadata["num_classes"] == build["num_classes"] and "head" not in metadata["options"]
    if theirs[1] == modules:
        model = _with_modules(model, modules)
        _fill(model, tensors, path, metadata["model"], keep_head)
    elif _plain(theirs[1]):
        _fill(model, tensors, path, metadata["model"], keep_head)
        model = _with_modules(model, modules)
    else:
        raise CheckpointError(f"{path}: was trained with {theirs[1]}, which cannot start {modules}; name a checkpoint of the plain network or of the same modules")
    return model, f"checkpoint: {path.name}"


def _fill(model: nn.Module, tensors: dict[str, Tensor], path: str | Path, name: str, keep_head: bool = True) -> None:
    """Load every tensor, but for a head that is to stay fresh."""
    head = () if keep_head else _head_prefix(model)
    state = model.state_dict()
    wrong = [key for key in state.keys() | tensors.keys() if not key.startswith(head) and (key not in state or key not in tensors or state[key].shape != tensors[key].shape)]
    if wrong:
        raise CheckpointError(f"{path}: does not fit {name} ({len(wrong)} tensors differ, {sorted(wrong)[0]} first); it was written by another version or another model")
    model.load_state_dict({key: tensors[key] for key in state if not key.startswith(head)}, strict=False)
    if head:
        _small_head(model)


def _head_prefix(model: nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is model.get_classifier()) + "."


@torch.no_grad()
def _small_head(model: nn.Module) -> None:
    for name, parameter in model.get_classifier().named_parameters():
        nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.trunc_normal_(parameter, std=0.02 * HEAD_SCALE)
