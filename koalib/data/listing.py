"""What sets there are, and which of them the reader has."""

from __future__ import annotations

from pathlib import Path

from koalib.data.registry import DATASETS, DatasetMissing, locate


def overview(data: str | Path | None = None) -> list[dict]:
    """One dict a set: name, title, images, counts, licence, doi, citation and path (None where it is not found)."""
    phantom = {"name": "phantom", "title": "Digital knees, made by koalib", "images": None, "counts": {"train": {}, "val": {}, "test": {}}, "licence": "Apache-2.0", "doi": "", "citation": "", "path": "embedded"}
    return [phantom, *(_described(name, data) for name in DATASETS)]


def _described(name: str, data: str | Path | None) -> dict:
    facts = DATASETS[name]
    try:
        path = str(locate(name, data))
    except DatasetMissing:
        path = None
    return {"name": name, "title": facts.title, "images": facts.images, "counts": facts.counts, "licence": facts.licence, "doi": facts.doi, "citation": facts.citation, "path": path}
