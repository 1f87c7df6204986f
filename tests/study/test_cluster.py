"""A study over two Ray nodes, one of which dies half-way, ends with the ledger that one machine makes."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from koalib.study import ledger, runner
from koalib.study.experiment import Experiment
from koalib.study.experiments import STUDIES, Arm, Study

TINY = Experiment("phantom", "convwgcnet_atto", patients=60, size=32, epochs=4, batch=16, lr=1e-3, precision="fp32")


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("os.nice", lambda by: 0)
    small = Study("small", "for the tests", (Arm(TINY.but(variant="a"), seeds=(0, 1, 2)),))
    monkeypatch.setitem(STUDIES, "small", small)
    return small


@pytest.mark.slow
def test_a_lost_node_loses_no_run(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "ray"))
    monkeypatch.setenv("KOALIB_CACHE", str(tmp_path / "cache"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    states = tmp_path / "cache" / "runs" / "small"
    killed = threading.Event()

    def kill_a_node() -> None:
        while len(list(states.glob("*/resume.safetensors"))) < 2:  # both nodes are at work
            time.sleep(0.2)
        cluster.remove_node(lost, allow_graceful=False)
        killed.set()

    threading.Thread(target=kill_a_node, daemon=True).start()
    try:
        assert runner.run_study("small", engine="ray", address=cluster.address) == []
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert killed.is_set(), "no node was lost: the test shows nothing"
    assert runner.progress(study) == (3, 3, 0)
    over_ray = {run["name"]: ledger.read_predictions("small", run["name"]) for run in ledger.read_runs("small")}
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "local"))
    monkeypatch.setattr(runner, "work_folder", lambda study, name: tmp_path / "local_runs" / name)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as each Ray task has one
    runner.run_study("small")
    torch.set_num_threads(threads)
    for name, table in over_ray.items():
        local = ledger.read_predictions("small", name)
        assert np.allclose(ledger.probabilities(table), ledger.probabilities(local), atol=1e-5), name
