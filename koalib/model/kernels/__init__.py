"""CPU kernels of depthwise convolutions, compiled by Numba when first used.

Work is cut into fixed ranges, one a thread, and every sum has a fixed order: the same input gives the same bits on any
number of threads.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Callable

import numpy as np
import torch
from torch import Tensor

try:
    import numba
except ImportError:  # PyTorch's kernels serve then
    numba = None


def serves(x: Tensor, weight: Tensor, stride: tuple[int, int]) -> bool:
    """Whether our weight gradient takes this input (B, C, H, W): on a CPU, fp32 or bf16."""
    return numba is not None and x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)


@lru_cache(maxsize=None)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Helpers of one process (a forked child must not wait for its parent's)."""
    return ThreadPoolExecutor(threads, thread_name_prefix="koalib")


def _parallel(kernel: Callable, count: int, *args) -> None:
    """kernel(start, stop, *args) over `count` tasks in as many fixed ranges as PyTorch has threads."""
    threads = min(torch.get_num_threads(), count)
    bounds = [count * i // threads for i in range(threads + 1)]
    others = [_pool(os.getpid(), threads).submit(kernel, start, stop, *args)
              for start, stop in zip(bounds[1:], bounds[2:])]
    kernel(bounds[0], bounds[1], *args)
    for other in others:
        other.result()


@lru_cache(maxsize=None)
def _weight_gradient_kernel() -> Callable:
    @numba.njit(nogil=True, fastmath=True)
    def kernel(start, stop, x, grad, partial, stride_y, stride_x, pad_y, pad_x):
        kernel_y, kernel_x, channels = partial.shape[1:]
        for n in range(start, stop):
            for i in range(kernel_y):
                for j in range(kernel_x):
                    total = partial[n, i, j]
                    for y in range(grad.shape[1]):
                        row = y * stride_y + i - pad_y
                        if row < 0 or row >= x.shape[1]:
                            continue
                        for column in range(grad.shape[2]):
                            source = column * stride_x + j - pad_x
                            if source < 0 or source >= x.shape[2]:
                                continue
                            for c in range(channels):
                                total[c] += x[n, row, source, c] * grad[n, y, column, c]
    return kernel


def _channels_last(x: Tensor) -> np.ndarray:
    """(B, C, H, W) tensor -> (B, H, W, C) float32 array, contiguous."""
    return x.detach().permute(0, 2, 3, 1).contiguous().float().numpy()


def weight_gradient(x: Tensor, grad: Tensor, kernel_size: tuple[int, int], stride: tuple[int, int],
                    padding: tuple[int, int]) -> Tensor:
    """Gradient (C, 1, k, k), float32, of a depthwise convolution of x (B, C, H, W) from that of its output."""
    partial = np.zeros((x.shape[0], *kernel_size, x.shape[1]), np.float32)
    _parallel(_weight_gradient_kernel(), x.shape[0], _channels_last(x), _channels_last(grad), partial, *stride, *padding)
    return torch.from_numpy(partial.sum(0)).permute(2, 0, 1).unsqueeze(1)
