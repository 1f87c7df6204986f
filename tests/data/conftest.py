"""Fixtures that several tests of the data room share."""

from __future__ import annotations

import http.server
import threading

import pandas as pd
import pytest

from koalib.data import registry
from koalib.data.images import decode, film_hash
from tests.data.films import CHEN_PATHS, knees, save


@pytest.fixture(scope="module")
def films():
    return knees(6, seed=1)


@pytest.fixture
def small_chen(films, tmp_path, monkeypatch):
    """A copy of chen2018 with six made-up films, and a manifest that describes it."""
    home = tmp_path / "data" / "chen2018"
    rows = []
    for path, film in zip(CHEN_PATHS, films):
        file = save(film, home / path)
        split, grade, name = path.split("/")
        rows.append({
            "image_id": name[:-4], "path": path, "split": split, "grade": int(grade), "patient": name[:7], "side": name[7], "group": name[:7],
            "width": 224, "height": 224, "mode": "L", "sha256": film_hash(decode(file.read_bytes(), path)),
            "inverted": False, "low_contrast": False, "bit16": False, "two_knees": False,
            "exact_twin_of": "", "mirrored_twin_of": "", "conflicting_grade": False,
        })
    (tmp_path / "manifests").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path / "manifests" / "chen2018.csv", index=False)
    monkeypatch.setattr(registry, "MANIFESTS", tmp_path / "manifests")
    return tmp_path / "data"


class Dropping(http.server.BaseHTTPRequestHandler):
    """Serves ``server.content``; cuts the first ``server.drops`` answers short; notes the ranges that were asked for."""

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        self.server.asked.append(start)
        content = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.drops:
            self.server.drops -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dropping) as running:
        running.asked, running.drops, running.content = [], 0, b""
        threading.Thread(target=running.serve_forever, daemon=True).start()
        running.address = f"http://127.0.0.1:{running.server_port}"
        yield running
        running.shutdown()
