"""Channel gates and wavelet convolutions keep to their definitions."""

import numpy as np
import pytest
import pywt
import torch
from scipy.signal import correlate2d
from torch import nn

from benchmarks.reference import ReferenceWTConv2d
from koalib.errors import UserError
from koalib.model.layers import GCT, DepthwiseConv2d, UnshuffledConv2d, WideBranchConv2d, WTConv2d, make_gate, put_gate_before
from koalib.model.wavelets import dwt2d


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outcome(layer, x, parameters):
    x = x.clone().requires_grad_()
    out = layer(x)
    return [out, *torch.autograd.grad(out, [x, *parameters], random(*out.shape, seed=1))]


def assert_close(ours, expected, tolerance=1e-4):
    for a, b in zip(ours, expected, strict=True):
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1.0)


# --- gated channel transformation


def gct_by_definition(x, alpha, gamma, beta, norm, eps=1e-5):
    """CVPR 2020, equations 2 to 5, one channel of one film after another."""
    out = torch.empty_like(x)
    for film in range(len(x)):
        if norm == "l2":
            s = [alpha[c] * ((x[film, c] ** 2).sum() + eps) ** 0.5 for c in range(x.shape[1])]
            size = (sum(v**2 for v in s) / len(s) + eps) ** 0.5
        else:
            s = [alpha[c] * x[film, c].abs().sum() for c in range(x.shape[1])]
            size = sum(abs(v) for v in s) / len(s) + eps
        for c in range(x.shape[1]):
            out[film, c] = x[film, c] * (1 + torch.tanh(gamma[c] * s[c] / size + beta[c]))
    return out


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_gct_equals_its_definition(norm):
    gate, x = GCT(6, norm).double(), random(2, 6, 5, 4).double()
    for seed, parameter in enumerate(gate.parameters()):
        parameter.data = random(1, 6, 1, 1, seed=seed).double()
    expected = gct_by_definition(x, *(p.flatten() for p in gate.parameters()), norm)
    torch.testing.assert_close(gate(x), expected, rtol=1e-12, atol=1e-12)
    last = GCT(6, norm, channels_last=True).double()
    last.load_state_dict(gate.state_dict())
    torch.testing.assert_close(last(x.permute(0, 2, 3, 1)), expected.permute(0, 2, 3, 1), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(gate, x.requires_grad_())


@pytest.mark.parametrize("kind", ["gct", "se", "eca"])
def test_a_gate_starts_as_the_identity(kind):
    x = random(2, 16, 6, 6)
    assert torch.equal(make_gate(kind, 16)(x), x)


def test_gct_stays_between_zero_and_two():
    gate = GCT(8)
    for seed, parameter in enumerate(gate.parameters()):
        parameter.data = 100 * random(1, 8, 1, 1, seed=seed)
    ratio = gate(torch.ones(1, 8, 4, 4))
    assert 0 <= ratio.min() and ratio.max() <= 2 and ratio.max() - ratio.min() > 1


def test_gct_does_not_depend_on_resolution():
    gate = GCT(8)
    gate.gamma.data = random(1, 8, 1, 1)
    x = random(1, 8, 5, 5)
    fine = x.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(gate(fine)[..., ::4, ::4], gate(x), rtol=1e-4, atol=1e-4)


# --- wavelet convolution


@pytest.mark.parametrize("size, levels", [((56, 56), 5), ((28, 28), 4), ((14, 14), 3), ((7, 7), 2), ((33, 47), 3), ((1, 1), 2)])
@pytest.mark.parametrize("base_scale", [None, 1.0])
def test_wavelet_convolution_equals_its_definition(size, levels, base_scale):
    layer = WTConv2d(20, 7 if base_scale is None else 5, levels, base_scale=base_scale, scale=0.7)
    parameters = list(layer.parameters())
    assert_close(outcome(layer, random(2, 20, *size), parameters), outcome(ReferenceWTConv2d(layer), random(2, 20, *size), parameters))


@pytest.mark.parametrize("wavelet", ["haar", "db2", "sym3", "bior2.2"])
@pytest.mark.parametrize("size", [(14, 14), (33, 47), (7, 5)])
def test_identity_kernels_reconstruct(wavelet, size):
    layer = WTConv2d(16, 3, 2, wavelet, wavelet_kernel=3, bias=False, base_scale=None, scale=1.0)
    nn.init.zeros_(layer.weight)
    for kernel in layer.bands:
        nn.init.zeros_(kernel)
        kernel.data[:, :, 1, 1] = 1
    x = random(1, 16, *size)
    # the low band is kept by level 1 and again, reconstructed, by level 2
    low = WTConv2d(16, 3, 1, wavelet, wavelet_kernel=3, bias=False, base_scale=None, scale=1.0)
    nn.init.zeros_(low.weight)
    nn.init.zeros_(low.bands[0])
    low.bands[0].data[::4, :, 1, 1] = 1
    assert (layer(x) - x - low(x)).abs().max() < 1e-5


def test_kernels_agree_with_pytorch_path_when_gated(monkeypatch):
    layer = WTConv2d(24, 7, 2, base_scale=None, scale=0.5)
    put_gate_before(layer, GCT(24))
    for seed, parameter in enumerate(layer.gate.parameters()):
        parameter.data = random(1, 24, 1, 1, seed=seed)
    x, parameters = random(2, 24, 9, 14), list(layer.parameters())
    ours = outcome(layer, x, parameters)
    monkeypatch.setattr("koalib.model.depthwise.fuses", lambda *_: False)
    assert_close(ours, outcome(layer, x, parameters))


def test_filters_are_constants():
    layer = WTConv2d(16, 5, 2)
    assert {name.split(".")[0] for name in layer.state_dict()} == {"weight", "bias", "bands", "scales", "base_scale"}
    x, film = random(1, 16, 8, 8), random(1, 1, 9, 8)
    assert not list(layer.buffers())
    before = [dwt2d(film, wavelet) for wavelet in ("haar", "db2")]
    optimiser = torch.optim.SGD(layer.parameters(), 0.1)
    layer(x).square().sum().backward()
    optimiser.step()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in layer.parameters())
    assert all(torch.equal(dwt2d(film, wavelet), old) for wavelet, old in zip(("haar", "db2"), before))


def by_pywavelets(layer, film):
    """Algorithm 1 of the paper on one film (C, H, W), one channel and band after another."""
    out = []
    for c, x in enumerate(film):
        low, sizes, filtered = x, [], []
        for kernel, scale in zip(layer.bands, layer.scales):
            sizes.append(low.shape)
            low, details = pywt.dwt2(low, layer.wavelet, layer.mode)
            rows = range(4 * c, 4 * c + 4)
            filtered.append([correlate2d(band, kernel[i, 0], "same") * scale[0, i, 0, 0].item() for i, band in zip(rows, (low, *details))])
        total = 0.0
        for size, (first, *rest) in zip(reversed(sizes), reversed(filtered)):
            total = pywt.idwt2((first + total, rest), layer.wavelet, layer.mode)[: size[0], : size[1]]
        out.append(correlate2d(x, layer.weight[c, 0], "same") + layer.bias[c].item() + total)
    return torch.tensor(np.stack(out))


@torch.no_grad()
@pytest.mark.parametrize("mode", ["zero", "symmetric", "antireflect"])
@pytest.mark.parametrize("wavelet", ["haar", "db2", "bior2.2"])
def test_any_wavelet_equals_the_definition(wavelet, mode):
    layer = WTConv2d(3, 5, 2, wavelet, mode, base_scale=None, scale=0.7).double()
    x = random(2, 3, 13, 10).double()
    torch.testing.assert_close(layer(x), torch.stack([by_pywavelets(layer, film) for film in x.numpy()]), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_the_control_without_wavelets_filters_every_second_pixel():
    layer = UnshuffledConv2d(16, 5, 2, wavelet_kernel=3, bias=False, base_scale=None, scale=1.0)
    nn.init.zeros_(layer.weight)
    x = random(1, 16, 9, 6)
    for kernel in layer.bands:
        nn.init.zeros_(kernel)
        kernel[:, :, 1, 1] = 1
    again = torch.zeros_like(x)
    again[..., ::2, ::2] = x[..., ::2, ::2]  # the first of the four is kept by level 1 and again by level 2
    torch.testing.assert_close(layer(x), x + again)


@pytest.mark.parametrize("wavelet", ["haar", "db2"])
def test_gradients_in_double_precision(wavelet):
    layer = WTConv2d(2, 3, 1, wavelet, wavelet_kernel=3, scale=0.5).double()
    assert torch.autograd.gradcheck(layer, random(1, 2, 5, 4).double().requires_grad_())


@pytest.mark.parametrize("kernel", [3, 7])
def test_wide_branch_is_a_sum_of_two_convolutions(kernel):
    layer, x = WideBranchConv2d(16, kernel), random(1, 16, 9, 9)
    layer.scale.data = random(1, 16, 1, 1)
    base = nn.functional.conv2d(x, layer.weight, layer.bias, padding=kernel // 2, groups=16)
    branch = nn.functional.conv2d(x, layer.branch, padding=2, groups=16) * layer.scale
    torch.testing.assert_close(layer(x), base + branch, rtol=1e-4, atol=1e-5)


def test_mistakes_are_told():
    with pytest.raises(UserError, match="both must be odd"):
        WTConv2d(16, 4)
    with pytest.raises(UserError, match="unknown GCT norm"):
        GCT(4, "l3")


def test_a_gate_before_a_layer_keeps_its_names():
    layer = DepthwiseConv2d(16, 3)
    put_gate_before(layer, GCT(16))
    assert {"weight", "bias"} < set(layer.state_dict())
