"""Counts agree with those that one can do by hand, and with published ones."""

import pytest
import timm
from torch import nn

from koalib.model.cost import multiply_adds, parameters
from koalib.model.layers import WTConv2d


def test_one_convolution_by_hand():
    assert multiply_adds(nn.Conv2d(1, 8, 3, padding=1, bias=False), size=10) == 10 * 10 * 8 * 9


def test_wavelet_convolution_by_hand():
    layer = WTConv2d(32, kernel_size=7, levels=3, wavelet_kernel=5, base_scale=None)
    # each level has four bands on a quarter of the pixels: one 5x5 kernel for each pixel that it sees
    assert multiply_adds(layer, size=32, in_chans=32) == 32 * (32 * 32 * 49 + 25 * (32 * 32 + 16 * 16 + 8 * 8))
    assert parameters(layer) == 32 * (49 + 1 + 3 * 4 * (25 + 1))


@pytest.mark.parametrize(("name", "millions", "billions"), [("convnext_tiny", 28.6, 4.5), ("resnet50", 25.6, 4.1), ("tf_efficientnet_lite0", 4.7, 0.4)])
def test_published_counts(name, millions, billions):
    model = timm.create_model(name)
    assert parameters(model) / 1e6 == pytest.approx(millions, rel=0.02)
    assert multiply_adds(model, in_chans=3) / 1e9 == pytest.approx(billions, rel=0.04)
    assert model.training
