"""A study over a Ray cluster: one task a run, the same ledger, the same results as on one machine.

Every node needs the project, the data sets at the same place, and the ledger's and cache's folders on a shared disk.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from koalib.errors import UserError
from koalib.study.experiments import Study
from koalib.study.runner import pending, progress, run_one

PASSED_ON = ("KOALIB_RESULTS", "KOALIB_CACHE", "KOALIB_DATA", "KOALIB_WEIGHTS")


def run_on_ray(study: Study, deadline: float | None, data: str | Path | None = None, address: str | None = None) -> list[str]:
    """Run what is open on a local cluster, or on the one at ``address``; return the names of the runs that failed.

    A run whose worker dies is done again, from its last state, on another. Runs that need an earlier one (a start, a
    learning-rate search) are submitted when that one is in the ledger.

    Raises:
        UserError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("--engine ray needs Ray; pip install 'koalib[ray]'") from error
    started_here = not ray.is_initialized()
    if started_here:
        environment = {"env_vars": {key: os.environ[key] for key in PASSED_ON if key in os.environ}}
        ray.init(address=address, runtime_env=environment, log_to_driver=False, include_dashboard=False)
    task = ray.remote(num_cpus=1, max_retries=-1)(run_one)
    failed, waiting = [], {}
    try:
        while True:
            for _, experiment in pending(study):
                if experiment.run_name not in {*failed, *waiting.values()}:
                    left = None if deadline is None else deadline - time.monotonic()
                    waiting[task.remote(study.name, experiment, data, seconds=left)] = experiment.run_name
            if not waiting:
                break
            ready, _ = ray.wait(list(waiting), num_returns=1)
            name, outcome = waiting.pop(ready[0]), ray.get(ready[0])
            if outcome != "done":
                failed.append(name)
            if outcome == "out of time":
                break
    finally:
        if started_here:
            ray.shutdown()
    done, planned, _ = progress(study)
    print(f"{study.name}: {done} of {planned} runs recorded")
    return failed
