"""Running kernels on PyTorch's tensors: memory, packing of weights, threads, the compiler's cache."""

import ctypes
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Callable

import numpy as np
import torch
from torch import Tensor

from koalib.model.kernels import tasks
from koalib.model.kernels.simd import LANES

_memory = threading.local()  # each caller keeps a scratch for each of its threads: fresh memory costs a page fault every 4 KB
_task = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _scratch(kept: dict[int, np.ndarray], thread: int, size: int) -> np.ndarray:
    """The scratch of a caller's thread, of at least `size` float32, starting at a cache line."""
    if thread not in kept or kept[thread].size < size:
        raw = np.empty(size + LANES, np.float32)
        offset = -raw.ctypes.data // 4 % LANES
        kept[thread] = raw[offset : offset + size]
    return kept[thread]


@lru_cache(maxsize=None)
def _openmp() -> ctypes.CDLL | None:
    """The OpenMP library that PyTorch has loaded, by the name it has on Linux; None elsewhere."""
    try:
        library = ctypes.CDLL("libgomp.so.1")
        return library if library.GOMP_parallel and library.omp_get_thread_num else None
    except (OSError, AttributeError):
        return None


@lru_cache(maxsize=None)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Helpers of one process (a forked child must not wait for its parent's)."""
    return ThreadPoolExecutor(threads, thread_name_prefix="koalib")


def _in_parallel(work: Callable[[int], None], threads: int) -> None:
    """Call `work` with 0 ... threads - 1 at the same time, with PyTorch's own OpenMP threads if possible.

    They wait actively for a moment after each of PyTorch's operations; threads of our own would have to share the cores
    with them, which took twice the time.
    """
    openmp, failures = _openmp(), []
    if threads == 1:
        work(0)
    elif openmp is None:
        others = [_pool(os.getpid(), threads).submit(work, thread) for thread in range(1, threads)]
        work(0)
        for other in others:
            other.result()
    else:
        def guarded(_: int | None) -> None:
            try:
                work(openmp.omp_get_thread_num())
            except BaseException as failure:  # C code cannot pass it on
                failures.append(failure)
        openmp.GOMP_parallel(_task(guarded), None, threads, 0)
        if failures:
            raise failures[0]


def run(kernel: Callable, count: int, *args, scratch: int = 0) -> None:
    """Let as many threads as PyTorch uses draw the `count` tasks of a kernel."""
    counter = np.zeros(1, np.int64)
    kept = _memory.__dict__.setdefault("scratch", {})

    def work(thread: int) -> None:
        kernel(*((_scratch(kept, thread, scratch),) if scratch else ()), counter, *args)

    _in_parallel(work, min(torch.get_num_threads(), count))


def words(x: Tensor) -> tuple[np.ndarray, bool]:
    """A float32 or bfloat16 tensor, dense in channels_last order, as 16-bit words, and whether a number takes two."""
    flat = x.detach().permute(0, 2, 3, 1).reshape(-1)
    return flat.view(torch.int16).numpy(), x.dtype == torch.float32


@lru_cache(maxsize=None)
def block_starts(channels: int) -> np.ndarray:
    """First channel of each block of sixteen; the last block overlaps the one before where sixteen does not divide."""
    count = -(-channels // LANES)
    return np.minimum(np.arange(count) * LANES, channels - LANES)


@lru_cache(maxsize=None)
def _block_index(channels: int) -> tuple[Tensor, Tensor]:
    """Channels of each block (blocks, 16), and where each channel stands in the flat blocks (channels)."""
    index = block_starts(channels)[:, None] + np.arange(LANES)
    places = np.empty(channels, np.int64)
    places[index.reshape(-1)] = np.arange(index.size)
    return torch.from_numpy(index), torch.from_numpy(places)


def pack(kernels: list[Tensor]) -> np.ndarray:
    """Kernels (C, bands, k, k) -> flat (blocks, taps, 16) float32, all taps of a channel block together."""
    flat = torch.cat([kernel.detach().float().flatten(1) for kernel in kernels], 1)
    index, _ = _block_index(len(flat))
    return flat[index].transpose(1, 2).contiguous().view(-1).numpy()


def unpack(flat: Tensor, kernels: list[Tensor]) -> list[Tensor]:
    """Inverse of `pack`, into the shapes and types of `kernels`."""
    channels = len(kernels[0])
    index, places = _block_index(channels)
    rows = flat.view(len(index), -1, LANES).transpose(1, 2).reshape(-1, flat.numel() // index.numel())[places]
    parts = rows.split([kernel[0].numel() for kernel in kernels], 1)
    return [part.reshape(kernel.shape).to(kernel.dtype) for part, kernel in zip(parts, kernels)]


def channels_of(blocks: Tensor, channels: int) -> Tensor:
    """(..., blocks * 16) -> (..., C): each channel's number out of those of its block."""
    return blocks[..., _block_index(channels)[1]]


@lru_cache(maxsize=None)
def plan(base: tuple[int, ...], sizes: tuple[int, ...], kernels: tuple[int, ...], margins: bool,
         begin: int = 0) -> tuple[np.ndarray, int]:
    """Layout of the planes in the scratch (see `tasks`) and where it ends, in numbers.

    Args:
        base: rows and pitch of the base plane, its output's height and width.
        sizes: height and width of each level, one after another. kernels: of the base and of each level.
        margins: room around the bands for their kernels.
    """
    rows, pitch, height, width = base
    table = np.zeros((len(kernels), 8), np.int64)
    table[0, : tasks.KERNEL + 1] = height, width, begin, pitch, rows * pitch, kernels[0]
    taps, end = kernels[0] ** 2 * LANES, begin + rows * pitch * LANES
    for level, kernel in enumerate(kernels[1:], start=1):
        height, width = sizes[2 * level - 2 : 2 * level]
        extra = 2 * (kernel // 2) if margins else 2
        area = (height + extra) * (width + extra)
        table[level] = height, width, end, width + extra, area, kernel, taps, 0
        end += 4 * area * LANES
        taps += 4 * kernel**2 * LANES
    for level in range(1, len(kernels) - 1):
        table[level, tasks.LOW] = end
        end += 4 * table[level + 1, tasks.HEIGHT] * table[level + 1, tasks.WIDTH] * LANES
    return table, end
