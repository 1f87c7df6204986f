"""Who is filmed: patients with two knees each, their severity, two readers' grades, and the split by patient.

Every knee has a latent severity on the grades' own scale. Anatomy follows the severity, the first reader's grade is the
severity rounded, and the second reader rounds what he sees with an error of his own. So knees near a boundary look alike
and are graded differently, as in life.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

#: Grade of the right knee (row) by grade of the left (column) of the 2,889 patients in the training films of chen2018.
RIGHT_BY_LEFT = np.array([
    [833, 120, 99, 42, 14],
    [135, 202, 131, 41, 15],
    [133, 140, 371, 120, 29],
    [61, 44, 101, 145, 22],
    [16, 16, 21, 36, 2],
])  # fmt: skip

#: Error of the second reader, in grades; it gives a quadratic weighted kappa of about .80 between the two readers
#: (published for radiologists: .56 to .85).
SECOND_READER_ERROR = 0.80

SPLITS = {"train": 0.70, "val": 0.10, "test": 0.20}


def cohort(patients: int, rng: np.random.Generator) -> pd.DataFrame:
    """Two knees a patient.

    Returns:
        Columns image_id, patient, side (``R`` then ``L``), grade, second_grade, severity, split; 2 * patients rows.
    """
    joint = (RIGHT_BY_LEFT + RIGHT_BY_LEFT.T) / (2 * RIGHT_BY_LEFT.sum())
    pair = rng.choice(25, size=patients, p=joint.ravel())
    grade = np.stack([pair // 5, pair % 5], axis=1).ravel()
    severity = grade + rng.uniform(-0.5, 0.5, grade.size)
    second = np.clip(np.rint(severity + rng.normal(0, SECOND_READER_ERROR, grade.size)), 0, 4).astype(int)
    patient = np.repeat([f"P{i:05d}" for i in range(patients)], 2)
    side = np.tile(["R", "L"], patients)
    return pd.DataFrame({
        "image_id": [p + s for p, s in zip(patient, side, strict=True)],
        "patient": patient,
        "side": side,
        "grade": grade,
        "second_grade": second,
        "severity": severity.round(3),
        "split": np.repeat(_split(patients, rng), 2),
    })  # fmt: skip


def _split(patients: int, rng: np.random.Generator) -> np.ndarray:
    edges = np.cumsum([round(share * patients) for share in SPLITS.values()])[:-1]
    parts = np.searchsorted(edges, np.arange(patients), side="right")
    return np.array(list(SPLITS))[rng.permutation(parts)]
