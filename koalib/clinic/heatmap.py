"""Painting: a coarse heat map (``koalib.study.explain``) over a film, and pictures as PNG."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from PIL import Image

COLOURS = matplotlib.colormaps["inferno"]


def scale_to_one(heat: np.ndarray) -> np.ndarray:
    """The map divided by its maximum; a map of zeros stays one."""
    top = float(heat.max())
    return (heat / top if top > 0 else heat).astype(np.float32)


def stretch(heat: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A coarse map enlarged to a film's shape (H, W), float32 in [0, 1]."""
    big = Image.fromarray(heat.astype(np.float32)).resize(shape[::-1], Image.Resampling.BICUBIC)
    return np.clip(np.asarray(big), 0, 1)


def heat_rgba(heat: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The map alone as uint8 (H, W, 4): colour and opacity both grow with it, so nothing hides where it is cold."""
    big = stretch(heat, shape)
    rgba = COLOURS(0.25 + 0.75 * big, bytes=True)
    rgba[..., 3] = (255 * np.clip(big * 1.25 - 0.1, 0, 1)).astype(np.uint8)
    return rgba


def overlay(film: np.ndarray, heat: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Film and map in one picture, uint8 (H, W, 3)."""
    rgba = heat_rgba(heat, film.shape).astype(np.float32)
    alpha = opacity * rgba[..., 3:] / 255
    grey = np.repeat(film[..., None].astype(np.float32), 3, axis=2)
    return np.round(grey * (1 - alpha) + rgba[..., :3] * alpha).astype(np.uint8)


def png(picture: np.ndarray) -> bytes:
    """A uint8 picture (grey, RGB or RGBA) as PNG bytes."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def unpng(content: bytes) -> np.ndarray:
    """The grey picture of PNG bytes, uint8 (H, W)."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))
