"""A study over a Ray cluster: one task a run, the same ledger, the same results as on one machine.

Every node needs the project, the data sets at the same place, and the ledger's and cache's folders on a shared disk.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch

from koalib.errors import UserError
from koalib.study.experiments import Study
from koalib.study.runner import Task, pending, run_one, summary

LIVES = 4  #: workers that a run may lose before it counts as failed: one that kills its workers must not do so for ever
TAKEN_SECONDS = 2.0  #: before a run that another process holds is tried again
PASSED_ON = ("KOALIB_RESULTS", "KOALIB_CACHE", "KOALIB_DATA", "KOALIB_WEIGHTS", "KOALIB_COMMIT")


def run_on_ray(study: Study, deadline: float | None, data: str | Path | None = None, address: str | None = None) -> list[str]:
    """Run what is open on a local cluster, or on the one at ``address``; return the names of the runs that failed.

    A run whose worker dies is done again, from its last state, on another. Runs that need an earlier one (a start, a
    learning-rate search) are submitted when that one is in the ledger.

    Raises:
        UserError: Ray is not installed, or what a run's own `UserError` says.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("--engine ray needs Ray; pip install 'koalib[ray]'") from error
    started_here = not ray.is_initialized()
    if started_here:
        environment = {"env_vars": {key: os.environ[key] for key in PASSED_ON if key in os.environ}}
        ray.init(address=address, runtime_env=environment, log_to_driver=False, include_dashboard=False)
    threads = torch.get_num_threads()
    task = ray.remote(**_resources(ray.nodes(), threads), max_retries=LIVES - 1)(_run)
    until = None if deadline is None else time.time() + deadline - time.monotonic()
    failed, waiting, stopping = [], {}, False
    try:
        while True:
            for todo in () if stopping else pending(study):
                if (name := todo.experiment.run_name) not in {*failed, *waiting.values()}:
                    waiting[task.remote(study.name, todo, data, until, threads)] = name
            if not waiting:
                break
            ready, _ = ray.wait(list(waiting), num_returns=1)
            name, outcome = waiting.pop(ready[0]), _outcome(ready[0])
            if outcome == "failed":
                failed.append(name)
            elif outcome == "out of time":
                stopping = True  # the others stop by themselves, each with its state saved
            elif outcome == "taken":
                time.sleep(TAKEN_SECONDS)
    finally:
        if started_here:
            ray.shutdown()
    print(summary(study))
    return failed


def _resources(nodes: list[dict], threads: int) -> dict[str, int]:
    """What Ray is to keep for a run: a processor for each of its threads, and a GPU where the cluster has any.

    Raises:
        UserError: no node has so many processors, so that the runs would wait for ever.
    """
    kinds = [node["Resources"] for node in nodes if node["Alive"]]
    most = max((int(kind.get("CPU", 0)) for kind in kinds), default=0)
    if threads > most:
        raise UserError(f"{threads} threads a run, and no node of the cluster has more than {most} processors; choose fewer with --threads")
    return {"num_cpus": threads, "num_gpus": int(any(kind.get("GPU", 0) >= 1 for kind in kinds))}


def _run(study: str, todo: Task, data: str | Path | None, until: float | None, threads: int) -> str:
    """The task: one run, which has what is left of the time when it starts, not when it was put in line."""
    torch.set_num_threads(threads)  # Ray would leave the number to the node: a run is one of so many threads, wherever it is made
    return run_one(study, todo, data, None if until is None else until - time.time())


def _outcome(task: "ray.ObjectRef") -> str:
    """What `run_one` returned; a worker's death is a failure, its `UserError` is raised as if it had happened here."""
    import ray

    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, UserError) else error) from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError) as error:
        print(f"lost {LIVES} workers: {str(error).splitlines()[0]}", file=sys.stderr)
        return "failed"
