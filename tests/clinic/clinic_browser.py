"""A served reading room and a real browser to open it in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE = 180_000  #: ms; a loaded machine takes its time to import torch


def browser_path() -> str | None:
    """Chromium or Chrome on this machine."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


needs_browser = pytest.mark.skipif(browser_path() is None, reason="no Chromium is installed (Debian package chromium)")


@contextmanager
def serving(folder: Path, weights: Path) -> Iterator[str]:
    """`koalib app` with a case book in ``folder``; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"KOALIB_GRADER": str(weights), "KOALIB_BOOK": str(folder / "book.sqlite"), "KOALIB_CACHE": str(folder / "cache"), "JUPYTER_DATA_DIR": str(folder / "jupyter")}
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen([sys.executable, "-m", "koalib.cli", "app", "--port", str(port), "--no-browser"], env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(f"http://127.0.0.1:{port}/voila/static/", server, folder / "server.log")
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(30)


def _wait(address: str, server: subprocess.Popen, log: Path) -> None:
    """Until the server answers, whatever it answers."""
    for _ in range(240):
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=2)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server never answered: " + log.read_text())


@dataclass
class Room:
    """The page, open in one browser window."""

    page: object

    def open(self, address: str) -> Room:
        """Load it and wait for its first widgets."""
        self.page.goto(address, timeout=PATIENCE)
        self.page.wait_for_selector(".koa-sample", timeout=PATIENCE)
        return self

    def drop(self, *files: dict) -> None:
        """Choose files; each is ``{"name", "mimeType", "buffer"}``."""
        self.page.set_input_files(".koa-drop input[type=file]", list(files))

    def grade(self, film: str) -> str:
        """The grade shown for a film, once it is that film's."""
        self.page.bring_to_front()  # a window behind another draws no frames
        self.page.wait_for_function("name => document.querySelector('.koa-films .koa-now button')?.title.startsWith(name)", arg=film, timeout=PATIENCE, polling=250)
        return self.page.inner_text("[data-testid=grade]")

    def films(self) -> list[str]:
        """Names on the work list."""
        return [button.get_attribute("title") for button in self.page.query_selector_all(".koa-films tbody button")]

    def press(self, words: str) -> None:
        """Click the visible button of these words."""
        self.page.locator("button:visible", has_text=words).first.click()

    def download(self, words: str) -> tuple[str, bytes]:
        """Click a report's button; gives the name and content of what the browser saved."""
        with self.page.expect_download(timeout=PATIENCE) as waiting:
            self.press(words)
        return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def file(name: str, content: bytes, mime: str = "application/octet-stream") -> dict:
    """A file as the browser's chooser gives it."""
    return {"name": name, "mimeType": mime, "buffer": content}
