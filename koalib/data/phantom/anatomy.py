"""What a knee is like: sizes in millimetres and the signs of osteoarthritis, drawn by severity.

The means by grade follow what the grades say (Kellgren and Lawrence 1957, doi 10.1136/ard.16.4.494) and what knee films
of the Osteoarthritis Initiative measure: a medial joint space of about 4 mm in healthy knees that is lost by about half
at grade 3, mostly in one compartment, the medial one three times out of four. They are choices, not fits; only the healthy width
was set so that `koalib.data.compare.profile_gap` reads about the same on phantoms and on training films.
"""

from __future__ import annotations

import numpy as np

MEDIAL, LATERAL = 0, 1  #: the compartments' columns
SEVERITY = np.array([-0.5, 0.0, 1.0, 2.0, 3.0, 4.0, 4.5])
NARROWING = np.array([0.0, 0.0, 0.04, 0.15, 0.50, 0.90, 1.0])  #: share of the joint space lost in the worse compartment
SPUR = np.array([0.0, 0.15, 0.9, 2.2, 3.6, 5.4, 6.0])  #: mean length of an osteophyte, mm
SCLEROSIS = np.array([0.0, 0.03, 0.08, 0.25, 0.75, 1.4, 1.6])
HEALTHY_JSW = (3.7, 4.5)  #: medial, lateral, mm
MARGINS = ("femur_medial", "femur_lateral", "tibia_medial", "tibia_lateral")

ANATOMY = np.dtype([
    ("width", "f8"),  # of the tibial plateau, mm
    ("jsw", "f8", 2),  # wanted joint-space width, medial and lateral, mm
    ("spur", "f8", 4),  # length of the osteophytes at MARGINS, mm
    ("sclerosis", "f8", 2),  # medial and lateral, 0 none, 1 severe
    ("attrition", "f8", 2),  # depth of bone lost, medial and lateral, mm
    ("wobble", "f8", (2, 24, 2)),  # of the outlines' control points, femur and tibia, mm
    ("porosity", "f8"),  # factor on the density of trabecular bone
    ("patella", "f8", 3),  # x, y of its centre and its size factor, mm
    ("fibula", "f8", 2),  # shift of the head, mm
    ("notch", "f8"),  # factor on the height of the intercondylar notch
    ("spines", "f8"),  # factor on the height of the tibial spines
])  # fmt: skip


def draw_anatomy(severity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Anatomy of pairs of knees, (2 * P,) records of ``ANATOMY``; what is bone deep is shared by a pair.

    Args:
        severity: latent severity (2 * P,) on the grades' scale, right and left knee of each patient in turn.
    """
    n = len(severity)
    knees = np.zeros(n, ANATOMY)

    def paired(scale: float, *shape: int, own: float = 0.35) -> np.ndarray:
        """Normal draws, mostly shared by the two knees of a patient."""
        both = np.repeat(rng.normal(size=(n // 2, *shape)), 2, axis=0)
        return scale * (np.sqrt(1 - own**2) * both + own * rng.normal(size=(n, *shape)))

    knees["width"] = np.clip(75 + paired(4.5), 62, 90)
    worse = np.where(rng.random(n) < 0.76, MEDIAL, LATERAL)
    lost = np.stack([np.where(worse == side, 1.0, rng.uniform(-0.1, 0.35, n)) for side in (MEDIAL, LATERAL)], axis=1)
    lost *= np.interp(severity, SEVERITY, NARROWING)[:, None] * np.exp(rng.normal(0, 0.15, n))[:, None]
    healthy = np.array(HEALTHY_JSW) * np.exp(paired(0.12, 1) + rng.normal(0, 0.05, (n, 2))) * (knees["width"] / 75)[:, None]
    knees["jsw"] = np.maximum(healthy * (1 - lost), 0.15)
    ease = np.where(np.stack([worse == MEDIAL, worse == LATERAL] * 2, axis=1), 1.0, 0.65)
    knees["spur"] = np.interp(severity, SEVERITY, SPUR)[:, None] * ease * rng.gamma(6, 1 / 6, (n, 4))
    focus = np.where(np.stack([worse == MEDIAL, worse == LATERAL], axis=1), 1.0, 0.25)
    knees["sclerosis"] = np.interp(severity, SEVERITY, SCLEROSIS)[:, None] * focus * rng.gamma(8, 1 / 8, (n, 2))
    severe = np.clip(severity - 3.4, 0, 1)[:, None] * (focus == 1)
    knees["attrition"] = severe * rng.uniform(0.5, 4.5, (n, 1))
    knees["wobble"] = paired(0.55, 2, 24, 2)
    knees["porosity"] = np.exp(paired(0.12))
    knees["patella"] = np.stack([paired(2.5), -47 + paired(6), 1 + paired(0.06)], axis=1)
    knees["fibula"] = np.stack([paired(2.5), paired(4)], axis=1)
    knees["notch"] = 1 + paired(0.12)
    knees["spines"] = np.clip(1 + paired(0.18) + 0.12 * np.clip(severity - 1, 0, 3) * rng.random(n), 0.5, 1.9)
    return knees
