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


def launch(processes: int, *words: str) -> subprocess.CompletedProcess:
    """One process as it is; several on the CPU by torchrun, which ``accelerate launch`` calls on GPUs too."""
    start = ["-m"] if processes == 1 else ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", "29517", "-m"]
    return subprocess.run([sys.executable, *start, "koalib.cli", *TRAIN, *words], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def curve(out: Path, processes: int) -> list[float]:
    """Training loss by epoch."""
    done = launch(processes, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert len(re.findall("epoch 1: ", done.stderr)) == 1  # one process speaks
    return [row["loss"] for row in json.loads((out / "run.json").read_text())["curve"]]


def test_two_processes_follow_the_curve_of_one(tmp_path: Path) -> None:
    one, two = curve(tmp_path / "one", 1), curve(tmp_path / "two", 2)
    assert len(one) == 2 and np.allclose(one, two, atol=1e-4, rtol=0), (one, two)


def test_more_processes_than_films_is_one_line(tmp_path: Path) -> None:
    done = launch(2, "--batch", "1", "--out", str(tmp_path))
    assert done.returncode != 0 and "too few for 2 processes" in done.stderr
