"""The audit as a page with pictures and a table; both show the reader's films and belong under build/."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from koalib.data.audit import Audit
from koalib.data.curate import read_all
from koalib.data.images import scaled
from koalib.data.rasters import Raster
from koalib.data.sources import open_source
from koalib.paths import atomic_write

PICTURE_PX = 160
GROUPS_SHOWN = 24
"""Of each kind; the table and the JSON have all."""
KINDS = {
    "exact_duplicates": "Exact duplicates: the same pixels in several files",
    "near_duplicates": "Near duplicates: the same exposure, processed anew",
    "mirrored_twins": "Mirrored twins: the same exposure, flipped",
    "label_conflicts": "Label conflicts: copies with different grades",
}


def write_audit(audit: Audit, out: Path) -> Path:
    """Write ``audit.json``, ``films.csv`` (a row a film) and ``index.html``; returns the page."""
    atomic_write(out / "audit.json", json.dumps(audit.report, indent=1, ensure_ascii=False))
    atomic_write(out / "films.csv", pd.concat([audit.films, audit.unreadable]).convert_dtypes().to_csv(index=False))
    shown = {kind: audit.report[kind][:GROUPS_SHOWN] for kind in KINDS}
    wanted = {name for groups in shown.values() for group in groups for name in group} | set(audit.report["inverted"][:GROUPS_SHOWN])
    page = jinja2.Environment(autoescape=True, loader=jinja2.PackageLoader("koalib.data", ".")).get_template("audit_page.html.j2")
    return atomic_write(out / "index.html", page.render(
        report=audit.report,
        kinds=KINDS,
        shown=shown,
        inverted=audit.report["inverted"][:GROUPS_SHOWN],
        pictures=_pictures(audit, wanted),
        grades=dict(zip(audit.films["image_id"], audit.films["grade"])),
        by_split=pd.crosstab(audit.films["split"], audit.films["grade"]).to_html(border=0),
    ))


def _pictures(audit: Audit, wanted: set[str]) -> dict[str, str]:
    """Small PNGs of the films, as data addresses, as they are stored."""
    rows = np.flatnonzero(audit.films["image_id"].isin(wanted))

    def small(raster: Raster, _: int) -> str:
        image = Image.fromarray(np.round(scaled(raster) * 255).astype(np.uint8))
        image.thumbnail((2 * PICTURE_PX, PICTURE_PX))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

    with open_source(audit.root) as source:
        pictures = read_all(source, [audit.where[row] for row in rows], small, "pictures")
    return dict(zip(audit.films["image_id"].iloc[rows], pictures))
