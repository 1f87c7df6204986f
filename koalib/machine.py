"""The machine a number was made on: processor, device, precision, versions."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import subprocess
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from koalib.errors import UserError
from koalib.paths import ROOT

PACKAGES = ("koalib", "torch", "torchvision", "timm", "numba", "numpy", "scikit-learn", "accelerate")


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """First processor's fields from the kernel, or nothing where there is no such file."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return {}
    first = file.read_text().split("\n\n")[0]
    return {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in first.splitlines())}


def processor() -> str:
    """Name and family of the processor, as printed beside every measured speed."""
    info = _cpuinfo()
    if not info:
        return platform.processor() or platform.machine()
    return f"{info.get('model name', platform.machine())} (family {info.get('cpu family', '?')}, model {info.get('model', '?')})"


def device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(wanted: str = "auto", where: torch.device | None = None) -> str:
    """``fp32`` or ``bf16``: as wanted, or by a fixed rule (never by timing, so that results repeat).

    The rule: bf16 on GPUs that have it, on processors with AMX, and on AMD processors with AVX512-BF16;
    fp32 on Intel without AMX, where bf16 products were measured slower, and wherever nothing is known.
    Who asks for bf16 on a processor that has to emulate it is warned: a training then takes some ten times as long.
    """
    if wanted not in ("auto", "fp32", "bf16"):
        raise UserError(f"precision {wanted!r}: choose auto, fp32 or bf16")
    if wanted == "fp32":
        return wanted
    if (where or device()).type == "cuda":
        return "bf16" if wanted == "bf16" or torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    flags = set(_cpuinfo().get("flags", "").split())
    if wanted == "bf16":
        if flags and not flags & {"amx_bf16", "avx512_bf16"}:
            warnings.warn("this processor has no bf16 and emulates it, many times slower than fp32; auto chooses what is fast here", stacklevel=1)  # said once, whoever asks
        return wanted
    amd = _cpuinfo().get("vendor_id") == "AuthenticAMD"
    return "bf16" if "amx_bf16" in flags or (amd and "avx512_bf16" in flags) else "fp32"


@functools.cache
def keep_memory() -> bool:
    """Tell glibc's ``malloc`` to keep what is freed for the next batch; False where there is no glibc.

    By default it gives every block over 32 MB back to the system at once and takes it anew, page by page, in the next batch,
    which benchmarks/allocator.py measures. It holds for the whole process.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc, trim_threshold, mmap_max = ctypes.CDLL(None), -1, -4  # the parameters' numbers in malloc.h
    return bool(libc.mallopt(mmap_max, 0) and libc.mallopt(trim_threshold, -1))


@functools.cache
def commit() -> str:
    """Hash of the checked-out commit, with ``+`` when tracked files differ from it; outside a checkout ``KOALIB_COMMIT``, else empty.

    Read once a process: what runs is the code that was there when it started.
    """
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout.strip()
    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no", "--", "koalib") else "")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("KOALIB_COMMIT", "")  # a container or a node that got the code without its history


def versions() -> dict[str, str]:
    """Versions of the packages that decide about a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def describe() -> dict:
    """What is recorded with each run: processor, device, threads, system."""
    return {
        "processor": processor(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "system": platform.system(),
    }
