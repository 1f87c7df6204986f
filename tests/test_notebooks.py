"""The notebooks keep their contract: opening, order, size, clean and reproducible outputs (CONTRIBUTING.md says why)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest

from koalib.notebooks import KERNEL, NOTEBOOKS, SOLUTION, normalise

TOPICS = (
    "01_data_exploration", "02_augmentation", "03_transfer_learning", "04_wavelets_and_gates",
    "05_convwgcnet_ablation", "06_thesis_claims", "07_diagnosis_ui",
)
MARKER = "# NBVAL_CHECK_OUTPUT"
FOUND = sorted(NOTEBOOKS.glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def code_lines(cell: nbformat.NotebookNode) -> list[str]:
    return [line for line in cell.source.splitlines() if line.strip()]


def text_outputs(cell: nbformat.NotebookNode) -> str:
    """All that a cell printed or displayed as text."""
    streams = "".join(output.get("text", "") for output in cell.outputs)
    shown = (value for output in cell.outputs for kind, value in output.get("data", {}).items() if kind.startswith("text/"))
    return streams + "".join(shown)


def is_solution(cell: nbformat.NotebookNode) -> bool:
    return SOLUTION in cell.metadata.get("tags", [])


def test_the_seven_notebooks_are_there_and_no_other():
    assert [path.stem for path in FOUND] == list(TOPICS)


@each_notebook
def test_size_and_balance(path):
    notebook, cells = read(path), code_cells(path)
    lines = sum(len(code_lines(cell)) for cell in cells)
    prose = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert 25 <= len(notebook.cells) <= 60
    assert 80 <= lines <= 250
    words = sum(bool(re.search(r"\w", word)) for word in prose.split())
    assert 4 <= words / lines <= 9
    assert path.stat().st_size < 300_000
    assert notebook.metadata.kernelspec.name == KERNEL


@each_notebook
def test_opening(path):
    cells = read(path).cells
    place = next(i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    prose = "\n".join(cell.source for cell in cells[:place])
    assert all(cell.cell_type == "markdown" for cell in cells[:place])
    assert prose.startswith("# ")
    for word in ("Aim", "What you will learn", "licence"):
        assert word.lower() in prose.lower()
    first_code = cells[place + 1].source
    assert "import koalib" in first_code
    assert re.search(r"^study = koalib\.setup\(profile, seed, data\)", first_code, re.MULTILINE)


@each_notebook
def test_parameters_are_three_literals(path):
    (cell,) = (cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", []))
    statements = ast.parse(cell.source).body
    assert all(isinstance(s, ast.Assign) and isinstance(s.value, ast.Constant) for s in statements)
    assert {s.targets[0].id: s.value.value for s in statements} == {"profile": "", "seed": 0, "data": ""}


@each_notebook
def test_imports_stand_in_one_cell(path):
    importing = [cell for cell in code_cells(path) if re.search(r"^\s*(import|from) \w", cell.source, re.MULTILINE) and not is_solution(cell)]
    assert len(importing) == 1


@each_notebook
def test_order_of_the_body(path):
    headings = [line.lstrip("# ").lower() for cell in read(path).cells if cell.cell_type == "markdown" for line in cell.source.splitlines() if line.startswith("#")]
    first = [next((i for i, heading in enumerate(headings) if part in heading), None) for part in ("theory", "practice", "what we saw", "exercises")]
    assert None not in first
    assert first == sorted(first)


@each_notebook
def test_exercises_have_collapsed_solutions(path):
    solutions = [cell for cell in code_cells(path) if is_solution(cell)]
    assert solutions
    assert all(cell.metadata.get("jupyter", {}).get("source_hidden") for cell in solutions)


@each_notebook
def test_cells_are_short(path):
    longest = max(code_cells(path), key=lambda cell: len(code_lines(cell)))
    assert len(code_lines(longest)) <= 18, longest.source


@each_notebook
def test_no_cell_is_skipped_or_depends_on_the_profile(path):
    for cell in code_cells(path):
        assert not {"skip-execution", "nbval-skip", "raises-exception"} & set(cell.metadata.get("tags", []))
        assert not re.search(r"NBVAL_SKIP|NBVAL_RAISES|profile(\.name)?\s*(==|!=)|sys\.exit", cell.source), cell.source


@each_notebook
def test_executed_in_order_and_without_errors(path):
    cells = [cell for cell in code_cells(path) if cell.source.strip()]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]


@each_notebook
def test_outputs_are_normalised(path):
    assert normalise(read(path)) == path.read_text(encoding="utf-8"), "renew it with: koalib notebooks --renew --only " + path.stem[:2]


@each_notebook
def test_outputs_name_no_machine_and_warn_of_nothing(path):
    for cell in code_cells(path):
        assert not [output for output in cell.outputs if output.get("name") == "stderr"], cell.source
        found = re.search(r"(?<![\w.:/])/(home|root|Users|tmp|work|opt|var)/[\w.-]+|[A-Z]:\\Users|\w*Warning:", text_outputs(cell))
        assert not found, found


@each_notebook
def test_checked_outputs(path):
    marked = [cell for cell in code_cells(path) if "NBVAL_CHECK_OUTPUT" in cell.source]
    assert marked
    for cell in marked:
        assert [line for line in cell.source.splitlines() if "NBVAL_CHECK_OUTPUT" in line] == [MARKER]
        assert text_outputs(cell).strip(), cell.source


@each_notebook
def test_plots_do_not_end_in_a_semicolon(path):
    for cell in code_cells(path):
        assert not cell.source.rstrip().endswith(";"), cell.source
