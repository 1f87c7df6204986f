"""Remarks on a film's quality: what a reader should know before believing a reading."""

from __future__ import annotations

import numpy as np

from koalib.data.images import KneeImage
from koalib.data.knees import KneeCrop

LOW_CONTRAST = 15 / 255  #: standard deviation of the grey values under which chen2018's films are called low in contrast
CUT_OFF = 0.08  #: share of the frame around the joint that stands out of the film
FEW_PIXELS = 128


def remarks(film: KneeImage, crop: KneeCrop, knees: int) -> tuple[str, ...]:
    """Keys of ``texts`` for everything worth saying about one knee of a film."""
    top, bottom, left, right = crop.box
    height, width = film.shape
    outside = max(-top, -left, bottom - height, right - width) / max(bottom - top, 1)
    found = {
        "inverted": bool(crop.image.inverted),
        "low_contrast": float(np.std(crop.image.pixels)) < LOW_CONTRAST,
        "two_knees": knees > 1,
        "cut_off": outside > CUT_OFF,
        "small": min(crop.image.shape) < FEW_PIXELS,
    }
    return (*crop.image.remarks, *(name for name, true in found.items() if true))
