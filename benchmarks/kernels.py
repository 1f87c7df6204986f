"""Time our depthwise kernels beside PyTorch's and write the table of choices -> koalib/model/kernels/choice.json.

    OMP_NUM_THREADS=1 python -m benchmarks.kernels [--rounds 7]

With one thread its processor time is measured, which other work on the machine changes little; with more, the wall
clock. Both kernels take turns; the least time counts. Cases of other numbers of threads are kept; each names its processor.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from koalib.machine import processor
from koalib.model import kernels
from koalib.model.kernels.choice import TABLE, WORKS
from koalib.paths import atomic_write

FILMS = 16
# channels, width, kernel, stride: the depthwise layers of ConvNeXt-T and EfficientNet-Lite0 at 224 px
SHAPES = [(96, 56, 7, 1), (192, 28, 7, 1), (384, 14, 7, 1), (768, 7, 7, 1), (96, 56, 5, 1), (384, 28, 5, 1), (480, 14, 5, 1),
          (1152, 7, 5, 1), (144, 56, 5, 2), (672, 14, 5, 2), (32, 112, 3, 1), (144, 56, 3, 1), (480, 14, 3, 1), (96, 112, 3, 2),
          (240, 28, 3, 2)]  # fmt: skip


def rivals(channels: int, width: int, side: int, stride: int, kind: torch.dtype) -> dict[str, tuple[Callable, Callable]]:
    """{work: (ours, PyTorch's)} on one shape."""
    x = torch.randn(FILMS, channels, width, width, dtype=kind).contiguous(memory_format=torch.channels_last)
    weight, padding = torch.randn(channels, 1, side, side), (side // 2, side // 2)
    low = weight.to(kind)
    out = F.conv2d(x, low, None, stride, padding, groups=channels)

    def backward(*mask: bool) -> Callable:
        return lambda: torch.ops.aten.convolution_backward(
            out, x, low, None, (stride, stride), padding, (1, 1), False, (0, 0), channels, (*mask, False))

    return {
        "forward": (lambda: kernels.convolve(x, [weight], out.shape[-2:], stride, padding),
                    lambda: F.conv2d(x, low, None, stride, padding, groups=channels)),
        "input_gradient": (lambda: kernels.input_gradient(out, [weight], x.shape[-2:], stride, padding, kind), backward(True, False)),
        "weight_gradient": (lambda: kernels.weight_gradients(x, out, [weight], stride, padding), backward(False, True)),
    }  # fmt: skip


def least_milliseconds(pair: tuple[Callable, Callable], rounds: int) -> list[float]:
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: list[list[float]] = [[], []]
    for round_ in range(rounds + 1):
        for kept, work in zip(seconds, pair):
            start = clock()
            work()
            if round_:
                kept.append(clock() - start)
    return [round(1e3 * min(kept), 3) for kept in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    threads = torch.get_num_threads()
    old = json.loads(TABLE.read_text())["cases"] if TABLE.exists() else []
    cases = [case for case in old if case["threads"] != threads]
    for kind in (torch.float32, torch.bfloat16):
        for channels, width, side, stride in SHAPES:
            found = {work: least_milliseconds(pair, options.rounds)
                     for work, pair in rivals(channels, width, side, stride, kind).items()}
            cases.append({"processor": processor(), "type": str(kind).removeprefix("torch."), "kernel": side, "stride": stride, "width": width,
                          "threads": threads, "channels": channels, "milliseconds_ours_torch": found,
                          "ours": {work: found[work][0] < found[work][1] for work in WORKS}})  # fmt: skip
    rows = ",\n  ".join(json.dumps(case) for case in cases)
    atomic_write(TABLE, f'{{"films": {FILMS}, "cases": [\n  {rows}\n]}}\n')


if __name__ == "__main__":
    main()
