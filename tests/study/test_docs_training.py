"""What docs/training.md quotes is what was recorded."""

import json

from benchmarks.trainer import table
from koalib.paths import ROOT

DOC = (ROOT / "docs" / "training.md").read_text()
RECORD = json.loads((ROOT / "data" / "results" / "trainer.json").read_text())


def test_speed_table_is_the_record() -> None:
    assert "\n".join(table(RECORD)) in DOC
    assert f"{RECORD['machine']['processor']}, {RECORD['precision']}, {RECORD['machine']['threads']} threads" in DOC


def test_every_loss_has_its_sentence() -> None:
    from koalib.study.experiment import LOSSES, SAMPLERS, SCHEDULES

    assert all(f"`{name}`" in DOC for name in (*LOSSES, *SAMPLERS, *SCHEDULES))
