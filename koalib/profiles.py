"""Every knob that costs time, in one place, and the line that opens a notebook."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from koalib.errors import UserError
from koalib.machine import device, precision
from koalib.paths import data_dir, results_dir


@dataclass(frozen=True)
class Profile:
    """How large the numbers of a notebook are; both profiles run the same cells."""

    name: str
    dataset: str  #: what the notebooks train on
    patients: int  #: patients of the phantom (two knees each)
    size: int  #: film size in pixels
    model: str  #: the small network that is trained on the page
    epochs: int
    seeds: int
    batch: int
    resamples: int  #: bootstrap resamples


QUICK = Profile(name="quick", dataset="phantom", patients=300, size=64, model="atto", epochs=4, seeds=2, batch=16, resamples=1_000)
FULL = Profile(name="full", dataset="gornale2020", patients=1_500, size=128, model="atto", epochs=15, seeds=3, batch=32, resamples=10_000)
PROFILES = {p.name: p for p in (QUICK, FULL)}


@dataclass(frozen=True)
class Session:
    """What a notebook is run with; ``setup`` makes it."""

    profile: Profile
    seed: int
    device: torch.device
    precision: str
    data: Path | None
    results: Path

    @property
    def dataset(self) -> str:
        """The data set to train on: the profile's where a folder of real films is given, else the phantom."""
        return self.profile.dataset if self.data else "phantom"


def setup(profile: str = "", seed: int = 0, data: str = "") -> Session:
    """Read the profile and data folder, seed every generator, print one line.

    Args:
        profile: ``quick`` or ``full``; empty means ``KOALIB_PROFILE``, then ``quick``.
        seed: seeds Python, NumPy and PyTorch.
        data: folder of the real data sets; empty means ``KOALIB_DATA``, then none. ``quick`` never reads it.

    Raises:
        UserError: no such profile or folder.
    """
    wanted = profile or os.environ.get("KOALIB_PROFILE") or "quick"
    if wanted not in PROFILES:
        raise UserError(f"profile {wanted!r}: choose one of {', '.join(PROFILES)}")
    chosen = PROFILES[wanted]
    folder = None if chosen.name == "quick" else data_dir(data)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    session = Session(chosen, seed, device(), precision(), folder, results_dir())
    films = "real films" if folder else "phantom"
    print(f"profile {chosen.name} | seed {seed} | {session.device.type}, {session.precision} | {films}; recorded results of the real sets from data/results")
    return session
