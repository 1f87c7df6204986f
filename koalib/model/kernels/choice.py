"""Which kernel serves a plain depthwise convolution, ours or PyTorch's: a committed table, never a timing at run time.

`python -m benchmarks.kernels` measures and writes the table. A case that was not measured takes the nearest one of the
same type, kernel and stride by width of the map and number of threads; ours serves where there is none.
"""

import json
from functools import lru_cache
from pathlib import Path

import torch

TABLE = Path(__file__).with_name("choice.json")
WORKS = ("forward", "input_gradient", "weight_gradient")


@lru_cache(maxsize=None)
def _cases() -> list[dict]:
    return json.loads(TABLE.read_text())["cases"]


@lru_cache(maxsize=None)
def _nearest(work: str, kind: str, kernel: int, stride: int, width: int, threads: int) -> bool:
    alike = [case for case in _cases() if (case["type"], case["kernel"], case["stride"]) == (kind, kernel, stride)]
    if not alike:
        return True
    return min(alike, key=lambda case: (abs(case["threads"] - threads), abs(case["width"] - width)))["ours"][work]


def ours_serves(work: str, kind: torch.dtype, kernel: int, stride: int, width: int) -> bool:
    """Whether our kernel does this work ("forward", "input_gradient" or "weight_gradient") for maps of this width."""
    return _nearest(work, str(kind).removeprefix("torch."), kernel, stride, width, torch.get_num_threads())
