"""The case book: nothing acknowledged is lost, nobody sees another's readings, the log cannot be rewritten."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset
from typer.testing import CliRunner, Result

from koalib.clinic import records, schema
from koalib.clinic.diagnosis import Diagnosis, JointSpace
from koalib.clinic.export import harmless, to_csv
from koalib.clinic.grader import Grader
from koalib.clinic.records import Book
from koalib.clinic.texts import ClinicError
from koalib.cli import app as command
from koalib.errors import UserError

READING = Diagnosis("knee.png", grade=2, probabilities=(0.05, 0.1, 0.6, 0.2, 0.05), prediction_set=(1, 2, 3), refer=True, reasons=("wide_set",), remarks=("low_contrast",),
                    side="L", inverted=False, pixel_spacing_mm=(0.5, 0.5), joint_space=JointSpace(3.5, None, "mm"), seconds=0.1, model="m", version="v", film_sha256="a" * 64)


def test_a_saved_reading_comes_back_as_it_was(grader: Grader, film: bytes, book: Book) -> None:
    (diagnosis,) = grader.grade(film)
    case = book.case(book.save(diagnosis, "P-7"))
    assert case.diagnosis == replace(diagnosis, source=None) and case.patient == "P-7" and case.status == "open"
    assert (case.diagnosis.pictures.film == diagnosis.pictures.film).all()
    assert abs(case.diagnosis.pictures.heat - diagnosis.pictures.heat).max() < 1 / 255


def test_decisions_follow_one_another_and_the_last_counts(book: Book) -> None:
    number = book.save(READING)
    book.decide(number, "change", 3, "large osteophytes")
    assert (book.case(number).status, book.case(number).final_grade) == ("changed", 3)
    book.decide(number, "reject", reason="wrong patient")
    assert (book.case(number).status, book.case(number).final_grade) == ("rejected", None)
    book.decide(number, "accept")
    assert (book.case(number).status, book.case(number).final_grade) == ("accepted", 2)
    assert [line["action"] for line in book.audit()] == ["save", "change", "reject", "accept"]


@pytest.mark.parametrize(("action", "grade", "reason"), [("change", 3, " "), ("change", None, "why"), ("change", 7, "why"), ("change", READING.grade, "why"), ("reject", None, ""), ("delete", None, "why")])
def test_a_decision_without_grade_or_reason_is_refused(book: Book, action: str, grade: int | None, reason: str) -> None:
    number = book.save(READING)
    with pytest.raises(UserError):
        book.decide(number, action, grade, reason)
    assert book.case(number).status == "open"


def test_search_by_patient_date_grade_and_change(book: Book) -> None:
    first, second = book.save(READING, "Alpha-1"), book.save(replace(READING, grade=4, film_sha256="b" * 64), "Beta-2")
    book.decide(first, "change", 3, "why")
    day = book.case(first).day

    def found(**query: object) -> list[int]:
        return [case.id for case in book.search(**query)]

    assert found() == [second, first] and found(patient="alpha") == [first] and found(patient="%") == []
    assert found(grade=3) == [first] and found(grade=2) == [] and found(grade=4) == [second] and found(changed=True) == [first]
    assert found(since=day, until=day) == [second, first] and found(since="2999-01-01") == [] and found(until="1999-01-01") == []
    old = book.save(replace(READING, film_sha256="c" * 64), "Gamma-3", taken_on="2020-05-01")
    assert found(until="2020-05-01") == [old] and found(since=day) == [second, first], "the day that is shown: taken, else read"
    assert book.count() == 3 and book.count(patient="alpha") == 1 and len(book.search(limit=2)) == 2


def test_the_earlier_film_is_of_the_same_knee_and_before(book: Book) -> None:
    old = book.save(replace(READING, grade=1, film_sha256="b" * 64), "P-1", taken_on="2020-01-01")
    book.save(replace(READING, grade=4, side="R", film_sha256="c" * 64), "P-1", taken_on="2021-01-01")
    book.save(replace(READING, grade=4, film_sha256="d" * 64), "P-2", taken_on="2021-01-01")
    new = book.save(READING, "P-1", taken_on="2023-01-01")
    assert book.earlier(book.case(new)).id == old
    assert book.earlier(book.case(old)) is None


def test_a_rejected_film_does_not_hide_the_valid_one_before_it(book: Book) -> None:
    valid, wrong, new = (book.save(replace(READING, film_sha256=sha * 64), "P-1", taken_on=f"202{sha}-01-01") for sha in "123")
    book.decide(wrong, "reject", reason="another patient's film")
    assert book.earlier(book.case(new)).id == valid
    book.decide(wrong, "accept")
    assert book.earlier(book.case(new)).id == wrong


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of a process is set on POSIX only")
def test_the_day_of_a_reading_is_the_local_one(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalib.clinic.records.now", lambda: "2026-03-01T22:30:00.000+00:00")
    number = book.save(READING)
    try:
        for zone, day in (("CST-8", "2026-03-02"), ("UTC0", "2026-03-01"), ("EST5", "2026-03-01")):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert book.case(number).day == day
            assert [case.id for case in book.search(since=day, until=day)] == [number]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_readers_see_their_own_readings_only(tmp_path: Path) -> None:
    with Book(tmp_path / "b.sqlite", "anna") as anna, Book(tmp_path / "b.sqlite", "ben") as ben:
        number = anna.save(READING)
        assert ben.search() == [] and ben.cases([number]) == []
        assert ben.case(ben.save(replace(READING, image="bens.png"))).diagnosis.image == "bens.png", "the same film under another name"
        for look in (ben.case, lambda n: ben.decide(n, "accept")):
            with pytest.raises(UserError, match="not in the book"):
                look(number)


def test_patient_data_stay_out_unless_a_setting_says_so(tmp_path: Path) -> None:
    source = Dataset()
    source.PatientID, source.PatientName, source.PatientBirthDate, source.StudyDate = "4711-0815", "Mustermann^Erika", "19580923", "20240131"
    reading, path = replace(READING, source=source), tmp_path / "b.sqlite"
    with Book(path) as book:
        case = book.case(book.save(reading))
        assert case.patient == book.case(book.save(replace(reading, film_sha256="b" * 64))).patient != "4711-0815"
        assert case.taken_on == "2024-01-31" and book.identity(case.patient) is None
        book._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = path.read_bytes()
        assert not any(secret in content for secret in (b"4711-0815", b"Mustermann", b"19580923"))
        book.keep_identity(True)
        book.save(replace(reading, film_sha256="c" * 64))
        assert book.identity(case.patient)["name"] == "Mustermann^Erika"


def patient(number: str, name: str) -> Dataset:
    """A DICOM header of a film of this patient."""
    source = Dataset()
    source.PatientID, source.PatientName, source.PatientBirthDate, source.StudyDate = number, name, "19580923", "20240131"
    return source


def test_an_identity_is_the_readers_whose_film_brought_it(tmp_path: Path) -> None:
    path, bens = tmp_path / "b.sqlite", replace(READING, image="bens.dcm", film_sha256="b" * 64)
    with Book(path, "anna") as anna, Book(path, "ben") as ben:
        anna.keep_identity(True)
        anna.save(replace(READING, source=patient("1", "Mustermann^Erika")), "P-1")
        ben.save(replace(READING, image="bens.png", film_sha256="c" * 64), "P-1")
        ben.save(replace(bens, source=Dataset()), "P-1")
        assert anna.identity("P-1")["name"] == "Mustermann^Erika" and ben.identity("P-1") is None
        ben.save(replace(bens, film_sha256="d" * 64, source=patient("1", "Doe^John")), "P-1")  # another hospital's patient 1
        assert anna.identity("P-1")["name"] == "Mustermann^Erika" and ben.identity("P-1")["name"] == "Doe^John"


def test_turning_identities_off_erases_them_from_the_journal_too(tmp_path: Path) -> None:
    def written() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.iterdir())

    with Book(tmp_path / "b.sqlite") as book:
        assert book._db.execute("PRAGMA secure_delete").fetchone()[0] == 1
        book.keep_identity(True)
        book.save(replace(READING, source=patient("4711-0815", "Mustermann^Erika")), "P-1")
        assert b"Mustermann" in written()
        book._db.execute("PRAGMA wal_checkpoint(PASSIVE)")  # as SQLite does from time to time: now file and journal have it
        book.keep_identity(False)
        assert not any(secret in written() for secret in (b"4711-0815", b"Mustermann", b"19580923")), "the book is still open"


def test_a_journal_that_another_reading_holds_is_said_and_emptied_when_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    with Book(path) as book:
        book.keep_identity(True)
        book.save(replace(READING, source=patient("4711-0815", "Mustermann^Erika")), "P-1")
        book._db.execute("PRAGMA busy_timeout = 0")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM reading").fetchone()
        with pytest.raises(UserError, match="b.sqlite-wal.*turn the setting off again"):
            book.keep_identity(False)
        assert not book.keeps_identity and book.identity("P-1") is None
        other.close()
        book.keep_identity(False)
        assert b"Mustermann" not in path.read_bytes() + Path(f"{path}-wal").read_bytes()


@pytest.mark.parametrize("pseudonym", ["P\\7", "P\n7", "P\x007", "x" * 65])
def test_a_pseudonym_that_no_report_can_carry_is_refused(book: Book, pseudonym: str) -> None:
    with pytest.raises(ClinicError, match="64 characters without backslash") as caught:
        book.save(READING, pseudonym)
    assert "\n" not in str(caught.value) and book.count() == 0
    assert book.case(book.save(READING, "患" * 64)).patient == "患" * 64


@pytest.mark.parametrize("date", ["00000000", "20240231", "2024.01.31", "2024"])
def test_a_malformed_study_date_is_none(book: Book, date: str) -> None:
    source = patient("1", "A")
    source.add_new("StudyDate", "LO", date)
    assert book.case(book.save(replace(READING, source=source))).taken_on is None


ATTACKS = ("UPDATE audit SET action = 'x'", "UPDATE reading SET grade = 0", "UPDATE decision SET grade = 0", "DELETE FROM audit", "DELETE FROM reading", "DELETE FROM decision",
           *(f"REPLACE INTO {table} SELECT * FROM {table}" for table in ("audit", "reading", "decision")))


def test_the_log_cannot_be_changed_and_shows_when_it_was(book: Book) -> None:
    book.save(READING)
    book.decide(book.save(replace(READING, film_sha256="b" * 64)), "accept")  # the other reading has no decision that would hold it
    assert book.audit_is_whole()
    for attack in ATTACKS:
        with pytest.raises(sqlite3.IntegrityError, match="append-only|is never"):
            book._db.execute(attack)
    book._db.execute("DROP TRIGGER audit_keeps")  # somebody with a database tool
    book._db.execute("UPDATE audit SET detail = '{}' WHERE id = 1")
    assert not book.audit_is_whole()


@pytest.mark.parametrize(("attack", "fault"), [
    ("DELETE FROM decision", "decisions on reading 1"), ("UPDATE decision SET grade = 4", "decisions on reading 1"), ("UPDATE decision SET reason = 'other' WHERE id = 1", "decisions on reading 1"),
    ("DELETE FROM decision WHERE id = 2", "decisions on reading 1"), ("DELETE FROM reading WHERE id = 2", "reading 2"), ("UPDATE reading SET grade = 3", "reading 1"),
    ("UPDATE reading SET p1 = 0.5", "reading 1"), ("UPDATE reading SET set_high = 4", "reading 1"), ("UPDATE reading SET refer = 1 - refer", "reading 1"),
    ("UPDATE film SET sha256 = 'x'", "reading 1"), ("INSERT INTO decision VALUES (9, 2, 1, 'now', 'accept', 2, '')", "decisions on reading 2"),
    ("DELETE FROM audit WHERE id = 1", "log line 2"), ("DELETE FROM audit WHERE id > 1", "reading 2"), ("UPDATE audit SET at = 'now' WHERE id = 2", "log line 2")])
def test_the_check_finds_what_was_removed_or_changed_past_the_triggers(book: Book, attack: str, fault: str) -> None:
    first = book.save(READING)
    book.save(replace(READING, image="other.png"))
    book.decide(first, "change", 3, "large osteophytes")
    book.decide(first, "accept")
    assert book.audit_faults() == []
    for (trigger,) in book._db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        book._db.execute(f"DROP TRIGGER {trigger}")
    book._db.execute(attack)
    assert any(found.startswith(f"{fault}:") for found in book.audit_faults()) and not book.audit_is_whole()


def test_a_line_of_an_older_book_holds_what_it_says(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which left out probabilities, set and referral."""
    whole = records._logged
    monkeypatch.setattr(records, "_logged", lambda film, grade, version, *_: {"film": film, "grade": grade, "version": version})
    book.save(READING)
    monkeypatch.setattr(records, "_logged", whole)
    assert book.audit_is_whole()
    book._db.execute("DROP TRIGGER reading_keeps")
    book._db.execute("UPDATE reading SET version = 'x'")
    assert book.audit_faults() == ["reading 1: not as the log has it"]


def test_the_command_checks_a_book(book: Book) -> None:
    def check(path: Path) -> Result:
        return CliRunner().invoke(command, ["records", "check", str(path)])

    book.decide(book.save(READING), "accept")
    assert check(book.path).exit_code == 0 and "2 lines" in check(book.path).stdout
    book._db.execute("DROP TRIGGER decision_stays")
    book._db.execute("DELETE FROM decision")
    assert check(book.path).exit_code == 1 and "book.sqlite: decisions on reading 1: not as the log has it" in check(book.path).stdout
    missing = book.path.with_name("none.sqlite")
    assert isinstance(check(missing).exception, UserError) and not missing.exists()


def test_foreign_keys_hold_and_the_journal_is_wal(book: Book) -> None:
    assert book._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal" and book._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        book._db.execute("INSERT INTO decision (reading_id, reader_id, made_at, action, grade) VALUES (99, 99, 'now', 'accept', 1)")


def test_another_programs_database_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "theirs.sqlite")) as theirs:
        theirs.execute("CREATE TABLE work (hours)")
    before = (tmp_path / "theirs.sqlite").read_bytes()
    with pytest.raises(UserError, match="theirs.sqlite: a database of another program"):
        Book(tmp_path / "theirs.sqlite")
    assert (tmp_path / "theirs.sqlite").read_bytes() == before


def test_an_older_book_is_migrated_and_a_newer_one_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b.sqlite"
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        older.setattr(schema, "VERSION", 1)
        with Book(path) as book:
            book._db.execute("INSERT INTO patient (pseudonym, made_at) VALUES ('P-1', 'then')")
    with Book(path) as book:
        assert book._db.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION
        assert book._db.execute("SELECT count(*) FROM patient").fetchone()[0] == 1 and book._db.execute("SELECT count(*) FROM identity").fetchone()[0] == 0
        book._db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(UserError, match="newer koalib"):
        Book(path)


def test_a_book_whose_identities_were_anybodys_gives_them_to_the_reader_who_kept_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b.sqlite"
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:3])
        older.setattr(schema, "VERSION", 3)
        with Book(path, "cleo") as cleo, Book(path, "ben") as ben, Book(path, "anna") as anna:
            cleo.save(replace(READING, source=patient("1", "Mustermann^Erika")), "P-1")  # before the setting
            time.sleep(0.002)
            anna.keep_identity(True)
            anna._db.execute("UPDATE setting SET value = '0' WHERE name = 'keep_identity'")  # the row is written below, as version 3 did
            ben.save(replace(READING, image="bens.png"), "P-1")
            anna.save(replace(READING, source=patient("1", "Mustermann^Erika"), film_sha256="b" * 64), "P-1")
            anna._db.execute("INSERT INTO identity VALUES (1, '1', 'Mustermann^Erika', '19580923')")
            anna._db.execute("UPDATE setting SET value = '1' WHERE name = 'keep_identity'")
    for reader, name in (("anna", "Mustermann^Erika"), ("ben", None), ("cleo", None)):
        with Book(path, reader) as book:
            assert (book.identity("P-1") or {}).get("name") == name and book.count() == 1 and book.audit_is_whole()
            with pytest.raises(sqlite3.IntegrityError, match="never removed"):
                book._db.execute("DELETE FROM reading")


@pytest.mark.parametrize("place", ["knee.png", "knee.png/b.sqlite", "knee.png/folder/b.sqlite"])
def test_a_book_that_cannot_be_made_there_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "knee.png").write_bytes(b"no data base, but a film that is long enough to be looked at" * 50)
    with pytest.raises(UserError, match="no case book can be opened there") as caught:
        Book(tmp_path / place)
    assert "Errno" not in str(caught.value)


def test_what_is_no_book_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.sqlite").write_text("not a data base, but a text that is long enough to be looked at" * 50)
    with pytest.raises(UserError, match="b.sqlite"):
        Book(tmp_path / "b.sqlite")


WRITER = """
import sys
from dataclasses import replace
sys.path.insert(0, {folder!r})
from test_records import READING
from koalib.clinic.records import Book
book = Book({path!r}, "writer")
print("ready", flush=True)
for i in range({saves}):
    print(book.save(replace(READING, film_sha256=f"{{i:064d}}"), {patient!r}), flush=True)
"""


def start_writer(path: Path, saves: int, patient: str = "P") -> subprocess.Popen:
    """Another process that saves readings and acknowledges each on its output."""
    program = WRITER.format(folder=str(Path(__file__).parent), path=str(path), saves=saves, patient=patient)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX")
def test_kill_9_during_200_saves_loses_no_acknowledged_one(tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    writer = start_writer(path, 200)
    acknowledged = []
    for line in writer.stdout:
        if line.strip().isdigit():
            acknowledged.append(int(line))
        if len(acknowledged) == 60:
            writer.send_signal(signal.SIGKILL)  # what is still in the pipe was acknowledged, too
    assert writer.wait() == -signal.SIGKILL and 60 <= len(acknowledged) < 200
    with Book(path, "writer") as book:
        kept = {case.id for case in book.search(limit=1000)}
        assert set(acknowledged) <= kept and len(kept) <= len(acknowledged) + 1
        assert book.audit_is_whole() and len(book.audit()) == len(kept)
        assert book._db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_two_processes_may_write_into_one_book(tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    writers = [start_writer(path, 40, patient) for patient in ("P-1", "P-2")]
    answers = [writer.communicate(timeout=600)[0].split() for writer in writers]
    assert all(writer.returncode == 0 for writer in writers) and not set(answers[0][1:]) & set(answers[1][1:])
    with Book(path, "writer") as book:
        assert len(book.search(limit=1000)) == 80 and book.audit_is_whole()


@pytest.mark.parametrize("evil", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", " =1"])
def test_csv_disarms_formulas(book: Book, evil: str) -> None:
    number = book.save(replace(READING, image=evil), evil)
    book.decide(number, "reject", reason=evil)
    rows = list(csv.DictReader(io.StringIO(to_csv(book.search()).decode("utf-8-sig"))))
    assert len(rows) == 1 and all(not str(value).lstrip(" \t").startswith(("=", "+", "-", "@")) for value in rows[0].values())
    assert harmless(0.5) == 0.5 and harmless("knee.png") == "knee.png"
