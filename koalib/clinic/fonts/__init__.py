"""Fonts that travel with the project, so that a report looks alike everywhere and Chinese is never a row of boxes.

Latin is DejaVu Sans, which comes with matplotlib. Chinese is a subset (GB 2312) of Droid Sans Fallback, Apache-2.0,
(c) Google Corp., made with fontTools; see NOTICE.
"""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib

CHINESE = Path(__file__).parent / "DroidSansFallback-GB2312.ttf"
_DEJAVU = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
LATIN = _DEJAVU / "DejaVuSans.ttf"
LATIN_BOLD = _DEJAVU / "DejaVuSans-Bold.ttf"

_RUN = re.compile("([\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]+)")


def runs(words: str) -> list[tuple[str, bool]]:
    """The text in pieces, each with whether it needs the Chinese font."""
    return [(piece, bool(_RUN.fullmatch(piece))) for piece in _RUN.split(words) if piece]
