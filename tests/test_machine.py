"""Training keeps its memory between steps where glibc is the C library."""

import platform

from koalib.machine import keep_memory


def test_glibc_takes_both_settings():
    assert keep_memory() == (platform.libc_ver()[0] == "glibc")
