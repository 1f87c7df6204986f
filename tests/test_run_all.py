"""The runner fails where it should, measures, and leaves a site that needs no network."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

from koalib import notebooks
from koalib.cli import app
from koalib.errors import UserError
from koalib.paths import PROTOCOL

PARAMETERS = 'profile = ""\nseed = 0\ndata = ""'
FORMULA = r"The gate is $g_c = 1 + \tanh(\gamma_c n_c)$; see [the next](02_works.ipynb) and [the protocol](../docs/protocol.md)."


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project: ``project(name, *cells)`` writes one of its notebooks."""
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "build")
    monkeypatch.setitem(notebooks.AT_ONCE, "quick", 1)  # a process of its own has all to import anew
    monkeypatch.delenv("KOALIB_DATA", raising=False)

    def write(name: str, *sources: str, parameters: str = PARAMETERS, tag: str = ""):
        cells = [new_markdown_cell(f"# About {name}\n\n**Aim.** See *one* thing.\n\n{FORMULA}"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
        cells += [new_code_cell(source, metadata={"tags": [tag]} if tag else {}) for source in sources]
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}), path)
        return path

    write.build = tmp_path / "build"
    return write


@pytest.fixture
def two_at_once(project, monkeypatch):
    monkeypatch.setitem(notebooks.AT_ONCE, "quick", 2)


def command(*words: str):
    return CliRunner().invoke(app, ["notebooks", *words])


def test_success_is_measured_and_shown(project, two_at_once):
    project("01_shows", "import matplotlib.pyplot as plt\nplt.plot([0, 1])\nplt.show()")
    project("02_works", "print(profile, seed, repr(data))")
    result = command("-p", "seed=7")
    assert result.exit_code == 0
    assert re.search(r"^02_works +\d+\.\d +[1-9]\d+  ok$", result.output, re.MULTILINE)
    executed = nbformat.read(project.build / "notebooks/02_works.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "quick 7 ''\n"
    index = (project.build / "site/index.html").read_text()
    assert "About 01_shows" in index and "See one thing." in index and "data:image/png" in index
    page = (project.build / "site/01_shows.html").read_text()
    assert "<math" in page and 'href="02_works.html"' in page
    (document,) = re.findall(r'href="([^"]*protocol\.md)"', page)
    assert (project.build / "site" / document).resolve() == PROTOCOL, "links to documents lead from the site to the project's"
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=.?https?:", page + index)


@pytest.mark.parametrize(
    "sources, reason",
    [
        (["1 / 0"], "ZeroDivisionError"),
        (["import sys; sys.exit(0)", "print('never')"], "left early by sys.exit; 1 code cells never ran"),
        (["import os; os._exit(0)", "print('never')"], "DeadKernelError"),
    ],
)
def test_a_failure_is_told_and_the_others_still_run(project, sources, reason):
    project("01_fails", *sources)
    project("02_works", "print('fine')")
    result = command()
    assert result.exit_code == 1
    assert reason in result.output and "2 notebooks" in result.output and "1 failed" in result.output
    assert re.search(r"^02_works .* ok$", result.output, re.MULTILINE)
    assert reason in (project.build / "site/index.html").read_text()


class SlowToStart(ProcessPoolExecutor):
    """A pool whose second process is still starting when the pool's watcher looks for the last time."""

    def _spawn_process(self):
        time.sleep(0.5)
        super()._spawn_process()


def test_a_process_that_is_killed_is_told(project, two_at_once, monkeypatch):
    monkeypatch.setattr(notebooks, "ProcessPoolExecutor", SlowToStart)
    project("01_works", "import time\ntime.sleep(30)")
    project("02_kills", "import os\nos.kill(os.getppid(), 9)")
    result = command()
    assert result.exit_code == 1 and "is there memory enough?" in result.output and "2 failed" in result.output


def test_wrong_parameter_name_fails_before_anything_runs(project):
    project("01_mistyped", parameters='profil = ""\nseed = 0\ndata = ""')
    result = command()
    assert result.exit_code == 1 and "does not define profile" in result.output
    project("01_mistyped")
    result = command("--parameter", "sede=1")
    assert result.exit_code == 1 and "does not define sede" in result.output
    assert not (project.build / "notebooks/01_mistyped.ipynb").exists()


def test_students_edition_has_no_solution_and_runs(project):
    project("01_exercise", "print('the answer is forty-two')", tag=notebooks.SOLUTION)
    assert command("--without-solutions").exit_code == 0
    executed = (project.build / "notebooks/01_exercise.ipynb").read_text()
    assert "forty-two" not in executed and "your turn" in executed


@pytest.mark.parametrize("words", [["--profile", "huge"], ["--only", "9"], ["--data", "nowhere"], ["--data", "."], ["--parameter", "seed"]])
def test_a_mistake_of_the_user_is_one_clear_line(project, words):
    project("01_works")
    error = command(*words).exception
    assert isinstance(error, UserError) and "\n" not in str(error)
    assert words[1] in str(error)


def test_no_notebooks_is_a_mistake_and_no_success(project):
    with pytest.raises(UserError, match="complete checkout"):
        notebooks.find()


def test_renewed_outputs_are_the_same_bytes(project):
    path = project("01_works", "import ipywidgets\nprint(profile or 'its own')\nipywidgets.IntSlider()")
    assert command("--renew").exit_code == 0
    first = path.read_text()
    assert command("--renew").exit_code == 0
    assert path.read_text() == first
    assert "its own" in first and "widget" not in first.replace("import ipywidgets", "").replace("ipywidgets.Int", "")


def test_a_failed_renewal_leaves_the_notebook_alone(project):
    path = project("01_fails", "1 / 0")
    before = path.read_bytes()
    assert command("--renew").exit_code == 1
    assert path.read_bytes() == before


def test_peak_memory_sees_children():
    with notebooks.PeakMemory(interval=0.01) as memory:
        subprocess.run([sys.executable, "-c", "import time; x = bytearray(200 << 20); time.sleep(.3)"], check=True)
    assert memory.peak_mb == pytest.approx(210, abs=20)


def test_the_notebook_that_is_begun_first_is_one_of_ours():
    assert [path.name for path in notebooks.find() if path.name.startswith(notebooks.LONGEST)] == ["05_convwgcnet_ablation.ipynb"]
