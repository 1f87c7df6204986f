"""The measured field of a layer is the one that its definition gives."""

import numpy as np
import pytest
import torch
from torch import nn

from koalib.model.layers import WTConv2d
from koalib.model.receptive import effective_field, extent


@pytest.mark.parametrize("kernel", [3, 7])
def test_plain_convolution(kernel):
    field = effective_field(nn.Conv2d(8, 8, kernel, padding=kernel // 2, groups=8), torch.zeros(1, 8, 33, 33))
    assert extent(field) == kernel and (field > 0).sum() == kernel**2


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_wavelet_convolution_doubles_with_each_level(levels):
    field = effective_field(WTConv2d(8, 5, levels), torch.zeros(1, 8, 64, 64))
    assert extent(field) == 5 * 2**levels


def test_share():
    field = np.zeros((9, 9))
    field[4, 4], field[0, 0], field[8, 8] = 8, 1, 1
    assert extent(field, 0.8) == 1 and extent(field) == 9
