"""The ConvWGCNet family: names, options, starts that keep the old network, low precision."""

import pytest
import timm
import torch

from koalib.errors import UserError
from koalib.model.convwgcnet import GATES, WAVELETS, add_wavelets_and_gates, is_new_parameter
from koalib.model.cost import multiply_adds, parameters
from koalib.model.layers import WTConv2d

SIZES = ("atto", "femto", "pico", "nano", "tiny")
FILM = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def build(name, **options):
    """A small network whose blocks show: ConvNeXt's layer scale of 1e-6 would hide whatever is in them."""
    torch.manual_seed(0)
    small = {} if "lite" in name else {"depths": (1, 1, 2, 1), "dims": (16, 24, 32, 48), "ls_init_value": 1.0}
    return timm.create_model(name, num_classes=5, **small, **options).eval()


@torch.no_grad()
def logits(network):
    return network(FILM.to(next(network.parameters()).dtype))


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_registered_and_takes_a_convnext_state(size):
    with torch.device("meta"):
        ours = timm.create_model(f"convwgcnet_{size}", num_classes=5)
        plain = timm.create_model(f"convnext_{size}", num_classes=5)
    shapes = {name: value.shape for name, value in ours.state_dict().items()}
    for name, value in plain.state_dict().items():
        assert shapes.pop(name) == value.shape
    assert shapes and all(is_new_parameter(name) for name in shapes)


def test_default_levels_by_stage():
    with torch.device("meta"):
        network = timm.create_model("convwgcnet_tiny")
    levels = [len(m.bands) for m in network.modules() if isinstance(m, WTConv2d)]
    assert levels == [5] * 3 + [4] * 3 + [3] * 9 + [2] * 3


@pytest.mark.parametrize("name", ["convnext_tiny", "convnext_atto", "tf_efficientnet_lite0"])
@pytest.mark.parametrize("gct", GATES)
@pytest.mark.parametrize("wavelet", ["none", "add", "conv5", "unshuffle"])
def test_the_start_keeps_the_output(name, gct, wavelet):
    network = build(name).double()
    before = logits(network)
    add_wavelets_and_gates(network, gct, wavelet).double()
    assert (logits(network) - before).abs().max() <= 1e-6 * before.abs().max()


@pytest.mark.parametrize("name", ["convnext_tiny", "tf_efficientnet_lite0"])
def test_the_start_keeps_the_output_of_our_kernels(name):
    network = build(name)
    before = logits(network)
    after = logits(add_wavelets_and_gates(network))
    assert (after - before).abs().max() <= 1e-5 * before.abs().max()


@pytest.mark.parametrize("name", ["convnext_tiny", "tf_efficientnet_lite0"])
def test_a_wavelet_scale_of_a_tenth_shows(name):
    network = build(name)
    before = logits(network)
    add_wavelets_and_gates(network)
    for parameter, value in network.named_parameters():
        if "scales" in parameter:
            value.data.fill_(0.1)
    assert (logits(network) - before).abs().max() > 1e-3 * before.abs().max()


def test_bands_without_wavelets_cost_what_the_wavelets_cost():
    ours, control = (build("convwgcnet_tiny", wavelet=wavelet) for wavelet in ("add", "unshuffle"))
    assert parameters(ours) == parameters(control) and list(ours.state_dict()) == list(control.state_dict())
    assert multiply_adds(ours, 64, 3) == multiply_adds(control, 64, 3)


def test_a_plain_branch_costs_next_to_nothing():
    """conv5 merges into the plain kernel: it is no control for the size of the wavelet branch."""
    plain, control = (build("convwgcnet_tiny", wavelet=wavelet) for wavelet in ("none", "conv5"))
    assert multiply_adds(plain, 64, 3) == multiply_adds(control, 64, 3)


def test_replace_can_start_from_the_centre():
    network = build("convnext_tiny")
    old = network.stages[0].blocks[0].conv_dw.weight.clone()
    add_wavelets_and_gates(network, wavelet="replace", replace_start="centre")
    assert torch.equal(network.stages[0].blocks[0].conv_dw.weight, old[..., 1:6, 1:6])


def layer_outputs(network, precision):
    """Logits, and the input's shape and the output of every layer with weights, in float32 or under autocast."""
    outputs = {}

    def keep(path):
        def hook(layer, inputs, output):
            outputs[path] = tuple(inputs[0].shape), output.float()
        return hook

    handles = [m.register_forward_hook(keep(path)) for path, m in network.named_modules() if hasattr(m, "weight")]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        found = logits(network).float()
    for handle in handles:
        handle.remove()
    return found, outputs


@pytest.mark.parametrize("gct", GATES)
@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize("name", ["convwgcnet_tiny", "convwgcnet_atto"])
def test_bfloat16_is_close_to_float32(name, gct, wavelet):
    network = build(name, gct=gct, wavelet=wavelet)
    (expected, whole), (found, half) = (layer_outputs(network, precision) for precision in ("fp32", "bf16"))
    error = {path: ((half[path][1] - y).abs().max() / y.abs().max().clamp_min(1e-6)).item() for path, (_, y) in whole.items()}
    worst = max(error, key=error.get)
    assert (found - expected).abs().max() <= 0.05 * (expected.max() - expected.min()), (
        f"largest error {error[worst]:.1%} in {worst}, input {whole[worst][0]}")  # fmt: skip


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_a_training_step_moves_every_parameter(wavelet):
    network = build("convwgcnet_tiny", wavelet=wavelet).train()
    for name, value in network.named_parameters():
        if name.endswith("gate.gamma") or "scale" in name:
            value.data.add_(0.1)  # zero-started factors hide what they multiply in the first step
    network(FILM.expand(2, -1, -1, -1)).square().sum().backward()
    still = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.abs().max() > 0]
    assert still == []


def test_mistakes_are_told():
    with pytest.raises(UserError, match="wavelet='haar' is unknown: take one of none, replace, add, conv5"):
        build("convwgcnet_atto", wavelet="haar")
