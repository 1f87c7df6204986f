"""The scripts' set-up installs once, again when the pins change, anew after an interruption, and says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from koalib.paths import ROOT

# Stands in for an interpreter: its venv is a folder with itself inside, its pip only keeps a record of each call.
STUB = f"""#!/usr/bin/env bash
case "$*" in
    *version_info*) [ -z "$TOO_OLD" ] ;;
    *ensurepip*) [ -z "$NO_VENV" ] ;;
    --version) echo "Python 3.9.2" ;;
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    "-m pip "*) echo "$@" >>"$PIP_CALLS"; [ -z "$PIP_FAILS" ] ;;
    *) exec {sys.executable} "$@" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """``checkout(**variables)`` runs the set-up there; ``checkout.pip()`` lists what pip was called with."""
    root = tmp_path / "a folder with spaces"
    (root / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/setup.sh", root / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        (root / name).write_text("first")
    stub, calls = tmp_path / "python-stub", tmp_path / "pip-calls"
    stub.write_text(STUB)
    stub.chmod(0o755)

    def run(**variables: str) -> subprocess.CompletedProcess:
        script = 'set -euo pipefail; . "$1/scripts/setup.sh"; setup "$1"; echo ready'
        given = {**os.environ, "PYTHON": str(stub), "PIP_CALLS": str(calls), **variables}
        return subprocess.run(["bash", "-c", script, "./run_all.sh", str(root)], cwd=tmp_path, env=given, capture_output=True, text=True, check=False)

    run.root = root
    run.pip = lambda: calls.read_text().splitlines() if calls.exists() else []
    return run


def test_installs_once(checkout):
    first, second = checkout(), checkout()
    assert first.stdout.endswith("ready\n") and second.stdout == "ready\n"
    (call,) = checkout.pip()
    assert f"--constraint {checkout.root}/constraints.txt --editable {checkout.root}[" in call


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_installs_again_when_what_it_depends_on_changed(checkout, name):
    checkout()
    (checkout.root / name).write_text("second")
    assert "Installing" in checkout().stdout
    assert len(checkout.pip()) == 2
    assert checkout().stdout == "ready\n"


def test_starts_anew_after_an_interruption(checkout):
    assert checkout(PIP_FAILS="yes").returncode == 2
    half = checkout.root / ".venv" / "half-installed"
    half.touch()
    result = checkout()
    assert "interrupted" in result.stdout and result.stdout.endswith("ready\n")
    assert not half.exists()


def test_a_moved_checkout_installs_again(checkout):
    checkout()
    moved = Path(str(checkout.root) + " elsewhere")
    checkout.root.rename(moved)
    script = 'set -euo pipefail; . "$1/scripts/setup.sh"; setup "$1"'
    result = subprocess.run(["bash", "-c", script, "run", str(moved)], env={**os.environ, "PIP_CALLS": str(moved / "calls")}, capture_output=True, text=True, check=True)
    assert "Installing" in result.stdout


def test_too_old_a_python_is_one_clear_line(checkout):
    result = checkout(TOO_OLD="yes")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "Python 3.11 to 3.14 is needed" in result.stderr and "Python 3.9.2" in result.stderr and "PYTHON=" in result.stderr
    assert not (checkout.root / ".venv").exists()


def test_a_python_without_venv_is_one_clear_line(checkout):
    result = checkout(NO_VENV="yes")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "python3-venv" in result.stderr


def test_a_failed_installation_is_not_taken_for_a_good_one(checkout):
    result = checkout(PIP_FAILS="yes")
    assert result.returncode == 2
    assert "the installation failed" in result.stderr and "ready" not in result.stdout
