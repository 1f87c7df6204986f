"""Models that travel: from saved weights to a run of the ledger and the rows of the tables, on phantoms."""

import json

import pytest
from fake_ledger import DECISION, fill
from typer.testing import CliRunner

from koalib.cli import app
from koalib.data.datasets import load
from koalib.model.weights import create, save_checkpoint
from koalib.study import abroad, external, ledger, shipped
from koalib.study.comparisons import arm, arm_runs
from koalib.study.experiments import LITE0
from koalib.study.external import JOURNEYS, SHIPPED, Journey, films_abroad
from koalib.study.outcome import WEIGHTS_FILE
from koalib.study.recalibration import STEPS
from koalib.study.runner import work_folder

THERE = Journey("chen2018", "phantom", "loss", f"{LITE0}/soft")


@pytest.fixture
def ledger_of_losses(tmp_path, monkeypatch):
    """Recorded runs of the study ``loss``, and saved weights of two of the three that make the journey."""
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("KOALIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shipped, "GRADER", tmp_path / "none.safetensors")
    monkeypatch.setattr(external, "JOURNEYS", (THERE,))
    monkeypatch.setattr(abroad, "JOURNEYS", (THERE, JOURNEYS[0]))
    monkeypatch.setattr(external, "films_abroad", lambda name, data: load("phantom", n=50))
    monkeypatch.setattr(external, "grade_shares", lambda experiment, data: [0.4, 0.2, 0.2, 0.15, 0.05])
    fill("loss")
    for run in sorted(arm_runs("loss")[THERE.arm].values())[:2]:
        folder = work_folder("loss", run)
        folder.mkdir(parents=True)
        save_checkpoint(create("convnext_atto"), folder / WEIGHTS_FILE, {"size": 32, "decision": DECISION})
    return tmp_path


def test_every_journey_is_made_by_an_arm_of_a_study():
    for journey in JOURNEYS:
        if journey.arm != SHIPPED:
            experiment = arm(journey.study, journey.arm).experiment
            assert experiment.dataset == journey.home != journey.to and arm(journey.study, journey.arm).after is None


def test_models_travel_once_and_leave_runs(ledger_of_losses):
    made = external.run()
    assert len(made) == 2 and external.run() == []
    assert all(name.startswith("phantom-tf_efficientnet_lite0-soft_of_chen2018-official-seed") for name in made)
    record = json.loads((ledger_of_losses / "results" / "external" / made[0] / ledger.RUN_FILE).read_text())
    assert record["films"] == {"abroad": 100} and record["source"]["run"] in arm_runs("loss")[THERE.arm].values()
    assert len(ledger.read_predictions("external", made[0])) == 100


def test_one_command_runs_records_and_shows(ledger_of_losses, monkeypatch):
    monkeypatch.setattr(abroad, "summarise", lambda: {"rows": [{"step": "as they are", "accuracy": 0.5}]})
    said = CliRunner().invoke(app, ["study", "run", "external"])
    assert said.exit_code == 0 and "2 new runs, 2 of 3 recorded" in said.output
    shown = CliRunner().invoke(app, ["study", "show", "external", "--json"])
    assert json.loads(shown.stdout) == {"arms": [{"step": "as they are", "accuracy": 0.5}]}
    assert "external         2 of   3 runs" in CliRunner().invoke(app, ["study", "list"]).output


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_rows_hold_every_step_and_say_what_was_not_run(ledger_of_losses):
    external.run()
    found = abroad.summarise(resamples=100)
    assert [row["step"] for row in found["rows"]] == ["at home", *STEPS, "not run"]
    home, as_they_are, *_ = found["rows"]
    assert home["accuracy"] == pytest.approx(0.7, abs=0.12) and home["models"] == 2
    assert as_they_are["films"] == 100 and as_they_are["accuracy_low"] <= as_they_are["accuracy"] <= as_they_are["accuracy_high"]
    assert 0 <= as_they_are["coverage"] <= 1 and found["shares"][0]["trained_on"] == [0.4, 0.2, 0.2, 0.15, 0.05]
    assert sum(found["shares"][0]["abroad"]) == pytest.approx(1, abs=1e-3)
    recalibrated = found["rows"][4]
    assert recalibrated["rps"] < as_they_are["rps"]
    assert [gain["what"] for gain in found["gains"]] == [what for *_, what in abroad.GAINS]
    ledger.record_measurement("external", found)
    assert len(abroad.table()) == 6 and abroad.shares_table().set_index("shares").loc["trained on", "KL 0"] == 0.4


@pytest.mark.real
def test_twins_pairs_and_sealed_films_stay_at_home():
    knees = films_abroad("gornale2020").table
    assert not knees.two_knees.any() and knees.group.is_unique and set(knees.grade) == set(range(5))
    assert set(films_abroad("chen2018").table.split) == {"val"}
