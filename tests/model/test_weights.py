"""Any network by name; pretrained ones see what they were trained to see; warm starts keep what fits."""

import numpy as np
import pytest
import skimage.data
import timm
import torch
from PIL import Image

from koalib.errors import UserError
from koalib.model.architectures import ARCHITECTURES, VARIANTS
from koalib.model.checkpoints import CheckpointError, save_checkpoint
from koalib.model.depthwise import DepthwiseConv2d
from koalib.model.weights import create

SMALL = "test_convnext"


def photograph(name):
    """A photograph as lite0's ImageNet evaluation shows it: centre square, 224 px, mean and deviation .5."""
    image = Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(image) / 127.5 - 1).float().permute(2, 0, 1)[None]


@pytest.mark.parametrize(("name", "classes"), [("chelsea", {281, 282, 285}), ("coffee", {967}), ("rocket", {657, 744, 812})])  # cats; espresso; missile, projectile, shuttle
def test_weights_from_the_wheel_name_photographs(name, classes):
    model = create("tf_efficientnet_lite0", "imagenet", num_classes=1000, in_chans=3).eval()
    with torch.no_grad():
        assert model(photograph(name)).argmax().item() in classes


@pytest.mark.parametrize("name", ["tf_efficientnet_lite1", "tf_efficientnet_lite2"])
def test_larger_wheels_name_a_cup_of_coffee(name):
    with torch.no_grad():
        assert create(name, "imagenet", num_classes=1000, in_chans=3).eval()(photograph("coffee")).argmax() == 967


def test_grey_stem_answers_as_rgb_with_three_equal_channels():
    grey = create("tf_efficientnet_lite0", "imagenet", num_classes=1000).eval()
    colour = create("tf_efficientnet_lite0", "imagenet", num_classes=1000, in_chans=3).eval()
    film = photograph("chelsea").mean(1, keepdim=True)
    with torch.no_grad():
        torch.testing.assert_close(grey(film), colour(film.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_pretrained_network_starts_with_almost_flat_probabilities():
    with torch.no_grad():
        p = create("tf_efficientnet_lite0", "imagenet").eval()(torch.randn(2, 1, 96, 96)).softmax(1)
    assert (p - 0.2).abs().max() < 0.01


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant not in ("neither", "replace")])
def test_modules_keep_the_pretrained_output_until_a_scale_moves(variant):
    options = VARIANTS[variant]
    plain = create("tf_efficientnet_lite0", "imagenet", num_classes=1000).eval()
    model = create("tf_efficientnet_lite0", "imagenet", num_classes=1000, **options).eval()
    x = photograph("chelsea")[:, :1]
    with torch.no_grad():
        before = plain(x)
        assert (model(x) - before).abs().max() < 1e-5 * before.abs().max()
        if options["wavelet"] == "add":
            for name, parameter in model.named_parameters():
                if ".scales." in name:
                    parameter.fill_(0.1)
            assert (model(x) - before).abs().max() > 1e-2 * before.abs().max()


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_runs_and_says_how_to_build_it(variant):
    options = VARIANTS[variant]
    model = create(SMALL, **options)
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 5)
    assert model.recipe == {"model": SMALL, "options": options, "num_classes": 5, "in_chans": 1}
    assert model.pretrained_source == "none"


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_compared_architecture_takes_a_grey_film(name):
    with torch.no_grad():
        assert create(name).eval()(torch.randn(1, 1, 224, 224)).shape == (1, 5)


def test_created_convwgcnet_is_timms():
    a, b = create("convwgcnet_atto").state_dict(), timm.create_model("convwgcnet_atto", num_classes=5, in_chans=1).state_dict()
    assert {k: v.shape for k, v in a.items()} == {k: v.shape for k, v in b.items()}


def test_depthwise_layers_are_fast_where_asked():
    counts = [sum(isinstance(m, DepthwiseConv2d) for m in create("tf_efficientnet_lite0", fast=fast).modules()) for fast in (True, False)]
    assert counts == [16, 0]


def test_warm_start_of_the_same_network_keeps_all(tmp_path):
    model = create(SMALL, **VARIANTS["both"])
    path = save_checkpoint(model, tmp_path / "a.safetensors")
    again = create(SMALL, str(path), **VARIANTS["both"])
    assert again.pretrained_source == "checkpoint: a.safetensors"
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))


def test_warm_start_of_the_backbone_then_modules(tmp_path):
    plain = create(SMALL)
    path = save_checkpoint(plain, tmp_path / "a.safetensors")
    model = create(SMALL, str(path), **VARIANTS["both"])
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), plain.eval()(x))


def test_warm_start_with_other_classes_draws_a_small_head(tmp_path):
    path = save_checkpoint(create(SMALL), tmp_path / "a.safetensors")
    model = create(SMALL, str(path), num_classes=3)
    assert model.head.fc.weight.shape[0] == 3 and model.head.fc.weight.abs().max() < 1e-4


def test_warm_start_that_does_not_fit(tmp_path):
    path = str(save_checkpoint(create(SMALL, **VARIANTS["gct"]), tmp_path / "a.safetensors"))
    with pytest.raises(CheckpointError, match="was trained with"):
        create(SMALL, path, **VARIANTS["wavelet"])
    with pytest.raises(CheckpointError, match="holds test_convnext"):
        create("test_efficientnet", path)
    with pytest.raises(CheckpointError, match="holds test_convnext"):
        create(SMALL, path, in_chans=3, **VARIANTS["gct"])


def test_mistakes_are_named():
    with pytest.raises(UserError, match="did you mean.*resnet18"):
        create("resnet18x")
    with pytest.raises(UserError, match="option it does not know"):
        create(SMALL, sharpness=3)
    with pytest.raises(UserError, match="gct='dwconf' is unknown"):
        create(SMALL, gct="dwconf")
