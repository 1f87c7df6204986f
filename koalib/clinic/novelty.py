"""Does this look like a knee film? A one-class score from image statistics, with no network in it.

Features of the 64-px film: oriented gradients (HOG, Dalal & Triggs, CVPR 2005), a 16-px thumbnail, the radial power
spectrum and grey-level quantiles. For each kind of film (the kinds differ in framing and post-processing) a
probabilistic PCA (Tipping & Bishop, 1999, doi 10.1111/1467-9868.00196) gives a Mahalanobis distance; the score is the
logarithm of the smallest. The numbers in ``knees.safetensors`` were fitted by ``benchmarks/novelty.py``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import safe_open
from skimage.feature import hog

from koalib.data.images import resize
from koalib.data.knees import KneeCrop

SIZE = 64  #: px
NUMBERS = Path(__file__).parent / "knees.safetensors"
_ROWS, _COLUMNS = np.mgrid[-SIZE // 2 : SIZE // 2, -SIZE // 2 : SIZE // 2]
_RADIUS = np.hypot(_ROWS, _COLUMNS)
_RINGS = [(_RADIUS >= low) & (_RADIUS < low + 3) for low in range(0, 30, 3)]
_WINDOW = np.outer(np.hanning(SIZE), np.hanning(SIZE))


def features(film: np.ndarray) -> np.ndarray:
    """What the score looks at, float64 (401,).

    Args:
        film: uint8 (64, 64), bone bright, as ``koalib.data.images.resize`` gives it.
    """
    grey = film.astype(np.float32)
    grey = (grey - grey.mean()) / max(float(grey.std()), 2.0)
    gradients = hog(grey, orientations=8, pixels_per_cell=(16, 16), cells_per_block=(1, 1))
    thumbnail = np.asarray(Image.fromarray(grey).resize((16, 16), Image.Resampling.BOX)).ravel()
    power = np.abs(np.fft.fftshift(np.fft.fft2(grey * _WINDOW))) ** 2
    spectrum = np.log10([power[ring].mean() + 1e-3 for ring in _RINGS])
    return np.concatenate([np.sqrt(gradients + 1e-6), thumbnail, spectrum, np.percentile(grey, [2, 10, 25, 50, 75, 90, 98])])


@dataclass(frozen=True)
class Kind:
    """One kind of knee film: a Gaussian in the features, full along ``k`` directions, round in all others."""

    mean: np.ndarray  #: (d,)
    scale: np.ndarray  #: (d,)
    basis: np.ndarray  #: (k, d)
    variance: np.ndarray  #: (k,)
    noise: float

    def distance(self, x: np.ndarray) -> np.ndarray:
        """Mean squared distance in standard deviations, (N,) for features (N, d)."""
        z = (x - self.mean) / self.scale
        along = z @ self.basis.T
        rest = (z**2).sum(1) - (along**2).sum(1)
        return ((along**2 / self.variance).sum(1) + rest / self.noise) / x.shape[1]


@dataclass(frozen=True)
class Novelty:
    """Scores films; above ``unusual`` they go to a reader, above ``reject`` they are no knee films."""

    kinds: tuple[Kind, ...]
    unusual: float
    reject: float

    def score(self, films: np.ndarray) -> np.ndarray:
        """Scores (N,) of films uint8 (N, 64, 64); about 0 for a knee, larger for what is less like one."""
        x = np.stack([features(film) for film in films])
        return np.log(np.min([kind.distance(x) for kind in self.kinds], axis=0))

    def strangeness(self, knees: Sequence[KneeCrop]) -> np.ndarray:
        """Scores (N,) of the knees of a film, each by the likelier of two views: the frame around the joint, and the leg as filmed.

        The kinds were fitted on films as their sets give them. Some frame the joint as closely as ours does, some show
        more of the leg; a film is a stranger when neither view resembles any.
        """
        frames, legs = (self.score(np.stack([resize(view.pixels, SIZE) for view in views])) for views in ([knee.image for knee in knees], [knee.leg for knee in knees]))
        return np.minimum(frames, legs)


@cache
def shipped() -> Novelty:
    """The fitted score that comes with the project."""
    with safe_open(NUMBERS, framework="np") as file:
        about = json.loads(file.metadata()["koalib"])
        kinds = [Kind(*(file.get_tensor(f"{name}.{part}").astype(np.float64) for part in ("mean", "scale", "basis", "variance")), float(about["noise"][name])) for name in about["noise"]]
    return Novelty(tuple(kinds), about["unusual"], about["reject"])
