"""The two building blocks of ConvWGCNet: gated channel transformation and wavelet convolution.

GCT: Yang, Zhu, Wu, Yang, "Gated Channel Transformation for Visual Recognition", CVPR 2020, arXiv 1909.11519.
WTConv: Finder, Amoyal, Treister, Freifeld, "Wavelet Convolutions for Large Receptive Fields", ECCV 2024, arXiv 2407.05848.
"""

from typing import Callable

import torch
import torch.nn.functional as F
from timm.layers import EcaModule, SEModule
from torch import Tensor, nn

from koalib.errors import UserError
from koalib.model.depthwise import DepthwiseConv2d, depthwise_conv2d
from koalib.model.wavelets import dwt2d, idwt2d


class GCT(nn.Module):
    """Gated channel transformation (CVPR 2020, eq. 2-5): channels compete or cooperate through one number each.

    The identity at the start; alpha has no gradient until gamma has moved.

    Args:
        norm: "l2" (the paper's choice) or "l1" embedding, both summed over pixels.
        channels_last: input is (B, H, W, C), as before a linear layer, instead of (B, C, H, W).
    """

    def __init__(self, channels: int, norm: str = "l2", channels_last: bool = False, eps: float = 1e-5):
        super().__init__()
        if norm not in ("l1", "l2"):
            raise UserError(f"unknown GCT norm {norm!r}: take l2 or l1")
        self.norm, self.channels_last, self.eps = norm, channels_last, eps
        self.alpha = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def of_energy(self, energy: Tensor, alpha: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """Gate (B, C) in (0, 2) from each channel's sum of squares (l2) or of magnitudes (l1) over pixels, (B, C)."""
        alpha, gamma, beta = (p.to(energy.dtype).flatten() for p in (alpha, gamma, beta))
        if self.norm == "l2":
            embedding = alpha * (energy + self.eps).sqrt()
            normaliser = (embedding.square().mean(1, keepdim=True) + self.eps).sqrt()
        else:
            embedding = alpha * energy
            normaliser = embedding.abs().mean(1, keepdim=True) + self.eps
        return 1 + torch.tanh(gamma * embedding / normaliser + beta)

    @property
    def of_squares(self) -> Callable | None:
        """`of_energy` where it takes sums of squares, which a fused convolution provides, else None."""
        return self.of_energy if self.norm == "l2" else None

    def forward(self, x: Tensor) -> Tensor:
        pixels = (1, 2) if self.channels_last else (2, 3)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # a sum over thousands of pixels needs more than bf16
        energy = wide.square().sum(pixels) if self.norm == "l2" else wide.abs().sum(pixels)
        gate = self.of_energy(energy, self.alpha, self.gamma, self.beta).to(x.dtype)
        return x * (gate[:, None, None] if self.channels_last else gate[:, :, None, None])

    def extra_repr(self) -> str:
        return f"{self.alpha.shape[1]}, norm={self.norm}"


class TwiceSigmoid(nn.Module):
    """2 sigmoid(x): a gate in (0, 2) that is 1 at 0, so that a zero start leaves the network as it was."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * torch.sigmoid(x)


def make_gate(kind: str, channels: int, channels_last: bool = False) -> nn.Module:
    """A channel gate that starts as the identity: "gct", or one of its controls "se" and "eca"."""
    if kind == "gct":
        return GCT(channels, channels_last=channels_last)
    if kind == "se":
        gate = SEModule(channels, gate_layer=TwiceSigmoid)
        nn.init.zeros_(gate.fc2.weight)
        nn.init.zeros_(gate.fc2.bias)
        return gate
    gate = EcaModule(channels, gate_layer=TwiceSigmoid)
    nn.init.zeros_(gate.conv.weight)
    return gate


def _open_gate(layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    return layer.gate(inputs[0])


def put_gate_before(layer: nn.Module, gate: nn.Module) -> None:
    """Let every input of `layer` pass `gate` first; the layer's own parameters keep their names."""
    layer.gate = gate
    if not isinstance(layer, DepthwiseConv2d):  # which sees to its gate itself
        layer.register_forward_pre_hook(_open_gate)


class WTConv2d(DepthwiseConv2d):
    """Wavelet convolution (ECCV 2024, Algorithm 1): a depthwise convolution and one on the bands of each wavelet level.

    `weight` and `bias` are the base convolution's, under the names of `nn.Conv2d`. Band kernels `bands.i` are
    (4C, 1, k, k) with the bands LL, LH, HL, HH of a channel side by side, their factors `scales.i` are (1, 4C, 1, 1);
    the finest level is the first. The wavelet's filters are constants, no parameters.

    Args:
        kernel_size: of the base convolution (odd); `wavelet_kernel` of those on the bands.
        wavelet: any discrete wavelet of PyWavelets; `mode` its signal extension. Haar in mode "zero" is fast.
        base_scale: give the base convolution a factor for each channel, as published; None leaves it out.
        scale: start of the bands' factors; .1 as published, 0 to start as the base convolution alone.
    """

    def __init__(self, channels: int, kernel_size: int = 5, levels: int = 1, wavelet: str = "haar", mode: str = "zero",
                 wavelet_kernel: int = 5, bias: bool = True, base_scale: float | None = 1.0, scale: float = 0.1):
        if kernel_size % 2 == 0 or wavelet_kernel % 2 == 0:
            raise UserError(f"wavelet convolution with kernels {kernel_size} and {wavelet_kernel}: both must be odd")
        super().__init__(channels, kernel_size, padding=kernel_size // 2, bias=bias)
        self.wavelet, self.mode = wavelet, mode
        self.base_scale = None if base_scale is None else nn.Parameter(torch.full((1, channels, 1, 1), base_scale))
        self.bands = nn.ParameterList(torch.empty(4 * channels, 1, wavelet_kernel, wavelet_kernel) for _ in range(levels))
        self.scales = nn.ParameterList(torch.full((1, 4 * channels, 1, 1), scale) for _ in range(levels))
        for kernel in self.bands:
            nn.init.kaiming_uniform_(kernel, a=5**0.5)  # as nn.Conv2d starts

    def base(self) -> tuple[Tensor, Tensor | None]:
        if self.base_scale is None:
            return self.weight, self.bias
        # a factor multiplies a few weights instead of every pixel
        bias = None if self.bias is None else self.bias * self.base_scale.view(-1)
        return self.weight * self.base_scale.view(-1, 1, 1, 1), bias

    def _kernels(self) -> list[Tensor]:
        return [kernel * scale.view(-1, 1, 1, 1) for kernel, scale in zip(self.bands, self.scales)]

    def band_kernels(self) -> list[Tensor] | None:
        haar = self.wavelet in ("haar", "db1") and self.mode == "zero"
        return self._kernels() if haar else None

    def beside(self, x: Tensor) -> Tensor | None:
        """Sum of the wavelet levels' outputs, coarsest first, (B, C, H, W)."""
        sizes, filtered = [], []
        for kernel in self._kernels():
            sizes.append(x.shape[-2:])
            bands = self._split(x)
            x = bands[:, :, 0]
            out = depthwise_conv2d(bands.flatten(1, 2), kernel, None, padding=(kernel.shape[-1] // 2,) * 2)
            filtered.append(out.unflatten(1, (-1, 4)))
        total = None
        for size, bands in zip(reversed(sizes), reversed(filtered)):
            if total is not None:
                bands = torch.cat((bands[:, :, :1] + total.unsqueeze(2), bands[:, :, 1:]), 2)
            total = self._join(bands, size)
        return total

    def _split(self, x: Tensor) -> Tensor:
        return dwt2d(x, self.wavelet, self.mode)

    def _join(self, bands: Tensor, size: tuple[int, int]) -> Tensor:
        return idwt2d(bands, size, self.wavelet, self.mode)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, levels={len(self.bands)}, wavelet={self.wavelet}"


class UnshuffledConv2d(WTConv2d):
    """Control of `WTConv2d` with as many parameters and multiply-adds: its bands and levels without the wavelet.

    The four pixels of each 2x2 block take the places of the four Haar bands (pixel unshuffle), the first that of the low
    band, from which the next level is made. What a wavelet adds is then the one difference: that bands are sums and
    differences of pixels. It merges into no plain kernel. Arguments as `WTConv2d`'s, without ``wavelet`` and ``mode``.
    """

    def __init__(self, channels: int, kernel_size: int = 5, levels: int = 1, **options):
        super().__init__(channels, kernel_size, levels, **options)
        self.wavelet = "unshuffle"  # none of PyWavelets': neither our kernels nor the ONNX export take it for Haar

    def _split(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
        return F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4))

    def _join(self, bands: Tensor, size: tuple[int, int]) -> Tensor:
        return F.pixel_shuffle(bands.flatten(1, 2), 2)[..., : size[0], : size[1]]


class WideBranchConv2d(DepthwiseConv2d):
    """Control of `WTConv2d` for what a second, scaled branch does to the training by itself.

    A plain depthwise convolution beside the base: two kernels on one input are one kernel, so with a base that is no
    smaller the layer computes what the plain network's can, at its cost. It is no control for the wavelet branch's size;
    `UnshuffledConv2d` is.
    """

    def __init__(self, channels: int, kernel_size: int = 7, branch_kernel: int = 5, bias: bool = True):
        super().__init__(channels, kernel_size, padding=max(kernel_size, branch_kernel) // 2, bias=bias)
        self.branch = nn.Parameter(torch.empty(channels, 1, branch_kernel, branch_kernel))
        self.scale = nn.Parameter(torch.zeros(1, channels, 1, 1))
        nn.init.kaiming_uniform_(self.branch, a=5**0.5)

    def base(self) -> tuple[Tensor, Tensor | None]:
        # two kernels on one input are one kernel: the smaller is laid into the centre of the larger
        margin = (self.kernel_size[0] - self.branch.shape[-1]) // 2
        branch = self.branch * self.scale.view(-1, 1, 1, 1)
        return F.pad(self.weight, (max(-margin, 0),) * 4) + F.pad(branch, (max(margin, 0),) * 4), self.bias
