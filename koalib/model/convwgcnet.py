"""ConvWGCNet: ConvNeXt with gated channel transformation and wavelet convolution, and the same surgery on other networks.

The network of a master's thesis (Zhou Yetao, Shihezi University, 2025) whose text gives the parts but not their places;
the places, sizes and starts below are our choice. Base: Liu et al., "A ConvNet for the 2020s", CVPR 2022, arXiv 2201.03545,
in timm's form and under timm's parameter names, so that a ConvNeXt's weights load.
"""

import timm
from timm.models import register_model
from torch import nn

from koalib.errors import UserError
from koalib.model.depthwise import is_depthwise, use_fast_depthwise
from koalib.model.layers import UnshuffledConv2d, WTConv2d, WideBranchConv2d, make_gate, put_gate_before

GATES = ("none", "dwconv", "pwconv1", "pwconv2", "se", "eca")
WAVELETS = ("none", "replace", "add", "conv5", "unshuffle")
# levels of wavelet decomposition where the map is 1/4, 1/8, 1/16, 1/32 of the film (WTConvNeXt, ECCV 2024)
LEVELS = (5, 4, 3, 2)


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{name}={value!r} is unknown: take one of {', '.join(known)}")


def _levels_of(name: str, feature_info: list[dict], levels: tuple[int, ...]) -> int:
    """Wavelet levels of a layer by the resolution of the stage that it is in (a map of half size counts as a quarter)."""
    def place(path: str) -> list[tuple[int, int | str]]:  # numbers compare as numbers, as in "blocks.10"
        return [(0, int(part)) if part.isdigit() else (1, part) for part in path.split(".")]

    for stage in feature_info:
        if place(name)[: len(place(stage["module"]))] <= place(stage["module"]):
            return levels[min(max(stage["reduction"].bit_length() - 3, 0), len(levels) - 1)]
    return levels[-1]


def _wavelet_layer(conv: nn.Conv2d, wavelet: str, levels: int, kernel_size: int, start: str) -> nn.Module:
    """What takes the place of one depthwise convolution of stride 1; see `add_wavelets_and_gates`."""
    channels, size, bias = conv.in_channels, conv.kernel_size[0], conv.bias is not None
    if wavelet in ("add", "unshuffle"):
        make = WTConv2d if wavelet == "add" else UnshuffledConv2d
        layer = make(channels, size, levels, wavelet_kernel=kernel_size, bias=bias, base_scale=None, scale=0.0)
    elif wavelet == "conv5":
        layer = WideBranchConv2d(channels, size, bias=bias)
    else:
        layer = WTConv2d(channels, kernel_size, levels, wavelet_kernel=kernel_size, bias=bias)
    if wavelet != "replace":
        layer.weight, layer.bias = conv.weight, conv.bias
    elif start == "centre":
        margin = (size - kernel_size) // 2
        if margin < 0:
            raise UserError(f"replace_start='centre' needs kernels of at least {kernel_size}x{kernel_size}, not {size}x{size}")
        layer.weight.data.copy_(conv.weight[..., margin : margin + kernel_size, margin : margin + kernel_size])
        layer.bias = conv.bias
    return layer


def _gate_pointwise(block: nn.Module, first: bool) -> None:
    """Put a GCT before the block's first or second 1x1 convolution (or linear layer)."""
    pointwise = [m for m in block.modules()
                 if isinstance(m, nn.Linear) or (isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.groups == 1)]
    if len(pointwise) < 2:
        return
    layer = pointwise[0 if first else -1]
    linear = isinstance(layer, nn.Linear)
    put_gate_before(layer, make_gate("gct", layer.in_features if linear else layer.in_channels, channels_last=linear))


def add_wavelets_and_gates(model: nn.Module, gct: str = "dwconv", wavelet: str = "add", levels: tuple[int, ...] = LEVELS,
                           kernel_size: int = 5, replace_start: str = "random") -> nn.Module:
    """Give a timm network with depthwise convolutions the modules of ConvWGCNet, in place.

    Parameters that were there keep their names and values. But with wavelet "replace" the network's output
    is unchanged by any gate until the first training step.

    Args:
        gct: where gated channel transformation goes: before each depthwise convolution ("dwconv", as its paper has it),
            before the first ("pwconv1") or the last ("pwconv2") 1x1 convolution of a block, or nowhere ("none");
            "se" and "eca" put those channel gates, as controls, where "dwconv" puts GCT.
        wavelet: "add" a wavelet branch that starts at 0 beside each depthwise convolution; "replace" it by a wavelet
            convolution as published. Controls: "unshuffle" adds the same branch without wavelets, of equal parameters and
            multiply-adds; "conv5" adds a plain 5x5 branch, which changes how the network learns, not what it can compute.
            Convolutions of stride 2 stay.
        levels: wavelet levels for maps of 1/4, 1/8, 1/16 and 1/32 of the film's size.
        kernel_size: of the wavelet bands (and of the base convolution in "replace").
        replace_start: "random", or "centre" to start "replace" from the centre of the old kernel.
    """
    _check("gct", gct, GATES)
    _check("wavelet", wavelet, WAVELETS)
    _check("replace_start", replace_start, ("random", "centre"))
    for path, block in list(model.named_modules()):
        for name, conv in list(block.named_children()):
            if not is_depthwise(conv):
                continue
            if wavelet != "none" and conv.stride == (1, 1):
                count = _levels_of(f"{path}.{name}", model.feature_info, levels)
                setattr(block, name, _wavelet_layer(conv, wavelet, count, kernel_size, replace_start))
            if gct in ("pwconv1", "pwconv2"):
                _gate_pointwise(block, first=gct == "pwconv1")
    use_fast_depthwise(model)
    if gct in ("dwconv", "se", "eca"):
        for layer in [m for m in model.modules() if isinstance(m, nn.Conv2d) and 1 < m.groups == m.in_channels]:
            put_gate_before(layer, make_gate("gct" if gct == "dwconv" else gct, layer.in_channels))
    return model


def is_new_parameter(name: str) -> bool:
    """Whether a parameter of this name came with `add_wavelets_and_gates`: gates, wavelet bands, scales, branches."""
    return any(part in ("gate", "bands", "scales", "base_scale", "branch", "scale") for part in name.split("."))


def _convwgcnet(size: str, pretrained: bool, gct: str = "dwconv", wavelet: str = "add", levels: tuple[int, ...] = LEVELS,
                kernel_size: int = 5, replace_start: str = "random", **options) -> nn.Module:
    model = timm.create_model(f"convnext_{size}", pretrained=pretrained, **options)
    return add_wavelets_and_gates(model, gct, wavelet, levels, kernel_size, replace_start)


@register_model
def convwgcnet_atto(pretrained: bool = False, **options) -> nn.Module:
    """ConvWGCNet on ConvNeXt-Atto (3.4 M parameters); options of `add_wavelets_and_gates` and of timm's ConvNeXt."""
    return _convwgcnet("atto", pretrained, **options)


@register_model
def convwgcnet_femto(pretrained: bool = False, **options) -> nn.Module:
    """ConvWGCNet on ConvNeXt-Femto (4.8 M parameters)."""
    return _convwgcnet("femto", pretrained, **options)


@register_model
def convwgcnet_pico(pretrained: bool = False, **options) -> nn.Module:
    """ConvWGCNet on ConvNeXt-Pico (8.6 M parameters)."""
    return _convwgcnet("pico", pretrained, **options)


@register_model
def convwgcnet_nano(pretrained: bool = False, **options) -> nn.Module:
    """ConvWGCNet on ConvNeXt-Nano (15 M parameters)."""
    return _convwgcnet("nano", pretrained, **options)


@register_model
def convwgcnet_tiny(pretrained: bool = False, **options) -> nn.Module:
    """ConvWGCNet on ConvNeXt-T (28 M parameters), the thesis's network."""
    return _convwgcnet("tiny", pretrained, **options)
