"""A protocol opens the test of what was made under it, once, and nothing else."""

import shutil
from pathlib import Path

import pytest
from fake_ledger import fill

from koalib.errors import UserError
from koalib.study import ledger, opening, shipped
from koalib.study.comparisons import arm_runs
from koalib.study.experiments import find_study

DISTILLED = "tf_efficientnet_lite2/distilled"


@pytest.fixture
def protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(shipped, "GRADER", tmp_path / "none.safetensors")
    monkeypatch.setattr(ledger, "_committed", lambda file: True)
    both = tmp_path / "protocol.md", tmp_path / "protocol_grader.md"
    for file in both:
        file.write_text("rules")
    return both


def ship(name: str, made_from: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that holds the weights of a run, as the ledger's record of it."""
    source = ledger.results_dir() / "headline" / made_from
    record = {**next(run for run in ledger.read_runs("headline") if run["name"] == made_from), "shipped_from": made_from, "file_sha256": name}
    target = ledger.results_dir() / "headline" / name
    ledger.write_json(target / ledger.RUN_FILE, record)
    (target / ledger.PREDICTIONS_FILE).write_bytes((source / ledger.PREDICTIONS_FILE).read_bytes())
    monkeypatch.setattr(shipped, "shipped_record", lambda: record | {"name": name})


def test_the_first_protocol_opens_what_was_made_under_it(protocols: tuple[Path, Path]) -> None:
    fill("headline")
    record = opening.unseal("headline", *protocols)
    first = {run for panel in find_study("headline").panels if not panel.second for arm in panel.arms for run in arm_runs("headline")[arm.name].values()}
    assert set(record["runs"]) == first and len(first) == 7
    assert all(not ledger.opened("headline", run) for run in arm_runs("headline")[DISTILLED].values())
    assert opening.unseal("headline", *protocols) == record and len(ledger.openings("headline")) == 1


def test_the_second_opens_the_shipped_file_and_there_is_no_third(protocols: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    fill("headline")
    opening.unseal("headline", *protocols)
    one, other = arm_runs("headline")[DISTILLED].values()
    ship("ours", one, monkeypatch)
    record = opening.unseal("headline", *protocols)
    assert record["runs"] == ["ours", one] and not ledger.opened("headline", other)
    assert opening.unseal("headline", *protocols) == record, "asked again it opens nothing more"
    ship("theirs", other, monkeypatch)
    with pytest.raises(UserError, match="its test stays closed; protocol.md and protocol_grader.md open the official test once each"):
        opening.unseal("headline", *protocols)
    assert not ledger.opened("headline", "theirs") and len(ledger.openings("headline")) == 2


def test_a_file_of_the_first_recipe_that_came_late_is_no_second_grader(protocols: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    fill("headline")
    opening.unseal("headline", *protocols)
    ship("late", next(iter(arm_runs("headline")["tf_efficientnet_lite0/official"].values())), monkeypatch)
    with pytest.raises(UserError, match="stays closed"):
        opening.unseal("headline", *protocols)


def test_a_run_that_was_lost_for_one_protocol_is_not_lost_for_the_other(protocols: tuple[Path, Path]) -> None:
    fill("headline")
    run = arm_runs("headline")["tf_efficientnet_lite0/larger"][None, 0]
    shutil.rmtree(ledger.results_dir() / "headline" / run)
    taught = next(e for arm, e in find_study("headline").runs(lambda name: None) if arm.name == DISTILLED)
    shutil.rmtree(ledger.results_dir() / "headline" / taught.run_name)
    ledger.publish_failure("headline", taught.run_name, {"experiment": taught.as_dict(), "failed": "loss is nan", "repeated_with_seed": None})
    with pytest.raises(UserError, match="headline: 1 of 7 runs are not recorded"):
        opening.unseal("headline", *protocols)


def test_each_protocol_asks_for_its_own_runs(protocols: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    fill("headline", only=("official", "larger"))
    with pytest.raises(UserError, match="headline: 5 of 7 runs are not recorded"):
        opening.unseal("headline", *protocols)
    fill("headline", only=("folds",))
    opening.unseal("headline", *protocols)
    ship("ours", next(iter(arm_runs("headline")["tf_efficientnet_lite2/official"].values())), monkeypatch)
    with pytest.raises(UserError, match="headline: 2 of 14 runs are not recorded"):
        opening.unseal("headline", *protocols)
