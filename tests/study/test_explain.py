"""Maps of networks whose answer is known by construction, and of every family that is compared."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from koalib.errors import UserError
from koalib.study.explain import grade_and_look, gradcam, occlusion, randomisation_check, similarity, target_layer


class LooksLeft(nn.Module):
    """Grade 4 speaks for brightness in the left half, grade 0 for brightness in the right one."""

    feature_info = [{"module": "features", "reduction": 2, "num_chs": 2}]

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.AvgPool2d(2)
        self.head = nn.Linear(1, 5)  # a weight, so that there is something to freeze and to redraw

    def forward(self, x):
        left, right = self.features(x).chunk(2, dim=-1)
        nothing = torch.zeros(len(x), 3)
        return torch.cat([right.mean((2, 3)), nothing, left.mean((2, 3))], dim=1)


@pytest.fixture
def film():
    return torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) + 0.1


@pytest.mark.parametrize(("grade", "half"), [(4, slice(0, 16)), (0, slice(16, 32))])
def test_occlusion_finds_the_half_that_decides(film, grade, half):
    heat = occlusion(LooksLeft(), film, np.array([grade, grade]))
    assert heat.shape == (2, 32, 32) and heat.max() == 1
    # the patches are 8 px wide and stop at the middle or cross it by half a patch
    assert heat[..., half].sum() > 0.75 * heat.sum()


def test_gradcam_differs_by_grade_and_defaults_to_the_predicted_one():
    torch.manual_seed(0)
    model, x = timm.create_model("resnet18", in_chans=1, num_classes=5).eval(), torch.randn(3, 1, 96, 96)
    with torch.no_grad():
        predicted = model(x).argmax(1).numpy()
    np.testing.assert_allclose(gradcam(model, x), gradcam(model, x, predicted))
    assert similarity(gradcam(model, x, predicted), gradcam(model, x, (predicted + 1) % 5))["spearman"] < 0.9


@pytest.mark.parametrize("name", ["convnext_atto", "tf_efficientnet_lite0", "resnet18", "mobilevit_s", "densenet121", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mobilenetv3_large_100"])
def test_every_family_gives_a_map_and_is_left_as_it_was(name):
    torch.manual_seed(0)
    size = 224 if "224" in name else 96
    model = timm.create_model(name, in_chans=1, num_classes=5)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    heat = gradcam(model, torch.randn(1, 1, size, size), np.array([2]))
    assert heat.shape == (1, size, size) and heat.min() >= 0 and heat.max() <= 1 and heat.std() > 0.01
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "convnext_atto", "resnet18"])
def test_one_pass_gives_scores_and_the_map_of_the_definition(name):
    torch.manual_seed(1)
    model, x = timm.create_model(name, in_chans=1, num_classes=5).eval(), torch.randn(3, 1, 96, 96)
    features = model.forward_features(x).detach().requires_grad_()
    logits = model.forward_head(features)
    gradient, = torch.autograd.grad(logits.max(dim=1).values.sum(), features)
    expected = (gradient.mean((2, 3), keepdim=True) * features).sum(1).clamp_min(0).detach()
    scores, maps = grade_and_look(model, x)
    assert expected.max() > 0
    torch.testing.assert_close(scores, logits.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=float(expected.max()) * 1e-5)
    assert not model.training and all(p.requires_grad and p.grad is None for p in model.parameters())


def test_ordinal_model_of_four_outputs_can_explain_the_last_grade():
    torch.manual_seed(0)
    model = timm.create_model("resnet18", in_chans=1, num_classes=4)
    lowest, highest = gradcam(model, torch.randn(1, 1, 64, 64).repeat(2, 1, 1, 1), np.array([0, 4]))
    assert max(lowest.max(), highest.max()) > 0 and not np.allclose(lowest, highest)


def test_map_is_never_coarser_than_seven_cells():
    model = timm.create_model("convnext_atto", in_chans=1, num_classes=5)
    assert target_layer(model, 224) is model.stages[3]
    assert target_layer(model, 160) is model.stages[2]
    assert target_layer(model, 64) is model.stages[1]


def test_model_without_feature_info_is_named():
    with pytest.raises(UserError, match="Linear: no feature_info"):
        gradcam(nn.Linear(2, 5), torch.zeros(1, 1, 32, 32))


def test_randomised_weights_change_the_map_and_the_model_stays():
    torch.manual_seed(0)
    model, x = timm.create_model("resnet18", in_chans=1, num_classes=5), torch.randn(2, 1, 96, 96)
    before = model.fc.weight.clone()
    table = randomisation_check(model, x)
    assert table.randomised[0] == "nothing" and table.spearman[0] == pytest.approx(1)
    assert table.randomised[1] == "fc" and table.randomised.iloc[-1] == "conv1"
    assert table.spearman.iloc[-1] < 0.7
    assert torch.equal(before, model.fc.weight) and model.training


def test_a_method_that_ignores_the_weights_fails_the_check():
    model, x = timm.create_model("resnet18", in_chans=1, num_classes=5), torch.randn(2, 1, 64, 64)
    edges = randomisation_check(model, x, method=lambda model, x, grades: x[:, 0].sigmoid().numpy())
    assert (edges.spearman > 0.999).all()


def test_similarity_of_constant_maps_is_zero():
    assert similarity(np.zeros((1, 16, 16)), np.random.default_rng(0).random((1, 16, 16)))["spearman"] == 0
