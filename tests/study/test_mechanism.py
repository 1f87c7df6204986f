"""Contrasts of the 2 x 2 over models whose weakness is known."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from koalib.study.mechanism import crossed, looking, under

GRADE = np.arange(40) % 5
FILMS = np.full((40, 32, 32), 100, np.uint8) + np.random.default_rng(0).integers(0, 4, (40, 32, 32), dtype=np.uint8)
FILMS[:, :8] = 60  # so that even grade 0 has some contrast
FILMS[:, 14:18] += (10 * GRADE).astype(np.uint8)[:, None, None]


class Band(nn.Module):
    """Reads the grade off the middle band; a fragile one turns its answer round on rough films."""

    def __init__(self, fragile: bool) -> None:
        super().__init__()
        self.fragile, self.weight = fragile, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        level = x[:, 0, 14:18].mean((1, 2))
        rough = (x[:, 0, :, 1:] - x[:, 0, :, :-1]).abs().mean((1, 2))
        ranks = level.argsort().argsort() * 5 // len(x)
        logits = 8.0 * nn.functional.one_hot(ranks, 5).float()
        return torch.where(((rough > 0.2) & self.fragile)[:, None], logits.flip(1), logits)


def test_a_module_that_helps_against_noise_is_seen():
    strong, weak = [Band(False), Band(False)], [Band(True), Band(True)]
    found = under({"wavelet": strong, "both": strong, "neither": weak, "gct": weak}, "noise", FILMS, GRADE, np.arange(40) // 2, n=200)
    assert found["value"] > 0.2 and found["low"] > 0 and found["seeds"] == 2


def test_equal_arms_look_alike():
    torch.manual_seed(0)
    models = {name: [timm.create_model("resnet18", in_chans=1, num_classes=5)] for name in ("a",)}
    models = dict.fromkeys(("neither", "gct", "wavelet", "both"), models["a"])
    lesion = np.zeros((40, 32, 32), bool)
    lesion[:, 12:20] = True
    found = looking(models, FILMS, lesion, np.arange(40) // 2, n=50)
    assert found["value"] == pytest.approx(0) and found["low"] == pytest.approx(0) == found["high"]


def test_seeds_widen_the_interval():
    draws = np.random.default_rng(0).normal(0.1, 0.01, (3, 2000))
    alike, apart = (crossed(np.array(seeds), draws) for seeds in ([0.1, 0.1, 0.1], [0.0, 0.1, 0.2]))
    assert alike["value"] == pytest.approx(apart["value"])
    assert apart["high"] - apart["low"] > 3 * (alike["high"] - alike["low"])
