"""Depthwise convolutions of our kernels equal PyTorch's, forward and backward, whatever the shape."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import nn

from benchmarks.kernels import SHAPES as REAL
from koalib.model import depthwise, kernels
from koalib.model.depthwise import DepthwiseConv2d, fused_convolution, use_fast_depthwise
from koalib.model.layers import WTConv2d

needs_numba = pytest.mark.skipif(not kernels.available, reason="Numba is not installed")


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def deviations(found, exact):
    """Largest deviation of each tensor, as a share of its largest value (of 1 where that is smaller)."""
    return [float((a.float() - b.float()).abs().max() / b.float().abs().max().clamp_min(1.0)) for a, b in zip(found, exact, strict=True)]


def compare(ours, theirs, tolerance):
    assert all(deviation <= tolerance for deviation in deviations(ours, theirs))  # false for NaN


def outcome(layer, x, grad=None):
    """Output, input gradient and parameter gradients; the gradient of the output."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    out = layer(x)
    grad = random(*out.shape, seed=1).to(out.dtype) if grad is None else grad
    out.backward(grad)
    return [out.detach(), x.grad] + [p.grad.clone() for p in layer.parameters()]


SHAPES = [
    (16, (56, 56), 7, 1, False), (40, (28, 28), 7, 1, False), (24, (14, 14), 5, 1, False), (48, (7, 7), 7, 1, False),
    (33, (33, 47), 5, 1, False), (16, (1, 1), 7, 1, False), (32, (14, 13), 3, 2, False), (32, (15, 12), 5, 2, True),
    (16, (14, 14), 3, 2, True), (8, (9, 9), 3, 1, False), (16, (9, 9), 9, 1, False),
]  # fmt: skip


@pytest.fixture(params=["by the table", "ours", "PyTorch's"])
def served(request, monkeypatch):
    """Who computes: as the committed table says, our kernels alone, or PyTorch's as where Numba is missing."""
    if request.param == "ours":
        if not kernels.available:
            pytest.skip("Numba is not installed")
        monkeypatch.setattr(depthwise, "ours_serves", lambda *_: True)
    elif request.param == "PyTorch's":
        monkeypatch.setattr(kernels, "available", False)
        monkeypatch.setattr(depthwise, "fused_convolution", None)
    return request.param


@pytest.mark.parametrize("channels, size, kernel, stride, same", SHAPES)
def test_equals_pytorch(served, channels, size, kernel, stride, same):
    make = Conv2dSame if same else nn.Conv2d
    conv = make(channels, channels, kernel, stride, 0 if same else kernel // 2, groups=channels)
    x = random(2, channels, *size)
    compare(outcome(DepthwiseConv2d.from_conv(conv), x), outcome(conv, x), 1e-4)


@pytest.mark.parametrize("kernel, padding, stride", [(7, 7, 1), (7, 9, 1), (5, 6, 1), (5, 5, 2), (3, 3, 1), (7, 6, 1), (5, 0, 1), (3, (0, 2), 1)])
def test_any_padding(served, kernel, padding, stride):
    """One of the kernel's side or more goes to PyTorch: the planes of our input gradient would have negative margins."""
    conv = nn.Conv2d(16, 16, kernel, stride, padding, groups=16)
    x = random(2, 16, 12, 11)
    compare(outcome(DepthwiseConv2d.from_conv(conv), x), outcome(conv, x), 1e-4)


@needs_numba
def test_kernels_refuse_a_padding_that_leaves_their_memory():
    x = random(1, 16, 8, 8)
    assert [kernels.serves(x, [random(16, 1, 5, 5)], (0, p)) for p in (4, 5, 6)] == [True, False, False]


@pytest.mark.parametrize("layer", [DepthwiseConv2d(16, 5, padding=2), WTConv2d(16, 5, 2)], ids=["depthwise", "wavelet"])
def test_half_precision_stays_with_pytorch(layer):
    """Our kernels read fp32 and bf16; what another autocast type stored would be taken for bf16."""
    x = random(2, 16, 9, 9)
    with torch.autocast("cpu", torch.float16):
        half = outcome(copy.deepcopy(layer), x)
    assert half[0].dtype == torch.float16
    compare(half, outcome(layer, x), 0.02)


@pytest.mark.parametrize("channels, width, kernel, stride", REAL, ids=lambda n: str(n))
def test_bfloat16_at_real_shapes(served, channels, width, kernel, stride):
    """Every depthwise shape of ConvNeXt-T and EfficientNet-Lite0 at 224 px, as it is trained; the test's name says which fails.

    Where PyTorch may serve, it may round as much as PyTorch's own layer does on this processor, and no more.
    """
    conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels)
    x = random(2, channels, width, width).contiguous(memory_format=torch.channels_last)
    exact = outcome(conv, x)
    with torch.autocast("cpu", torch.bfloat16):
        found, pytorch = outcome(DepthwiseConv2d.from_conv(conv), x), outcome(conv, x)
    assert found[0].dtype == torch.bfloat16
    for ours, its in zip(deviations(found, exact), deviations(pytorch, exact), strict=True):
        assert ours <= (0.02 if served == "ours" else max(0.02, 1.001 * its))


@needs_numba
@pytest.mark.parametrize("size, kernel", [((56, 56), 7), ((14, 14), 5), ((7, 7), 3), ((1, 1), 7)])
def test_bfloat16_is_close(size, kernel):
    conv = DepthwiseConv2d(32, kernel, padding=kernel // 2)
    x = random(2, 32, *size).bfloat16()
    compare(outcome(copy.deepcopy(conv).bfloat16(), x), outcome(conv, x.float()), 0.02)


@needs_numba
def test_bits_do_not_depend_on_threads():
    x, weight = random(5, 40, 15, 13), random(40, 1, 5, 5)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append([kernels.convolve(x, [weight], (15, 13), padding=(2, 2)),
                          *kernels.weight_gradients(x, x, [weight], padding=(2, 2))[0]])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other))


@needs_numba
def test_gate_of_a_fused_convolution():
    """The gate multiplies the input; its own gradient runs through each channel's sum of squares."""
    def gate_of(energy, slope):
        return 1 + torch.tanh(slope * energy)

    x, weight, bias = random(2, 24, 9, 8).requires_grad_(), random(24, 1, 3, 3, seed=2).requires_grad_(), random(24).requires_grad_()
    slope = (0.01 * random(24, seed=3)).requires_grad_()
    inputs = (x, weight, bias, slope)
    expected = F.conv2d(x * gate_of(x.square().sum((2, 3)), slope)[..., None, None], weight, bias, padding=1, groups=24)
    ours = fused_convolution(x, [weight], bias, padding=(1, 1), gate_of=gate_of, gate_parameters=(slope,))
    grad = random(*ours.shape, seed=4)
    compare([ours, *torch.autograd.grad(ours, inputs, grad)], [expected, *torch.autograd.grad(expected, inputs, grad)], 1e-4)


def test_a_frozen_kernel_gets_no_gradient():
    layer = DepthwiseConv2d(16, 3, padding=1).requires_grad_(False)
    x = random(1, 16, 6, 6).requires_grad_()
    layer(x).sum().backward()
    assert layer.weight.grad is None and x.grad is not None


def test_double_precision_stays_with_pytorch():
    layer = DepthwiseConv2d(16, 3, stride=2, padding=1).double()
    x = random(1, 16, 5, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(layer, x)


@pytest.mark.parametrize("name, count", [("convnext_atto", 12), ("tf_efficientnet_lite0", 16), ("resnet18", 0)])
def test_any_network_by_one_call(name, count):
    network = timm.create_model(name, num_classes=5).eval()
    x = random(1, 3, 64, 64)
    with torch.no_grad():
        before, names = network(x), list(network.state_dict())
        state = torch.random.get_rng_state()
        use_fast_depthwise(network)
        assert torch.equal(state, torch.random.get_rng_state()), "the surgery drew random numbers"
        assert torch.equal(network(x), before)
    assert list(network.state_dict()) == names
    assert sum(isinstance(m, DepthwiseConv2d) for m in network.modules()) == count


def test_importing_leaves_other_networks_alone():
    network = timm.create_model("convnext_atto")
    assert not any(isinstance(m, DepthwiseConv2d) for m in network.modules())
