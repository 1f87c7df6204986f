"""Losses against their definitions."""

import torch
import torch.nn.functional as F

from koalib.study.experiment import LOSSES, Experiment
from koalib.study.losses import class_weights, log_probabilities, make_loss, outputs, soft_labels

GRADE = torch.tensor([0, 1, 2, 3, 4, 2])


def test_soft_labels_fall_with_distance() -> None:
    target = soft_labels(torch.tensor([2]), 0.5)[0]
    expected = torch.softmax(-torch.tensor([2.0, 1, 0, 1, 2]) / 0.5, 0)
    assert torch.allclose(target, expected) and target.argmax() == 2


def test_class_weights_even_out_the_grades() -> None:
    grades = torch.tensor([0] * 8 + [1] * 2)
    weights = class_weights(grades)
    assert torch.isclose(weights[0] * 8, weights[1] * 2)


def test_corn_outputs_are_conditional_probabilities() -> None:
    logits = torch.randn(6, 4)
    above = torch.cumprod(torch.sigmoid(logits), 1)  # P(g > k)
    p = log_probabilities(logits).exp()
    assert torch.allclose(p.sum(1), torch.ones(6, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(1 - p.cumsum(1)[:, :4], above.double(), atol=1e-6)


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
