"""What of a DICOM file the clinic keeps and refers to: the instance's identifiers, nothing about the patient."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

if TYPE_CHECKING:
    from koalib.clinic.records import Case

KEPT = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "StudyDate", "StudyTime", "Modality", "Rows", "Columns")


def kept(source: Dataset | None) -> Dataset:
    """The attributes in ``KEPT`` that the file has a value for."""
    found = Dataset()
    for keyword in KEPT:
        if source is not None and source.get(keyword) not in (None, ""):
            found[keyword] = source[keyword]
    return found


def reference(case: Case) -> Dataset:
    """The film as reports refer to it: every attribute in ``KEPT``.

    What its file lacks, as anonymised files and all but DICOM do, is filled in: identifiers from the film's hash, so
    that every report of it names the same, a date only where it is known.
    """
    rows, columns = case.diagnosis.pictures.film.shape if case.diagnosis.pictures else (0, 0)
    known = kept(case.diagnosis.source)
    missing = {
        "SOPClassUID": SecondaryCaptureImageStorage, "Modality": "OT", "Rows": rows, "Columns": columns, "StudyTime": "",
        "StudyDate": (case.taken_on or "").replace("-", ""),
        **{f"{level}InstanceUID": made_uid(f"{part} {case.diagnosis.film_sha256}") for level, part in (("SOP", "film"), ("Series", "series"), ("Study", "study"))},
    }
    for keyword, value in missing.items():
        if keyword not in known:
            setattr(known, keyword, value)
    return known


def made_uid(of: str) -> str:
    """A UID that is always the same for the same thing (DICOM PS3.5 B.2: a UUID under 2.25)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'koalib {of}').int}"
