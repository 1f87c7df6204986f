"""The two building blocks of ConvWGCNet: gated channel transformation and wavelet convolution.

GCT: Yang, Zhu, Wu, Yang, "Gated Channel Transformation for Visual Recognition", CVPR 2020, arXiv 1909.11519.
WTConv: Finder, Amoyal, Treister, Freifeld, "Wavelet Convolutions for Large Receptive Fields", ECCV 2024, arXiv 2407.05848.
"""

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

    def gate(self, x: Tensor) -> Tensor:
        """The factor of each channel, (B, C, 1, 1) or (B, 1, 1, C), in (0, 2)."""
        pixels, channel = ((1, 2), 3) if self.channels_last else ((2, 3), 1)
        shape = (1, 1, 1, -1) if self.channels_last else (1, -1, 1, 1)
        alpha, gamma, beta = (p.to(torch.promote_types(x.dtype, torch.float32)).view(shape)
                              for p in (self.alpha, self.gamma, self.beta))
        x = x.to(alpha.dtype)  # a sum over thousands of pixels needs more than bf16
        if self.norm == "l2":
            embedding = alpha * (x.square().sum(pixels, keepdim=True) + self.eps).sqrt()
            scale = (embedding.square().mean(channel, keepdim=True) + self.eps).rsqrt()
        else:
            embedding = alpha * x.abs().sum(pixels, keepdim=True)
            scale = 1 / (embedding.abs().mean(channel, keepdim=True) + self.eps)
        return 1 + torch.tanh(gamma * (embedding * scale) + beta)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x).to(x.dtype)

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
    layer.register_forward_pre_hook(_open_gate)


class WTConv2d(DepthwiseConv2d):
    """Wavelet convolution (ECCV 2024, Algorithm 1): a depthwise convolution and one on the bands of each wavelet level.

    `weight` and `bias` are the base convolution's, under the names of `nn.Conv2d`. Band kernels `bands.i` are
    (4C, 1, k, k) with the bands LL, LH, HL, HH of a channel side by side, their factors `scales.i` are (1, 4C, 1, 1).
    The wavelet's filters are constants, no parameters.

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

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        if self.base_scale is not None:
            weight = weight * self.base_scale.view(-1, 1, 1, 1)
            bias = None if bias is None else bias * self.base_scale.view(-1)
        base = depthwise_conv2d(x, weight, bias, padding=self.padding)
        return base + self._wavelet_branch(x.to(base.dtype))

    def _wavelet_branch(self, x: Tensor) -> Tensor:
        """Sum of the levels' outputs, coarsest first, (B, C, H, W)."""
        sizes, filtered = [], []
        for kernel, scale in zip(self.bands, self.scales):
            sizes.append(x.shape[-2:])
            bands = dwt2d(x, self.wavelet, self.mode)
            x = bands[:, :, 0]
            padding = (kernel.shape[-1] // 2,) * 2
            # the factor multiplies a few weights instead of every pixel
            out = depthwise_conv2d(bands.flatten(1, 2), kernel * scale.view(-1, 1, 1, 1), None, padding=padding)
            filtered.append(out.unflatten(1, (-1, 4)))
        total = 0
        for size, bands in zip(reversed(sizes), reversed(filtered)):
            bands = torch.cat((bands[:, :, :1] + (total if torch.is_tensor(total) else 0), bands[:, :, 1:]), 2)
            total = idwt2d(bands, size, self.wavelet, self.mode).unsqueeze(2)
        return total.squeeze(2)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, levels={len(self.bands)}, wavelet={self.wavelet}"


class WideBranchConv2d(DepthwiseConv2d):
    """Control of `WTConv2d`: the base convolution and a plain depthwise one beside it, scaled, without wavelets."""

    def __init__(self, channels: int, kernel_size: int = 7, branch_kernel: int = 5, bias: bool = True):
        super().__init__(channels, kernel_size, padding=kernel_size // 2, bias=bias)
        self.branch = nn.Parameter(torch.empty(channels, 1, branch_kernel, branch_kernel))
        self.scale = nn.Parameter(torch.zeros(1, channels, 1, 1))
        nn.init.kaiming_uniform_(self.branch, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        # two kernels on one input are one kernel: the smaller is laid into the centre of the larger
        margin = (self.kernel_size[0] - self.branch.shape[-1]) // 2
        base = F.pad(self.weight, (max(-margin, 0),) * 4)
        branch = F.pad(self.branch * self.scale.view(-1, 1, 1, 1), (max(margin, 0),) * 4)
        kernel = base + branch
        return depthwise_conv2d(x, kernel, self.bias, padding=(kernel.shape[-1] // 2,) * 2)
