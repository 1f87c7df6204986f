"""File formats: from bytes to grey values at their native depth, with what the header says."""

from __future__ import annotations

import io
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import PurePath

import libjpeg
import numpy as np
import openjpeg
import pydicom
from PIL import Image, ImageOps
from pydicom import uid
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset, read_preamble
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

from koalib.errors import UserError

MAX_PIXELS = 100_000_000
MAX_BYTES = 200 * 2**20
CHUNK = 2**24
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
DEPTHS = (8, 10, 12, 14, 16, 32)
CODESTREAMS = (
    (libjpeg, (*uid.JPEGTransferSyntaxes, *uid.JPEGLSTransferSyntaxes)),
    (openjpeg, (*uid.JPEG2000TransferSyntaxes, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)),
)
"""What tells the size in the header of a compressed film, which its decoder believes rather than the DICOM header."""
TIFF_PHOTOMETRIC, TIFF_WHITE_IS_ZERO = 262, 0


PROBLEMS = {
    "film_missing": "{name}: cannot be read ({why}); check the path",
    "film_empty": "{name}: the file is empty; export the film again",
    "film_too_heavy": "{name}: larger than 200 MB; export the film alone, as PNG or DICOM",
    "film_too_large": "{name}: over 100 megapixels; export the film at a lower resolution",
    "film_too_small": "{name}: {columns} x {rows} pixels are too few for a knee film, at least {least} a side",
    "film_blank": "{name}: shows nothing, all pixels are equal; export the film again",
    "film_no_image": "{name}: not an image that can be read; use PNG, JPEG, TIFF, BMP, WebP or DICOM",
    "film_frames": "{name}: holds {frames} frames; export the one film that should be graded",
    "film_damaged": "{name}: damaged or cut off ({why}); copy or export the file again",
    "film_not_in_dicom": "{name}: a DICOM file without a film, or damaged; export the radiograph itself",
    "film_pixels": "{name}: its pixels cannot be read ({why}); export it uncompressed or again",
    "film_unpacks": "{name}: unpacks to more than 200 MB; export the film alone, as PNG or DICOM",
    "film_too_many_pixels": "{name}: has pixels for more than one film of {columns} x {rows}; export it again",
    "film_other_size": "{name}: its pixels are {found}, its header says {said}; export it again",
}
"""What may be wrong with a film; the clinic has the same lines in Chinese."""


class ImageError(UserError):
    """A film that cannot be read, with the reason and the remedy in one line: ``code`` is a key of ``PROBLEMS``."""

    def __init__(self, code: str, name: str, **values: object) -> None:
        self.code, self.values = code, values
        super().__init__(PROBLEMS[code].format(name=name, **values))


@dataclass(frozen=True)
class Raster:
    """``values`` (H, W) are grey: unsigned integers of ``bits`` depth, or floats already in [0, 1]; ``mode`` names the colour model of the file."""

    values: np.ndarray
    bits: int
    mode: str
    side: str | None = None
    spacing_mm: tuple[float, float] | None = None
    remarks: tuple[str, ...] = ()


def decode_raster(content: bytes, name: str) -> Raster:
    """PNG, JPEG, TIFF, BMP or WebP to grey values."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError("film_too_large", name) from error
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise ImageError("film_no_image", name) from error
    _check_size(image.width, image.height, name)
    mode = image.mode
    try:
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # counting them reads every header of a TIFF
        values = None if frames > 1 else _grey(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, TypeError, ValueError, IndexError, EOFError, struct.error, zlib.error) as error:
        raise ImageError("film_damaged", name, why=str(error)) from error
    if frames > 1:
        raise ImageError("film_frames", name, frames=frames)
    if values.dtype.kind != "f":
        values = values.astype(np.uint8 if values.max() < 256 and values.dtype == np.uint8 else np.uint16 if values.max() < 2**16 else np.uint32)
    if mode.startswith("I;16") and image.format == "TIFF" and image.tag_v2.get(TIFF_PHOTOMETRIC) == TIFF_WHITE_IS_ZERO:
        values = values.max() - values
    return Raster(values, _depth(values), mode)


def _grey(image: Image.Image) -> np.ndarray:
    """One channel: the values themselves where the file is grey (or has three equal channels), else luminance."""
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode == "L" or image.mode.startswith("I"):
        values = np.asarray(image)
        return _stretched(values) if values.min() < 0 else values  # signed, as some scanners' TIFFs: no depth is known
    if image.mode == "F":
        return _stretched(np.asarray(image))
    if image.mode in ("P", "PA", "LA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba)
    channels = np.asarray(image.convert("RGB"))
    if (channels[..., :1] == channels).all():
        return np.ascontiguousarray(channels[..., 0])
    return np.asarray(image.convert("RGB").convert("L"))


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError("film_too_large", name)


def _depth(values: np.ndarray) -> int:
    """Bits of the smallest usual depth that holds the values: many 16-bit files carry 12-bit films."""
    if values.dtype.kind == "f":
        return 32
    if values.dtype == np.uint8:
        return 8
    return next(bits for bits in DEPTHS if int(values.max()) < 2**bits)


def _stretched(values: np.ndarray) -> np.ndarray:
    """float32 in [0, 1] from the smallest to the largest finite value."""
    values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    return ((values - low) / max(high - low, np.finfo(np.float64).tiny)).astype(np.float32)


def looks_like_dicom(content: bytes, name: str) -> bool:
    """By the mark at byte 128, or by the name (older files have no mark)."""
    return content[128:132] == b"DICM" or PurePath(name).suffix.lower() in (".dcm", ".dicom")


def decode_dicom(content: bytes, name: str) -> Raster:
    """A single-frame DICOM film: rescaled, windowed, MONOCHROME1 turned so that bone is bright."""
    _check_inflated(content, name)
    try:
        film = pydicom.dcmread(io.BytesIO(content), force=True)
        rows, columns = int(film.Rows), int(film.Columns)
        frames = int(film.get("NumberOfFrames") or 1)
    except Exception as error:  # pydicom raises whatever its parser stumbles over
        raise ImageError("film_not_in_dicom", name) from error
    _check_size(columns, rows, name)
    if frames > 1:
        raise ImageError("film_frames", name, frames=frames)
    try:
        _check_pixel_data(film, name)
        values, bits = _dicom_values(film)
    except ImageError:
        raise
    except Exception as error:  # missing codec, cut-off pixel data, impossible header: all end here
        raise ImageError("film_pixels", name, why=_first_line(error)) from error
    side = str(film.get("ImageLaterality") or film.get("Laterality") or "")[:1].upper()
    spacing, remarks = _dicom_spacing(film)
    return Raster(values, bits, str(film.get("PhotometricInterpretation", "")), side if side in "LR" and side else None, spacing, remarks)


def _check_inflated(content: bytes, name: str) -> None:
    """A deflated film may be a thousand times its file: counted in chunks, none of which is kept, before pydicom unpacks it."""
    file = io.BytesIO(content)
    try:
        read_preamble(file, True)
        meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
        if meta.get("TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
            return
        inflater, rest, inflated = zlib.decompressobj(-zlib.MAX_WBITS), content[file.tell() :], 0
        while rest and not inflater.eof and inflated <= MAX_BYTES:
            inflated += len(inflater.decompress(rest, CHUNK))
            rest = inflater.unconsumed_tail
    except Exception as error:  # pydicom raises whatever its parser stumbles over
        raise ImageError("film_not_in_dicom", name) from error
    if inflated > MAX_BYTES:
        raise ImageError("film_unpacks", name)


def _check_pixel_data(film: pydicom.Dataset, name: str) -> None:
    """The pixels must be those of one film of the size in the header, before anything is made of them."""
    rows, columns, syntax = int(film.Rows), int(film.Columns), film.file_meta.get("TransferSyntaxUID", "")
    stored = film.get("PixelData") or b""
    if not getattr(syntax, "is_encapsulated", False):
        expected = rows * columns * int(film.get("SamplesPerPixel", 1)) * int(film.BitsAllocated) // 8
        if len(stored) >= 2 * max(expected, 1):  # less than a second film is padding
            raise ImageError("film_too_many_pixels", name, columns=columns, rows=rows)
        return
    header = next((module for module, syntaxes in CODESTREAMS if syntax in syntaxes), None)
    if header is None:
        return
    stream = header.get_parameters(next(generate_frames(stored, number_of_frames=1)))
    if (stream["rows"], stream["columns"]) != (rows, columns):
        raise ImageError("film_other_size", name, found=f"{stream['columns']} x {stream['rows']}", said=f"{columns} x {rows}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _dicom_values(film: pydicom.Dataset) -> tuple[np.ndarray, int]:
    photometric = str(film.get("PhotometricInterpretation", "MONOCHROME2"))
    stored = film.pixel_array
    if photometric == "PALETTE COLOR":
        stored = apply_color_lut(stored, film)
    if stored.ndim == 3:
        eight = (stored / (257 if stored.dtype == np.uint16 else 1)).astype(np.uint8)
        return _grey(Image.fromarray(eight)), 8
    values, bits = _windowed(stored, film)
    if photometric == "MONOCHROME1":
        values = 1 - values if values.dtype.kind == "f" else (2**bits - 1 - values).astype(values.dtype)
    return values, bits


def _windowed(stored: np.ndarray, film: pydicom.Dataset) -> tuple[np.ndarray, int]:
    """Modality transform, then the first window or table of values (DICOM PS3.3 C.11.1 and C.11.2)."""
    bits = int(film.BitsStored)
    rescaled = apply_modality_lut(stored, film)
    if "VOILUTSequence" in film or "WindowCenter" in film:
        low, high = _output_range(film, bits)
        values = (apply_voi_lut(rescaled, film).astype(np.float64) - low) / (high - low)
        return np.clip(values, 0, 1).astype(np.float32), bits
    if rescaled.dtype.kind != "u":
        return _stretched(rescaled), bits
    return rescaled, _depth(rescaled)


def _output_range(film: pydicom.Dataset, bits: int) -> tuple[float, float]:
    """Smallest and largest value that pydicom's windowing can give for this film."""
    if "VOILUTSequence" in film:
        return 0.0, float(2 ** int(film.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    if film.get("ModalityLUTSequence"):
        return 0.0, float(2 ** int(film.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    signed = int(film.get("PixelRepresentation", 0)) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = float(film.get("RescaleSlope", 1)), float(film.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


def _dicom_spacing(film: pydicom.Dataset) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Row and column spacing; at the detector the knee is some per cent larger than life, and the remark says so.

    Anything but two finite positive numbers, such as one value or a decimal comma, is no spacing.
    """
    for keyword, remark in (("PixelSpacing", ()), ("ImagerPixelSpacing", ("pixel spacing is that of the detector, the knee is magnified",))):
        try:
            value = film.get(keyword)
            row, column = map(float, value if isinstance(value, MultiValue) else ())  # a lone text would be taken letter by letter
        except (TypeError, ValueError):
            continue
        if all(math.isfinite(mm) and mm > 0 for mm in (row, column)):
            return (row, column), remark
    return None, ()
