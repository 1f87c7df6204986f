"""What of a DICOM file the clinic keeps and refers to: the instance's identifiers, nothing about the patient."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from pydicom.valuerep import DA, TM, validate_value

from koalib.clinic.texts import ClinicError

if TYPE_CHECKING:
    from koalib.clinic.records import Case

KEPT = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "StudyDate", "StudyTime", "Modality", "Rows", "Columns")
LONGEST = 64  #: characters of a DICOM Long String or of a person's name
#: Archives hold UIDs with leading zeros, which the standard forbids: a report must name its film as the archive does.
_PATTERNS = {"UI": re.compile(r"[0-9.]{1,64}"), "LO": re.compile(rf"[^\\\x00-\x1f\x7f]{{0,{LONGEST}}}")}


def kept(source: Dataset | None) -> Dataset:
    """The attributes in ``KEPT`` that the file has a well-formed value for."""
    found = Dataset()
    for keyword in KEPT:
        if source is not None and source.get(keyword) not in (None, "") and well_formed(dictionary_VR(keyword), source[keyword].value):
            found[keyword] = source[keyword]
    return found


def well_formed(vr: str, value: object) -> bool:
    """Whether this is one value of the representation (DICOM PS3.5 6.2): what is not makes highdicom fail."""
    if vr in _PATTERNS:
        return isinstance(value, str) and bool(_PATTERNS[vr].fullmatch(value))
    try:
        validate_value(vr, value, RAISE)
        {"DA": DA, "TM": TM}.get(vr, str)(value)  # a date of eight digits need not be in the calendar
    except (TypeError, ValueError):
        return False
    return True


def check_pseudonym(pseudonym: str) -> None:
    """Refuse what a report could not carry as a patient number.

    Raises:
        ClinicError: too long, or with a backslash or control character.
    """
    if not well_formed("LO", pseudonym):
        shown = "".join(character for character in pseudonym[:LONGEST] if character.isprintable())
        raise ClinicError("pseudonym_malformed", patient=shown, longest=LONGEST)


def reference(case: Case) -> Dataset:
    """The film as reports refer to it: every attribute in ``KEPT``.

    What its file lacks, as anonymised files and all but DICOM do, is filled in: identifiers from the film's hash, so
    that every report of it names the same, a date only where it is known.
    """
    rows, columns = case.diagnosis.pictures.film.shape if case.diagnosis.pictures else (0, 0)
    known, day = kept(case.diagnosis.source), (case.taken_on or "").replace("-", "")
    missing = {
        "SOPClassUID": SecondaryCaptureImageStorage, "Modality": "OT", "Rows": rows, "Columns": columns, "StudyTime": "",
        "StudyDate": day if well_formed("DA", day) else "",
        **{f"{level}InstanceUID": made_uid(f"{part} {case.diagnosis.film_sha256}") for level, part in (("SOP", "film"), ("Series", "series"), ("Study", "study"))},
    }
    for keyword, value in missing.items():
        if keyword not in known:
            setattr(known, keyword, value)
    return known


def made_uid(of: str) -> str:
    """A UID that is always the same for the same thing (DICOM PS3.5 B.2: a UUID under 2.25)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'koalib {of}').int}"
