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

from koalib.clinic.texts import text
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
    assert room.grade("KL3-phantom").startswith("KL ")
    shares = room.page.eval_on_selector_all("[data-testid=probabilities] .koa-track span", "spans => spans.map(s => parseFloat(s.style.width))")
    assert len(shares) == 5 and sum(shares) == pytest.approx(100, abs=0.5)
    heat = room.page.eval_on_selector(".koa-heat", "image => [image.naturalWidth, image.src.startsWith('data:image/png')]")
    assert heat[0] >= 224 and heat[1]
    keep(room, "reading-1280")


def test_films_of_all_kinds_and_what_is_none(room: Room, film: bytes, dicom_film: bytes, two_knees: bytes, photograph: bytes) -> None:
    room.drop(file("upload-left.png", film, "image/png"))
    room.grade("upload-left.png")
    room.drop(file("IM0001", dicom_film))
    room.grade("IM0001")
    assert "mm" in room.page.inner_text(".koa-facts")
    room.drop(file("both.png", two_knees, "image/png"))
    room.grade("both.png")
    assert sum(name.startswith("both.png") for name in room.films()) == 2
    before = len(room.films())
    room.drop(file("broken.png", film[:3000], "image/png"), file("<b>holiday.png", photograph, "image/png"))
    room.page.wait_for_function("() => document.querySelectorAll('[data-testid=errors] li').length == 2", timeout=PATIENCE)
    words = room.page.inner_text("[data-testid=errors]")
    assert "broken.png" in words and "<b>holiday.png" in words and len(room.films()) == before
    room.press("Dismiss")
    room.page.wait_for_selector("[data-testid=errors]", state="detached", timeout=PATIENCE)


def test_change_the_grade_and_open_each_report(room: Room) -> None:
    own = int(room.page.inner_text("[data-testid=grade]").removeprefix("KL "))
    other = 4 if own < 4 else 3
    room.press("Change")
    room.page.get_by_label("Your grade").select_option(label=f"KL {other}  {text(f'grade_{other}')}")
    room.press("Save")  # without a reason
    room.page.wait_for_selector("[data-testid=errors]", timeout=PATIENCE)
    room.press("Dismiss")
    room.page.get_by_label("Reason").fill("large osteophytes")
    room.page.keyboard.press("Tab")
    room.press("Save")
    room.page.wait_for_selector(".koa-films .koa-now .koa-changed", timeout=PATIENCE)
    found = {words: room.download(words) for words in ("Web page", "PDF", "DICOM report", "DICOM picture", "JSON")}
    assert b"large osteophytes" in found["Web page"][1] and found["PDF"][1].startswith(b"%PDF") and b'"changed"' in found["JSON"][1]
    assert pydicom.dcmread(io.BytesIO(found["DICOM report"][1])).Modality == "SR"
    assert pydicom.dcmread(io.BytesIO(found["DICOM picture"][1])).pixel_array.shape[2] == 3


def test_history_is_searched_and_a_case_opened_from_it(room: Room) -> None:
    room.press("History")
    rows = ".koa-history tbody tr"
    room.page.wait_for_selector(rows, timeout=PATIENCE)
    everything = room.page.locator(rows).count()
    room.page.get_by_label("Only changed by the reader").check()
    room.page.wait_for_function("n => document.querySelectorAll('.koa-history tbody tr').length < n", arg=everything, timeout=PATIENCE)
    assert room.page.locator(rows).count() == 1 and everything > 3
    keep(room, "history-1280")
    room.page.locator(f"{rows} button").first.click()
    room.page.wait_for_selector("[data-testid=grade]:visible", timeout=PATIENCE)


def test_chinese_and_a_narrow_window(room: Room) -> None:
    room.press("中文")
    room.page.wait_for_function("() => document.querySelector('.koa-brand h1').textContent.includes('膝关节')", timeout=PATIENCE)
    room.page.set_viewport_size({"width": 800, "height": 900})
    assert room.page.evaluate("document.documentElement.scrollWidth") <= 800
    keep(room, "reading-800-zh")
    room.page.set_viewport_size({"width": 1280, "height": 900})
    room.press("English")
    room.page.wait_for_function("() => document.querySelector('.koa-brand h1').textContent.includes('Knee')", timeout=PATIENCE)


def test_every_control_has_a_name_and_the_viewer_takes_keys(room: Room) -> None:
    nameless = room.page.evaluate("""() => [...document.querySelectorAll('.koa-app button, .koa-app input, .koa-app select')].filter(e => e.offsetParent)
        .filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.title || (e.labels && e.labels.length))).map(e => e.outerHTML.slice(0, 120))""")
    assert nameless == []
    room.page.focus(".koa-panes")
    room.page.keyboard.press("+")
    assert room.page.inner_text(".koa-scale") == "125 %"
    room.page.keyboard.press("0")
    assert room.page.inner_text(".koa-scale") == "100 %"


def test_sources_and_files_of_the_machine_are_not_served(server: str, room: Room) -> None:
    assert "open_app" not in room.page.content()
    for path in ("voila/files/reading_room.ipynb", "files/reading_room.ipynb", "voila/files/style.css"):
        assert room.page.request.get(server + path).status in (403, 404)


@pytest.mark.slow
def test_three_browsers_see_only_their_own_readings_and_find_them_after_a_restart(chromium: object, tmp_path: Path, weights: Path, film: bytes) -> None:
    rooms = [Room(chromium.new_context().new_page()) for _ in range(3)]
    with serving(tmp_path, weights) as address:
        for number, room in enumerate(rooms):
            room.open(address).drop(file(f"film-{number}.png", film, "image/png"))
        for number, room in enumerate(rooms):
            room.grade(f"film-{number}.png")
            assert room.films() == [f"film-{number}.png"]
            room.press("History")
            room.page.wait_for_selector(".koa-history tbody button", timeout=PATIENCE)
            assert room.page.locator(".koa-history tbody button").all_inner_texts() == [f"film-{number}.png"]
        state = rooms[1].page.context.storage_state()
    with serving(tmp_path, weights) as address:  # another port is another origin, so the key is carried over
        key = state["origins"][0]["localStorage"]
        context = chromium.new_context(storage_state={"cookies": [], "origins": [{"origin": address.rstrip("/"), "localStorage": key}]})
        room = Room(context.new_page()).open(address)
        room.press("History")
        room.page.wait_for_selector(".koa-history tbody button", timeout=PATIENCE)
        assert room.page.locator(".koa-history tbody button").all_inner_texts() == ["film-1.png"]


@pytest.mark.slow
def test_twenty_cases_in_a_row_need_no_more_memory(chromium: object, server: str, film: bytes) -> None:
    import psutil

    room = Room(chromium.new_context().new_page()).open(server)
    kernels = [p for p in psutil.process_iter(["cmdline"]) if "ipykernel_launcher" in " ".join(p.info["cmdline"] or [])]
    kernel, sizes = max(kernels, key=lambda p: p.create_time()), []
    for number in range(20):
        room.drop(file(f"case-{number:02}.png", film, "image/png"))
        room.grade(f"case-{number:02}.png")
        sizes.append(kernel.memory_info().rss)
    assert sizes[-1] - sizes[4] < 30 * 2**20, [size >> 20 for size in sizes]
