"""What it costs the shipped grader when the joint is covered, against as many pixels of the border: ``python -m benchmarks.occlusion``.

On validation films of chen2018, whose crops are centred on the joint. Writes ``data/results/occlusion.json``; of the
films only numbers are kept.
"""

from __future__ import annotations

import numpy as np

from koalib.data.datasets import load
from koalib.model.weights import load_checkpoint
from koalib.study import shipped
from koalib.study.ledger import record_measurement
from koalib.study.localisation import occlusion_drop
from koalib.study.predict import predict

DATASET, SPLIT = "chen2018", "val"


def main() -> None:
    """Measure and record."""
    model, metadata = load_checkpoint(shipped.GRADER)
    knees = load(DATASET).select(SPLIT)

    def read(films: np.ndarray) -> np.ndarray:
        return predict(model, films, temperature=metadata["decision"]["temperature"])

    table = occlusion_drop(read, knees.pixels(metadata["size"]), knees.table.grade.to_numpy(), knees.table.group.to_numpy())
    print(table.round(3).to_string(index=False))
    record_measurement("occlusion", {"dataset": DATASET, "split": SPLIT, "file_sha256": shipped.sha256(shipped.GRADER), "rows": table.to_dict("records")})


if __name__ == "__main__":
    main()
