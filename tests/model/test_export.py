"""ONNX files answer as the network does, at any batch size."""

import pytest
import torch

from koalib.model.architectures import VARIANTS
from koalib.model.weights import create

pytest.importorskip("onnx", reason="the extra koalib[onnx] is not installed")
pytest.importorskip("onnxruntime", reason="the extra koalib[onnx] is not installed")

from koalib.model.export import export_onnx, largest_difference  # noqa: E402


def awake(model):
    """Gates and scales away from their start, layer scales at 1, so that an export that drops a part is seen."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "gate" in name or "scale" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
            elif name.endswith(".gamma"):
                parameter.fill_(1.0)
    return model.eval()


def check(model, path, size):
    export_onnx(model, path, size)
    for batch in (1, 3):
        films = torch.randn(batch, 1, size, size, generator=torch.Generator().manual_seed(batch))
        scale = model(films).abs().max().item()
        assert largest_difference(model, path, films) < 1e-4 * max(scale, 1.0)


@pytest.mark.parametrize("size", [224, 160])
def test_convwgcnet(tmp_path, size):
    torch.manual_seed(0)
    check(awake(create("test_convnext", **VARIANTS["both"])), tmp_path / "a.onnx", size)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_a_small_network(tmp_path, variant):
    torch.manual_seed(0)
    check(awake(create("test_convnext", **VARIANTS[variant])), tmp_path / "a.onnx", 64)


def test_recipe_travels(tmp_path):
    import json

    import onnx
    model = create("test_convnext")
    props = onnx.load(export_onnx(model, tmp_path / "a.onnx", 64)).metadata_props
    assert json.loads({p.key: p.value for p in props}["koalib"]) == {**model.recipe, "size": 64}
    assert model.training and all(p.requires_grad for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("backbone", ["test_convnext", "tf_efficientnet_lite0"])
def test_every_variant(tmp_path, backbone, variant):
    torch.manual_seed(0)
    pretrained = "imagenet" if backbone.startswith("tf_") else "none"
    check(awake(create(backbone, pretrained, **VARIANTS[variant])), tmp_path / "a.onnx", 160)


@pytest.mark.slow
@pytest.mark.parametrize("size", [224, 160])
@pytest.mark.parametrize("name", ["convwgcnet_atto", "convwgcnet_tiny"])
def test_full_size(tmp_path, name, size):
    torch.manual_seed(0)
    check(awake(create(name)), tmp_path / "a.onnx", size)
