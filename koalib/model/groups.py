"""Parameter groups of an optimiser: which parameters decay, and how fast each layer learns.

Layer-wise decay of the learning rate: Clark et al. 2020 (ELECTRA), in ConvNeXt's fine-tuning .7 to .8 (CVPR 2022, table 8).
ConvNeXt's own code counts twelve layers whatever the depth, which leaves a gap of up to nine layers in sizes shallower
than ConvNeXt-S; timm's map, used here, has one layer for the stem, each block and the head, so that every size is right.
"""

from __future__ import annotations

import itertools

from timm.models import group_parameters
from torch import nn

from koalib.model.convwgcnet import is_new_parameter

# By name as well as by shape: GCT and the wavelet scales are (1, C, 1, 1), and a rule for vectors would miss them.
_SCALES = ("alpha", "beta", "gamma", "scales", "base_scale", "scale")


def exempt(model: nn.Module) -> set[str]:
    """Names of the parameters that must not decay: biases, norms, layer scales, GCT, wavelet scales, and timm's own list."""
    own = set(getattr(model, "no_weight_decay", set)())
    return {name for name, parameter in model.named_parameters()
            if parameter.ndim <= 1 or name in own or name.endswith("bias") or any(part in _SCALES for part in name.split("."))}


def layers(model: nn.Module) -> dict[str, int]:
    """Depth of every parameter by name: 0 for the stem, then one a block, the head last. Modules added to a block share its depth."""
    return group_parameters(model, model.group_matcher(coarse=False), reverse=True)


def parameter_groups(model: nn.Module, lr: float, weight_decay: float, layer_decay: float = 1.0, new_module_lr: float = 1.0) -> list[dict]:
    """Groups for `torch.optim.AdamW` and its like, one for each (learning rate, decay) that occurs, in order of depth.

    Args:
        lr: learning rate of the head; a layer n levels below it learns with ``lr * layer_decay**n``.
        new_module_lr: further factor of gates and wavelet branches, which start as the identity and have far to go.

    Returns:
        Dicts with ``params``, ``names`` (of the same length), ``lr``, ``weight_decay`` and ``lr_scale`` = lr of the group / ``lr``.
    """
    depth, no_decay = layers(model), exempt(model)
    last = max(depth.values())
    rows = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            scale = layer_decay ** (last - depth.get(name, last)) * (new_module_lr if is_new_parameter(name) else 1.0)
            rows.append((scale, 0.0 if name in no_decay else weight_decay, name, parameter))
    rows.sort(key=lambda row: row[:2])
    groups = []
    for (scale, decay), members in itertools.groupby(rows, key=lambda row: row[:2]):
        _, _, names, parameters = zip(*members)
        groups.append({"params": list(parameters), "names": list(names), "lr": lr * scale, "lr_scale": scale, "weight_decay": decay})
    return groups
