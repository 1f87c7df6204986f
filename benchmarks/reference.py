"""Wavelet convolution as its authors' reference computes it, the slow rival: Haar as grouped convolutions, separate scales.

Written from Algorithm 1 of Finder et al., ECCV 2024 (arXiv 2407.05848), in the operations of its reference code.
"""

from __future__ import annotations

import pywt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from koalib.model.layers import WTConv2d


class ReferenceWTConv2d(nn.Module):
    """The function of a `WTConv2d` in mode "zero", with its parameters, for wavelets of two taps."""

    def __init__(self, layer: WTConv2d):
        super().__init__()
        self.layer = layer
        low, high = (torch.tensor(taps[::-1]) for taps in pywt.Wavelet(layer.wavelet).filter_bank[:2])
        bands = [torch.outer(down, across) for across in (low, high) for down in (low, high)]  # LL, LH, HL, HH
        filters = torch.stack(bands)
        self.register_buffer("filters", filters.repeat(layer.in_channels, 1, 1)[:, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        layer, channels = self.layer, x.shape[1]
        base = F.conv2d(x, layer.weight, layer.bias, padding=layer.padding, groups=channels)
        if layer.base_scale is not None:
            base = base * layer.base_scale
        filters = self.filters.to(base.dtype)
        sizes, outputs, low = [], [], x
        for kernel, scale in zip(layer.bands, layer.scales):
            sizes.append(low.shape[-2:])
            low = F.pad(low, (0, low.shape[-1] % 2, 0, low.shape[-2] % 2))
            bands = F.conv2d(low, filters, stride=2, groups=channels)
            low = bands[:, ::4]
            outputs.append(F.conv2d(bands, kernel, padding=kernel.shape[-1] // 2, groups=4 * channels) * scale)
        deeper = 0
        for (height, width), bands in zip(reversed(sizes), reversed(outputs)):
            bands = bands.unflatten(1, (channels, 4))
            bands = torch.cat((bands[:, :, :1] + deeper, bands[:, :, 1:]), 2).flatten(1, 2)
            deeper = F.conv_transpose2d(bands, filters, stride=2, groups=channels)[..., :height, :width].unsqueeze(2)
        return base + deeper.squeeze(2)


def use_reference(model: nn.Module) -> nn.Module:
    """Put the reference form in the place of every `WTConv2d` of a network, without gates, in place."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, WTConv2d):
                setattr(parent, name, ReferenceWTConv2d(child))
    return model
