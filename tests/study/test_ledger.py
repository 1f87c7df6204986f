"""The ledger keeps all, whole or not at all, and keeps the test sealed."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from koalib.errors import UserError
from koalib.paths import PROTOCOL
from koalib.study import ledger


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def predictions(dataset: str = "chen2018") -> pd.DataFrame:
    p = np.random.default_rng(0).dirichlet(np.ones(5), 30)
    split = np.repeat(["val", "oof", "test"], 10)
    return pd.DataFrame({"dataset": dataset, "image_id": [f"i{i}" for i in range(30)], "group": [f"g{i // 2}" for i in range(30)],
                         "split": split, "grade": np.arange(30) % 5, **dict(zip(ledger.PROBABILITIES, p.T, strict=True))})


def publish(tmp_path: Path, table: pd.DataFrame, name: str = "a_run") -> None:
    source = tmp_path / "work"
    ledger.write_predictions(source / ledger.PREDICTIONS_FILE, table)
    ledger.write_json(source / ledger.RUN_FILE, {"seed": 0})
    ledger.publish_run("headline", name, source)


def test_a_run_comes_back_as_it_was_written(tmp_path: Path, results: Path) -> None:
    table = predictions("phantom")
    publish(tmp_path, table)
    back = ledger.read_predictions("headline", "a_run")
    assert ledger.read_runs("headline") == [{"seed": 0, "name": "a_run"}] and ledger.has_run("headline", "a_run")
    assert list(back.columns) == ledger.COLUMNS and np.allclose(ledger.probabilities(back), ledger.probabilities(table), atol=1e-5)
    assert {p.name for p in (results / "headline").iterdir()} == {"a_run"}


def test_equal_predictions_are_equal_bytes(tmp_path: Path) -> None:
    first, second = (ledger.write_predictions(tmp_path / n, predictions()).read_bytes() for n in ("a", "b"))
    assert first == second


def test_sealed_test_predictions_are_not_given_out(tmp_path: Path, results: Path) -> None:
    publish(tmp_path, predictions())
    assert set(ledger.read_predictions("headline", "a_run").split) == {"val", "oof"}
    with pytest.raises(UserError, match="sealed"):
        ledger.read_predictions("headline", "a_run", split="test")


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *words], check=True, capture_output=True)


def test_unsealing_needs_a_committed_protocol_and_leaves_its_record(tmp_path: Path, results: Path) -> None:
    publish(tmp_path, predictions())
    protocol = tmp_path / "docs" / "protocol.md"
    with pytest.raises(UserError, match="missing"):
        ledger.unseal("headline", protocol, ["a_run"])
    protocol.parent.mkdir()
    protocol.write_text("one primary contrast")
    git(tmp_path, "init", "-q")
    with pytest.raises(UserError, match="not committed"):
        ledger.unseal("headline", protocol, ["a_run"])
    git(tmp_path, "add", "docs/protocol.md")
    git(tmp_path, "commit", "-qm", "protocol")
    protocol.write_text("another primary contrast")
    with pytest.raises(UserError, match="not committed as it stands"):
        ledger.unseal("headline", protocol, ["a_run"])
    git(tmp_path, "commit", "-qam", "amended")
    record = ledger.unseal("headline", protocol, ["a_run"])
    assert len(record["protocol_sha256"]) == 64 and record["runs"] == ["a_run"]
    assert json.loads((results / "headline" / "unsealed.json").read_text()) == record == ledger.unseal("headline", protocol, ["a_run"])
    assert len(ledger.read_predictions("headline", "a_run", split="test")) == 10
    publish(tmp_path, predictions(), "a_later_run")
    with pytest.raises(UserError, match="made after the study was opened"):
        ledger.read_predictions("headline", "a_later_run", split="test")
    with pytest.raises(UserError, match="loss: the official test was opened for headline"):
        ledger.unseal("loss", protocol, ["a_run"])


def test_a_second_opening_needs_a_protocol_of_its_own_and_opens_what_it_names(tmp_path: Path, results: Path) -> None:
    publish(tmp_path, predictions())
    first, second = (tmp_path / "docs" / name for name in ("protocol.md", "protocol_grader.md"))
    first.parent.mkdir()
    first.write_text("one primary contrast")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "docs/protocol.md")
    git(tmp_path, "commit", "-qm", "protocol")
    ledger.unseal("headline", first, ["a_run"])
    for name in ("a_later_run", "another"):
        publish(tmp_path, predictions(), name)
    with pytest.raises(UserError, match="protocol_grader.md: missing"):
        ledger.unseal("headline", second, ["a_later_run"])
    second.write_text("a second grader")
    with pytest.raises(UserError, match="protocol_grader.md: not committed"):
        ledger.unseal("headline", second, ["a_later_run"])
    git(tmp_path, "add", "docs/protocol_grader.md")
    git(tmp_path, "commit", "-qm", "a second protocol")
    record = ledger.unseal("headline", second, ["a_later_run"])
    assert [opening["runs"] for opening in ledger.openings("headline")] == [["a_run"], ["a_later_run"]]
    assert ledger.opened("headline", "a_run") and ledger.opened("headline", "a_later_run") and not ledger.opened("headline", "another")
    assert ledger.unseal("headline", second, ["another"]) == record and not ledger.opened("headline", "another"), "a protocol opens once"


def test_nothing_to_unseal(results: Path) -> None:
    with pytest.raises(UserError, match="no run"):
        ledger.unseal("headline", PROTOCOL, [])


def test_read_only_ledger_is_one_line_and_keeps_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
    results.parent.mkdir(exist_ok=True)
    results.write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot be written to.*the run itself is kept"):
        publish(tmp_path, predictions())
    assert (tmp_path / "work" / ledger.RUN_FILE).is_file()


def test_a_measurement_of_uncommitted_code_is_said(results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    for found in ("0123abcd", "0123abcd+"):
        monkeypatch.setattr(ledger, "commit", lambda found=found: found)
        ledger.record_measurement("speed", {})
    assert capsys.readouterr().err.count("speed: measured with uncommitted changes") == 1


def test_measurements_name_their_machine(results: Path) -> None:
    ledger.record_measurement("speed", {"ratio": 1.5})
    found = ledger.read_measurement("speed")
    assert found["ratio"] == 1.5 and found["machine"]["processor"] and found["versions"]["torch"] and ledger.read_measurement("none") is None
