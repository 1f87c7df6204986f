"""Nothing has moved at the start; what is moved by hand is measured."""

import numpy as np
import pytest
import torch

from koalib.model.layers import GCT, WTConv2d
from koalib.model.weights import create
from koalib.study.movement import branch_movement, evenly, gate_movement


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create("convwgcnet_atto")


def test_nothing_has_moved_at_the_start(model):
    assert gate_movement(model) == 0 and branch_movement(model, torch.randn(1, 1, 64, 64)) == 0


def test_moved_modules_are_measured(model):
    for module in model.modules():
        if isinstance(module, GCT):
            torch.nn.init.constant_(module.gamma, -0.2)
        if isinstance(module, WTConv2d):
            for scale in module.scales:
                torch.nn.init.constant_(scale, 1.0)
    assert gate_movement(model) == pytest.approx(0.2)
    x = torch.randn(1, 1, 64, 64)
    hooks = [len(m._forward_pre_hooks) for m in model.modules()]
    assert branch_movement(model, x) > 0.01
    assert model.training and hooks == [len(m._forward_pre_hooks) for m in model.modules()]


def test_models_without_modules_have_nothing_to_move():
    plain = create("convwgcnet_atto", gct="none", wavelet="none")
    assert gate_movement(plain) is None and branch_movement(plain, torch.randn(1, 1, 64, 64)) is None


@pytest.mark.parametrize("count", [5, 64, 127, 128, 367, 826])
def test_films_that_are_looked_at_are_spread_over_a_set_ordered_by_grade(count: int) -> None:
    grades = np.sort(np.arange(count) % 5)
    seen = evenly(np.arange(count))
    assert min(count, 64) <= len(seen) < 128
    shares = np.bincount(grades[seen], minlength=5) / len(seen)
    assert np.abs(shares - np.bincount(grades, minlength=5) / count).max() < 0.03
