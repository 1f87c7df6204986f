"""The reading as DICOM, by highdicom: a Structured Report (TID 1500) and a secondary capture with the heat map.

Both belong to the source's study and refer to the source instance, see ``dicom_source``. Patient attributes are the
pseudonym unless the book was told to keep the identity, and empty for a film that is in no book.
"""

from __future__ import annotations

import io

import highdicom as hd
import numpy as np
import pydicom
from highdicom import sr
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from koalib.clinic import fonts, present
from koalib.clinic.dicom_source import LONGEST, check_pseudonym, made_uid, reference, well_formed
from koalib.clinic.findings import SCHEME, Finding, lines
from koalib.clinic.heatmap import overlay
from koalib.clinic.records import Case
from koalib.clinic.texts import text

MANUFACTURER = "koalib"
SERIES = {"sr": 9901, "sc": 9902}
KNEE = sr.CodedConcept("49076000", "SCT", "Knee joint")
PICTURE_PX = 512
_UNITS = {"{grade}": sr.CodedConcept("{grade}", "UCUM", "grade"), "1": sr.CodedConcept("1", "UCUM", "no units"), "mm": sr.CodedConcept("mm", "UCUM", "millimeter")}


def structured_report(case: Case, language: str, identity: dict | None = None) -> sr.ComprehensiveSR:
    """A TID 1500 Measurement Report of one knee."""
    source = source_of(case, identity)
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=_uid(case, "knee"), identifier=f"knee {case.diagnosis.knee + 1}"),
        finding_type=sr.CodedConcept("49076000", "SCT", "Knee joint"),
        algorithm_id=sr.AlgorithmIdentification(f"koalib {case.diagnosis.model}", case.diagnosis.version),
        finding_sites=[sr.FindingSite(KNEE, laterality=_laterality(case))],
        measurements=[_measurement(line) for line in lines(case) if line.unit],
        qualitative_evaluations=[_judgement(line) for line in lines(case) if not line.unit],
        source_images=[sr.SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)])
    report = sr.MeasurementReport(
        observation_context=_observer(), procedure_reported=sr.CodedConcept("74016001", "SCT", "Plain X-ray of knee"), imaging_measurements=[group],
        title=codes.DCM.ImagingMeasurementReport, language_of_content_item_and_descendants=_language(language))
    for name, words in _comments(case, language):
        report[0].ContentSequence.append(sr.TextContentItem(name=name, value=words, relationship_type=sr.RelationshipTypeValues.CONTAINS))
    return sr.ComprehensiveSR(
        evidence=[source], content=report, series_instance_uid=_uid(case, "sr series"), series_number=SERIES["sr"], sop_instance_uid=hd.UID(), instance_number=1,
        manufacturer=MANUFACTURER, is_complete=True, manufacturer_model_name=f"koalib {case.diagnosis.model}", software_versions=case.diagnosis.version, device_serial_number="0",
        series_description="Knee grading, structured report")


def secondary_capture(case: Case, language: str, identity: dict | None = None) -> hd.sc.SCImage:
    """Film and heat map side by side with the grade and the notice written below, as an RGB picture."""
    source = source_of(case, identity)
    made = hd.sc.SCImage.from_ref_dataset(
        source, pixel_array=painted(case, language), photometric_interpretation="RGB", bits_allocated=8, coordinate_system="PATIENT",
        series_instance_uid=_uid(case, "sc series"), series_number=SERIES["sc"], sop_instance_uid=hd.UID(), instance_number=1, manufacturer=MANUFACTURER,
        laterality=case.diagnosis.side, patient_orientation=("L", "F"), manufacturer_model_name=f"koalib {case.diagnosis.model}", software_versions=case.diagnosis.version, transfer_syntax_uid="1.2.840.10008.1.2.1")
    made.PatientOrientation = ""  # highdicom wants one, but a film's is not known
    made.BurnedInAnnotation = "YES"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.DerivationDescription = "Film beside film with class activation map; not for diagnosis"
    made.SeriesDescription = "Knee grading, heat map"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    made.SourceImageSequence = [reference]
    return made


def as_file(dataset: Dataset) -> bytes:
    """The dataset as the bytes of a DICOM file; text is UTF-8."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def source_of(case: Case, identity: dict | None = None) -> Dataset:
    """What the reports refer to: the film's identifiers, with the pseudonym for a patient."""
    source = reference(case)
    if identity is None:
        check_pseudonym(case.patient)  # older books hold whatever was typed
        identity = {"number": case.patient, "name": _name(case.patient), "birth_date": ""}
    born = identity["birth_date"]
    source.PatientID, source.PatientName, source.PatientBirthDate, source.PatientSex = identity["number"], identity["name"], born if well_formed("DA", born) else "", ""
    source.AccessionNumber = source.StudyID = source.ReferringPhysicianName = ""
    return source


def _name(pseudonym: str) -> str:
    """The pseudonym as a family name: the signs that part a name are none here, and an end mark says that no given name follows."""
    return f"{pseudonym.replace('^', ' ').replace('=', ' ')[: LONGEST - 1]}^" if pseudonym else ""


def painted(case: Case, language: str) -> np.ndarray:
    """The picture of the secondary capture, uint8 (H, W, 3)."""
    d = case.diagnosis
    film = np.asarray(Image.fromarray(d.pictures.film).resize((PICTURE_PX, PICTURE_PX), Image.Resampling.BICUBIC))
    sheet = Image.new("RGB", (2 * PICTURE_PX, PICTURE_PX + 84))
    sheet.paste(Image.fromarray(film), (0, 0))
    sheet.paste(Image.fromarray(overlay(film, d.pictures.heat, 0.6)), (PICTURE_PX, 0))
    first = f"{present.kl(d.grade, language)}, {text(f'grade_{d.grade}', language)}   {text('confidence', language)} {present.percent(d.confidence)}   {text('set_short', language)} {present.set_words(d, language)}   {present.side_words(d, language)}"
    rows = ((first, 20, "#ffffff"), (present.refer_words(d, language), 15, "#f5c889" if d.refer else "#b9ded7"), (text("notice", language), 15, "#c4d0d5"))
    for (words, size, colour), y in zip(rows, (8, 36, 58), strict=True):
        _write(sheet, words, 12, PICTURE_PX + y, size, colour)
    return np.asarray(sheet)


def _write(sheet: Image.Image, words: str, x: float, y: float, size: int, colour: str) -> None:
    """A line of text, each run in the font that has it."""
    pen = ImageDraw.Draw(sheet)
    for run, chinese in fonts.runs(words):
        font = ImageFont.truetype(fonts.CHINESE if chinese else fonts.LATIN, size)
        pen.text((x, y + size), run, fill=colour, font=font, anchor="ls")
        x += pen.textlength(run, font=font)


def _uid(case: Case, part: str) -> str:
    return made_uid(f"{part} {case.diagnosis.film_sha256} {case.id} {case.made_at}")


def _observer() -> sr.ObservationContext:
    device = sr.DeviceObserverIdentifyingAttributes(uid=made_uid("grader"), name="koalib", manufacturer_name=MANUFACTURER)
    return sr.ObservationContext(observer_device_context=sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device))


def _language(language: str) -> sr.LanguageOfContentItemAndDescendants:
    tag, meaning = {"en": ("en-US", "English (United States)"), "zh": ("zh-CN", "Chinese (China)")}[language]
    return sr.LanguageOfContentItemAndDescendants(sr.CodedConcept(tag, "RFC5646", meaning))


def _laterality(case: Case) -> sr.CodedConcept | None:
    return {"L": sr.CodedConcept("7771000", "SCT", "Left"), "R": sr.CodedConcept("24028007", "SCT", "Right")}.get(case.diagnosis.side or "")


def _measurement(line: Finding) -> sr.Measurement:
    return sr.Measurement(name=sr.CodedConcept(line.code, SCHEME, line.finding), value=line.value, unit=_UNITS[line.unit])


def _judgement(line: Finding) -> sr.QualitativeEvaluation:
    value = sr.CodedConcept("373066001", "SCT", "Yes") if line.value else sr.CodedConcept("373067005", "SCT", "No")
    return sr.QualitativeEvaluation(name=sr.CodedConcept(line.code, SCHEME, line.finding[:64]), value=value)


def _comments(case: Case, language: str) -> list[tuple[sr.CodedConcept, str]]:
    """What is said in words: the notice, referral, image quality, the reader's decision."""
    d, comment = case.diagnosis, sr.CodedConcept("121106", "DCM", "Comment")
    said = [text("notice", language), present.refer_words(d, language), f"{text('remarks', language)}: {present.quality_words(d, language)}",
            f"{text('oa', language)}: {present.percent(d.oa_probability)}", f"{text('reader_decision', language)}: {present.decision_words(case, language)}"]
    return [(comment, words) for words in said]
