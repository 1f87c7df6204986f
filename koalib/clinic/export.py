"""The case book as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io

from koalib.clinic.records import Case

COLUMNS = ("reading", "patient", "film", "film_sha256", "knee", "side", "taken_on", "read_at", "grade", "p0", "p1", "p2", "p3", "p4", "set_low", "set_high",
           "refer", "oa_probability", "status", "reader_grade", "reason", "decided_at", "model", "version")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def harmless(value: object) -> object:
    """Text that a spreadsheet would run as a formula, with an apostrophe before it (OWASP, *CSV Injection*)."""
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return "'" + value
    return value


def to_csv(cases: list[Case]) -> bytes:
    """One line a reading, UTF-8 with a byte-order mark, which spreadsheets need to see Chinese."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for case in cases:
        d = case.diagnosis
        row = (case.id, case.patient, d.image, d.film_sha256, d.knee + 1, d.side, case.taken_on, case.made_at, d.grade, *(round(p, 4) for p in d.probabilities),
               d.prediction_set[0], d.prediction_set[-1], int(d.refer), round(d.oa_probability, 4), case.status, case.reader_grade, case.reason, case.decided_at, d.model, d.version)
        writer.writerow([harmless(value) for value in row])
    return stream.getvalue().encode("utf-8-sig")
