"""What decays and how fast each layer learns, by name, on every variant."""

import pytest
import torch
from torch import nn

from koalib.model.architectures import VARIANTS
from koalib.model.convwgcnet import is_new_parameter
from koalib.model.groups import exempt, layers, parameter_groups
from koalib.model.layers import GCT, WideBranchConv2d, WTConv2d
from koalib.model.weights import create

DEPTHS = {"atto": (2, 2, 6, 2), "femto": (2, 2, 6, 2), "pico": (2, 2, 6, 2), "nano": (2, 2, 8, 2), "tiny": (3, 3, 9, 3)}


def must_not_decay(model):
    """Names found by walking over the modules, another way than the code's."""
    names = set()
    for path, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            norm = isinstance(module, (nn.LayerNorm, nn.modules.batchnorm._BatchNorm, nn.GroupNorm))
            layer_scale = name == "gamma"
            if norm or layer_scale or name == "bias" or isinstance(module, GCT) or (isinstance(module, (WTConv2d, WideBranchConv2d)) and "scale" in name):
                names.add(f"{path}.{name}")
        if isinstance(module, WTConv2d):
            names |= {f"{path}.scales.{i}" for i in range(len(module.scales))}
    return names


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("backbone", ["test_convnext", "tf_efficientnet_lite0"])
def test_decay_by_name(backbone, variant):
    model = create(backbone, **VARIANTS[variant])
    by_name = {name: group["weight_decay"] for group in parameter_groups(model, 1e-3, 0.05, 0.8, 5.0) for name in group["names"]}
    assert by_name.keys() == dict(model.named_parameters()).keys()
    free = must_not_decay(model)
    assert {name for name, decay in by_name.items() if decay == 0} == free == exempt(model)
    kernels = [name for name in by_name if name.endswith("weight") and name not in free] + [name for name in by_name if ".bands." in name or name.endswith("branch")]
    assert kernels and all(by_name[name] == 0.05 for name in kernels)


def test_the_test_itself_sees_gates_and_scales():
    free = must_not_decay(create("test_convnext", **VARIANTS["both"]))
    assert {"stages.0.blocks.0.conv_dw.gate.beta", "stages.0.blocks.0.conv_dw.scales.0", "stages.0.blocks.0.gamma", "head.fc.bias"} <= free


@pytest.mark.parametrize("size", DEPTHS)
@pytest.mark.parametrize("family", ["convnext", "convwgcnet"])
def test_one_layer_for_stem_each_block_and_head(family, size):
    with torch.device("meta"):
        model = create(f"{family}_{size}")
    depth = layers(model)
    assert set(depth.values()) == set(range(sum(DEPTHS[size]) + 2))
    blocks = {name.split(".blocks.")[0] + "." + name.split(".")[3]: level for name, level in depth.items() if ".blocks." in name}
    assert list(blocks.values()) == sorted(blocks.values()) and len(set(blocks.values())) == sum(DEPTHS[size])
    assert depth["stem.0.weight"] == 0 and depth["head.fc.weight"] == max(depth.values())
    for name, level in depth.items():
        if is_new_parameter(name):
            assert level == depth[name.split(".conv_dw")[0] + ".conv_dw.weight"]


def test_learning_rates():
    model = create("test_convnext", **VARIANTS["both"])
    rate = {name: group["lr"] for group in parameter_groups(model, 2e-3, 0.05, 0.5, 10.0) for name in group["names"]}
    depth = layers(model)
    last = max(depth.values())
    for name, value in rate.items():
        assert value == pytest.approx(2e-3 * 0.5 ** (last - depth[name]) * (10 if is_new_parameter(name) else 1)), name
    assert rate["head.fc.weight"] == 2e-3


def test_frozen_parameters_are_left_out_and_an_optimiser_takes_the_groups():
    model = create("test_convnext", **VARIANTS["both"])
    model.stem.requires_grad_(False)
    groups = parameter_groups(model, 1e-3, 0.05)
    assert not any(name.startswith("stem") for group in groups for name in group["names"])
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(1e-3, 0.0), (1e-3, 0.05)}
    optimiser = torch.optim.AdamW(groups)
    model(torch.randn(2, 1, 64, 64)).sum().backward()
    optimiser.step()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "mobilevit_s", "vgg16", "mobilenetv3_large_100", "swin_tiny_patch4_window7_224", "densenet121"])
def test_every_compared_architecture_has_a_map_without_gaps(name):
    with torch.device("meta"):
        depth = layers(create(name))
    assert set(depth.values()) == set(range(max(depth.values()) + 1)) and max(depth.values()) > 8
