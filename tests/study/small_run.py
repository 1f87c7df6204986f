"""A tiny training as a program of its own, for the tests that kill it: prints the hash of the final weights."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch

import koalib  # noqa: F401 - registers the networks
from koalib.model.weights import create
from koalib.study import training
from koalib.study.experiment import Experiment
from koalib.study.training import Films, fit

EXPERIMENT = Experiment("phantom", "convwgcnet_atto", size=32, epochs=3, batch=16, lr=1e-3, drop_path=0.1, precision="fp32")


def striped_films(n: int = 128, size: int = 32) -> Films:
    """Noise with a dark stripe whose width tells the grade: learnable, and made in no time."""
    rng = np.random.default_rng(0)
    grade = np.arange(n) % 5
    pixels = rng.integers(60, 200, (n, size, size), dtype=np.uint8)
    for film, g in zip(pixels, grade, strict=True):
        film[size // 2 - 2 * g : size // 2 + 2 * g + 1] //= 4
    rows = np.arange(n)
    return Films(pixels, grade, np.array([f"film{i}" for i in rows]), rows[: n * 3 // 4], rows[n * 3 // 4 :])


def weights_hash(model: torch.nn.Module) -> str:
    """SHA-256 of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def main(out: str, model: str = EXPERIMENT.model) -> None:
    """Train, or go on where ``out`` stopped."""
    experiment = EXPERIMENT.but(model=model)
    training.CHECKPOINT_SECONDS = 0.0  # a state after every step
    torch.set_num_threads(1)
    torch.manual_seed(0)
    trained, _ = fit(experiment, create(model, **experiment.model_options), striped_films(), Path(out), resume=True,
                     after_step=lambda *_: print("step", flush=True))
    print(f"weights {weights_hash(trained)}\n", end="", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
