"""What all tests share: the same environment everywhere, markers, nbval's settings."""

from __future__ import annotations

import os

import pytest

from koalib.notebooks import kernel_environment


def pytest_configure(config: pytest.Config) -> None:
    """Notebooks and everything else run in the quick profile, as on any other machine."""
    os.environ.update(kernel_environment())
    os.environ["KOALIB_PROFILE"] = "quick"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs real films where there are none."""
    if os.environ.get("KOALIB_DATA"):
        return
    absent = pytest.mark.skip(reason="KOALIB_DATA names no folder of real data sets")
    for item in items:
        if item.get_closest_marker("real"):
            item.add_marker(absent)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """nbval compares stderr too, where progress bars and warnings differ from machine to machine."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
