"""A study over two Ray nodes, one of which dies half-way, ends with the ledger that one machine makes."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from koalib.errors import UserError
from koalib.study import cluster, ledger, runner
from koalib.study.experiment import Experiment
from koalib.study.experiments import STUDIES, Arm, Panel, Study

TINY = Experiment("phantom", "convwgcnet_atto", patients=60, size=32, epochs=4, batch=16, lr=1e-3, precision="fp32")


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    monkeypatch.setattr("os.nice", lambda by: 0)
    small = Study("small", "for the tests", (Panel("tiny", (Arm(TINY.but(variant="a"), seeds=(0, 1, 2)),)),))
    monkeypatch.setitem(STUDIES, "small", small)
    before = torch.get_num_threads()
    yield small
    torch.set_num_threads(before)


def node(processors: int, alive: bool = True, **more: float) -> dict:
    return {"Alive": alive, "Resources": {"CPU": float(processors), **more}}


def test_a_run_asks_for_its_threads_and_for_a_gpu_where_there_is_one() -> None:
    assert cluster._resources([node(2), node(8)], 4) == {"num_cpus": 4, "num_gpus": 0}
    assert cluster._resources([node(2), node(8, GPU=1.0)], 1) == {"num_cpus": 1, "num_gpus": 1}
    with pytest.raises(UserError, match="4 threads a run, and no node .* more than 2 processors; choose fewer with --threads"):
        cluster._resources([node(2), node(8, alive=False)], 4)


def test_a_task_has_as_many_threads_as_the_study_was_asked_for(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(cluster, "run_one", lambda *_: seen.append(torch.get_num_threads()))
    torch.set_num_threads(2)
    cluster._run("small", runner.Task(TINY), None, None, 1)
    assert seen == [1]


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
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = nodes.add_node(num_cpus=1)
    states = tmp_path / "cache" / "runs" / "small"
    done_when_killed: list[int] = []

    def kill_a_node() -> None:
        while len(list(states.glob("*/resume.safetensors"))) < 2:  # both nodes are at work
            time.sleep(0.05)
        nodes.remove_node(lost, allow_graceful=False)
        done_when_killed.append(len(ledger.read_runs("small")))

    threading.Thread(target=kill_a_node, daemon=True).start()
    try:
        assert runner.run_study("small", engine="ray", address=nodes.address, threads=1) == []
    finally:
        ray.shutdown()
        nodes.shutdown()
    assert done_when_killed and done_when_killed[0] < 3, "no node was lost while it worked: the test shows nothing"
    assert runner.progress(study) == (3, 3, 0)
    over_ray = {run["name"]: ledger.read_predictions("small", run["name"]) for run in ledger.read_runs("small")}
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "local"))
    monkeypatch.setattr(runner, "work_folder", lambda study, name: tmp_path / "local_runs" / name)
    runner.run_study("small", threads=1)
    for name, table in over_ray.items():
        local = ledger.read_predictions("small", name)
        assert np.allclose(ledger.probabilities(table), ledger.probabilities(local), atol=1e-5), name


@pytest.mark.slow
def test_a_users_mistake_comes_back_as_one_line(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "ray"))
    monkeypatch.setenv("KOALIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(STUDIES, "small", Study("small", "for the tests", (Panel("tiny", (Arm(TINY.but(dataset=str(tmp_path / "nowhere"))),)),)))
    with pytest.raises(UserError, match="nowhere") as raised:
        runner.run_study("small", engine="ray", threads=1)
    assert "\n" not in str(raised.value)
