"""How kernels are compiled: without Python's lock, once, and kept in the cache folder for the next process."""

import hashlib
from pathlib import Path
from typing import Callable

import numba

from koalib.errors import UserError
from koalib.paths import cache_dir


def jit(function: Callable) -> Callable:
    """Compile a part of a kernel, for threads that do not hold Python's lock."""
    return numba.njit(nogil=True, error_model="numpy")(function)


def kernel(function: Callable) -> Callable:
    """Compile a whole kernel and keep it on disk, in a folder named after these sources; only in memory if there is none.

    Numba looks at the one file of the function itself, so that a change in the others needs a new folder.
    """
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    before = numba.config.CACHE_DIR
    try:
        numba.config.CACHE_DIR = str(cache_dir() / "kernels" / hashlib.sha256(sources).hexdigest()[:16])
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except (UserError, RuntimeError):  # nowhere to write
        return jit(function)
    finally:
        numba.config.CACHE_DIR = before
