"""Networks as ONNX files, which other programs run without PyTorch, checked against the network they came from."""

from __future__ import annotations

import copy
import importlib
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from koalib.errors import UserError
from koalib.model.layers import WTConv2d, put_gate_before
from koalib.paths import atomic_write


def export_onnx(model: nn.Module, path: str | Path, size: int = 224) -> Path:
    """Write ``model`` as ONNX: input ``films`` (B, in_chans, size, size) with B free, output ``logits`` (B, classes).

    The file carries the model's recipe and size under the key ``koalib``. The network itself is left as it is.
    """
    onnx = _package("onnx")
    _package("onnxscript")
    still = _exportable(model)
    example = torch.zeros(2, model.recipe["in_chans"], size, size)
    with torch.no_grad():
        program = torch.onnx.export(
            still, (example,), dynamo=True, input_names=["films"], output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), external_data=False, verbose=False)
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {"koalib": json.dumps({**model.recipe, "size": size}, sort_keys=True)})
    return atomic_write(path, proto.SerializeToString())


def onnx_logits(path: str | Path, films: np.ndarray) -> np.ndarray:
    """Run an exported file on films (B, C, H, W) float32 with ONNX Runtime: logits (B, classes)."""
    session = _package("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"films": films})[0]


def largest_difference(model: nn.Module, path: str | Path, films: Tensor) -> float:
    """Largest absolute difference between the network's logits and the exported file's on the same films."""
    with torch.no_grad():
        own = copy.deepcopy(model).eval()(films).numpy()
    return float(np.abs(own - onnx_logits(path, films.numpy())).max())


class _StillWTConv(nn.Module):
    """A Haar `WTConv2d` with constant weights, in the few operations that ONNX has for it.

    The low band is twice the mean of each 2x2 block; what comes up from the level below is half its nearest-neighbour
    enlargement. Both are what the Haar filters compute, and spare the slices of the butterfly.
    """

    def __init__(self, layer: WTConv2d):
        super().__init__()
        scale = layer.weight.new_ones(1) if layer.base_scale is None else layer.base_scale.flatten()
        self.weight, self.bias = layer.weight * scale.view(-1, 1, 1, 1), None if layer.bias is None else layer.bias * scale
        self.padding = layer.padding
        self.bands = [kernel * factor.view(-1, 1, 1, 1) for kernel, factor in zip(layer.bands, layer.scales)]
        signs = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])  # LL, LH, HL, HH on a 2x2 block
        self.haar = (0.5 * signs).view(4, 1, 2, 2).repeat(len(layer.weight), 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        base = F.conv2d(x, self.weight, self.bias, padding=self.padding, groups=channels)
        sizes, filtered = [], []
        for kernel in self.bands:
            sizes.append(x.shape[-2:])
            x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
            bands = F.conv2d(x, self.haar, stride=2, groups=channels)
            filtered.append(F.conv2d(bands, kernel, padding=kernel.shape[-1] // 2, groups=4 * channels))
            x = 2 * F.avg_pool2d(x, 2)
        deeper = None
        for (height, width), bands in zip(reversed(sizes), reversed(filtered)):
            total = F.conv_transpose2d(bands, self.haar, stride=2, groups=channels)
            total = total if deeper is None else total + 0.5 * F.interpolate(deeper, scale_factor=2.0, mode="nearest")
            deeper = total[..., :height, :width]
        return base + deeper


def _exportable(model: nn.Module) -> nn.Module:
    """A frozen copy on the CPU in which every Haar wavelet convolution is a `_StillWTConv`."""
    still = copy.deepcopy(model).eval().cpu().float().requires_grad_(False)
    for parent in list(still.modules()):
        for name, child in parent.named_children():
            if isinstance(child, WTConv2d) and (child.wavelet, child.mode) == ("haar", "zero"):
                plain = _StillWTConv(child)
                if child.gate is not None:
                    put_gate_before(plain, child.gate)
                setattr(parent, name, plain)
    return still


def _package(name: str):
    """A package of the optional extra ``onnx``."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"ONNX needs the package {name}: pip install 'koalib[onnx]'") from error
