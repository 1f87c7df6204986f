"""A grader small enough to make on the spot, films, and an empty case book."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clinic_input import make_dicom

from koalib.clinic.grader import Grader
from koalib.clinic.heatmap import png
from koalib.clinic.records import Book
from koalib.clinic.session import Session, samples
from koalib.model.weights import create, save_checkpoint


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with random weights whose five probabilities differ, saved as the grader is."""
    torch.manual_seed(0)
    model = create("convwgcnet_atto")
    with torch.no_grad():
        model.get_classifier().weight.normal_(0, 1.0)
    decision = {"temperature": 2.0, "thresholds": [0.5, 1.5, 2.5, 3.5], "conformal": 0.8}
    return save_checkpoint(model, tmp_path_factory.mktemp("weights") / "grader.safetensors", {"size": 64, "num_classes": 5, "in_chans": 1, "decision": decision})


@pytest.fixture(scope="session")
def grader(weights: Path) -> Grader:
    return Grader.load(weights)


@pytest.fixture(scope="session")
def film() -> bytes:
    """A phantom, as a PNG file."""
    return samples()[2].content


@pytest.fixture(scope="session")
def two_knees() -> bytes:
    """Both knees of a phantom patient on one film, as a PNG file."""
    return samples()[5].content


@pytest.fixture(scope="session")
def photograph() -> bytes:
    """No knee."""
    from skimage.data import astronaut

    return png(np.ascontiguousarray(astronaut()))


@pytest.fixture
def book(tmp_path: Path) -> Book:
    with Book(tmp_path / "book.sqlite", "anna") as opened:
        yield opened


@pytest.fixture
def session(grader: Grader, book: Book) -> Session:
    return Session(grader, book)


@pytest.fixture(scope="session")
def dicom_film() -> bytes:
    """A phantom as a DICOM X-ray with a patient, a side and a pixel spacing."""
    from koalib.clinic.heatmap import unpng

    return make_dicom(unpng(samples()[3].content))
