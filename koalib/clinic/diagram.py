"""The case book's entity-relationship diagram, drawn from the schema that is in the file."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from koalib.clinic.schema import migrate

#: where each table is drawn: column and row of a grid, chosen so that no line crosses another
PLACES = {"patient": (0, 0), "film": (1, 0), "reading": (2, 0), "decision": (3, 0), "setting": (0, 1), "identity": (1, 1), "reader": (2, 1), "audit": (3, 1)}


@dataclass(frozen=True)
class Table:
    """A table of the schema: columns as (name, type, is key) and references as (column, other table)."""

    name: str
    columns: tuple[tuple[str, str, bool], ...]
    references: tuple[tuple[str, str], ...]


def read_schema(connection: sqlite3.Connection | None = None) -> list[Table]:
    """The tables of a book; without one, of a new book in memory."""
    db = connection or sqlite3.connect(":memory:", isolation_level=None)
    if connection is None:
        migrate(db)
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")]
    return [Table(name, tuple((c[1], c[2], bool(c[5])) for c in db.execute(f"PRAGMA table_info({name})")),
                  tuple((f[3], f[2]) for f in db.execute(f"PRAGMA foreign_key_list({name})"))) for name in names]


def markdown(tables: list[Table]) -> str:
    """The same as a table for the documentation."""
    lines = ["| table | columns | refers to |", "|---|---|---|"]
    for table in tables:
        columns = ", ".join(f"**{name}**" if key else name for name, _, key in table.columns)
        lines.append(f"| `{table.name}` | {columns} | {', '.join(f'`{other}`' for _, other in table.references) or '-'} |")
    return "\n".join(lines)


def draw(tables: list[Table]) -> Figure:
    """Boxes for tables, lines for foreign keys with how many stand at each end."""
    figure, axes = plt.subplots(figsize=(12, 7.6))
    axes.set(xlim=(-0.1, 4.0), ylim=(-2.3, 2.15))
    axes.axis("off")
    for table in tables:
        _box(axes, table)
    for table in tables:
        for _, other in table.references:
            _line(axes, table, next(t for t in tables if t.name == other))
    figure.tight_layout()
    return figure


def _top(name: str) -> tuple[float, float]:
    column, row = PLACES[name]
    return column, 2.05 - 2.9 * row


def _box(axes: plt.Axes, table: Table) -> None:
    x, y = _top(table.name)
    height = _height(table)
    axes.add_patch(FancyBboxPatch((x, y - height), 0.68, height, boxstyle="round,pad=0,rounding_size=0.03", facecolor="white", edgecolor="#0d6470", linewidth=1.4, zorder=2))
    axes.add_patch(FancyBboxPatch((x, y - 0.17), 0.68, 0.17, boxstyle="round,pad=0,rounding_size=0.03", facecolor="#0d6470", edgecolor="#0d6470", zorder=3))
    axes.text(x + 0.34, y - 0.09, table.name, ha="center", va="center", color="white", weight="bold", fontsize=10, zorder=4)
    foreign = {column for column, _ in table.references}
    for i, (name, kind, key) in enumerate(table.columns):
        mark = "key " if key else "ref " if name in foreign else ""
        axes.text(x + 0.03, y - 0.25 - 0.105 * i, name, va="center", fontsize=7.5, weight="bold" if key else "normal", zorder=4)
        axes.text(x + 0.65, y - 0.25 - 0.105 * i, f"{mark}{kind.lower()}", va="center", ha="right", fontsize=6.5, color="#52646e", zorder=4)


def _line(axes: plt.Axes, many: Table, one: Table) -> None:
    """From the one to the many, between the facing sides of their boxes."""
    ends = [_end(one, many), _end(many, one)]
    axes.plot(*zip(*ends, strict=True), color="#52646e", linewidth=1.2, zorder=1)
    # A reference that is the key itself can occur once at most.
    unique = any(key and name == column for name, _, key in many.columns for column, other in many.references if other == one.name)
    for (x, y), (to_x, to_y), mark in ((ends[0], ends[1], "1"), (ends[1], ends[0], "0..1" if unique else "n")):
        away = 0.09 / max(np.hypot(to_x - x, to_y - y), 1e-9)
        axes.text(x + away * (to_x - x) + 0.02, y + away * (to_y - y) + 0.02, mark, fontsize=8, color="#14232b", zorder=5)


def _end(table: Table, other: Table) -> tuple[float, float]:
    """Where a line to another table leaves this one."""
    (x, y), (other_x, other_y) = _top(table.name), _top(other.name)
    if other_y != y:
        return x + 0.34, y - _height(table) if other_y < y else y
    return x + (0.68 if other_x > x else 0), y - 0.09


def _height(table: Table) -> float:
    return 0.22 + 0.105 * len(table.columns)
