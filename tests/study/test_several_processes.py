"""Two processes with parts of a batch see the loss curve of one process with the whole batch."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

TRAIN = ["train", "--dataset", "phantom", "--patients", "60", "--model", "convwgcnet_atto", "--size", "32", "--epochs", "2", "--batch", "15",
         "--augment", "none", "--precision", "fp32", "--lr", "1e-3", "--loss", "weighted"]


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]


def launch(processes: int, *words: str) -> subprocess.CompletedProcess:
    """One process as it is; several on the CPU by torchrun, which ``accelerate launch`` calls on GPUs too, here set up for bf16."""
    start = [] if processes == 1 else [*TORCHRUN, str(processes)]
    given = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_MIXED_PRECISION": "bf16"}
    return subprocess.run([sys.executable, *start, "-m", "koalib.cli", *TRAIN, *words], capture_output=True, text=True, env=given)


def curve(out: Path, processes: int) -> list[float]:
    """Training loss by epoch."""
    done = launch(processes, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert len(re.findall("epoch 1: ", done.stderr)) == 1  # one process speaks
    return [row["loss"] for row in json.loads((out / "run.json").read_text())["curve"]]


def test_two_processes_follow_the_curve_of_one(tmp_path: Path) -> None:
    one, two = curve(tmp_path / "one", 1), curve(tmp_path / "two", 2)
    assert len(one) == 2 and np.allclose(one, two, atol=1e-4, rtol=0), (one, two)


def test_every_process_ends_with_the_same_weights_and_running_statistics(tmp_path: Path) -> None:
    program = [str(Path(__file__).with_name("small_run.py")), str(tmp_path), "test_resnet"]
    done = subprocess.run([sys.executable, *TORCHRUN, "2", *program], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    hashes = re.findall(r"weights (\w{64})", done.stdout)
    assert len(hashes) == 2 and hashes[0] == hashes[1]


def test_more_processes_than_films_is_one_line(tmp_path: Path) -> None:
    done = launch(2, "--batch", "1", "--out", str(tmp_path))
    assert done.returncode != 0 and "too few for 2 processes" in done.stderr
