"""What ipywidgets lacks: a place to drop films, a viewer, a table one can click, names for groups of buttons.

Each is a small ES module in ``page/`` carried by anywidget. They put text into the page as text, never as markup,
so no file name or patient field can become part of it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

PAGE = Path(__file__).parent / "page"


def data_url(png: bytes) -> str:
    """A PNG as an address that an image can show."""
    return "data:image/png;base64," + base64.b64encode(png).decode() if png else ""


class FilmDrop(anywidget.AnyWidget):
    """Drop zone, file chooser and samples; also hands finished reports to the browser."""

    _esm = PAGE / "drop.js"
    texts = traitlets.Dict().tag(sync=True)
    samples = traitlets.List().tag(sync=True)
    limits = traitlets.Dict().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    whole_page = traitlets.Bool(False).tag(sync=True)

    def __init__(self, on_file: Callable[[str, bytes], None], on_event: Callable[[dict], None], **traits: object) -> None:
        super().__init__(**traits)
        self._on_file, self._on_event = on_file, on_event
        self._pieces: list[bytes] = []
        self.on_msg(self._received)

    def _received(self, _: object, message: dict, buffers: list) -> None:
        if message.get("type") != "piece":
            self._on_event(message)
            return
        first = message["piece"] == 0
        # The browser already refuses too many and too large files; a changed page must not get round it.
        if message["index"] >= self.limits["files"]:
            if first and message["index"] == self.limits["files"]:
                self._on_event({"type": "too_many"})
        elif self._complete(message, first, buffers[0]):
            content, self._pieces = b"".join(self._pieces), []
            self._on_file(str(message["name"]), content)

    def _complete(self, message: dict, first: bool, part: bytes) -> bool:
        """Take in a piece; whether the file is whole."""
        if first:
            self._pieces = []
        self._pieces.append(bytes(part))
        if sum(map(len, self._pieces)) > self.limits["bytes"]:
            self._pieces = []
            self._on_event({"type": "too_large", "name": str(message["name"])})
            return False
        return len(self._pieces) == message["pieces"]

    def hand_out(self, name: str, mime: str, content: bytes) -> None:
        """Let the browser save a file."""
        self.send({"type": "download", "name": name, "mime": mime}, [content])


class FilmViewer(anywidget.AnyWidget):
    """Film and heat map side by side, with an opacity slider and a common zoom."""

    _esm = PAGE / "viewer.js"
    film = traitlets.Unicode("").tag(sync=True)
    heat = traitlets.Unicode("").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    opacity = traitlets.Float(0.6).tag(sync=True)
    texts = traitlets.Dict().tag(sync=True)


class PageLabels(anywidget.AnyWidget):
    """What a screen reader needs of the whole page: its language, and names of the groups of buttons by their CSS class."""

    _esm = PAGE / "labels.js"
    language = traitlets.Unicode("").tag(sync=True)
    whole_page = traitlets.Bool(False).tag(sync=True)
    groups = traitlets.Dict().tag(sync=True)


class CaseTable(anywidget.AnyWidget):
    """Rows of ``{"key", "label", "cells", "tones"}``; ``chosen`` is the key of the row that was clicked."""

    _esm = PAGE / "table.js"
    name = traitlets.Unicode("").tag(sync=True)
    columns = traitlets.List().tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    chosen = traitlets.Unicode("").tag(sync=True)
