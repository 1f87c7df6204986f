"""What the clinic says about one knee: a plain record that report, book and screen all read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from koalib.clinic.texts import text

if TYPE_CHECKING:
    from pydicom import Dataset

SET_COVERAGE = 0.90  #: share of films whose true grade lies in the prediction set, by conformal calibration
OA_GRADE = 2  #: radiographic osteoarthritis: Kellgren-Lawrence grade 2 or more (Kellgren & Lawrence 1957)
WIDE_SET = 2  #: a set of more grades than this goes to a reader


@dataclass(frozen=True)
class JointSpace:
    """Narrowest joint space of each compartment, left and right as on the film.

    ``unit`` is ``mm`` only when the file carries a pixel spacing; otherwise widths are a share of the knee's width.
    """

    left: float | None
    right: float | None
    unit: str


@dataclass(frozen=True)
class JointWidth:
    """The joint space that is reported; ``compartment`` is ``medial`` or ``narrower``."""

    compartment: str
    width: float
    unit: str


@dataclass(frozen=True)
class Pictures:
    """What is looked at: the knee as graded and where the network looked."""

    film: np.ndarray  #: uint8 (H, W), bone bright
    heat: np.ndarray | None  #: float32 (h, w) in [0, 1], coarse; stretched over the film when painted


@dataclass(frozen=True)
class Diagnosis:
    """One knee's reading.

    A film that could not be read has ``ok=False`` and says why in ``code``, the key of a text, with its ``values``; one
    whose report could not be written does so, too, and keeps its reading.
    """

    image: str
    ok: bool = True
    code: str | None = None
    values: dict = field(default_factory=dict)
    grade: int | None = None
    probabilities: tuple[float, ...] | None = None
    prediction_set: tuple[int, ...] | None = None
    refer: bool | None = None
    reasons: tuple[str, ...] = ()  #: why it is referred: ``wide_set``, ``unusual``
    remarks: tuple[str, ...] = ()  #: quality remarks, keys of ``texts``
    side: str | None = None
    inverted: bool | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    joint_space: JointSpace | None = None
    seconds: float = 0.0
    model: str = ""
    version: str = ""
    film_sha256: str = ""
    knee: int = 0  #: 0 for the first knee of a film, 1 for the second
    pictures: Pictures | None = field(default=None, repr=False, compare=False)
    source: Dataset | None = field(default=None, repr=False, compare=False)  #: the DICOM instance without its pixels

    @classmethod
    def failed(cls, image: str, code: str, values: dict | None = None, **known: object) -> Diagnosis:
        """The record of a film that could not be graded."""
        return cls(image=image, ok=False, code=code, values=values or {}, **known)

    @property
    def error(self) -> str | None:
        """Why the film could not be read, in one English line that names it and the remedy."""
        return None if self.code is None else self.error_in("en")

    def error_in(self, language: str) -> str:
        """The same in a language of ``texts``."""
        return text(self.code, language, name=self.image, **self.values)

    @property
    def confidence(self) -> float | None:
        """The largest calibrated probability."""
        return None if self.probabilities is None else max(self.probabilities)

    @property
    def oa_probability(self) -> float | None:
        """Probability of radiographic osteoarthritis, the sum over grades 2 to 4."""
        return None if self.probabilities is None else min(1.0, float(sum(self.probabilities[OA_GRADE:])))

    @property
    def oa(self) -> bool | None:
        """Whether radiographic osteoarthritis is the likelier reading."""
        return None if self.oa_probability is None else self.oa_probability >= 0.5

    @property
    def joint_width(self) -> JointWidth | None:
        """The medial compartment's narrowest space; the narrower compartment's where the side is not known.

        The lateral one's is not reported: as a width it is worse than naming the mean (``data/results/joint_space.json``).
        """
        space = self.joint_space
        if space is None:
            return None
        if self.side:
            compartment, width = "medial", space.right if self.side == "R" else space.left
        else:
            compartment, width = "narrower", None if None in (space.left, space.right) else min(space.left, space.right)
        return None if width is None else JointWidth(compartment, width, space.unit)

    def without_pictures(self) -> Diagnosis:
        """The numbers alone, so that a long list of readings stays small."""
        return replace(self, pictures=None, source=None)

    def as_dict(self) -> dict:
        """One object of ``koalib grade --json``."""
        return {
            "image": self.image,
            "ok": self.ok,
            "error": self.error,
            "grade": self.grade,
            "probabilities": None if self.probabilities is None else [round(p, 6) for p in self.probabilities],
            "confidence": None if self.confidence is None else round(self.confidence, 6),
            "prediction_set": None if self.prediction_set is None else list(self.prediction_set),
            "refer": self.refer,
            "side": self.side,
            "inverted": self.inverted,
            "pixel_spacing_mm": None if self.pixel_spacing_mm is None else list(self.pixel_spacing_mm),
            "seconds": round(self.seconds, 4),
            "model": self.model,
            "radiographic_oa": self.oa,
            "oa_probability": None if self.oa_probability is None else round(self.oa_probability, 6),
            "reasons": list(self.reasons),
            "remarks": list(self.remarks),
            "joint_space": None if self.joint_width is None else vars(self.joint_width).copy(),
            "knee": self.knee + 1,
            "version": self.version,
            "error_code": self.code,
        }
