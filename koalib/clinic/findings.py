"""The findings of a reading as data: what the DICOM Structured Report holds, and the same tree as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from koalib.clinic.dicom_source import reference
from koalib.clinic.records import Case
from koalib.clinic.texts import text

SCHEME = "99KOALIB"  #: our own codes; neither SNOMED CT nor DICOM publishes one for these
JOINT_SPACE = {"medial": "JSWM", "narrower": "JSWN"}


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``unit`` is UCUM; ``value`` a number, or a word for what is judged."""

    code: str
    finding: str
    value: float | int | str | bool | list[int]
    unit: str
    confidence: float | None = None


def lines(case: Case) -> list[Finding]:
    """All findings of a reading; meanings are English, as codes are."""
    d = case.diagnosis
    found = [
        Finding("KL", "Kellgren-Lawrence grade", d.grade, "{grade}", round(d.confidence, 4)),
        Finding("KLCONF", "Confidence of the Kellgren-Lawrence grade", round(d.confidence, 4), "1"),
        *(Finding(f"KLP{g}", f"Probability of Kellgren-Lawrence grade {g}", round(p, 4), "1") for g, p in enumerate(d.probabilities)),
        Finding("KLSETLOW", "Lowest grade of the prediction set", d.prediction_set[0], "{grade}"),
        Finding("KLSETHIGH", "Highest grade of the prediction set", d.prediction_set[-1], "{grade}"),
        Finding("OA", "Radiographic osteoarthritis (Kellgren-Lawrence grade 2 or more)", d.oa, "", round(d.oa_probability, 4)),
        Finding("OAP", "Probability of radiographic osteoarthritis", round(d.oa_probability, 4), "1"),
        Finding("REFER", "Refer to a reader", d.refer, ""),
    ]
    if (space := d.joint_width) is not None:
        found.append(Finding(JOINT_SPACE[space.compartment], f"Narrowest joint space, {space.compartment} compartment", round(space.width, 4), "mm" if space.unit == "mm" else "1"))
    if case.action in ("accept", "change"):
        found.append(Finding("KLREADER", "Kellgren-Lawrence grade of the reader", case.reader_grade, "{grade}"))
    return found


def findings(case: Case, language: str = "en") -> dict:
    """The reading as one JSON object: who, which film, what was found with which algorithm, what the reader said."""
    d = case.diagnosis
    source = reference(case)
    return {
        "document": "Knee radiograph report",
        "notice": text("notice", language),
        "made_at": case.made_at,
        "patient": case.patient,
        "film": {"name": d.image, "sha256": d.film_sha256, "knee": d.knee + 1, "side": d.side,
                 "study_instance_uid": str(source.StudyInstanceUID), "sop_instance_uid": str(source.SOPInstanceUID)},
        "algorithm": {"name": f"koalib {d.model}", "version": d.version},
        "findings": [asdict(line) for line in lines(case)],
        "quality": list(d.remarks),
        "reader": {"status": case.status, "grade": case.reader_grade, "reason": case.reason, "at": case.decided_at},
    }
