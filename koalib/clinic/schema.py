"""The case book's tables, one migration a version; ``PRAGMA user_version`` says which a file has.

A book that an older koalib wrote is brought up to date when it is opened; a newer one is refused.
"""

from __future__ import annotations

import secrets
import sqlite3

from koalib.errors import UserError

_VERSION_1 = """
CREATE TABLE setting (
    name        TEXT PRIMARY KEY,
    value       TEXT NOT NULL
) STRICT;
CREATE TABLE reader (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE patient (
    id          INTEGER PRIMARY KEY,
    pseudonym   TEXT NOT NULL UNIQUE,
    made_at     TEXT NOT NULL
) STRICT;
CREATE TABLE film (
    id          INTEGER PRIMARY KEY,
    patient_id  INTEGER NOT NULL REFERENCES patient(id),
    sha256      TEXT NOT NULL,
    knee        INTEGER NOT NULL CHECK (knee IN (0, 1)),
    name        TEXT NOT NULL,
    side        TEXT CHECK (side IN ('L', 'R')),
    taken_on    TEXT,
    row_mm      REAL CHECK (row_mm > 0),
    column_mm   REAL CHECK (column_mm > 0),
    picture     BLOB,
    source      TEXT CHECK (source IS NULL OR json_valid(source)),
    UNIQUE (patient_id, sha256, knee, name)
) STRICT;
CREATE TABLE reading (
    id          INTEGER PRIMARY KEY,
    film_id     INTEGER NOT NULL REFERENCES film(id),
    reader_id   INTEGER NOT NULL REFERENCES reader(id),
    made_at     TEXT NOT NULL,
    grade       INTEGER NOT NULL CHECK (grade BETWEEN 0 AND 4),
    p0 REAL NOT NULL, p1 REAL NOT NULL, p2 REAL NOT NULL, p3 REAL NOT NULL, p4 REAL NOT NULL,
    set_low     INTEGER NOT NULL CHECK (set_low BETWEEN 0 AND 4),
    set_high    INTEGER NOT NULL CHECK (set_high BETWEEN set_low AND 4),
    refer       INTEGER NOT NULL CHECK (refer IN (0, 1)),
    details     TEXT NOT NULL CHECK (json_valid(details)),
    heat        BLOB,
    model       TEXT NOT NULL,
    version     TEXT NOT NULL,
    seconds     REAL NOT NULL
) STRICT;
CREATE TABLE decision (
    id          INTEGER PRIMARY KEY,
    reading_id  INTEGER NOT NULL REFERENCES reading(id),
    reader_id   INTEGER NOT NULL REFERENCES reader(id),
    made_at     TEXT NOT NULL,
    action      TEXT NOT NULL CHECK (action IN ('accept', 'change', 'reject')),
    grade       INTEGER CHECK (grade BETWEEN 0 AND 4),
    reason      TEXT NOT NULL DEFAULT '',
    CHECK (action = 'accept' OR length(trim(reason)) > 0),
    CHECK ((action = 'reject') = (grade IS NULL))
) STRICT;
CREATE TABLE audit (
    id          INTEGER PRIMARY KEY,
    at          TEXT NOT NULL,
    reader_id   INTEGER NOT NULL REFERENCES reader(id),
    action      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    detail      TEXT NOT NULL CHECK (json_valid(detail)),
    chain       TEXT NOT NULL
) STRICT;
CREATE INDEX film_by_patient ON film(patient_id, side, taken_on);
CREATE INDEX reading_by_film ON reading(film_id);
CREATE INDEX reading_by_reader ON reading(reader_id, made_at);
CREATE INDEX decision_by_reading ON decision(reading_id, id);
CREATE TRIGGER audit_keeps BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER reading_keeps BEFORE UPDATE ON reading BEGIN SELECT RAISE(ABORT, 'a reading is never changed'); END;
CREATE TRIGGER decision_keeps BEFORE UPDATE ON decision BEGIN SELECT RAISE(ABORT, 'a decision is never changed, a later one replaces it'); END;
"""

# Identity of the patient as in a DICOM file, kept only where a setting of the book says so.
_VERSION_2 = """
CREATE TABLE identity (
    patient_id  INTEGER PRIMARY KEY REFERENCES patient(id),
    number      TEXT NOT NULL,
    name        TEXT NOT NULL,
    birth_date  TEXT NOT NULL
) STRICT;
"""

# Keyed hash of the DICOM patient number that a pseudonym was first used with: no second number may use it.
_VERSION_3 = """
ALTER TABLE patient ADD COLUMN number_hash TEXT;
"""

# Identity belongs to the reader whose file carried it. What an older book kept goes to the reader of the patient's first
# DICOM film since the setting was turned on, whose saving stored it.
_VERSION_4 = """
ALTER TABLE identity RENAME TO identity_of_anybody;
CREATE TABLE identity (
    id          INTEGER PRIMARY KEY,
    patient_id  INTEGER NOT NULL REFERENCES patient(id),
    reader_id   INTEGER NOT NULL REFERENCES reader(id),
    number      TEXT NOT NULL,
    name        TEXT NOT NULL,
    birth_date  TEXT NOT NULL,
    UNIQUE (patient_id, reader_id)
) STRICT;
INSERT INTO identity (patient_id, reader_id, number, name, birth_date)
SELECT patient_id, keeper, number, name, birth_date FROM (
    SELECT identity_of_anybody.*, (
        SELECT reading.reader_id FROM reading JOIN film ON film.id = reading.film_id
        WHERE film.patient_id = identity_of_anybody.patient_id AND film.source IS NOT NULL
          AND reading.made_at >= (SELECT max(at) FROM audit WHERE subject = 'keep_identity')
        ORDER BY reading.id LIMIT 1) AS keeper
    FROM identity_of_anybody)
WHERE keeper IS NOT NULL;
DROP TABLE identity_of_anybody;
"""

# Nothing that was acknowledged is removed; REPLACE, which fires no trigger on deletion, is refused as it inserts.
_VERSION_5 = """
CREATE TRIGGER reading_stays BEFORE DELETE ON reading BEGIN SELECT RAISE(ABORT, 'a reading is never removed'); END;
CREATE TRIGGER decision_stays BEFORE DELETE ON decision BEGIN SELECT RAISE(ABORT, 'a decision is never removed'); END;
CREATE TRIGGER audit_is_new BEFORE INSERT ON audit WHEN NEW.id IN (SELECT id FROM audit) BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER reading_is_new BEFORE INSERT ON reading WHEN NEW.id IN (SELECT id FROM reading) BEGIN SELECT RAISE(ABORT, 'a reading is never changed'); END;
CREATE TRIGGER decision_is_new BEFORE INSERT ON decision WHEN NEW.id IN (SELECT id FROM decision) BEGIN SELECT RAISE(ABORT, 'a decision is never changed, a later one replaces it'); END;
"""

MIGRATIONS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5)
VERSION = len(MIGRATIONS)


def of_another_program(connection: sqlite3.Connection) -> bool:
    """Whether a database holds tables that no koalib made: each of its books has a version."""
    return not connection.execute("PRAGMA user_version").fetchone()[0] and bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a book to the newest version, all steps in one transaction.

    Raises:
        UserError: the book was written by a newer koalib.
    """
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > VERSION:
        raise UserError(f"the case book has schema version {found}, this koalib knows up to {VERSION}; install a newer koalib")
    if found == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have done it while this one waited for the lock.
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    try:
        for script in MIGRATIONS[found:]:
            for statement in _statements(script):
                connection.execute(statement)
        if found == 0:
            connection.execute("INSERT INTO setting VALUES ('key', ?), ('keep_identity', '0')", (secrets.token_hex(32),))
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    """The script's statements; ``executescript`` would commit behind our back."""
    statements, part = [], ""
    for line in script.splitlines():
        part += line + "\n"
        if sqlite3.complete_statement(part):
            statements.append(part)
            part = ""
    return statements
