"""Arrays on disk: made once, whole or not at all, shared by every process as one memory map."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

from koalib.errors import UserError
from koalib.paths import cache_dir


def cached_array(key: str, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> np.ndarray:
    """Read-only uint8 memory map of ``shape``, filled by ``fill`` on the first call.

    One process makes it while others wait on a lock that the system lets go when its holder is killed; it gets
    its name only when complete, and what a killed process left is removed by the next.
    """
    path = cache_dir() / "pixels" / f"{key}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                _make(path, shape, fill)
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.shape != shape or array.dtype != np.uint8:
        raise UserError(f"{path}: not the array that was expected here; delete it, it is made again")
    return array


def _reserve(path: Path, shape: tuple[int, ...]) -> None:
    """An array of zeros, written out: a map of a file with holes would end the process, without a word, where the disk is full.

    Raises:
        OSError: the disk is full.
    """
    left = math.prod(shape)
    with path.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        while left:
            left -= file.write(bytes(min(left, 2**24)))


def _make(path: Path, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> None:
    unfinished = path.with_suffix(".unfinished")
    try:
        _reserve(unfinished, shape)
        array = np.lib.format.open_memmap(unfinished, mode="r+")
        fill(array)
        array.flush()
        del array
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"{path.parent}: the cache cannot be written ({error.strerror}); free some space or set KOALIB_CACHE") from error
    finally:
        unfinished.unlink(missing_ok=True)
