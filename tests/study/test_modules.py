"""Whether a module moved is measured, not assumed."""

import numpy as np
import pytest
import torch
import torch.nn as nn

from koalib.model.layers import GCT, WTConv2d
from koalib.model.weights import create
from koalib.study.modules import branch_energy, gate_movement
from koalib.study.predict import model_input

FILMS = np.random.default_rng(0).integers(0, 255, (2, 32, 32), dtype=np.uint8)


def test_modules_start_unmoved_and_are_seen_to_move() -> None:
    model = create("convwgcnet_atto")
    assert gate_movement(model) == 0 and branch_energy(model, FILMS) == 0
    for module in model.modules():
        if isinstance(module, GCT):
            nn.init.constant_(module.gamma, -0.2)
        if isinstance(module, WTConv2d):
            for scale in module.scales:
                nn.init.constant_(scale, 0.5)
    assert gate_movement(model) == pytest.approx(0.2) and branch_energy(model, FILMS) > 0.01


def test_energy_is_the_ratio_of_the_two_paths() -> None:
    class OneLayer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = WTConv2d(1, kernel_size=5, levels=1, scale=1.0, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    model = OneLayer()
    x = model_input(FILMS)
    with torch.no_grad():
        whole = model(x)
        found = branch_energy(model, FILMS)
        model.layer.weight.zero_()
        branch = model(x)
    assert found == pytest.approx(float(branch.square().sum() / (whole - branch).square().sum()), rel=1e-3)


def test_networks_without_modules_have_none() -> None:
    model = create("convnext_atto")
    assert gate_movement(model) is None and branch_energy(model, FILMS) is None
