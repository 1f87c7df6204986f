"""Runs that cannot be finished, and starts whose weights are on another machine: recorded, repeated, said."""

from pathlib import Path

import pytest
from fake_ledger import predictions

from koalib.errors import UserError
from koalib.study import ledger, opening, runner
from koalib.study.comparisons import arm_runs
from koalib.study.experiment import Experiment
from koalib.study.experiments import STUDIES, Arm, Panel, Study
from koalib.study.training import TrainingFailed

TINY = Experiment("gornale2020", "convwgcnet_atto", size=32, epochs=1)
START = TINY.but(variant="start")
RATES = (1e-4, 1e-3)


class Trainer:
    """Trains nothing: the runs in ``diverging`` fail, the others leave made-up predictions and weights."""

    def __init__(self) -> None:
        self.made: list[Experiment] = []
        self.diverging: list[Experiment] = []

    def __call__(self, experiment: Experiment, folder: Path, start: Path | None = None, **_: object) -> None:
        assert start is None or start.is_file()
        self.made.append(experiment)
        if experiment in self.diverging:
            raise TrainingFailed("loss is nan in epoch 1 at films a, b")
        ledger.write_predictions(folder / ledger.PREDICTIONS_FILE, predictions(experiment, 0.7))
        ledger.write_json(folder / ledger.RUN_FILE, {"experiment": experiment.as_dict(), "scores": {"val": {"qwk": {"value": experiment.lr}}}})
        (folder / runner.WEIGHTS_FILE).write_bytes(b"weights")


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("KOALIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("os.nice", lambda by: 0)
    monkeypatch.setitem(STUDIES, "small", Study("small", "for the tests", (Panel("all", (
        Arm(TINY.but(variant="a"), folds=(0, 1), seeds=(0, 1)),
        Arm(TINY.but(variant="searched"), folds=(0,), rates=RATES),
        Arm(TINY.but(variant="after"), folds=(0,), after=START),
    )),), first=(START,)))
    monkeypatch.setattr(runner, "train", found := Trainer())
    return found


def test_a_run_that_failed_is_recorded_and_repeated_once_with_the_next_free_seed(trainer: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first, second = (TINY.but(variant="a", fold=1, seed=seed) for seed in (0, 1))
    trainer.diverging = [first, second, first.but(seed=2)]
    assert set(runner.run_study("small")) == {e.run_name for e in trainer.diverging}
    failures = {record["name"]: record for record in ledger.read_failures("small")}
    assert [failures[e.run_name]["repeated_with_seed"] for e in trainer.diverging] == [2, 3, None]
    assert all("films a, b" in record["failed"] and record["machine"] for record in failures.values())
    assert ledger.has_run("small", first.but(seed=3).run_name) and not ledger.has_run("small", first.run_name)
    assert not set(failures) & {record["name"] for record in ledger.read_runs("small")}
    standing = arm_runs("small")["convwgcnet_atto/a"]
    assert (1, 0) not in standing and standing[1, 1] == first.but(seed=3).run_name and not set(failures) & set(standing.values())
    assert f"{first.run_name}: failed, loss is nan" in capsys.readouterr().out
    with pytest.raises(UserError, match="not committed|missing;"):  # of the protocol: a run that failed twice is none that is missing
        opening.unseal("small", tmp_path / "protocol.md")
    made = len(trainer.made)
    assert runner.run_study("small") == [] and len(trainer.made) == made, "a failed run was tried again"


@pytest.mark.parametrize("twice", [False, True])
def test_a_failed_rate_does_not_hold_its_arm_up(trainer: Trainer, twice: bool) -> None:
    """The higher rate is the better one here, unless it fails with both seeds."""
    failed = TINY.but(variant="searched", fold=0, lr=RATES[1])
    trainer.diverging = [failed, failed.but(seed=1)] if twice else [failed]
    runner.run_study("small")
    arm = STUDIES["small"].arms[1]
    assert [e.lr for e in arm.results(runner.recorded("small"))] == [RATES[0] if twice else RATES[1]]
    assert runner.progress(STUDIES["small"])[0] == (7 if twice else 8)


def test_a_start_whose_weights_are_elsewhere_is_made_again(trainer: Trainer, tmp_path: Path) -> None:
    runner.run_one("small", runner.Task(START))
    row = (tmp_path / "results" / "small" / START.run_name / ledger.RUN_FILE).read_bytes()
    weights = runner.work_folder("small", START.run_name) / runner.WEIGHTS_FILE
    weights.unlink()  # as on a second machine that was given the ledger alone
    assert runner.run_study("small") == []
    assert trainer.made.count(START) == 2 and len(ledger.read_runs("small")) == 8
    assert (tmp_path / "results" / "small" / START.run_name / ledger.RUN_FILE).read_bytes() == row


def test_runs_that_wait_for_a_start_are_counted_and_named(trainer: Trainer, capsys: pytest.CaptureFixture) -> None:
    trainer.diverging = [START, START.but(seed=1)]
    runner.run_study("small")
    assert f"start weights missing: 1 runs wait for {START.run_name}" in capsys.readouterr().out


def test_threads_of_a_run_are_a_setting_of_the_study(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    runner.run_study("small", threads=3)
    runner.run_study("small")
    assert asked == [3]


def test_the_repetition_of_a_start_serves_in_its_place(trainer: Trainer) -> None:
    trainer.diverging = [START]
    assert runner.run_study("small") == [START.run_name]
    assert {e.variant for e in trainer.made} == {"start", "a", "searched", "after"}
