"""What the processor can do decides the precision; a training keeps its memory between batches where glibc is the C library."""

import platform
import warnings

import pytest
import torch

from koalib import machine
from koalib.errors import UserError
from koalib.machine import keep_memory, precision

CPU = torch.device("cpu")


def test_glibc_takes_both_settings():
    assert keep_memory() == (platform.libc_ver()[0] == "glibc")


@pytest.mark.parametrize("vendor, flags, chosen, warned", [
    ("AuthenticAMD", "avx2", "fp32", True), ("AuthenticAMD", "avx2 avx512_bf16", "bf16", False), ("GenuineIntel", "avx512_bf16", "fp32", False),
    ("GenuineIntel", "avx512_bf16 amx_bf16", "bf16", False), ("", "", "fp32", False),
])
def test_precision(monkeypatch, vendor, flags, chosen, warned):
    monkeypatch.setattr(machine, "_cpuinfo", lambda: {"vendor_id": vendor, "flags": flags} if flags else {})
    assert precision("auto", CPU) == chosen and precision("fp32", CPU) == "fp32"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert precision("bf16", CPU) == "bf16"
    assert bool(told) == warned


def test_a_gpu_that_emulates_bf16_trains_in_fp32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert precision("auto", torch.device("cuda")) == "fp32"


def test_unknown_precision():
    with pytest.raises(UserError, match="choose auto, fp32 or bf16"):
        precision("fp16")


def test_a_copy_without_its_history_takes_the_commit_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    machine.commit.cache_clear()
    try:
        monkeypatch.setenv("KOALIB_COMMIT", "0123456789ab")
        assert machine.commit() == "0123456789ab"
        machine.commit.cache_clear()
        monkeypatch.delenv("KOALIB_COMMIT")
        assert machine.commit() == ""
    finally:
        machine.commit.cache_clear()
