"""`koalib data` as a reader types it: what is printed, and the exit status."""

import json
import zipfile

import pytest
from typer.testing import CliRunner

from koalib.cli import app
from koalib.data.registry import DatasetMissing
from koalib.errors import UserError
from tests.data.films import CHEN_PATHS, save


def koalib_data(*words: object):
    """Run ``koalib data WORDS``."""
    return CliRunner().invoke(app, ["data", *map(str, words)])


def test_verify_a_whole_copy(small_chen):
    said = koalib_data("verify", "chen2018", "--data", small_chen)
    assert said.exit_code == 0
    assert "chen2018: 6 films, complete and unchanged" in said.stdout
    assert "val: grade 0 0, grade 1 0, grade 2 1" in said.stdout


def test_verify_lists_what_differs_and_exits_1(small_chen, films):
    (small_chen / "chen2018" / CHEN_PATHS[0]).unlink()
    save(films[1] // 2, small_chen / "chen2018" / CHEN_PATHS[1])
    said = koalib_data("verify", "chen2018", "--data", small_chen)
    assert said.exit_code == 1
    assert {"missing: 9000001L", "changed: 9000001R"} <= {line.strip() for line in said.stdout.splitlines()}
    as_json = koalib_data("verify", "chen2018", "--data", small_chen, "--json")
    found = json.loads(as_json.stdout)
    assert as_json.exit_code == 1 and not found["ok"]
    assert (found["dataset"], found["images"], found["missing"], found["changed"], found["unknown"]) == ("chen2018", 5, ["9000001L"], ["9000001R"], [])
    assert found["counts"]["test"] == {"0": 1, "1": 0, "2": 0, "3": 1, "4": 0}


def test_verify_names_the_users_mistake(tmp_path):
    assert isinstance(koalib_data("verify", "chen2018", "--data", tmp_path).exception, DatasetMissing)
    for command in ("verify", "fetch"):  # what they do not take, they do not offer
        unknown = koalib_data(command, "chen2019", "--data", tmp_path).exception
        assert isinstance(unknown, UserError) and "chen2019" in str(unknown) and "choose gornale2020 or chen2018" in str(unknown) and "phantom" not in str(unknown)


def test_fetch_downloads_and_verifies(small_chen, server, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in CHEN_PATHS:
            archive.write(small_chen / "chen2018" / path, path)
    server.content = (tmp_path / "all.zip").read_bytes()
    said = koalib_data("fetch", "chen2018", "--data", tmp_path / "new", "--mirror", server.address, "--json")
    assert said.exit_code == 0 and json.loads(said.stdout)["ok"]
    assert (tmp_path / "new" / "chen2018.zip").read_bytes() == server.content
    assert koalib_data("verify", "chen2018", "--data", tmp_path / "new").exit_code == 0


def test_fetch_compares_the_checksum_that_is_given(server, tmp_path):
    server.content = b"any"
    said = koalib_data("fetch", "chen2018", "--data", tmp_path, "--mirror", server.address, "--sha256", "0" * 64)
    assert isinstance(said.exception, DatasetMissing) and "hash" in str(said.exception).splitlines()[0]


def test_fetch_of_something_else_gives_the_steps(small_chen, server, tmp_path):
    server.content = b"<html>sign in first</html>"
    said = koalib_data("fetch", "chen2018", "--data", tmp_path / "new", "--mirror", server.address)
    assert isinstance(said.exception, DatasetMissing) and "1. open" in str(said.exception)


def test_audit_of_ones_own_films(films, tmp_path):
    for number, film in enumerate(films):
        save(film, tmp_path / f"films/{number % 5}/film{number}.png")
    save(films[0], tmp_path / "films/1/copy0.png")
    said = koalib_data("audit", tmp_path / "films", "--out", tmp_path / "out")
    assert said.exit_code == 0
    assert {"images: 7", "exact duplicates: 1", "label conflicts: 1", "inverted: 0"} <= set(said.stdout.splitlines())
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["audit.json", "films.csv", "index.html"]
    as_json = koalib_data("audit", tmp_path / "films", "--out", tmp_path / "out", "--json")
    assert json.loads(as_json.stdout) == json.loads((tmp_path / "out" / "audit.json").read_text())
    assert json.loads(as_json.stdout)["exact_duplicates"] == [["film0", "copy0"]]


def test_audit_goes_on_past_films_that_cannot_be_read(films, tmp_path, monkeypatch):
    for number, film in enumerate(films):
        save(film, tmp_path / f"my films/{number % 5}/film{number}.png")
    save(films[0], tmp_path / "my films/1/copy0.png")
    (tmp_path / "my films/1/cut_off.png").write_bytes((tmp_path / "my films/0/film0.png").read_bytes()[:3000])
    monkeypatch.chdir(tmp_path / "my films")
    said = koalib_data("audit", ".")
    assert said.exit_code == 1
    assert {"images: 7", "exact duplicates: 1", "unreadable: 1"} <= set(said.stdout.splitlines()) and "  1/cut_off.png: damaged" in said.stdout
    out = tmp_path / "my films/build/audit/my films"
    assert "1/cut_off.png: damaged" in (out / "index.html").read_text()
    assert [line.split(",")[:2] for line in (out / "films.csv").read_text().splitlines()][-1] == ["cut_off", "1/cut_off.png"]
    as_json = koalib_data("audit", ".", "--json")
    assert as_json.exit_code == 1 and len(json.loads(as_json.stdout)["unreadable"]) == 1
    (tmp_path / "none/1").mkdir(parents=True)
    (tmp_path / "none/1/a.png").write_text("no film")
    assert "none of its 1 films can be read" in str(koalib_data("audit", tmp_path / "none").exception)


@pytest.mark.parametrize("name", ["phantom", "no/such/folder"])
def test_audit_names_the_users_mistake(name):
    said = koalib_data("audit", name)
    assert isinstance(said.exception, UserError) and name in str(said.exception) and "\n" not in str(said.exception)
