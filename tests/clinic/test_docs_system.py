"""docs/system.md says what is: its tables are the schema's, its system tests exist and none of the browser's is left out."""

from __future__ import annotations

import re
from pathlib import Path

from koalib.clinic.diagram import markdown, read_schema
from koalib.paths import ROOT

PAGE = (ROOT / "docs" / "system.md").read_text(encoding="utf-8")


def defined(file: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))


def test_the_tables_are_those_of_the_schema() -> None:
    written = PAGE.split("<!-- tables -->\n")[1].split("\n<!-- end of tables -->")[0]
    assert written == markdown(read_schema())


def test_every_row_is_a_test_and_every_browser_test_a_row() -> None:
    rows = set(re.findall(r"^\| `(test_\w+)`", PAGE, re.MULTILINE))
    here = Path(__file__).parent
    assert rows <= set().union(*map(defined, here.glob("test_*.py")))
    assert defined(here / "test_app_browser.py") <= rows


def test_exactly_the_slow_tests_are_marked_as_such() -> None:
    rows = dict(re.findall(r"^\| `(test_\w+)`( \(slow\))? \|", PAGE, re.MULTILINE))
    slow = {name for path in Path(__file__).parent.glob("test_*.py") for name in re.findall(r"@pytest\.mark\.slow\n(?:@.*\n)*def (test_\w+)", path.read_text(encoding="utf-8"))}
    assert {name for name, mark in rows.items() if mark} == slow & set(rows) != set()


def test_every_picture_is_there() -> None:
    assert all((ROOT / "docs" / picture).is_file() for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGE))
