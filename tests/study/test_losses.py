"""Losses against their definitions."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from coral_pytorch.dataset import levels_from_labelbatch
from coral_pytorch.losses import coral_loss

from koalib.model.heads import CoralHead
from koalib.model.weights import create, load_checkpoint, save_checkpoint
from koalib.study.experiment import LOSSES, Experiment
from koalib.study.losses import batch_mass, class_weights, distilled, log_probabilities, make_loss, outputs, soft_labels

GRADE = torch.tensor([0, 1, 2, 3, 4, 2])


def test_soft_labels_fall_with_distance() -> None:
    target = soft_labels(torch.tensor([2]), 0.5)[0]
    expected = torch.softmax(-torch.tensor([2.0, 1, 0, 1, 2]) / 0.5, 0)
    assert torch.allclose(target, expected) and target.argmax() == 2


def test_class_weights_even_out_the_grades() -> None:
    grades = torch.tensor([0] * 8 + [1] * 2)
    weights = class_weights(grades)
    assert torch.isclose(weights[0] * 8, weights[1] * 2)


@pytest.mark.parametrize("name", LOSSES)
def test_parts_of_a_batch_make_up_its_loss(name: str) -> None:
    """As several processes each hold a part, of unequal size and grades."""
    torch.manual_seed(0)
    experiment, grade = Experiment("phantom", "m", loss=name), torch.tensor([0, 0, 0, 0, 1, 2, 4])
    z, loss_of, mass_of = torch.randn(7, outputs(name)), make_loss(experiment, grade), batch_mass(experiment, grade)
    parts = [(loss_of(z[k::2], grade[k::2]), mass_of(grade[k::2])) for k in (0, 1)]
    assert loss_of(z, grade).item() == pytest.approx((sum(loss * mass for loss, mass in parts) / sum(mass for _, mass in parts)).item(), rel=1e-5)


def test_a_teacher_is_learnt_beside_the_grades() -> None:
    torch.manual_seed(0)
    z, taught = torch.randn(6, 5), torch.softmax(torch.randn(6, 5), 1)
    loss = make_loss(Experiment("phantom", "m"), GRADE)(z, GRADE)
    to_teacher = -(taught * torch.log_softmax(z, 1)).sum(1).mean()
    assert distilled(loss, z, taught, 0.25).item() == pytest.approx((0.75 * loss + 0.25 * to_teacher).item(), rel=1e-5)


def test_corn_outputs_are_conditional_probabilities() -> None:
    logits = torch.randn(6, 4)
    above = torch.cumprod(torch.sigmoid(logits), 1)  # P(g > k)
    p = log_probabilities(logits).exp()
    assert torch.allclose(p.sum(1), torch.ones(6, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(1 - p.cumsum(1)[:, :4], above.double(), atol=1e-6)


def test_coral_head_gives_the_probabilities_of_its_thresholds() -> None:
    torch.manual_seed(0)
    head, x = CoralHead(7, 5), 3 * torch.randn(6, 7)
    above = torch.sigmoid(head.thresholds(x))  # P(g > k)
    p = log_probabilities(head(x)).exp().float()
    assert torch.allclose(p[:, 1:].flip(1).cumsum(1).flip(1), above, atol=1e-6) and (above.diff(dim=1) < 0).all()


def test_coral_loss_is_that_of_the_thresholds_logits() -> None:
    torch.manual_seed(0)
    head, x = CoralHead(7, 5), 3 * torch.randn(6, 7)
    loss = make_loss(Experiment("phantom", "m", loss="coral"), GRADE)(head(x), GRADE)
    assert loss.item() == pytest.approx(coral_loss(head.thresholds(x), levels_from_labelbatch(GRADE, 5).float()).item(), rel=1e-5)


@pytest.mark.parametrize("name", ["convwgcnet_atto", "tf_efficientnet_lite0"])
def test_coral_network_is_saved_and_read_again(name: str, tmp_path: Path) -> None:
    experiment = Experiment("phantom", name, loss="coral")
    model = create(name, num_classes=outputs("coral"), **experiment.model_options).eval()
    assert isinstance(model.get_classifier(), CoralHead)
    save_checkpoint(model, tmp_path / "m.safetensors", {"model": name, "options": experiment.model_options, "size": 32, "num_classes": 5, "in_chans": 1})
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(load_checkpoint(tmp_path / "m.safetensors")[0](x), model(x))
    warm = create(name, str(tmp_path / "m.safetensors")).eval()  # its trunk starts a network with a plain head
    assert warm(x).shape == (2, 5) and not torch.equal(warm(x), model(x))


def test_every_loss_is_lowest_at_the_truth_and_has_a_gradient() -> None:
    for name in LOSSES:
        loss = make_loss(Experiment("phantom", "m", loss=name), GRADE)
        if name == "corn":
            right = torch.where(GRADE[:, None] > torch.arange(4), 6.0, -6.0)
        else:
            right = 6.0 * F.one_hot(GRADE, 5).float()
        assert right.shape[1] == outputs(name)
        right.requires_grad_()
        value = loss(right, GRADE)
        value.backward()
        assert value < loss(-right.detach(), GRADE) and torch.isfinite(right.grad).all() and right.grad.abs().sum() > 0, name
