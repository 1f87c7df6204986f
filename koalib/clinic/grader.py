"""From a film to a reading: one forward pass gives grade, calibrated probabilities and heat map."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import IO

import numpy as np
import pydicom
import torch

from koalib.clinic import novelty
from koalib.clinic.diagnosis import SET_COVERAGE, WIDE_SET, Diagnosis, Pictures
from koalib.clinic.heatmap import scale_to_one
from koalib.clinic.joint_space import measure
from koalib.clinic.quality import remarks
from koalib.data.images import TRIM, ImageError, KneeImage, read_knee, resize
from koalib.data.knees import KneeCrop, find_knees
from koalib.data.rasters import looks_like_dicom
from koalib.errors import UserError
from koalib.model.weights import load_checkpoint
from koalib.paths import WEIGHTS
from koalib.study.conformal import prediction_set
from koalib.study.explain import grade_and_look
from koalib.study.losses import log_probabilities
from koalib.study.predict import model_input

Film = str | Path | bytes | IO[bytes]
DISPLAY_PX = 640  #: longest side of the picture kept for screen, report and book


def shipped_weights() -> Path:
    """The grader's weights: ``KOALIB_GRADER``, else the file that comes with the project."""
    return Path(os.environ.get("KOALIB_GRADER") or WEIGHTS / "grader.safetensors")


def require_weights(path: str | Path | None = None) -> Path:
    """The weights' file.

    Raises:
        UserError: it is not there.
    """
    path = Path(path) if path else shipped_weights()
    if not path.is_file():
        raise UserError(f"{path}: no grader's weights there; train some with `koalib train` and name them in KOALIB_GRADER")
    return path


class Grader:
    """A loaded network and its decision rule; ``grade`` has no side effect and keeps nothing."""

    def __init__(self, model: torch.nn.Module, metadata: dict, version: str = "") -> None:
        self.model = model.eval()
        self.novelty = novelty.shipped()
        self.name = metadata["model"]
        self.version = version
        self.size = int(metadata.get("size", 224))
        decision = metadata.get("decision", {})
        self.temperature = float(decision.get("temperature", 1.0))
        self.conformal = float(decision.get("conformal", SET_COVERAGE))

    @classmethod
    def load(cls, path: str | Path | None = None) -> Grader:
        """Read a checkpoint (default: ``KOALIB_GRADER``, then the one shipped).

        Raises:
            UserError: there is none, or it is damaged.
        """
        path = require_weights(path)
        model, metadata = load_checkpoint(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        return cls(model, metadata, f"koalib {koalib_version()} weights {digest}")

    def grade(self, film: Film, name: str | None = None) -> list[Diagnosis]:
        """Read one film; one diagnosis for each knee on it.

        Args:
            film: a path, the file's bytes, or an open binary file.
            name: what the film is called on screen and in reports (default: the file's name).

        Returns:
            At least one diagnosis. A film that cannot be read gives one with ``ok=False``; nothing is raised for it.
        """
        started = time.perf_counter()
        name = name or (Path(film).name if isinstance(film, str | Path) else "film")
        try:
            content = read_bytes(film)
            image = read_knee(content, name=name)
            knees = find_knees(image)
            source = header(content, name)
        except ImageError as error:
            return [self._failed(name, error.code, error.values, started)]
        except Exception as error:  # noqa: BLE001 - what no decoder foresaw is this film's error and no other's
            return [self._failed(name, "film_damaged", {"why": f"{type(error).__name__}: {error}".splitlines()[0]}, started)]
        strangeness = self.novelty.strangeness(knees)
        if strangeness.min() > self.novelty.reject:
            return [self._failed(name, "not_a_knee", {}, started)]
        unusual = strangeness > self.novelty.unusual
        common = {"image": name, "film_sha256": hashlib.sha256(content).hexdigest(), "source": source, "model": self.name, "version": self.version}
        readings = self.read_knees([knee.image for knee in knees])
        common["seconds"] = (time.perf_counter() - started) / len(knees)
        return [self._describe(knee, *reading, bool(strange), knee=number, remarks=remarks(image, knee, len(knees)), **common)
                for number, (knee, reading, strange) in enumerate(zip(knees, readings, unusual, strict=True))]

    def grade_many(self, films: Iterable[Film]) -> Iterator[Diagnosis]:
        """Read films one after the other, each forgotten before the next: a thousand need no more memory than one."""
        for film in films:
            yield from self.grade(film)

    def read_knees(self, crops: list[KneeImage]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Calibrated probabilities (5,) and heat map (h, w) of each knee, each the mean over the film and its mirror image."""
        films = np.stack([resize(crop.pixels, self.size) for crop in crops])
        x = model_input(films)
        logits, maps = grade_and_look(self.model, torch.cat([x, x.flip(-1)]))
        log_p = log_probabilities(logits).unflatten(0, (2, -1)).mean(0)
        probabilities = torch.softmax(log_p / self.temperature, dim=1).double().numpy()
        seen, mirrored = maps.unflatten(0, (2, -1))
        heat = (seen + mirrored.flip(-1)).numpy()
        return [(p, scale_to_one(m)) for p, m in zip(probabilities, heat, strict=True)]

    def _describe(self, crop: KneeCrop, p: np.ndarray, heat: np.ndarray, unusual: bool, **common: object) -> Diagnosis:
        """Put a knee's numbers into the words of a diagnosis."""
        grades, image = prediction_set(p, self.conformal), crop.image
        reasons = tuple(reason for reason, true in (("wide_set", len(grades) > WIDE_SET), ("unusual", unusual)) if true)
        return Diagnosis(
            grade=int(p.argmax()), probabilities=tuple(float(v) for v in p), prediction_set=grades, refer=bool(reasons), reasons=reasons,
            side=crop.side or image.side, inverted=image.inverted, pixel_spacing_mm=image.spacing_mm, joint_space=measure(image),
            pictures=Pictures(display_picture(image.pixels), heat), **common)

    def _failed(self, name: str, code: str, values: dict, started: float) -> Diagnosis:
        return Diagnosis.failed(name, code, values, model=self.name, version=self.version, seconds=time.perf_counter() - started)


def display_picture(pixels: np.ndarray) -> np.ndarray:
    """The knee for the eye, uint8: squared as the network sees it, so that the heat map fits, but up to 640 px large."""
    return resize(pixels, min(DISPLAY_PX, max(224, min(max(pixels.shape), round(TRIM * min(pixels.shape))))))


def read_bytes(film: Film) -> bytes:
    """The file's bytes, once, so that pixels and hash are of the same film.

    Raises:
        ImageError: there is no such file, or it cannot be read.
    """
    if isinstance(film, bytes):
        return film
    if not isinstance(film, str | Path):
        return film.read()
    try:
        return Path(film).read_bytes()
    except OSError as error:
        raise ImageError("film_missing", str(film), why=error.strerror) from error


def header(content: bytes, name: str) -> pydicom.Dataset | None:
    """The DICOM attributes without the pixels; None for another kind of file."""
    return pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, force=True) if looks_like_dicom(content, name) else None


def koalib_version() -> str:
    """The installed version of this package."""
    return version("koalib")
