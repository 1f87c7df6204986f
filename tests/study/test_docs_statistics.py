"""What docs/statistics.md quotes is what was recorded."""

import json

from koalib.paths import ROOT


def test_coverage_table_is_the_record() -> None:
    text = (ROOT / "docs" / "statistics.md").read_text()
    rows = json.loads((ROOT / "data" / "results" / "coverage.json").read_text())["rows"]
    ways = ("patients_and_seeds", "one_seed", "films_as_if_independent")
    table = [f"| {100 * row['seed_sd']:.0f} | {row['seeds']} | " + " | ".join(f"{row[way]:.1%}" for way in ways) + " |" for row in rows]
    assert len(table) == 9 and "\n".join(table) in text
