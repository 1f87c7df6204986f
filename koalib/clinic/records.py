"""The case book: films, readings and what the reader said of them, in one SQLite file.

Every write is one transaction, on disk before it is acknowledged (WAL, ``synchronous=FULL``), together with its line
of the audit log. Patients are known by a pseudonym; a DICOM patient number becomes one through a keyed hash whose key
stays in the book, so films of one patient meet without the number being kept.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from koalib.clinic.diagnosis import Diagnosis, JointSpace, Pictures
from koalib.clinic.dicom_source import check_pseudonym, kept, well_formed
from koalib.clinic.heatmap import png, unpng
from koalib.clinic.schema import migrate, of_another_program
from koalib.clinic.texts import ClinicError
from koalib.errors import UserError

ACTIONS = {"accept": "accepted", "change": "changed", "reject": "rejected"}

_CASES = """
SELECT reading.id AS id, patient.pseudonym AS patient, film.name AS film, film.sha256 AS sha256, film.knee AS knee, film.side AS side,
       film.taken_on AS taken_on, film.row_mm AS row_mm, film.column_mm AS column_mm, film.source AS source, reading.made_at AS made_at, reading.grade AS grade,
       p0, p1, p2, p3, p4, set_low, set_high, refer, details, model, version, seconds,
       decision.action AS action, decision.grade AS reader_grade, decision.reason AS reason, decision.made_at AS decided_at
FROM reading
JOIN film ON film.id = reading.film_id
JOIN patient ON patient.id = film.patient_id
LEFT JOIN decision ON decision.id = (SELECT max(id) FROM decision WHERE reading_id = reading.id)
"""
_MINE = "reading.reader_id = (SELECT id FROM reader WHERE name = ?)"
_DAY = "coalesce(film.taken_on, date(reading.made_at, 'localtime'))"  # as ``Case.day``


@dataclass(frozen=True)
class Case:
    """One reading in the book with the reader's latest word on it."""

    id: int
    patient: str  #: the pseudonym; empty for a film that is in no book
    made_at: str
    taken_on: str | None
    diagnosis: Diagnosis
    action: str | None = None
    reader_grade: int | None = None
    reason: str = ""
    decided_at: str | None = None

    @property
    def status(self) -> str:
        """``open``, ``accepted``, ``changed`` or ``rejected``."""
        return ACTIONS.get(self.action or "", "open")

    @property
    def final_grade(self) -> int | None:
        """The reader's grade where there is one, else the grader's; None for a rejected reading."""
        return self.reader_grade if self.action else self.diagnosis.grade

    @property
    def day(self) -> str:
        """The day the film was taken, or read where that is not known; moments are kept in UTC, days are this machine's."""
        return self.taken_on or datetime.datetime.fromisoformat(self.made_at).astimezone().date().isoformat()


class Book:
    """An open case book, seen by one reader."""

    def __init__(self, path: str | Path, reader: str = "reader") -> None:
        self.path, self.reader = Path(path), reader
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Widgets call from the kernel's one thread, but not always from the one that opened the book.
            self._db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            if of_another_program(self._db):
                raise UserError(f"{path}: a database of another program, which stays as it is; name another file")
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000", "secure_delete=ON"):
                self._db.execute(f"PRAGMA {pragma}")
            migrate(self._db)
        except (OSError, sqlite3.Error) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"{path}: no case book can be opened there ({why}); name another file") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: everything inside is kept, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # ------------------------------------------------------------ settings and patients

    def setting(self, name: str) -> str:
        """A setting of the book."""
        return self._db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()["value"]

    def keep_identity(self, keep: bool) -> None:
        """Say whether DICOM patient number, name and birth date may be stored; no is the default and erases what was.

        Raises:
            UserError: another program's reading keeps the journal, and so what was erased, on disk.
        """
        if keep != self.keeps_identity:
            with self._writing() as db:
                db.execute("UPDATE setting SET value = ? WHERE name = 'keep_identity'", (str(int(keep)),))
                if not keep:
                    db.execute("DELETE FROM identity")
                self._log(db, "setting", "keep_identity", {"keep": keep})
        if not keep:  # asked again it tries again
            self._empty_journal()

    def _empty_journal(self) -> None:
        """Bring the file up to date and cut its journal to nothing: older pages, with what was erased, would stay in it."""
        if self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()["busy"]:
            raise UserError(f"{self.path}-wal: still holds the patient data that were erased, because another program reads the book; close it and turn the setting off again")

    @property
    def keeps_identity(self) -> bool:
        """Whether patient data of DICOM files are stored."""
        return self.setting("keep_identity") == "1"

    def pseudonym(self, number: str) -> str:
        """A name for a patient number that this book always gives it and nobody without the book can turn back."""
        return f"P-{self._keyed_hash(number)[:8].upper()}"

    def _keyed_hash(self, number: str) -> str:
        return hmac.new(bytes.fromhex(self.setting("key")), number.encode(), hashlib.sha256).hexdigest()

    def _patient(self, db: sqlite3.Connection, pseudonym: str, number: str) -> int:
        """The patient's row; a pseudonym belongs to the DICOM number that it was first used with."""
        patient = _id_of(db, "patient", "pseudonym", pseudonym, made_at=now())
        if not number:
            return patient
        row = db.execute("SELECT number_hash, number FROM patient LEFT JOIN identity ON patient_id = patient.id WHERE patient.id = ?", (patient,)).fetchone()
        bound, found = row["number_hash"] or (row["number"] and self._keyed_hash(row["number"])), self._keyed_hash(number)
        if bound and bound != found:
            raise ClinicError("pseudonym_taken", patient=pseudonym)
        db.execute("UPDATE patient SET number_hash = ? WHERE id = ?", (found, patient))
        return patient

    # ------------------------------------------------------------ writing

    def save(self, diagnosis: Diagnosis, patient: str = "", taken_on: str | None = None) -> int:
        """Keep a reading; it is on disk when this returns.

        Args:
            patient: pseudonym; empty makes one from the DICOM patient number, else from the film.
            taken_on: the day of the film, ISO; empty takes the DICOM study date.

        Returns:
            The reading's number.

        Raises:
            ClinicError: the pseudonym belongs to another DICOM patient number, or is none that DICOM can carry.
        """
        check_pseudonym(patient.strip())
        source = diagnosis.source
        number = str(getattr(source, "PatientID", "") or "")
        patient = patient.strip() or self.pseudonym(number or diagnosis.film_sha256)
        taken_on = taken_on or _iso_day(str(getattr(source, "StudyDate", "") or ""))
        with self._writing() as db:
            patient_id = self._patient(db, patient, number)
            if self.keeps_identity and number:
                db.execute("INSERT OR IGNORE INTO identity (patient_id, reader_id, number, name, birth_date) VALUES (?, ?, ?, ?, ?)",
                           (patient_id, self._reader(db), number, str(getattr(source, "PatientName", "")), str(getattr(source, "PatientBirthDate", ""))))
            film_id = self._film(db, patient_id, diagnosis, taken_on)
            reading = _insert(db, "reading", film_id=film_id, reader_id=self._reader(db), made_at=now(), **_numbers(diagnosis))
            self._log(db, "save", f"reading {reading}", _logged(diagnosis.film_sha256, diagnosis.grade, diagnosis.version, diagnosis.probabilities, diagnosis.prediction_set[0], diagnosis.prediction_set[-1], diagnosis.refer))
        return reading

    def decide(self, case: int, action: str, grade: int | None = None, reason: str = "") -> None:
        """Keep the reader's word: ``accept``, ``change`` (with a grade and a reason) or ``reject`` (with a reason).

        Raises:
            UserError: no such reading of this reader, grade or reason is missing, or a change to the grader's own grade.
        """
        found = self.case(case).diagnosis
        if action not in ACTIONS:
            raise UserError(f"decision {action!r}: choose accept, change or reject")
        if action != "accept" and not reason.strip():
            raise UserError("a reason is needed to change or reject a reading")
        if action == "change" and grade not in range(5):
            raise UserError("a changed reading needs a grade of 0 to 4")
        if action == "change" and grade == found.grade:
            raise UserError(f"the grader already says {grade}: change to another grade, or accept")
        grade = {"accept": found.grade, "change": grade, "reject": None}[action]
        with self._writing() as db:
            _insert(db, "decision", reading_id=case, reader_id=self._reader(db), made_at=now(), action=action, grade=grade, reason=reason.strip())
            self._log(db, action, f"reading {case}", {"from": found.grade, "to": grade, "reason": reason.strip()})

    def note(self, action: str, subject: str, **detail: Any) -> None:
        """Write a line into the audit log: a report handed out, an export."""
        with self._writing() as db:
            self._log(db, action, subject, detail)

    def _film(self, db: sqlite3.Connection, patient_id: int, d: Diagnosis, taken_on: str | None) -> int:
        # Two readers may have the same film under two names; neither may learn the other's.
        row = db.execute("SELECT id FROM film WHERE patient_id = ? AND sha256 = ? AND knee = ? AND name = ?", (patient_id, d.film_sha256, d.knee, d.image)).fetchone()
        if row:
            return row["id"]
        row_mm, column_mm = d.pixel_spacing_mm or (None, None)
        return _insert(db, "film", patient_id=patient_id, sha256=d.film_sha256, knee=d.knee, name=d.image, side=d.side, taken_on=taken_on,
                       row_mm=row_mm, column_mm=column_mm, picture=png(d.pictures.film) if d.pictures else None, source=None if d.source is None else kept(d.source).to_json())

    def _reader(self, db: sqlite3.Connection) -> int:
        return _id_of(db, "reader", "name", self.reader)

    def _log(self, db: sqlite3.Connection, action: str, subject: str, detail: dict) -> None:
        """Append to the log; each line's hash covers the one before, so that a line taken out or changed shows."""
        last = db.execute("SELECT chain FROM audit ORDER BY id DESC LIMIT 1").fetchone()
        line = {"at": now(), "reader_id": self._reader(db), "action": action, "subject": subject, "detail": json.dumps(detail, ensure_ascii=False)}
        _insert(db, "audit", **line, chain=_chain(last["chain"] if last else "", line))

    # ------------------------------------------------------------ finding

    def case(self, number: int) -> Case:
        """One reading of this reader, with its pictures.

        Raises:
            UserError: this reader has no such reading.
        """
        row = self._db.execute(f"{_CASES} WHERE reading.id = ? AND {_MINE}", (number, self.reader)).fetchone()
        if row is None:
            raise UserError(f"reading {number}: not in the book of this reader")
        blobs = self._db.execute("SELECT picture, heat FROM reading JOIN film ON film.id = film_id WHERE reading.id = ?", (number,)).fetchone()
        pictures = None if blobs["picture"] is None else Pictures(unpng(blobs["picture"]), None if blobs["heat"] is None else unpng(blobs["heat"]).astype(np.float32) / 255)
        return _case(row, pictures)

    def cases(self, numbers: list[int]) -> list[Case]:
        """These readings of this reader in this order, without their pictures."""
        marks = ", ".join("?" * len(numbers))
        rows = self._db.execute(f"{_CASES} WHERE reading.id IN ({marks}) AND {_MINE}", (*numbers, self.reader))
        found = {row["id"]: _case(row) for row in rows}
        return [found[number] for number in numbers if number in found]

    def identity(self, patient: str) -> dict | None:
        """DICOM patient number, name and birth date of this reader's films, where the book was told to keep them; another reader's pseudonym may be another patient's."""
        row = self._db.execute("SELECT number, identity.name, birth_date FROM identity JOIN patient ON patient.id = patient_id JOIN reader ON reader.id = reader_id "
                               "WHERE pseudonym = ? AND reader.name = ?", (patient, self.reader)).fetchone()
        return dict(row) if row and self.keeps_identity else None

    def search(self, limit: int | None = 500, **query: Any) -> list[Case]:
        """This reader's readings, the newest first, without their pictures; ``query`` as in ``count``, ``limit=None`` gives all."""
        where, values = self._where(**query)
        rows = self._db.execute(f"{_CASES} WHERE {where} ORDER BY reading.id DESC LIMIT ?", (*values, -1 if limit is None else limit))
        return [_case(row) for row in rows]

    def count(self, **query: Any) -> int:
        """How many readings of this reader fit.

        Args:
            query: ``patient``, part of the pseudonym; ``since`` and ``until``, ISO days of ``Case.day``; ``grade``, the
                final one; ``changed``, only those whose grade the reader changed.
        """
        where, values = self._where(**query)
        return self._db.execute(f"SELECT count(*) FROM ({_CASES} WHERE {where})", values).fetchone()[0]

    def _where(self, patient: str = "", since: str = "", until: str = "", grade: int | None = None, changed: bool = False) -> tuple[str, list]:
        where, values = [_MINE], [self.reader]
        for clause, value in (("instr(lower(patient.pseudonym), lower(?))", patient.strip()), (f"{_DAY} >= ?", since), (f"{_DAY} <= ?", until)):
            if value:
                where.append(clause)
                values.append(value)
        if grade is not None:
            where.append("(CASE WHEN decision.id IS NULL THEN reading.grade ELSE decision.grade END) = ?")
            values.append(grade)
        if changed:
            where.append("decision.action = 'change'")
        return " AND ".join(where), values

    def earlier(self, case: Case) -> Case | None:
        """The latest earlier film of the same knee of the same patient whose reading was not rejected."""
        if case.diagnosis.side is None:
            return None
        row = self._db.execute(
            f"{_CASES} WHERE patient.pseudonym = ? AND film.side = ? AND film.sha256 <> ? AND {_MINE} "
            f"AND coalesce(decision.action, '') <> 'reject' AND ({_DAY}, reading.id) < (?, ?) ORDER BY {_DAY} DESC, reading.id DESC LIMIT 1",
            (case.patient, case.diagnosis.side, case.diagnosis.film_sha256, self.reader, case.day, case.id)).fetchone()
        return None if row is None else _case(row)

    def audit(self) -> list[dict]:
        """The audit log, the oldest line first."""
        return [dict(row) for row in self._db.execute("SELECT audit.*, reader.name AS reader FROM audit JOIN reader ON reader.id = reader_id ORDER BY audit.id")]

    def audit_is_whole(self) -> bool:
        """Whether log, readings and decisions agree, see ``audit_faults``."""
        return not self.audit_faults()

    def audit_faults(self) -> list[str]:
        """What shows that somebody changed the file with another tool, one line each.

        Every line of the log must follow from the one before, and every reading and decision must stand in it as saved. Lines
        cut off the log's end leave no trace in it, but for the readings and decisions that they were about.
        """
        self._db.execute("BEGIN")  # one state of the book, whoever writes meanwhile
        try:
            log, readings, decisions = self.audit(), self._saved(), self._decided()
        finally:
            self._db.execute("ROLLBACK")
        faults, before, said, words = [], "", {}, defaultdict(list)
        for line in log:
            if line["chain"] != _chain(before, {key: line[key] for key in ("at", "reader_id", "action", "subject", "detail")}):
                faults.append(f"log line {line['id']}: does not follow from the line before")
            before, detail = line["chain"], json.loads(line["detail"])
            if line["action"] == "save":
                said[line["subject"]] = {"reader": line["reader_id"], "film": None, "grade": None, "version": None, **detail}
            elif line["action"] in ACTIONS:
                words[line["subject"]].append((line["reader_id"], line["action"], detail.get("to"), detail.get("reason")))
        # an older koalib logged film, grade and version alone: what a line says must be so, what it leaves out it cannot hold
        faults += [f"{subject}: not as the log has it" for subject in sorted(readings.keys() | said.keys())
                   if subject not in said or subject not in readings or any(readings[subject].get(key) != value for key, value in said[subject].items())]
        faults += [f"decisions on {subject}: not as the log has it" for subject in sorted(decisions.keys() | words.keys()) if decisions.get(subject) != words.get(subject)]
        return faults

    def _saved(self) -> dict[str, dict]:
        """Of every reading what its line in the log says."""
        rows = self._db.execute("SELECT reading.id, reader_id, sha256, grade, version, p0, p1, p2, p3, p4, set_low, set_high, refer FROM reading JOIN film ON film.id = film_id")
        return {f"reading {number}": {"reader": reader, **_logged(film, grade, version, p, low, high, refer)} for number, reader, film, grade, version, *p, low, high, refer in rows}

    def _decided(self) -> dict[str, list[tuple]]:
        """Of every reading's decisions what their lines in the log say, the oldest first."""
        found = defaultdict(list)
        for number, *row in self._db.execute("SELECT reading_id, reader_id, action, grade, reason FROM decision ORDER BY id"):
            found[f"reading {number}"].append(tuple(row))
        return found


def now() -> str:
    """This moment, ISO 8601 in UTC to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _chain(before: str, line: dict) -> str:
    return hashlib.sha256((before + json.dumps(line, sort_keys=True, ensure_ascii=False)).encode()).hexdigest()


def _logged(film: str, grade: int, version: str, probabilities: Sequence[float], low: int, high: int, refer: bool) -> dict[str, Any]:
    """What the log says of a reading as it is saved."""
    return {"film": film, "grade": grade, "version": version, "probabilities": list(probabilities), "set": [low, high], "refer": bool(refer)}


def _iso_day(dicom: str) -> str | None:
    return f"{dicom[:4]}-{dicom[4:6]}-{dicom[6:8]}" if dicom and well_formed("DA", dicom) else None


def _insert(db: sqlite3.Connection, table: str, **values: Any) -> int:
    marks = ", ".join("?" * len(values))
    return db.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())).lastrowid


def _id_of(db: sqlite3.Connection, table: str, column: str, value: str, **more: Any) -> int:
    """The row's id; it is made when missing."""
    row = db.execute(f"SELECT id FROM {table} WHERE {column} = ?", (value,)).fetchone()
    return row["id"] if row else _insert(db, table, **{column: value}, **more)


def _numbers(d: Diagnosis) -> dict[str, Any]:
    """A reading's columns."""
    if not d.ok:
        raise UserError(f"{d.image}: was not read, so there is nothing to keep")
    space = None if d.joint_space is None else vars(d.joint_space)
    details = {"remarks": d.remarks, "reasons": d.reasons, "inverted": d.inverted, "joint_space": space}
    heat = d.pictures.heat if d.pictures else None
    return {
        "grade": d.grade, **{f"p{i}": p for i, p in enumerate(d.probabilities)}, "set_low": d.prediction_set[0], "set_high": d.prediction_set[-1],
        "refer": int(d.refer), "details": json.dumps(details), "heat": None if heat is None else png(np.round(heat * 255).astype(np.uint8)),
        "model": d.model, "version": d.version, "seconds": d.seconds}


def _case(row: sqlite3.Row, pictures: Pictures | None = None) -> Case:
    details = json.loads(row["details"])
    space = details["joint_space"]
    diagnosis = Diagnosis(
        image=row["film"], grade=row["grade"], probabilities=tuple(row[f"p{i}"] for i in range(5)),
        prediction_set=tuple(range(row["set_low"], row["set_high"] + 1)), refer=bool(row["refer"]), reasons=tuple(details["reasons"]),
        remarks=tuple(details["remarks"]), side=row["side"], inverted=details["inverted"],
        pixel_spacing_mm=None if row["row_mm"] is None else (row["row_mm"], row["column_mm"]), joint_space=None if space is None else JointSpace(**space),
        seconds=row["seconds"], model=row["model"], version=row["version"], film_sha256=row["sha256"], knee=row["knee"], pictures=pictures,
        source=None if row["source"] is None else Dataset.from_json(row["source"]))
    return Case(row["id"], row["patient"], row["made_at"], row["taken_on"], diagnosis, row["action"], row["reader_grade"], row["reason"] or "", row["decided_at"])
