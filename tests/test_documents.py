"""What the documents point to exists: files, commands, options."""

from __future__ import annotations

import re

import pytest
import typer.main

from koalib.cli import app
from koalib.paths import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "data").glob("*.md")])
COMMANDS = typer.main.get_command(app)
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@each_document
def test_relative_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (document.parent / link).exists()] == []


@each_document
def test_commands_exist_with_their_options(document):
    """Lines and code spans that start with ``koalib``."""
    for line in re.findall(r"(?:^ {4}|`|&& )(koalib [a-z][^`\n]*)", document.read_text(encoding="utf-8"), re.MULTILINE):
        words = line.split()
        command = COMMANDS
        for word in words[1:]:
            if not isinstance(command, typer.core.TyperGroup):
                break
            assert word in command.commands, line
            command = command.commands[word]
        known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= known | {"--help"}, line


def test_the_readme_shows_a_picture_and_holds_the_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "![" in text and "<!-- results:begin -->" in text and "<!-- results:end -->" in text
    assert "Not a medical device" in text
