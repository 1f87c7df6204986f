"""Run a study: skip what the ledger holds, go on with what was interrupted, never do a run twice."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from koalib.errors import UserError
from koalib.model import sources
from koalib.model.weights import resolve
from koalib.paths import cache_dir, results_dir
from koalib.study import ledger
from koalib.study.experiment import Experiment
from koalib.study.experiments import Arm, Study, find_study
from koalib.study.outcome import WEIGHTS_FILE, print_epoch, train
from koalib.study.training import OutOfTime, TrainingFailed

FROM_RUN = "run:"


def work_folder(study: str, name: str) -> Path:
    """Where a run's state and weights lie while it runs and after: the cache, not the repository."""
    return cache_dir() / "runs" / study / name


def recorded(study: str) -> Callable[[str], dict | None]:
    """Look up a run's record by name."""
    def look(name: str) -> dict | None:
        file = results_dir() / study / name / ledger.RUN_FILE
        return json.loads(file.read_text()) if file.is_file() else None
    return look


def progress(study: Study) -> tuple[int, int, int]:
    """Runs in the ledger, runs planned, runs that need weights which are not on this machine."""
    done = sum(ledger.has_run(study.name, e.run_name) for _, e in study.runs(recorded(study.name)))
    blocked = sum(arm.planned for arm in study.arms if arm.needs and not _weights_here(arm.experiment))
    return done, study.planned, blocked


def pending(study: Study) -> Iterator[tuple[Arm | None, Experiment]]:
    """Runs that are not in the ledger and can be done here; re-reads the ledger at each step."""
    offered: set[str] = set()
    while True:
        open_runs = [(arm, e) for arm, e in study.runs(recorded(study.name)) if not ledger.has_run(study.name, e.run_name) and e.run_name not in offered]
        open_runs = [(arm, e) for arm, e in open_runs if not (arm and arm.needs and not _weights_here(e)) and _start_is_ready(study.name, e)]
        if not open_runs:
            return
        offered.add(open_runs[0][1].run_name)
        yield open_runs[0]


def run_study(name: str, engine: str = "local", minutes: float | None = None, data: str | Path | None = None, address: str | None = None) -> list[str]:
    """Run what is open; return the names of the runs that failed.

    Raises:
        UserError: no such study or engine, a missing data set.
    """
    study = find_study(name)
    deadline = time.monotonic() + 60 * minutes if minutes else None
    if engine == "ray":
        from koalib.study.cluster import run_on_ray
        return run_on_ray(study, deadline, data, address)
    if engine != "local":
        raise UserError(f"engine {engine!r}: choose local or ray")
    os.nice(10)
    failed = []
    for _, experiment in pending(study):
        outcome = run_one(study.name, experiment, data, None if deadline is None else deadline - time.monotonic())
        if outcome == "out of time":
            break
        if outcome == "failed":
            failed.append(experiment.run_name)
    done, planned, blocked = progress(study)
    print(f"{name}: {done} of {planned} runs recorded" + (f", {blocked} need weights that are not on this machine" if blocked else ""))
    return failed


def run_one(study: str, experiment: Experiment, data: str | Path | None = None, seconds: float | None = None) -> str:
    """Do one run under its lock and put it into the ledger: done, taken (by another process), failed or out of time.

    The lock is the operating system's: a process that dies gives it back.
    """
    name = experiment.run_name
    deadline = None if seconds is None else time.monotonic() + seconds
    folder = work_folder(study, name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            if ledger.has_run(study, name):
                return "done"
            if not (folder / ledger.RUN_FILE).is_file():
                print(f"{study}/{name}", file=sys.stderr, flush=True)
                train(experiment, folder, start=_start_file(study, experiment), data=data, resume=True, deadline=deadline, report=print_epoch)
            ledger.publish_run(study, name, folder)
            return "done"
    except Timeout:
        return "taken"
    except OutOfTime as stop:
        print(stop, file=sys.stderr)
        return "out of time"
    except TrainingFailed as failure:
        print(f"{study}/{name}: {failure}", file=sys.stderr)
        return "failed"


def _start(experiment: Experiment) -> str | None:
    return experiment.pretrained.removeprefix(FROM_RUN) if experiment.pretrained.startswith(FROM_RUN) else None


def _start_is_ready(study: str, experiment: Experiment) -> bool:
    file = _start_file(study, experiment)
    return file is None or file.is_file()


def _start_file(study: str, experiment: Experiment) -> Path | None:
    """Weights of the run that the experiment starts from."""
    start = _start(experiment)
    return work_folder(study, start) / WEIGHTS_FILE if start else None


def _weights_here(experiment: Experiment) -> bool:
    backbone, _ = resolve(experiment.model, {})
    return sources.find(sources.tagged(backbone)) is not None
