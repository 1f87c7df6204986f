"""One reading as a report to keep: web page, PDF, JSON, DICOM Structured Report and DICOM picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from koalib.clinic import present
from koalib.clinic.findings import findings
from koalib.clinic.heatmap import overlay, png
from koalib.clinic.records import Case
from koalib.clinic.widgets import data_url
from koalib.errors import UserError


@dataclass(frozen=True)
class Report:
    """A finished file."""

    name: str
    mime: str
    content: bytes


def to_html(case: Case, earlier: Case | None, language: str) -> bytes:
    """A page that needs no other file; whatever came from file or reader is escaped."""
    pictures = case.diagnosis.pictures
    film, painted = png(pictures.film), png(overlay(pictures.film, pictures.heat, 0.6))
    return present.render("report.html", case, earlier, language, film=data_url(film), painted=data_url(painted)).encode()


def to_json(case: Case, earlier: Case | None, language: str) -> bytes:
    """The findings in the shape of the Structured Report."""
    return json.dumps(findings(case, language), indent=2, ensure_ascii=False).encode()


def _html(case: Case, earlier: Case | None, language: str, identity: dict | None) -> bytes:
    return to_html(case, earlier, language)


def _json(case: Case, earlier: Case | None, language: str, identity: dict | None) -> bytes:
    return to_json(case, earlier, language)


def _pdf(case: Case, earlier: Case | None, language: str, identity: dict | None) -> bytes:
    from koalib.clinic.report_pdf import to_pdf  # reportlab and its fonts only where a PDF is wanted

    return to_pdf(case, earlier, language)


def _sr(case: Case, earlier: Case | None, language: str, identity: dict | None) -> bytes:
    from koalib.clinic.dicom_report import as_file, structured_report

    return as_file(structured_report(case, language, identity))


def _sc(case: Case, earlier: Case | None, language: str, identity: dict | None) -> bytes:
    from koalib.clinic.dicom_report import as_file, secondary_capture

    return as_file(secondary_capture(case, language, identity))


REPORTS: dict[str, tuple[str, str, Callable[..., bytes]]] = {
    "html": (".html", "text/html", _html),
    "pdf": (".pdf", "application/pdf", _pdf),
    "sr": ("-sr.dcm", "application/dicom", _sr),
    "sc": ("-picture.dcm", "application/dicom", _sc),
    "json": (".json", "application/json", _json),
}


def make_report(kind: str, case: Case, earlier: Case | None = None, language: str = "en", identity: dict | None = None) -> Report:
    """A report of a kind in ``REPORTS``.

    Args:
        case: with its pictures.
        identity: DICOM patient number, name and birth date; given only where a setting says they may be written.

    Raises:
        UserError: no such kind.
    """
    if kind not in REPORTS:
        raise UserError(f"report {kind!r}: choose one of {', '.join(REPORTS)}")
    ending, mime, make = REPORTS[kind]
    return Report(f"koalib-reading-{case.id}{ending}", mime, make(case, earlier, language, identity))
