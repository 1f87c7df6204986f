"""A study over two Ray nodes, one of which dies half-way, ends with the ledger that one machine makes."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from koalib.errors import UserError
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
    def save_after_every_step() -> None:  # at each worker's start, so that short runs leave states to go on from
        from koalib.study import training
        training.CHECKPOINT_SECONDS = 0.0

    init = ray.init
    monkeypatch.setattr(ray, "init", lambda runtime_env, **options: init(runtime_env=runtime_env | {"worker_process_setup_hook": save_after_every_step}, **options))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    states = tmp_path / "cache" / "runs" / "small"
    done_when_killed: list[int] = []

    def kill_a_node() -> None:
        while len(list(states.glob("*/resume.safetensors"))) < 2:  # both nodes are at work
            time.sleep(0.05)
        cluster.remove_node(lost, allow_graceful=False)
        done_when_killed.append(len(ledger.read_runs("small")))

    threading.Thread(target=kill_a_node, daemon=True).start()
    try:
        assert runner.run_study("small", engine="ray", address=cluster.address) == []
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert done_when_killed and done_when_killed[0] < 3, "no node was lost while it worked: the test shows nothing"
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


@pytest.mark.slow
def test_a_users_mistake_comes_back_as_one_line(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "ray"))
    monkeypatch.setenv("KOALIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(STUDIES, "small", Study("small", "for the tests", (Arm(TINY.but(dataset=str(tmp_path / "nowhere"))),)))
    with pytest.raises(UserError, match="nowhere") as raised:
        runner.run_study("small", engine="ray")
    assert "\n" not in str(raised.value)
