"""One film: from a file of whatever kind to pixels in [0, 1] with bone bright."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
from PIL import Image

from koalib.data.polarity import is_inverted
from koalib.data.rasters import MAX_BYTES, ImageError, Raster, decode_dicom, decode_raster, looks_like_dicom

__all__ = ["ImageError", "KneeImage", "decode", "film_hash", "is_inverted", "read_knee", "resize", "scaled"]

MIN_SIDE = 32
TRIM = 1.5
"""A film wider (or taller) than this many times its other side loses the excess at both ends before it is made square."""


@dataclass(frozen=True)
class KneeImage:
    """A film, or a part of one.

    ``pixels`` is float32 (H, W) in [0, 1], bone bright; ``side`` is the patient's ``L`` or ``R`` where the file or
    its name says so; ``spacing_mm`` is (row, column) in millimetres, from DICOM only; ``inverted`` tells that bone was
    dark in the file and has been turned (None: the detector could not tell); ``bits`` is the depth of the values.
    """

    pixels: np.ndarray
    side: str | None = None
    spacing_mm: tuple[float, float] | None = None
    inverted: bool | None = None
    bits: int = 8
    source: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape

    def crop(self, top: int, bottom: int, left: int, right: int, side: str | None = None) -> KneeImage:
        """A part of the film; everything known of the whole stays known of the part."""
        return replace(self, pixels=self.pixels[top:bottom, left:right], side=side or self.side)


def read_knee(film: str | Path | bytes | BinaryIO, name: str | None = None) -> KneeImage:
    """Read PNG, JPEG, TIFF, BMP, WebP or DICOM, grey or colour, 8 or 16 bit; a film with dark bone is turned.

    Args:
        film: a path, the file's content, or an open binary file.
        name: what to call it in messages; it also tells the side (``9003175L.png``).

    Raises:
        ImageError: not there, not such a file, damaged, several frames, blank, too small,
            over 100 megapixels or over 200 MB.
    """
    content, name = _content(film, name)
    raster = decode(content, name)
    pixels = scaled(raster)
    inverted, _ = is_inverted(pixels)
    return KneeImage(
        pixels=1 - pixels if inverted else pixels,
        side=raster.side or side_from_name(name),
        spacing_mm=raster.spacing_mm,
        inverted=inverted,
        bits=raster.bits,
        source=name,
        remarks=raster.remarks,
    )


def decode(content: bytes, name: str) -> Raster:
    """Native-depth grey values and what the header says; see ``read_knee`` for the errors."""
    if not content:
        raise ImageError("film_empty", name)
    if len(content) > MAX_BYTES:
        raise ImageError("film_too_heavy", name)
    raster = decode_dicom(content, name) if looks_like_dicom(content, name) else decode_raster(content, name)
    if min(raster.values.shape) < MIN_SIDE:
        rows, columns = raster.values.shape
        raise ImageError("film_too_small", name, columns=columns, rows=rows, least=MIN_SIDE)
    if raster.values.min() == raster.values.max():
        raise ImageError("film_blank", name)
    return raster


def scaled(raster: Raster) -> np.ndarray:
    """float32 (H, W) in [0, 1]: integers by their bit depth, so nothing is clipped and exposure stays as it was."""
    if raster.values.dtype.kind == "f":
        return raster.values.astype(np.float32)
    return raster.values.astype(np.float32) / np.float32(2**raster.bits - 1)


def film_hash(raster: Raster) -> str:
    """SHA-256 of shape and native-depth grey values, so that a copy stored in another format still verifies."""
    digest = hashlib.sha256("x".join(map(str, raster.values.shape)).encode())
    digest.update(np.ascontiguousarray(raster.values))
    return digest.hexdigest()


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """The one preprocessing of studies and clinic: float (H, W) in [0, 1] to uint8 (size, size), shape of the knee kept.

    A film longer than 1.5 times its short side is trimmed at both ends; the short side is then extended by
    repeating its edge, which continues the shafts of the bones, and the square is resampled with antialiasing.
    """
    square = _square(_trimmed(np.asarray(pixels, dtype=np.float32)))
    if square.shape[0] != size:
        square = np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BILINEAR))
    return np.round(np.clip(square, 0, 1) * 255).astype(np.uint8)


def side_from_name(name: str) -> str | None:
    """``L`` or ``R`` where the file's name ends in it: ``9003175L``, ``knee_R``, ``17-left``."""
    found = re.search(r"(?:^|[\d_\- ])(L|R|left|right)$", PurePath(name).stem, re.IGNORECASE)
    return found[1][0].upper() if found else None


def _trimmed(pixels: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        longest = round(TRIM * pixels.shape[1 - axis])
        excess = pixels.shape[axis] - longest
        if excess > 0:
            pixels = np.take(pixels, np.arange(excess // 2, excess // 2 + longest), axis=axis)
    return pixels


def _square(pixels: np.ndarray) -> np.ndarray:
    side = max(pixels.shape)
    missing = [(side - length) // 2 for length in pixels.shape]
    return np.pad(pixels, [(before, side - length - before) for before, length in zip(missing, pixels.shape)], mode="edge")


def _content(film: str | Path | bytes | BinaryIO, name: str | None) -> tuple[bytes, str]:
    """Content and name; never more than one byte over the limit is read."""
    if isinstance(film, bytes | bytearray | memoryview):
        return bytes(film), name or "film"
    if isinstance(film, str | Path):
        name = name or str(film)
        try:
            with open(Path(film).expanduser(), "rb") as file:
                return file.read(MAX_BYTES + 1), name
        except OSError as error:
            raise ImageError("film_missing", name, why=error.strerror) from error
    return film.read(MAX_BYTES + 1), name or getattr(film, "name", "film")
