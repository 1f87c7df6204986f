"""The loop: it learns, repeats itself, goes on after a kill, and stops with a line that helps."""

import io
import json
import random
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import EXPERIMENT, striped_films, weights_hash

from koalib.errors import UserError
from koalib.model.weights import create
from koalib.study import bar
from koalib.study.checkpoint import STATE_FILE
from koalib.study.outcome import _selected, epoch_line, train
from koalib.study.training import OutOfTime, TrainingFailed, film_order, fit, lr_factor

PROGRAM = Path(__file__).with_name("small_run.py")
FEW = EXPERIMENT.but(epochs=1)


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return create(EXPERIMENT.model, **EXPERIMENT.model_options)


def run_program(out: Path, kill_after: tuple[int, float] | None = None) -> str | None:
    """The weights' hash, or None when the program was killed so many steps and seconds after its start."""
    with subprocess.Popen([sys.executable, str(PROGRAM), str(out)], stdout=subprocess.PIPE, text=True) as process:
        if kill_after:
            for _ in range(kill_after[0]):
                process.stdout.readline()
            time.sleep(kill_after[1])
            if process.poll() is None:
                process.kill()
                return None
        output, _ = process.communicate()
    assert process.returncode == 0, output
    return output.split("weights ")[1].strip()


def test_it_learns(tmp_path: Path) -> None:
    _, progress = fit(EXPERIMENT.but(epochs=6, lr=2e-3, drop_path=0.0, augment="none", loss="ce"), network(), striped_films(), tmp_path)
    assert progress.curve[-1]["loss"] < 0.85 * progress.curve[0]["loss"]
    assert progress.best_qwk > 0.5


def test_a_teacher_changes_what_is_learnt_by_its_share(tmp_path: Path) -> None:
    films = striped_films()
    taught = replace(films, taught=np.full((len(films.grade), 5), 0.2, np.float32))
    found = {}
    for name, seen, share in (("alone", films, 0.5), ("unheard", taught, 0.0), ("taught", taught, 0.5)):
        experiment = EXPERIMENT.but(epochs=1, teacher_share=share)
        torch.manual_seed(0)
        found[name] = weights_hash(fit(experiment, create(experiment.model, **experiment.model_options), seen, tmp_path / name)[0])
    assert found["alone"] == found["unheard"] != found["taught"]


def test_same_command_twice_same_weights(tmp_path: Path) -> None:
    first, second = (weights_hash(fit(FEW, network(), striped_films(), tmp_path / name)[0]) for name in "ab")
    other = weights_hash(fit(FEW.but(seed=1), network(), striped_films(), tmp_path / "c")[0])
    assert first == second != other


def test_killed_at_random_moments_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, moments = run_program(tmp_path / "whole"), random.Random(0)
    for _ in range(5):  # 18 steps in all: none of the five lives can see the end
        assert run_program(tmp_path / "killed", kill_after=(moments.randint(1, 2), moments.uniform(0, 0.02))) is None
    assert (tmp_path / "killed" / STATE_FILE).exists()  # from which the last life goes on
    assert run_program(tmp_path / "killed") == whole


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    experiment = FEW.but(patients=40)
    first = train(experiment, tmp_path / "run")
    again = train(experiment, tmp_path / "run", resume=True, report=pytest.fail)
    assert again["finished_at"] == first["finished_at"] and again["curve"] == first["curve"]
    with pytest.raises(UserError, match="other settings"):
        train(experiment.but(seed=1), tmp_path / "run", resume=True)


def test_deadline_saves_and_resumes(tmp_path: Path) -> None:
    with pytest.raises(OutOfTime, match="--resume goes on"):
        fit(FEW, network(), striped_films(), tmp_path / "a", deadline=time.monotonic())
    resumed, _ = fit(FEW, network(seed=5), striped_films(), tmp_path / "a", resume=True)
    whole, _ = fit(FEW, network(), striped_films(), tmp_path / "b")
    assert weights_hash(resumed) == weights_hash(whole)


def test_nan_loss_names_the_films(tmp_path: Path) -> None:
    model = network()
    torch.nn.init.constant_(model.get_classifier().bias, torch.nan)
    with pytest.raises(TrainingFailed, match=r"films film\d+, film\d+"):
        fit(FEW, model, striped_films(), tmp_path)


def test_a_last_step_that_breaks_the_network_is_one_line(tmp_path: Path) -> None:
    films = striped_films(20)  # a single step: its loss is a number, the weights after it are not
    with pytest.raises(TrainingFailed, match="after epoch 1; try a smaller --lr"):
        fit(FEW.but(lr=1e38, warmup=0, ema=0.0), network(), films, tmp_path)


def test_full_disk_is_one_line_and_keeps_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutOfTime):
        fit(FEW, network(), striped_films(), tmp_path, deadline=time.monotonic())
    before = (tmp_path / STATE_FILE).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("koalib.paths.os.fsync", full)
    monkeypatch.setattr("koalib.study.training.CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(UserError, match="No space left on device"):
        fit(FEW, network(), striped_films(), tmp_path, resume=True)
    assert (tmp_path / STATE_FILE).read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == [STATE_FILE]


def test_a_folder_that_cannot_be_written_is_said_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    steps: list[str] = []
    with pytest.raises(UserError, match="file: the run cannot be written there"):
        fit(FEW, network(), striped_films(), tmp_path / "file", after_step=lambda *_: steps.append("step"))
    assert not steps


@pytest.mark.parametrize("damage", ["truncated", "another experiment"])
def test_a_state_that_cannot_be_used_is_named(tmp_path: Path, damage: str) -> None:
    with pytest.raises(OutOfTime):
        fit(FEW, network(), striped_films(), tmp_path, deadline=time.monotonic())
    state, experiment = tmp_path / STATE_FILE, FEW
    if damage == "truncated":
        state.write_bytes(state.read_bytes()[:5000])
    else:
        experiment = FEW.but(lr=9e-4)
    with pytest.raises(UserError, match=STATE_FILE):
        fit(experiment, network(), striped_films(), tmp_path, resume=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class EveryStep(bar.tqdm):
    """Draws at every step, however short."""

    def __init__(self, **options: object) -> None:
        super().__init__(mininterval=0, miniters=1, **options)


def test_bar_tells_loss_kappa_speed_and_time_left_and_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setattr(bar, "tqdm", EveryStep)
    fit(EXPERIMENT.but(epochs=2), network(), striped_films(), tmp_path, report=lambda row: terminal.write("a line\n"))
    drawn = terminal.getvalue()
    assert re.search(r"epoch 2/2: .* 112/192 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+ films/s, loss=\d\.\d{3}, QWK=-?\d\.\d{3}\]", drawn)
    assert "\ra line\n" in drawn and drawn.endswith("\r")


def test_no_bar_in_a_log(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    fit(FEW, network(), striped_films(), tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("select", ["best", "last"])
def test_patience_counts_from_the_best_epoch_whatever_is_kept(tmp_path: Path, select: str) -> None:
    experiment = EXPERIMENT.but(epochs=20, lr=1e-9, patience=2, select=select)
    _, progress = fit(experiment, network(), striped_films(64), tmp_path)
    assert progress.epoch == progress.best_epoch + 2 < 20
    assert _selected(experiment, progress) == (progress.best_epoch if select == "best" else -1)  # what the record says


def test_a_kappa_that_is_undefined_is_none_in_the_curve(tmp_path: Path) -> None:
    films, lines = striped_films(), []
    alike = replace(films, val=films.val[films.grade[films.val] == 0])
    model = network()
    torch.nn.init.zeros_(model.get_classifier().weight)
    torch.nn.init.constant_(model.get_classifier().bias[0], 50)
    _, progress = fit(EXPERIMENT.but(epochs=2, lr=1e-9), model, alike, tmp_path, report=lambda row: lines.append(epoch_line(row)), bars=True)
    assert [row["val_qwk"] for row in progress.curve] == [None, None] and "QWK undefined" in lines[1]
    json.dumps(progress.curve, allow_nan=False)


def test_balanced_sampler_evens_the_grades() -> None:
    films = striped_films(400)
    skewed = films.__class__(films.pixels, np.where(films.grade == 4, 4, 0), films.image_id, films.train, films.val)
    drawn = skewed.grade[film_order(FEW.but(sampler="balanced"), skewed, 0)]
    assert 0.4 < (drawn == 4).mean() < 0.6 and sorted(film_order(FEW, skewed, 0)) == list(films.train)


def test_learning_rate_warms_up_and_falls() -> None:
    factors = [lr_factor(EXPERIMENT.but(epochs=4, warmup=1), s, 10) for s in range(40)]
    assert factors[0] < factors[5] < factors[9] <= 1 and factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True) and factors[-1] < 0.03
