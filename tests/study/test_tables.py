"""The README and the figures say what the ledger says."""

import re

import pandas as pd
import pytest
from fake_ledger import fill

from koalib.errors import UserError
from koalib.study import figures, shipped
from koalib.study.claims import Answer, amount
from koalib.study.tables import BEGIN, END, README, markdown, recorded_block, renew_block, results_block, rounded, studies_markdown


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("KOALIB_WEIGHTS", raising=False)
    monkeypatch.setattr(shipped, "GRADER", tmp_path / "none.safetensors")
    return tmp_path


def test_readme_says_what_the_ledger_says():
    assert recorded_block(README.read_text(encoding="utf-8")) == results_block(), "renew it with: koalib study figures"


def test_figures_are_those_of_the_ledger():
    assert all((figures.FIGURES / f"{name}.png").is_file() == (make() is not None) for name, make in figures.FIGURE_MAKERS.items())


def test_readme_is_renewed_between_its_marks_only(empty):
    file = empty / "README.md"
    file.write_text(f"# Title\n\n{BEGIN}\nof an earlier ledger\n{END}\n\nend\n")
    renew_block(file, results_block())
    text = file.read_text()
    assert text.startswith("# Title\n") and text.endswith("\nend\n") and "of an earlier ledger" not in text
    assert recorded_block(text) == results_block()


def test_readme_without_marks_is_left_alone(empty):
    file = empty / "README.md"
    file.write_text("# Title\n")
    with pytest.raises(UserError, match="README.md: the marks"):
        renew_block(file, results_block())
    assert file.read_text() == "# Title\n"


def test_studies_say_what_was_not_run_and_why(empty):
    fill("loss")
    text = studies_markdown()
    assert "| 15 of 15 | - |" in text and "| 0 of 27 | 27: not run yet |" in text
    assert "ImageNet weights, not on this machine" in text
    waiting = re.search(r"\| external .* \| (\d+) of (\d+) \| (\d+): saved models, not on this machine \|", text)
    assert waiting and int(waiting[2]) - int(waiting[1]) == int(waiting[3]) > 0


def test_figures_follow_a_partly_filled_ledger(empty):
    for name in ("README.md", "card.md"):
        (empty / name).write_text(f"{BEGIN}\n{END}\n")
    (empty / "figures").mkdir()
    (empty / "figures" / "loss.png").write_bytes(b"of an earlier ledger")
    fill("ablation", only=("start", "both", "neither"))
    written = [file.name for file in figures.renew(empty / "figures", empty / "README.md", empty / "card.md")]
    assert written == ["phantoms.png", "ablation_forest.png", "ablation_questions.png", "ablation_arms.png", "README.md", "card.md"]
    assert sorted(f.name for f in (empty / "figures").iterdir()) == ["ablation_arms.png", "ablation_forest.png", "ablation_questions.png", "phantoms.png"]


@pytest.mark.parametrize(("answer", "text"), [
    (Answer("C5", "", ""), "-"),
    (Answer("C5", "", "", 0.011, -0.002, 0.0264), "+1.1 points (\N{MINUS SIGN}0.2 to +2.6)"),
    (Answer("C1", "", "", 0.801, 0.78, 0.82, unit="percent"), "80.1 % (78.0 to 82.0)"),
    (Answer("C2", "", "", 2.31, 1.84, float("inf"), unit="times"), "2.3 times (1.8 to no upper bound)"),
    (Answer("C7", "", "", 0.123, -0.04, 0.3, unit="doublings"), "+0.12 doublings (\N{MINUS SIGN}0.04 to +0.30)"),
])
def test_amount(answer, text):
    assert amount(answer) == text


def test_bars_in_cells_are_escaped():
    assert markdown(("a",), [("x|y",)]).splitlines()[-1] == r"| x\|y |"


def test_what_is_not_recorded_is_said():
    table = rounded(pd.DataFrame({"arm": ["a", "b"], "value": [0.12345, float("nan")]}))
    assert table.value.tolist() == [0.123, "not recorded yet"]
