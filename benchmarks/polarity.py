"""How surely films with dark bone are found -> data/results/polarity.json.

    python -m benchmarks.polarity

Every validation film of chen2018, and its inverse, against the eye: all 826 were looked at, and those with dark bone are
listed in data/manifests/chen2018_val_inverted.csv. Every film of gornale2020, which the templates have never seen, and
its inverse: of these no list was made, they are taken to have bright bone. A film counts as recognised only when the
detector commits itself. The score of an inverse is that of the film with the sign turned, so the inverses show how many
films are called at all, and the films as they were published how many are called wrongly.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from koalib.data.curate import read_all
from koalib.data.images import scaled
from koalib.data.polarity import is_inverted
from koalib.data.public import listing
from koalib.data.rasters import Raster
from koalib.data.sources import open_source
from koalib.paths import MANIFESTS
from koalib.study.ledger import record_measurement


def inverted_by_eye() -> set[str]:
    """Validation films of chen2018 with dark bone."""
    return set(pd.read_csv(MANIFESTS / "chen2018_val_inverted.csv")["image_id"])


def scores(name: str, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (N, 2) and verdicts (N, 2), 1 for inverted, -1 for undecided, of each film and its inverse, and whether it is inverted (N,)."""
    manifest, where, root = listing(name, None)
    chosen = np.flatnonzero(manifest["split"] == split)

    def both(raster: Raster, _: int) -> list[tuple[bool | None, float]]:
        pixels = scaled(raster)
        return [is_inverted(pixels), is_inverted(1 - pixels)]

    with open_source(root) as source:
        found = read_all(source, [where[row] for row in chosen], both, name)
    verdicts = np.array([[-1 if verdict is None else int(verdict) for verdict, _ in pair] for pair in found])
    truth = manifest["image_id"].iloc[chosen].isin(inverted_by_eye()).to_numpy()
    return np.array([[score for _, score in pair] for pair in found]), verdicts, truth


def quality(values: np.ndarray, verdicts: np.ndarray, truth: np.ndarray) -> dict:
    """Precision and recall of the verdict "inverted", films and inverses together; the films as published; how near to 0 the scores lie."""
    inverted = np.stack([truth, ~truth], axis=1)
    called = verdicts == 1
    return {
        "films": len(values),
        "recall": float(called[inverted].mean()),
        "precision": float(inverted[called].mean()),
        "published": {"inverted": int(truth.sum()), "found": int((called[:, 0] & truth).sum()), "called_wrongly": int((called[:, 0] & ~truth).sum())},
        "undecided": int((verdicts == -1).sum()),
        "score_percentiles": {str(q): float(np.percentile(np.abs(values[:, 0]), q)) for q in (0, 1, 5, 50)},
    }


def main() -> None:
    """Both sets."""
    record_measurement("polarity", {f"{name}-{split}": quality(*scores(name, split)) for name, split in (("chen2018", "val"), ("gornale2020", "all"))})


if __name__ == "__main__":
    main()
