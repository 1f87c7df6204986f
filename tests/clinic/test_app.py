"""The page in the order in which a kernel hears it: whatever a busy kernel hears late still means what its reader meant."""

from __future__ import annotations

import json

import pytest
from clinic_input import drop

from koalib.clinic import app
from koalib.clinic.app import App
from koalib.clinic.session import Session
from koalib.clinic.texts import text


def says(view: App, **message: str) -> None:
    """A message of the drop zone that is no film."""
    view.drop._received(None, message, [])


def statuses(session: Session) -> dict[str, str]:
    return {case.diagnosis.image: case.status for case in session.work()}


def test_a_decision_made_during_a_drop_is_on_the_film_it_was_made_on(session: Session, film: bytes) -> None:
    view = App(session)
    drop(view, "a.png", film, 0, 3)
    on_screen = view.controls
    drop(view, "b.png", film, 1, 3)
    on_screen.action.value, on_screen.reason.value = "reject", "cut off"
    on_screen.save.click()
    drop(view, "c.png", film, 2, 3)
    assert statuses(session) == {"a.png": "rejected", "b.png": "open", "c.png": "open"} and session.current.diagnosis.image == "a.png"


def test_a_click_made_before_another_film_is_shown_brings_its_own_film_back(session: Session, film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    view, handed = App(session), []
    monkeypatch.setattr(view.drop, "hand_out", lambda name, mime, content: handed.append(content))
    drop(view, "old.png", film)
    on_screen = view.controls
    drop(view, "new.png", film)
    on_screen.action.value = "reject"
    assert session.current.diagnosis.image == "new.png" and view.controls.action.value == "accept"
    on_screen.save.click()
    assert text("reason_missing") in view.errors.value and session.current.diagnosis.image == "old.png" and view.controls is on_screen
    view.open({"new": str(session.work()[0].id)})
    on_screen.reports["json"].click()
    assert b"old.png" in handed[0] and session.current.diagnosis.image == "old.png"
    assert statuses(session) == {"old.png": "open", "new.png": "open"}


def test_the_first_film_of_a_drop_is_shown_and_nothing_can_be_clicked_until_it_is_over(session: Session, film: bytes) -> None:
    view = App(session)
    for names in (("broken.png", "a.png", "b.png"), ("c.png", "d.png", "e.png")):
        for index, name in enumerate(names):
            drop(view, name, film[:3000] if name == "broken.png" else film, index, 4)
        buttons = (view.controls.save, *view.controls.reports.values())
        assert all(button.disabled for button in buttons) and view.patient.disabled
        says(view, type="taken")
        assert not any(button.disabled for button in buttons) and not view.patient.disabled
        assert session.current.diagnosis.image == ("a.png" if names[0] == "broken.png" else "c.png")
    assert [row["cells"][0] for row in view.work.rows] == ["e.png", "d.png", "c.png", "b.png", "a.png"]


def test_nothing_can_be_clicked_while_a_report_is_made(session: Session, film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    view = App(session)
    drop(view, "a.png", film)
    says(view, type="taken")
    buttons, meanwhile = (view.controls.save, *view.controls.reports.values()), []

    def fails(kind: str) -> None:
        meanwhile.extend(button.disabled for button in buttons)
        raise RuntimeError(f"no {kind}")

    monkeypatch.setattr(session, "report", fails)
    view.controls.reports["pdf"].click()
    assert meanwhile == [True] * len(buttons)
    assert "no pdf" in view.errors.value and not any(button.disabled for button in buttons), "and they come back, whatever happened"


def test_what_a_reader_has_begun_outlasts_other_films_and_the_language(session: Session, film: bytes) -> None:
    view = App(session)
    drop(view, "a.png", film, 0, 2)
    view.controls.action.value, view.controls.reason.value = "reject", "cut off"
    drop(view, "b.png", film, 1, 2)
    view.language.value = "zh"
    assert view.controls.word() == ("reject", None, "cut off") and view.controls.save.description == text("save", "zh")


def test_only_the_last_readings_keep_their_controls(session: Session, film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "KEPT", 2)
    view, made = App(session), []
    for name in ("a.png", "b.png", "c.png"):
        drop(view, name, film)
        made.append(view.controls)
    assert [controls.save.comm is None for controls in made] == [True, False, False]


def test_a_reason_that_is_not_shown_is_not_kept(session: Session, film: bytes) -> None:
    view = App(session)
    drop(view, "a.png", film)
    controls = view.controls
    controls.action.value, controls.reason.value = "reject", "cut off"
    controls.save.click()
    assert session.current.reason == "cut off"
    controls.action.value = "accept"
    controls.save.click()
    assert session.current.status == "accepted" and session.current.reason == "" == controls.reason.value
    assert json.loads(session.book.audit()[-1]["detail"])["reason"] == ""


@pytest.mark.parametrize(("language", "words"), [("en", "could not be read"), ("zh", "无法读取")])
def test_a_folder_in_a_drop_is_named_and_costs_neither_films_nor_pseudonym(session: Session, film: bytes, language: str, words: str) -> None:
    view = App(session)
    view.language.value, view.patient.value = language, "P-1"
    drop(view, "a.png", film, 0, 3)
    says(view, type="unreadable", name="<folder>")
    drop(view, "b.png", film, 1, 3)
    says(view, type="unreadable", name="gone.png")
    says(view, type="taken")
    drop(view, "next.png", film)
    after, *dropped = session.work()
    assert [case.patient for case in dropped] == ["P-1", "P-1"] and after.patient != "P-1" and view.patient.value == ""
    assert "&lt;folder&gt;" in view.errors.value and "gone.png" in view.errors.value and [words in line for line in session.errors] == [True, True]


def test_a_reader_whom_the_caller_named_is_not_renamed_by_the_browser(session: Session, film: bytes) -> None:
    session.add("a.png", film)
    view = App(session)
    says(view, type="hello", reader="the browser's key")
    view.controls.save.click()
    assert session.book.reader == "anna" and session.current.status == "accepted" and not session.errors
    assert len(view.work.rows) == len(view.cases.rows) == 1 and "Reader: anna" in view.foot.value


def test_a_reader_whom_nobody_named_goes_by_the_browsers_key(session: Session) -> None:
    view = App(session, browser_reads=True)
    for key, reader in (("the browser's key", "the browser's key"), ("", "the browser's key")):
        says(view, type="hello", reader=key)
        assert session.book.reader == reader and "Reader" not in view.foot.value
