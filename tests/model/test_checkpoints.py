"""Checkpoints come back bit by bit, and damaged or foreign files are named in one line."""

import json

import pytest
import safetensors.torch
import torch
from torch import nn

from koalib.model.checkpoints import CheckpointError, read_checkpoint, save_checkpoint
from koalib.model.weights import create, load_checkpoint

SMALL = "test_convnext"


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = create(SMALL, gct="dwconv", wavelet="add", levels=(2, 2, 1, 1)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".gamma") or ".scales." in name:
                parameter.normal_()
    return model


def test_round_trip_is_exact(model, tmp_path):
    path = save_checkpoint(model, tmp_path / "a.safetensors", {"size": 64, "decision": {"temperature": 0.7}})
    again, metadata = load_checkpoint(path)
    assert metadata["model"] == SMALL and metadata["size"] == 64 and metadata["decision"] == {"temperature": 0.7}
    assert again.pretrained_source == "checkpoint: a.safetensors" and not again.training
    for (name, a), b in zip(model.state_dict().items(), again.state_dict().values()):
        assert torch.equal(a, b), name


def test_wavelet_filters_are_not_stored(model, tmp_path):
    tensors, _ = read_checkpoint(save_checkpoint(model, tmp_path / "a.safetensors"))
    assert tensors.keys() == {name for name, _ in model.named_parameters()}


def test_half_precision_halves_the_file_and_hardly_moves_the_logits(tmp_path):
    model = create("tf_efficientnet_lite0", "imagenet", num_classes=1000).eval()
    whole, half = (save_checkpoint(model, tmp_path / f"{h}.safetensors", half=h) for h in (False, True))
    assert half.stat().st_size < 0.53 * whole.stat().st_size
    x = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        a, b = model(x), load_checkpoint(half)[0](x)
    assert (a - b).abs().max() < 0.01 * (a.max() - a.min())
    assert all(p.dtype == torch.float32 for p in load_checkpoint(half)[0].parameters())


def test_half_precision_keeps_what_would_overflow(tmp_path):
    model = create(SMALL)
    with torch.no_grad():
        model.stem[0].weight[0, 0, 0, 0] = 1e6
    tensors, _ = read_checkpoint(save_checkpoint(model, tmp_path / "a.safetensors", half=True))
    assert tensors["stem.0.weight"].max() == 1e6


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_file(model, tmp_path, share):
    path = save_checkpoint(model, tmp_path / "a.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    one_line(path, "damaged or cut short")


def test_missing_and_foreign_files(tmp_path):
    one_line(tmp_path / "none.safetensors", "no such file")
    text = tmp_path / "text.safetensors"
    text.write_text("no weights")
    one_line(text, "damaged or cut short, or no safetensors")
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"a": torch.ones(2)}, foreign)
    one_line(foreign, "no checkpoint of ours")
    safetensors.torch.save_file({"a": torch.ones(2)}, foreign, {"koalib": json.dumps({"size": 3})})
    one_line(foreign, "recipe cannot be read")


def test_tensors_of_another_model(model, tmp_path):
    path = save_checkpoint(create("test_efficientnet"), tmp_path / "a.safetensors")
    tensors, _ = read_checkpoint(path)
    safetensors.torch.save_file(tensors, path, {"koalib": json.dumps(model.recipe)})
    one_line(path, "does not fit test_convnext")


def test_model_without_a_recipe_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="only models made by"):
        save_checkpoint(nn.Linear(2, 2), tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def one_line(path, text):
    with pytest.raises(CheckpointError, match=text) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value) and path.name in str(error.value)
