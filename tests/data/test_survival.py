"""What survives a change: on changes whose effect is known beforehand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from koalib.data.augment import HARMFUL, Augment
from koalib.data.phantom import make_phantoms
from koalib.data.survival import joint_contrast, mean_width, points_on_film, survival, warp_masks


def one_affine(theta, size=64):
    """Draws that send every film through one matrix, and nothing else."""
    film = torch.zeros(1, 1, size, size)
    return replace(Augment().draw(film), theta=torch.tensor([theta], dtype=torch.float32))


def test_points_land_where_the_mask_does():
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 20:25, 40:45] = True  # centre at row 22, column 42
    angle = np.deg2rad(12)
    draws = one_affine([[0.9 * np.cos(angle), -0.9 * np.sin(angle), 0.1], [0.9 * np.sin(angle), 0.9 * np.cos(angle), -0.05]])
    warped = warp_masks(Augment(), mask, draws)[0]
    (x, y), = points_on_film(np.array([[[42.0, 22.0]]]), draws, 64)[0]
    row, column = (places.mean() for places in np.nonzero(warped))
    assert (column, row) == pytest.approx((x, y), abs=0.5)
    assert warped.sum() == pytest.approx(25 / 0.81, rel=0.25)


def test_a_flip_mirrors_points_exactly():
    flip = Augment(flip=1.0)
    draws = flip.draw(torch.zeros(1, 1, 64, 64), torch.Generator().manual_seed(0))
    assert points_on_film(np.array([[[10.0, 22.0]]]), draws, 64)[0, 0].tolist() == pytest.approx([53.0, 22.0])


def test_grey_changes_leave_masks_alone():
    strong = Augment.named("strong")
    mask = np.zeros((4, 64, 64), bool)
    mask[:, 30:34, 10:50] = True
    grey = Augment(contrast=0.5, noise=0.5, erase=1.0)
    assert (warp_masks(grey, mask, grey.draw(torch.zeros(4, 1, 64, 64), torch.Generator().manual_seed(1))) == mask).all()
    assert (warp_masks(strong, mask, strong.draw(torch.zeros(4, 1, 64, 64), torch.Generator().manual_seed(1))) != mask).any()


def test_width_of_a_band_and_of_nothing():
    masks = np.zeros((2, 64, 64), bool)
    masks[0, 30:36, 2:62] = True
    wide, gone = mean_width(masks)
    assert wide == pytest.approx(6, rel=0.15) and np.isnan(gone)


def test_contrast_of_a_dark_gap_between_bright_bones():
    space, bone = np.zeros((1, 64, 64), bool), np.zeros((1, 64, 64), bool)
    space[:, 30:34], bone[:, :30], bone[:, 34:] = True, True, True
    film = np.where(space, 0.2, 0.8) + np.random.default_rng(0).normal(0, 0.05, space.shape)
    assert joint_contrast(film, space, bone)[0] == pytest.approx(0.6 / 0.05, rel=0.15)
    assert np.isnan(joint_contrast(film, np.zeros_like(space), bone)[0])


def test_each_harmful_change_is_told_by_its_own_measure():
    names = ("off_joint", "elastic", "heavy_blur", "heavy_noise")
    kept = survival(make_phantoms(6, size=96, seed=5), {"none": Augment.named("none"), "flip": Augment(flip=1.0)} | {name: HARMFUL[name] for name in names})
    for name in ("none", "flip"):
        assert kept.loc[name].tolist() == pytest.approx([1, 0, 1], abs=0.02)
    assert kept.joint_on_film["off_joint"] < 0.8 and (kept.joint_on_film.drop("off_joint") > 0.9).all()
    assert kept.width_error["elastic"] > 0.05
    assert kept.contrast_kept[["heavy_blur", "heavy_noise"]].max() < 0.8
