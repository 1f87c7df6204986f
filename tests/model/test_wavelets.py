"""Transforms equal PyWavelets' and invert exactly."""

import numpy as np
import pytest
import pywt
import torch

from koalib.data.phantom import make_phantoms
from koalib.errors import UserError
from koalib.model.wavelets import dwt, dwt2d, idwt, idwt2d, wavedec2

WAVELETS = ("haar", "db2", "db5", "sym4", "coif1", "bior1.3", "bior2.2", "rbio3.1")


@pytest.mark.parametrize("mode", pywt.Modes.modes)
@pytest.mark.parametrize("wavelet", WAVELETS)
def test_one_dimension_equals_pywavelets(wavelet, mode):
    for length in (2, 3, 8, 17) if "reflect" in mode else (1, 2, 3, 8, 17):  # PyWavelets reflects no single sample
        x = np.random.default_rng(length).normal(size=(3, length))
        low, high = dwt(torch.tensor(x), wavelet, mode)
        expected = pywt.dwt(x, wavelet, mode)
        np.testing.assert_allclose(low, expected[0], atol=1e-12)
        np.testing.assert_allclose(high, expected[1], atol=1e-12)
        np.testing.assert_allclose(idwt(low, high, wavelet, mode), pywt.idwt(*expected, wavelet, mode), atol=1e-12)


@pytest.mark.parametrize("mode", pywt.Modes.modes)
@pytest.mark.parametrize("wavelet", ("haar", "db3"))
def test_pyramid_of_a_film_equals_pywavelets(wavelet, mode):
    film = make_phantoms(1, size=96, seed=0).pixels[0] / 255.0
    ours = wavedec2(torch.tensor(film)[None, None], 3, wavelet, mode)
    low, *details = pywt.wavedec2(film, wavelet, mode, level=3)
    np.testing.assert_allclose(ours[-1][0, 0, 0], low, atol=1e-10)
    for bands, expected in zip(ours, reversed(details)):
        np.testing.assert_allclose(bands[0, 0, 1:], np.stack(expected), atol=1e-10)


@pytest.mark.parametrize("size", [(56, 56), (7, 7), (33, 47), (1, 1)])
@pytest.mark.parametrize("wavelet", ("haar", "db2", "bior2.2"))
def test_reconstruction_is_perfect(wavelet, size):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    assert (idwt2d(dwt2d(x, wavelet), size, wavelet) - x).abs().max() < 1e-5


def test_haar_butterfly_equals_the_filters():
    x = torch.randn(1, 2, 9, 6, dtype=torch.float64)
    low, (horizontal, vertical, diagonal) = pywt.dwt2(x.numpy(), "haar", "zero")
    np.testing.assert_allclose(dwt2d(x), np.stack((low, horizontal, vertical, diagonal), 2), atol=1e-12)


def test_gradients():
    x = torch.randn(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    for wavelet in ("haar", "db2"):
        assert torch.autograd.gradcheck(lambda x: idwt2d(2 * dwt2d(x, wavelet) ** 2, (5, 6), wavelet), x)


def test_mistakes_are_told():
    with pytest.raises(UserError, match="unknown wavelet 'harr'"):
        dwt(torch.zeros(4), "harr")
    with pytest.raises(UserError, match="unknown wavelet mode"):
        dwt(torch.zeros(4), "haar", "mirror")
