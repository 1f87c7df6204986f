"""Studies run, skip, resume, share and fail without losing a row."""

import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from koalib.data.datasets import load
from koalib.errors import UserError
from koalib.study import ledger, opening, outcome, runner
from koalib.study.experiment import Experiment
from koalib.study.experiments import STUDIES, Arm, Panel, Study
from koalib.study.comparisons import arm_scores, chosen_runs
from koalib.study.teachers import Taught

TINY = Experiment("phantom", "convwgcnet_atto", patients=60, size=32, epochs=1, batch=16, lr=1e-3, precision="fp32")
START = TINY.but(variant="start")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(runner, "work_folder", lambda study, name: tmp_path / "runs" / study / name)
    monkeypatch.setattr("os.nice", lambda by: 0)
    small = Study("small", "for the tests", (Panel("tiny", (
        Arm(TINY.but(variant="a"), seeds=(0, 1)),
        Arm(TINY.but(variant="searched"), rates=(1e-4, 1e-3)),
        Arm(TINY.but(variant="after"), after=START),
        Arm(TINY.but(model="resnet50", pretrained="imagenet", variant="elsewhere"), needs="ImageNet weights"),
    )),), first=(START,))
    monkeypatch.setitem(STUDIES, "small", small)
    monkeypatch.setattr(runner.sources, "find", lambda name: None)
    return small


def test_a_study_runs_to_its_end_and_then_does_nothing(study: Study, capsys: pytest.CaptureFixture) -> None:
    assert runner.run_study("small") == []
    assert runner.progress(study) == (6, 7, 1)
    before = {run["name"]: run["finished_at"] for run in ledger.read_runs("small")}
    runner.run_study("small")
    assert before == {run["name"]: run["finished_at"] for run in ledger.read_runs("small")}
    assert "6 of 7 runs recorded, 1 need weights" in capsys.readouterr().out
    started = [run for run in ledger.read_runs("small") if run["experiment"]["variant"] == "after"]
    assert started[0]["pretrained_source"] == f"run:{START.run_name}"
    table = arm_scores("small").set_index("arm")
    assert len(chosen_runs("small")) == 4
    assert table.made.to_dict() == {"convwgcnet_atto/a": 2, "convwgcnet_atto/searched": 1, "convwgcnet_atto/after": 1, "resnet50/elsewhere": 0}
    assert table.films["resnet50/elsewhere"] == "ImageNet weights" and table.qwk.isna()["resnet50/elsewhere"]
    run = table.drop("resnet50/elsewhere")
    assert (run.qwk_low <= run.qwk).all() and (run.qwk <= run.qwk_high).all()


def test_a_start_that_is_shipped_is_not_trained_again(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner.run_study("small")
    (tmp_path / "starts").mkdir()
    (runner.work_folder("small", START.run_name) / "model.safetensors").rename(tmp_path / "starts" / f"{START.run_name}.safetensors")
    after = next(run for run in ledger.read_runs("small") if run["experiment"]["variant"] == "after")
    shutil.rmtree(tmp_path / "results" / "small" / after["name"])
    shutil.rmtree(runner.work_folder("small", after["name"]))
    assert [task.weights_only for task in runner.pending(study)] == [True]
    monkeypatch.setattr(runner, "WEIGHTS", tmp_path)
    assert [task.experiment.run_name for task in runner.pending(study)] == [after["name"]]
    runner.run_study("small")
    again = next(run for run in ledger.read_runs("small") if run["name"] == after["name"])
    assert again["scores"] == after["scores"]


def test_arms_that_are_compared_are_computed_alike(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(runner, "train", lambda experiment, out, **options: asked.append(options["mode"]))
    monkeypatch.setattr(ledger, "publish_run", lambda *found: None)
    first, second = (TINY.but(variant="a", seed=seed) for seed in (0, 1))
    runner.run_one("small", runner.Task(first))
    ledger.write_json(ledger.results_dir() / "small" / first.run_name / ledger.RUN_FILE, {"precision": "bf16"})
    (ledger.results_dir() / "small" / first.run_name / ledger.PREDICTIONS_FILE).touch()
    for experiment in (second, second.but(seed=7), START):
        runner.run_one("small", runner.Task(experiment))
    runner.run_one("small", runner.Task(first, weights_only=True))
    assert asked == [None, "bf16", "bf16", None, "bf16"], "a start is compared with nothing; weights made again are those that were recorded"


def test_a_student_waits_for_its_teachers_and_learns_what_they_say_of_films_they_have_not_seen(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    folds = Arm(TINY.but(folds=3, training_set="train_split", variant="folds"), (0, 1, 2))
    school = Study("school", "for the tests", (Panel("teachers", (folds,)), Panel("students", (Arm(TINY.but(variant="taught", teacher=folds.name)),))))
    monkeypatch.setitem(STUDIES, "school", school)
    student = TINY.but(variant="taught", teacher=folds.name)
    assert [task.experiment.variant for task in runner.pending(school)] == ["folds"] * 3
    assert runner.teachers("school", student) is None
    given = []
    monkeypatch.setattr(runner, "train", lambda *args, train=runner.train, **more: given.append(more["taught"]) or train(*args, **more))
    assert runner.run_study("school") == [] and runner.progress(school) == (4, 4, 0)
    table = load("phantom", n=60).table
    train = set(table.image_id[table.split == "train"])
    assert given[:3] == [None] * 3 and set(given[3].films.index) == train
    record = next(run for run in ledger.read_runs("school") if run["experiment"]["variant"] == "taught")
    assert record["teachers"] == list(given[3].runs) == runner.teachers("school", student)
    tested = [ledger.read_predictions("school", name, "oof") for name in runner.teachers("school", student)]
    assert sum(map(len, tested)) == len(train)
    film = tested[1].iloc[0]
    assert np.allclose(given[3].films.loc[film.image_id], film[ledger.PROBABILITIES].to_numpy(float), atol=1e-5)


def test_a_student_alone_or_with_gaps_is_told(tmp_path: Path) -> None:
    student = TINY.but(teacher="a/folds")
    with pytest.raises(UserError, match="part of a study"):
        outcome.train(student, tmp_path)
    with pytest.raises(UserError, match="has not graded .* training films"):
        outcome.train(student, tmp_path, taught=Taught(("a",), pd.DataFrame(columns=ledger.PROBABILITIES, dtype=float)))
    table = load("phantom", n=60).table
    whole = pd.DataFrame(0.2, index=table.image_id, columns=ledger.PROBABILITIES)
    with pytest.raises(UserError, match=rf"was trained on {(table.split != 'train').sum()} films that do not train this run.*train_split"):
        outcome.train(student, tmp_path, taught=Taught(("a",), whole))


def test_an_unknown_teacher_and_one_that_is_waited_for_are_named(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, lost = TINY.but(variant="taught", teacher="convwgcnet_atto/a"), TINY.but(variant="lost", teacher="nobody")
    monkeypatch.setitem(STUDIES, "school", Study("school", "for the tests", (Panel("all", (Arm(TINY.but(variant="a")), Arm(waiting))),)))
    assert "1 runs wait for their teachers, convwgcnet_atto/a" in runner.summary(STUDIES["school"])
    with pytest.raises(UserError, match="has no arm 'nobody' that could teach"):
        runner.teachers("school", lost)


@pytest.mark.parametrize("study_name", STUDIES)
def test_teachers_of_the_studies_have_not_seen_what_selects_their_students(study_name: str) -> None:
    arms = {arm.name: arm for arm in STUDIES[study_name].arms}
    for arm in arms.values():
        if arm.experiment.teacher:
            teacher = arms[arm.experiment.teacher]
            assert teacher.experiment.training_set == "train_split" and teacher.experiment.dataset == arm.experiment.dataset
            assert set(teacher.folds) == set(range(teacher.experiment.folds)) and arm.folds == (None,)


def test_minutes_stop_it_and_the_next_call_goes_on(study: Study) -> None:
    runner.run_study("small", minutes=1e-6)
    assert ledger.read_runs("small") == []
    runner.run_study("small")
    assert len(ledger.read_runs("small")) == 6


def test_a_run_is_done_once_by_two_processes(study: Study) -> None:
    context = multiprocessing.get_context("fork")
    from filelock import FileLock
    folder = runner.work_folder("small", START.run_name)
    folder.mkdir(parents=True)
    ready, leave = context.Event(), context.Event()

    def hold() -> None:
        with FileLock(folder / "lock"):
            ready.set()
            leave.wait(30)

    other = context.Process(target=hold)
    other.start()
    ready.wait(10)
    assert runner.run_one("small", runner.Task(START)) == "taken"
    other.kill()  # a dead process keeps no lock
    other.join()
    assert runner.run_one("small", runner.Task(START)) == "done"


def test_unknown_study_and_engine(study: Study) -> None:
    with pytest.raises(UserError, match="no such study"):
        runner.run_study("nothing")
    with pytest.raises(UserError, match="choose local or ray"):
        runner.run_study("small", engine="slurm")


def test_a_study_is_not_opened_before_it_is_whole(study: Study) -> None:
    with pytest.raises(UserError, match="6 of 7 runs are not recorded"):
        opening.unseal("small")
