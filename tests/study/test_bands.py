"""Energies by band and place, on phantoms to which energy is added where and at the frequency we choose."""

import numpy as np
import pytest
import timm
import torch

from koalib.data.phantom import make_phantoms
from koalib.errors import UserError
from koalib.model.weights import create
from koalib.study.bands import BANDS, band_energy, concentration, response
from koalib.study.localisation import lesion


@pytest.fixture(scope="module")
def phantoms():
    made = make_phantoms(6, size=64, seed=5)
    return made, lesion(made.masks)


def blocks(mask: np.ndarray) -> np.ndarray:
    """A mask grown to whole blocks of 4 x 4 pixels, so that no coefficient lies across its edge."""
    return mask.reshape(-1, 16, 4, 16, 4).any(axis=(2, 4)).repeat(4, axis=1).repeat(4, axis=2)


def test_energies_of_bands_and_places_add_up(phantoms):
    made, mask = phantoms
    maps = made.pixels[:, None].astype(np.float32)
    found = band_energy(maps, mask)
    area = mask.sum(axis=(1, 2))
    total = sum(inside * area + outside * (mask[0].size - area) for inside, outside in found.values())
    assert total == pytest.approx(np.square(maps).sum(axis=(1, 2, 3)), rel=1e-5)


@pytest.mark.parametrize(("step", "band"), [(1, "high"), (2, "middle"), (4, "low")])
@pytest.mark.parametrize("inside", [True, False])
def test_what_is_added_is_found_in_its_band_and_place(phantoms, step, band, inside):
    """A chequered pattern of blocks of ``step`` pixels lives in one Haar band; here it has energy 9 a pixel."""
    made, mask = phantoms
    region = blocks(mask)
    rows, columns = np.indices((64, 64)) // step
    pattern = 3.0 * (1 - 2 * ((rows + columns) % 2)) * (region if inside else ~region)
    found = band_energy(pattern[:, None], region)
    for name in BANDS:
        wanted = (9.0, 0.0) if inside else (0.0, 9.0)
        assert np.stack(found[name]) == pytest.approx(np.array(wanted if name == band else (0.0, 0.0))[:, None] * np.ones(12), abs=1e-9)


def test_noise_outside_the_lesion_lowers_the_concentration_of_the_high_band_most(phantoms):
    made, mask = phantoms
    region = blocks(mask)
    films = made.pixels[:, None].astype(np.float32)
    noise = 20 * np.random.default_rng(0).standard_normal(films.shape) * ~region[:, None]
    lost = (concentration(films, region) - concentration(films + noise, region)).mean(axis=0)
    assert lost[0] > lost[1] > lost[2] > 0 and lost[0] > lost[3] > lost[2] and lost[0] > 1
    # white noise has the same power in every coefficient: three of four are details of one pixel
    before, after = band_energy(films, region)["high"][1], band_energy(films + noise, region)["high"][1]
    assert (after - before).mean() == pytest.approx(0.75 * 400, rel=0.1)


def test_a_flat_response_has_no_place_and_a_region_of_nothing_no_answer(phantoms):
    maps = np.random.default_rng(0).standard_normal((2, 64, 40, 40))
    half = np.zeros((2, 160, 160), bool)
    half[0, :80] = True
    found = concentration(maps, half)
    assert np.abs(found[0]).max() < 0.1 and np.isnan(found[1]).all()
    with pytest.raises(UserError, match="multiples of 4"):
        band_energy(np.ones((1, 1, 10, 10)), half[:1])


def test_responses_of_both_kinds_of_convolution_are_measured(phantoms):
    made, mask = phantoms
    torch.manual_seed(0)
    for wavelet in ("none", "add"):
        model = create("convwgcnet_atto", gct="dwconv", wavelet=wavelet).train()
        found = response(model, made.pixels, mask)
        assert found.shape == (12, 4) and np.isfinite(found).all() and model.training
        assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(UserError, match="ResNet"):
        response(timm.create_model("resnet18", in_chans=1), made.pixels, mask)
