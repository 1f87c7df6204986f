"""A grader small enough to make on the spot, films, and an empty case book."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from koalib.clinic.app import App
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


def make_dicom(pixels: np.ndarray, **attributes: object) -> bytes:
    """uint8 (H, W) as the bytes of a digital X-ray of Erika Mustermann's left knee, 0.6 mm a pixel."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, DigitalXRayImageStorageForPresentation, generate_uid()
    d = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    d.SOPClassUID, d.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    d.StudyInstanceUID, d.SeriesInstanceUID = generate_uid(), generate_uid()
    d.PatientName, d.PatientID, d.PatientBirthDate, d.PatientSex = "Mustermann^Erika", "4711-0815", "19580923", "F"
    d.StudyDate, d.StudyTime, d.Modality, d.StudyID, d.AccessionNumber, d.ReferringPhysicianName = "20240131", "101500", "DX", "7", "", ""
    d.ImageLaterality, d.PixelSpacing = "L", [0.6, 0.6]
    d.Rows, d.Columns = pixels.shape
    d.SamplesPerPixel, d.PhotometricInterpretation, d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 1, "MONOCHROME2", 8, 8, 7, 0
    for name, value in attributes.items():
        setattr(d, name, value)
    d.PixelData = pixels.tobytes()
    from io import BytesIO

    stream = BytesIO()
    pydicom.dcmwrite(stream, d, enforce_file_format=True)
    return stream.getvalue()


def drop(view: App, name: str, content: bytes, index: int = 0, count: int = 1) -> None:
    """What the browser sends of a small file, one of ``count``."""
    view.drop._received(None, {"type": "piece", "name": name, "index": index, "count": count, "piece": 0, "pieces": 1}, [content])
