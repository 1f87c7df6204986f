"""The reading room in a real headless Chromium: what a reader does there, from the film to the report.

Screenshots are kept in the folder KOALIB_ARTIFACTS (default: build/screenshots).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from koalib.paths import ROOT

from clinic_browser import FLAGS, PATIENCE, Room, browser_path, file, needs_browser, serving

pytestmark = needs_browser


def keep(room: Room, name: str) -> None:
    """Save a screenshot as a test artefact."""
    folder = Path(os.environ.get("KOALIB_ARTIFACTS") or ROOT / "build" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    room.page.screenshot(path=folder / f"{name}.png", full_page=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server"), weights) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def room(chromium: object, server: str) -> Iterator[Room]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    yield Room(context.new_page()).open(server)
    context.close()


def test_a_sample_shows_grade_five_probabilities_and_heat_map(room: Room) -> None:
    room.page.click(".koa-sample >> nth=3")
    assert room.grade("phantom-KL3").startswith("KL ")
    shares = room.page.eval_on_selector_all("[data-testid=probabilities] .koa-track span", "spans => spans.map(s => parseFloat(s.style.width))")
    assert len(shares) == 5 and sum(shares) == pytest.approx(100, abs=0.5)
    heat = room.page.eval_on_selector(".koa-heat", "image => [image.naturalWidth, image.src.startsWith('data:image/png')]")
    assert heat[0] >= 224 and heat[1]
    keep(room, "reading-1280")
