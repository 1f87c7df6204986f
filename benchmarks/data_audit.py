"""The audit of the two public sets: what it finds and how long it takes -> data/results/data_audit.json.

    python -m benchmarks.data_audit

Also: how long the prepared sets take to open, and how much private memory that costs, each in a fresh process. Times
mean something on a quiet machine only; processor seconds and the load beside them tell whether it was one.
"""

from __future__ import annotations

import multiprocessing
import time

import numpy as np
import psutil

from koalib.data.audit import Audit, audit, neighbour_accuracy, twin_share
from koalib.data.datasets import load
from koalib.data.duplicates import Pairs
from koalib.data.registry import DATASETS, read_manifest
from koalib.study.ledger import record_measurement


def figures(found: Audit) -> dict:
    """Numbers of an audit, without the names of films."""
    report, films = found.report, found.films
    group = films["twin_group"].to_numpy()
    twins = np.bincount(group)[group] > 1
    rows = [np.flatnonzero(group == number) for number in np.unique(group[twins])]
    pairs = np.array([(a, b) for members in rows for i, a in enumerate(members) for b in members[i + 1 :]]).reshape(-1, 2)
    mean, spread = twin_share(Pairs(pairs[:, 0], pairs[:, 1], np.ones(len(pairs)), np.ones(len(pairs))), len(films))
    kinds = ("exact_duplicates", "near_duplicates", "mirrored_twins", "label_conflicts")
    return {
        "films": len(films),
        "groups": len(np.unique(group)),
        "films_with_a_twin": int(twins.sum()),
        **{kind: {"groups": len(report[kind]), "films": sum(map(len, report[kind]))} for kind in kinds},
        "inverted": len(report["inverted"]),
        "low_contrast": int(films["low_contrast"].sum()),
        "patients_in_several_splits": len(report["patients_in_several_splits"]),
        "shortcuts": report["shortcuts"],
        "twin_share_random_split": {"mean": mean, "sd": spread},
    }


def copying(found: Audit, name: str) -> dict:
    """Accuracy of copying the most similar film's grade: from all others, from those that the audit does not call twins,
    and from those of other groups in the manifest (wider: halves of wide films, and pairs alike in fine detail only)."""
    grades, twins = found.films["grade"].to_numpy(), found.films["twin_group"].to_numpy()
    groups = read_manifest(name).set_index("image_id")["group"].loc[found.films["image_id"]].to_numpy(dtype=str)
    return {
        "with_twins": neighbour_accuracy(found.thumbnails, grades),
        "without_twins": neighbour_accuracy(found.thumbnails, grades, twins),
        "without_group": neighbour_accuracy(found.thumbnails, grades, groups),
        "majority": float(np.bincount(grades).max() / len(grades)),
    }


def opening(name: str) -> dict:
    """Seconds and private memory of opening a prepared set."""
    load(name).pixels(224)
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        return fresh.apply(_open, (name,))


def _open(name: str) -> dict:
    process = psutil.Process()
    before, start = process.memory_info(), time.perf_counter()
    films = load(name).pixels(224)
    seconds, after = time.perf_counter() - start, process.memory_info()
    return {"films": len(films), "seconds": seconds, "private_mb": ((after.rss - after.shared) - (before.rss - before.shared)) / 2**20}


def main() -> None:
    """Audit, copy and open each set."""
    measured = {}
    for name in DATASETS:
        start, used, load_average = time.perf_counter(), time.process_time(), psutil.getloadavg()[0]
        found = audit(name)
        spent = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - used, "load_average_before": load_average}
        measured[name] = {**figures(found), **spent, "nearest_neighbour": copying(found, name), "opening": opening(name)}
    record_measurement("data_audit", measured)


if __name__ == "__main__":
    main()
