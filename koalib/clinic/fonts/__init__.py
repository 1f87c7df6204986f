"""Fonts that travel with the project, so that a report looks alike everywhere and Chinese is never a row of boxes.

Latin is DejaVu Sans, which comes with matplotlib. Chinese is a subset (GB 2312) of Droid Sans Fallback, Apache-2.0,
(c) Google Corp., made with fontTools; see NOTICE.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font

CHINESE = Path(__file__).parent / "DroidSansFallback-GB2312.ttf"
_DEJAVU = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
LATIN = _DEJAVU / "DejaVuSans.ttf"
LATIN_BOLD = _DEJAVU / "DejaVuSans-Bold.ttf"

_CHINESE = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")


def runs(words: str) -> list[tuple[str, bool]]:
    """The text in pieces, each with whether it needs the Chinese font. A character that neither font has is written ``U+5586``, so that none is left out."""
    return [("".join(written for written, _ in piece), chinese) for chinese, piece in groupby(map(_drawn, words), itemgetter(1))]


def _drawn(character: str) -> tuple[str, bool]:
    """How a character is written, and whether in the Chinese font."""
    for chinese in (True, False) if _CHINESE.match(character) else (False, True):
        if ord(character) in _glyphs(CHINESE if chinese else LATIN):
            return character, chinese
    return " " if character.isspace() else f"U+{ord(character):04X}", False


@cache
def _glyphs(font: Path) -> frozenset[int]:
    """The code points that the font has a glyph for."""
    return frozenset(FT2Font(str(font)).get_charmap())
