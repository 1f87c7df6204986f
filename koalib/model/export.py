"""Networks as ONNX files, which other programs run without PyTorch, checked against the network they came from."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from koalib.errors import UserError
from koalib.paths import atomic_write


def export_onnx(model: nn.Module, path: str | Path, size: int = 224) -> Path:
    """Write ``model`` as ONNX: input ``films`` (B, in_chans, size, size) with B free, output ``logits`` (B, classes).

    The file carries the model's recipe and size under the key ``koalib``. The network itself is left as it is.
    """
    onnx = _package("onnx")
    still = copy.deepcopy(model).eval().cpu().float().requires_grad_(False)
    example = torch.zeros(2, model.recipe["in_chans"], size, size)
    with torch.no_grad():
        program = torch.onnx.export(
            still, (example,), dynamo=True, input_names=["films"], output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), external_data=False, verbose=False)
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {"koalib": json.dumps({**model.recipe, "size": size}, sort_keys=True)})
    content = io.BytesIO()
    onnx.save_model(proto, content)
    return atomic_write(path, content.getvalue())


def onnx_logits(path: str | Path, films: np.ndarray) -> np.ndarray:
    """Run an exported file on films (B, C, H, W) float32 with ONNX Runtime: logits (B, classes)."""
    session = _package("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"films": films})[0]


def largest_difference(model: nn.Module, path: str | Path, films: torch.Tensor) -> float:
    """Largest absolute difference between the network's logits and the exported file's on the same films."""
    with torch.no_grad():
        own = copy.deepcopy(model).eval()(films).numpy()
    return float(np.abs(own - onnx_logits(path, films.numpy())).max())


def _package(name: str):
    """A package of the optional extra ``onnx``."""
    try:
        return __import__(name)
    except ImportError as error:
        raise UserError(f"ONNX needs the package {name}: pip install 'koalib[onnx]'") from error
