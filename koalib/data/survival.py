"""What of the truth survives a change of the film: measured on phantoms, whose truth is warped along with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from skimage.measure import perimeter
from torch import Generator, Tensor

from koalib.data.augment import Augment, Draws, standardise
from koalib.data.phantom import Phantoms


def warp_masks(augment: Augment, masks: np.ndarray, draws: Draws) -> np.ndarray:
    """Masks bool (N, S, S) under the geometry of ``draws``, without what it does to grey values."""
    still = replace(draws, contrast=None, gamma=None, blur=None, noise=None, erase=None)
    return augment.apply(torch.as_tensor(masks[:, None]).float(), still)[:, 0].numpy() > 0.5


def points_on_film(points: np.ndarray, draws: Draws, size: int) -> np.ndarray:
    """Where points (N, K, 2), x and y in pixels, lie after the affine part of ``draws``; bending is not followed."""
    unit = (2 * np.asarray(points, float) + 1) / size - 1
    if draws.theta is None:
        sign = np.stack([1 - 2 * draws.flip.numpy(), 1 - 2 * draws.upside_down.numpy()], axis=1)
        unit = unit * sign[:, None]
    else:
        theta = draws.theta.double().numpy()
        unit = np.linalg.solve(theta[:, None, :, :2], (unit - theta[:, None, :, 2])[..., None])[..., 0]
    return ((unit + 1) * size - 1) / 2


def mean_width(masks: np.ndarray) -> np.ndarray:
    """Mean width of a long thin region in pixels, (N,): twice its area by its perimeter; NaN where it is gone."""
    return np.array([2 * m.sum() / perimeter(m) if m.sum() > 20 else np.nan for m in masks])


def joint_contrast(films: np.ndarray, space: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """How clearly the joint space stands out (N,): grey of the bone beside it minus its own, by the spread within it."""
    out = np.full(len(films), np.nan)
    for i, (film, s, b) in enumerate(zip(films, space, bone, strict=True)):
        rim = ndimage.binary_dilation(s, iterations=max(2, len(film) // 40)) & b
        if s.sum() > 20 and rim.sum() > 20:
            out[i] = (film[rim].mean() - film[s].mean()) / max(film[s].std(), 1e-6)
    return out


def survival(phantoms: Phantoms, recipes: Mapping[str, Augment], seed: int = 0) -> pd.DataFrame:
    """A row a recipe: what a reader still finds on the changed films.

    Returns:
        ``joint_on_film``: share of films on which the narrowest places of both compartments are still shown;
        ``width_error``: spread (standard deviation) of the joint space's width, as a share of its own;
        ``contrast_kept``: median contrast of the joint space to bone, 1 where nothing was lost.
    """
    x = standardise(torch.as_tensor(phantoms.pixels))
    space, bone = phantoms.masks["joint_space"], phantoms.masks["femur"] | phantoms.masks["tibia"]
    contacts = phantoms.table[["medial_contact_x", "medial_contact_y", "lateral_contact_x", "lateral_contact_y"]].to_numpy().reshape(-1, 2, 2)
    width, contrast = mean_width(space), joint_contrast(x[:, 0].numpy(), space, bone)
    rows = {name: _survived(augment, x, space, bone, contacts, width, contrast, seed) for name, augment in recipes.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def _survived(augment: Augment, x: Tensor, space: np.ndarray, bone: np.ndarray, contacts: np.ndarray, width: np.ndarray, contrast: np.ndarray, seed: int) -> dict:
    draws = augment.draw(x, Generator().manual_seed(seed))
    films = augment.apply(x, draws)[:, 0].numpy()
    warped = warp_masks(augment, space, draws)
    on_film = points_on_film(contacts, draws, x.shape[-1])
    inside = ((on_film >= 0) & (on_film <= x.shape[-1] - 1)).all(axis=(1, 2))
    left = joint_contrast(films, warped, warp_masks(augment, bone, draws)) / contrast
    return {
        "joint_on_film": inside.mean(),
        "width_error": np.nanstd(np.log(mean_width(warped) / width)),
        "contrast_kept": np.nanmedian(np.abs(left)),
    }
