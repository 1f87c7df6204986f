"""Kill a training with kill -9 at 20 random moments, resume it each time, compare its weights with a run never killed.

    python -m benchmarks.kills [--kills 20] [--seed 0]

Each life is a process of its own that runs ``koalib train --resume``; it writes its state every fifth of a second
instead of every minute. A life is killed at a random moment after its start, before, while or after it writes.
Exits with 1 when the weights differ. Writes data/results/kills.json.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from koalib.study.checkpoint import STATE_FILE
from koalib.study.ledger import record_measurement
from koalib.study.outcome import WEIGHTS_FILE

SETTINGS = ["--dataset", "phantom", "--patients", "100", "--model", "convwgcnet_atto", "--size", "48", "--epochs", "20", "--batch", "16", "--lr", "1e-3"]
PROGRAM = "from koalib.study import training; training.CHECKPOINT_SECONDS = 0.2; from koalib.cli import main; main()"


def start(out: Path) -> subprocess.Popen:
    """A life of the run in ``out``, from its last state."""
    return subprocess.Popen([sys.executable, "-c", PROGRAM, "train", *SETTINGS, "--out", str(out), "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def undisturbed(out: Path) -> tuple[float, float]:
    """Seconds until the first state is written, and until the run ends."""
    began, process, first = time.monotonic(), start(out), None
    while process.poll() is None:
        if first is None and (out / STATE_FILE).exists():
            first = time.monotonic() - began
        time.sleep(0.01)
    if process.returncode or first is None:
        raise RuntimeError(f"the undisturbed run ended with {process.returncode}")
    return first, time.monotonic() - began


def weights_hash(out: Path) -> str:
    """SHA-256 of the weights file, which holds no time and no place."""
    return hashlib.sha256((out / WEIGHTS_FILE).read_bytes()).hexdigest()


def kill_again_and_again(out: Path, kills: int, first: float, whole: float, moments: random.Random) -> list[dict]:
    """Let the run live ``kills`` times for a random while that takes it about three quarters of the way; then to its end."""
    history = []
    while len(history) < kills:
        process, seconds = start(out), moments.uniform(0.5 * first, first + 1.2 * (whole - first) / kills)
        try:
            process.wait(seconds)
            break  # it ended first
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        state = out / STATE_FILE
        history.append({"after_seconds": round(seconds, 3), "state": hashlib.sha256(state.read_bytes()).hexdigest()[:12] if state.exists() else None})
        print(f"kill {len(history)} of {kills} after {seconds:.2f} s, state {history[-1]['state']}", flush=True)
    if start(out).wait():
        raise RuntimeError("the run that was killed could not be finished")
    return history


def main() -> int:
    """Run, kill, compare, record."""
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--kills", type=int, default=20)
    words.add_argument("--seed", type=int, default=0)
    options = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        whole.mkdir()
        undisturbed(whole)
        (whole / WEIGHTS_FILE).rename(whole / "kept")  # the second run tells the times: kernels are compiled, films cached
        first, seconds = undisturbed(whole)
        history = kill_again_and_again(killed, options.kills, first, seconds, random.Random(options.seed))
        hashes = [hashlib.sha256((whole / "kept").read_bytes()).hexdigest(), weights_hash(whole), weights_hash(killed)]
    equal = len(set(hashes)) == 1
    print(f"{len(history)} kills, {len({h['state'] for h in history})} different states resumed; weights {'equal' if equal else 'DIFFER'}: {hashes[0][:16]}")
    record_measurement("kills", {"kills": len(history), "moments": history, "seconds_undisturbed": round(seconds, 2), "equal": equal, "weights_sha256": hashes, "settings": SETTINGS})
    return 0 if equal and len(history) == options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
