"""Run a study: skip what the ledger holds, go on with what was interrupted, never do a run twice.

A run whose numbers stop being numbers is recorded as failed and repeated once, with the next free seed (docs/protocol.md).
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from koalib.errors import UserError
from koalib.model import sources
from koalib.model.weights import resolve
from koalib.paths import WEIGHTS, cache_dir, results_dir
from koalib.study import ledger
from koalib.study.experiment import Experiment
from koalib.study.experiments import Study, find_study
from koalib.study.outcome import WEIGHTS_FILE, print_epoch, train
from koalib.study.teachers import taught
from koalib.study.training import OutOfTime, TrainingFailed

FROM_RUN = "run:"


@dataclass(frozen=True)
class Task:
    """One thing to do: a run, or only the weights of one that was recorded on another machine.

    ``seeds`` are those of the run's arm: should it fail, it is repeated with the next one that is free. None for a repetition.
    """

    experiment: Experiment
    seeds: tuple[int, ...] = ()
    weights_only: bool = False


def work_folder(study: str, name: str) -> Path:
    """Where a run's state and weights lie while it runs and after: the cache, not the repository."""
    return cache_dir() / "runs" / study / name


def recorded(study: str) -> Callable[[str], dict | None]:
    """Look up a run's record by name; of a run that failed, its repetition's.

    Of one that failed twice, what a search for a learning rate has to know: that its kappa is the worst there is.
    """
    def look(name: str) -> dict | None:
        if failed := ledger.failure(study, name):
            repetition = _repetition(failed)
            return look(repetition.run_name) if repetition else {"scores": {"val": {"qwk": {"value": -1.0}}}}
        return json.loads((results_dir() / study / name / ledger.RUN_FILE).read_text()) if ledger.has_run(study, name) else None
    return look


def standing(study: str, experiment: Experiment) -> Experiment:
    """The run that stands for an experiment: itself, or its repetition where it failed."""
    failed = ledger.failure(study, experiment.run_name)
    return (failed and _repetition(failed)) or experiment


def _repetition(failed: dict) -> Experiment | None:
    """The run that repeats a failed one; None where that was the repetition already."""
    seed = failed["repeated_with_seed"]
    return None if seed is None else Experiment.from_dict(failed["experiment"]).but(seed=seed)


def progress(study: Study) -> tuple[int, int, int]:
    """Runs in the ledger, runs planned, runs not recorded that need weights which are not on this machine."""
    made = [arm for arm, e in study.runs(recorded(study.name)) if ledger.has_run(study.name, standing(study.name, e).run_name)]
    blocked = sum(arm.planned - made.count(arm) for arm in study.arms if arm.needs and not _weights_here(arm.experiment))
    return len(made), study.planned, blocked


def summary(study: Study) -> str:
    """What is done and what is not, why, and what to do about it, in lines."""
    done, planned, blocked = progress(study)
    lines = [f"{study.name}: {done} of {planned} runs recorded" + (f", {blocked} need weights that are not on this machine" if blocked else "")]
    lines += [f"{f['name']}: failed, {f['failed']}" for f in ledger.read_failures(study.name)]
    runs = [standing(study.name, e) for _, e in study.runs(recorded(study.name))]
    taught = [e.teacher for e in runs if _is_open(study.name, e) and teachers(study.name, e) is None]
    lines += [f"{taught.count(arm)} runs wait for their teachers, {arm}; koalib study run {study.name} makes them first" for arm in sorted(set(taught))]
    waiting = [e.pretrained for e in runs if _is_open(study.name, e) and not _start_is_ready(study.name, e)]
    lines += [f"start weights missing: {waiting.count(start)} runs wait for {start.removeprefix(FROM_RUN)}; koalib study run {study.name} makes them"
              for start in sorted(set(waiting))]
    return "\n".join(lines)


def pending(study: Study) -> Iterator[Task]:
    """What is to do and can be done here; re-reads the ledger at each step."""
    offered: set[str] = set()
    while task := next((task for task in _tasks(study) if task.experiment.run_name not in offered), None):
        offered.add(task.experiment.run_name)
        yield task


def _tasks(study: Study) -> Iterator[Task]:
    """In the study's order; the start of a run comes before it where its weights are not on this machine."""
    starts = {e.run_name: e for _, e in study.runs(recorded(study.name))}
    for arm, planned in study.runs(recorded(study.name)):
        experiment = standing(study.name, planned)
        if not _is_open(study.name, experiment) or (arm and arm.needs and not _weights_here(experiment)):
            continue
        if teachers(study.name, experiment) is None:
            continue
        if _start_is_ready(study.name, experiment):
            seeds = (arm.seeds if arm else (planned.seed,)) if experiment == planned else ()
            yield Task(experiment, seeds)
        elif start := starts.get(_start(experiment)):
            start = standing(study.name, start)
            if ledger.has_run(study.name, start.run_name):
                yield Task(start, weights_only=True)


def teachers(study: str, experiment: Experiment) -> list[str] | None:
    """The recorded runs that teach an experiment, none where it has no teacher; None while they are not all recorded."""
    if not experiment.teacher:
        return []
    arm = next((arm for arm in find_study(study).arms if arm.name == experiment.teacher), None)
    if arm is None:
        raise UserError(f"{study}: has no arm {experiment.teacher!r} that could teach {experiment.run_name}; name one of {', '.join(arm.name for arm in find_study(study).arms)}")
    names = [standing(study, e).run_name for e in arm.results(recorded(study))]
    return names if names and all(ledger.has_run(study, name) for name in names) else None


def _is_open(study: str, experiment: Experiment) -> bool:
    return not ledger.has_run(study, experiment.run_name) and not ledger.failure(study, experiment.run_name)


def run_study(name: str, engine: str = "local", minutes: float | None = None, data: str | Path | None = None, address: str | None = None,
              threads: int | None = None) -> list[str]:
    """Run what is open; return the names of the runs that failed.

    Args:
        threads: of each run, with either engine; None leaves PyTorch's number on this machine.

    Raises:
        UserError: no such study or engine, a missing data set.
    """
    study = find_study(name)
    deadline = time.monotonic() + 60 * minutes if minutes else None
    if threads:
        torch.set_num_threads(threads)
    if engine == "ray":
        from koalib.study.cluster import run_on_ray
        return run_on_ray(study, deadline, data, address)
    if engine != "local":
        raise UserError(f"engine {engine!r}: choose local or ray")
    os.nice(10)
    failed = []
    for task in pending(study):
        outcome = run_one(study.name, task, data, None if deadline is None else deadline - time.monotonic())
        if outcome == "out of time":
            break
        if outcome == "failed":
            failed.append(task.experiment.run_name)
    print(summary(study))
    return failed


def run_one(study: str, task: Task, data: str | Path | None = None, seconds: float | None = None) -> str:
    """Do one run under its lock and put it into the ledger: done, taken (by another process), failed or out of time.

    The lock is the operating system's: a process that dies gives it back.
    """
    experiment, name = task.experiment, task.experiment.run_name
    deadline = None if seconds is None else time.monotonic() + seconds
    folder = work_folder(study, name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            if (folder / WEIGHTS_FILE).is_file() if task.weights_only else ledger.has_run(study, name):
                return "done"
            if task.weights_only or not (folder / ledger.RUN_FILE).is_file():
                print(f"{study}/{name}" + (", again: its weights, which others start from, are not here" if task.weights_only else ""), file=sys.stderr, flush=True)
                _train(study, task, folder, data, deadline)
            if not task.weights_only:
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


def _train(study: str, task: Task, folder: Path, data: str | Path | None, deadline: float | None) -> None:
    """Train; a failure is recorded with the seed that the run is repeated with, unless the ledger holds the run."""
    try:
        lessons = taught(study, teachers(study, task.experiment) or [])
        train(task.experiment, folder, start=_start_file(study, task.experiment), taught=lessons, data=data, mode=_numbers(study, task.experiment), resume=True, deadline=deadline,
              report=print_epoch)
    except TrainingFailed as error:
        if not task.weights_only:
            record = {"experiment": task.experiment.as_dict(), "seed": task.experiment.seed, "fold": task.experiment.fold, "failed": str(error)}
            ledger.publish_failure(study, task.experiment.run_name, record | {"repeated_with_seed": _next_free_seed(study, task)})
        raise


def _numbers(study: str, experiment: Experiment) -> str | None:
    """``fp32`` or ``bf16``, as in the runs that this one is compared with or, where only its weights are made again, in its own record.

    Machines choose differently, and arms of a panel must not differ in that too. None while nothing is recorded.
    """
    look = recorded(study)
    rivals = [e for panel in find_study(study).panels if any(arm.is_of(experiment) for arm in panel.arms) for arm in panel.arms for e in arm.runs(look)]
    records = (look(e.run_name) for e in (experiment, *rivals))
    return next((record["precision"] for record in records if record and "precision" in record), None)


def _next_free_seed(study: str, task: Task) -> int | None:
    """The first seed after those of the arm that no other failed run is repeated with; None for what is a repetition."""
    if not task.seeds:
        return None
    taken = {repetition for failed in ledger.read_failures(study) if (repetition := _repetition(failed))}
    return next(seed for seed in itertools.count(max(task.seeds) + 1) if task.experiment.but(seed=seed) not in taken)


def _start(experiment: Experiment) -> str | None:
    return experiment.pretrained.removeprefix(FROM_RUN) if experiment.pretrained.startswith(FROM_RUN) else None


def _start_is_ready(study: str, experiment: Experiment) -> bool:
    file = _start_file(study, experiment)
    return file is None or file.is_file()


def _start_file(study: str, experiment: Experiment) -> Path | None:
    """Weights of the run that the experiment starts from, or of that run's repetition.

    Those that the repository ships come first: arms that are compared start from the same weights, whichever machine runs them.
    """
    start = _start(experiment)
    if start and (failed := ledger.failure(study, start)) and (repetition := _repetition(failed)):
        start = repetition.run_name
    if not start:
        return None
    shipped = WEIGHTS / "starts" / f"{start}.safetensors"
    return shipped if shipped.is_file() else work_folder(study, start) / WEIGHTS_FILE


def _weights_here(experiment: Experiment) -> bool:
    backbone, _ = resolve(experiment.model, {})
    return sources.find(sources.tagged(backbone)) is not None
