"""How surely films with dark bone are found -> data/results/polarity.json.

    python -m benchmarks.polarity

Every validation film of chen2018 that is not inverted, and the inverse of each; every film of gornale2020, which the
templates have never seen, and its inverse. A film counts as recognised only when the detector commits itself. Which
films are inverted by themselves was checked by eye: all 110 that are called so, and the 45 least certain of the others.
"""

from __future__ import annotations

import numpy as np

from koalib.data.curate import read_all
from koalib.data.images import scaled
from koalib.data.polarity import is_inverted
from koalib.data.public import listing
from koalib.data.rasters import Raster
from koalib.data.sources import open_source
from koalib.study.ledger import record_measurement


def scores(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, 2) and verdicts (N, 2), 1 for inverted, -1 for undecided, of each film and its inverse."""
    manifest, where, root = listing(name, None)
    chosen = np.flatnonzero((manifest["split"] == split) & ~manifest["inverted"])

    def both(raster: Raster, _: int) -> list[tuple[bool | None, float]]:
        pixels = scaled(raster)
        return [is_inverted(pixels), is_inverted(1 - pixels)]

    with open_source(root) as source:
        found = read_all(source, [where[row] for row in chosen], both, name)
    verdicts = np.array([[-1 if verdict is None else int(verdict) for verdict, _ in pair] for pair in found])
    return np.array([[score for _, score in pair] for pair in found]), verdicts


def quality(values: np.ndarray, verdicts: np.ndarray) -> dict:
    """Precision and recall of the verdict "inverted", and how near to 0 the least certain score lies."""
    true, false = int((verdicts[:, 1] == 1).sum()), int((verdicts[:, 0] == 1).sum())
    return {
        "films": len(values),
        "recall": true / len(values),
        "precision": true / max(true + false, 1),
        "undecided": int((verdicts == -1).sum()),
        "score_percentiles": {str(q): float(np.percentile(values[:, 0], q)) for q in (0, 1, 5, 50)},
    }


def main() -> None:
    """Both sets."""
    record_measurement("polarity", {f"{name}-{split}": quality(*scores(name, split)) for name, split in (("chen2018", "val"), ("gornale2020", "all"))})


if __name__ == "__main__":
    main()
