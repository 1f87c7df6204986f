"""What the clinic is given: a DICOM film, and a drop of films as the browser sends it."""

from __future__ import annotations

import io

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from koalib.clinic.app import App


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
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, d, enforce_file_format=True)
    return stream.getvalue()


def drop(view: App, name: str, content: bytes, index: int = 0, count: int = 1) -> None:
    """What the browser sends of a small file, one of ``count``, and at the end of a drop."""
    view.drop._received(None, {"type": "piece", "name": name, "index": index, "piece": 0, "pieces": 1}, [content])
    if index == count - 1:
        view.drop._received(None, {"type": "taken"}, [])
