"""Downloads from a server on loopback that drops the connection half-way."""

import zipfile

import pytest

from koalib.data import fetch as fetching
from koalib.data.fetch import fetch
from koalib.data.registry import DatasetMissing
from koalib.errors import UserError
from tests.data.films import CHEN_PATHS


@pytest.fixture
def archive(tmp_path):
    """A zip in the layout of chen2018 with one file, not a complete set."""
    path = tmp_path / "small.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/0/9001695L.png", bytes(range(256)) * 4000)
    return path.read_bytes()


def test_a_dropped_download_goes_on_where_it_broke_off(server, archive, tmp_path):
    server.content, server.drops = archive, 2
    found = fetch("chen2018", tmp_path / "data", mirror=server.address)
    assert (tmp_path / "data" / "chen2018.zip").read_bytes() == archive
    assert len(server.asked) == 3 and server.asked[0] == 0 and 0 < server.asked[1] < server.asked[2]
    assert not found["ok"] and found["changed"] == ["9001695L"]  # it came whole, but it is no film of the set
    assert not list((tmp_path / "data").glob(".*.part"))


def test_an_incomplete_copy_is_replaced_and_a_whole_one_kept(server, small_chen, tmp_path, capfd):
    contents = []
    for paths in (CHEN_PATHS[:3], CHEN_PATHS):
        with zipfile.ZipFile(tmp_path / "copy.zip", "w") as copy:
            for path in paths:
                copy.write(small_chen / "chen2018" / path, path)
        contents.append((tmp_path / "copy.zip").read_bytes())
    server.content = contents[0]
    assert len(fetch("chen2018", tmp_path / "new", mirror=server.address)["missing"]) == 3
    server.content = contents[1]
    assert fetch("chen2018", tmp_path / "new", mirror=server.address)["ok"] and len(server.asked) == 2
    assert fetch("chen2018", tmp_path / "new", mirror=server.address)["ok"] and len(server.asked) == 2
    assert [file.name for file in (tmp_path / "new").glob("*.zip*")] == ["chen2018.zip"]
    assert "known_hash" not in capfd.readouterr().err


def test_a_copy_that_is_not_whole_outlives_a_dead_address(server, archive, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    (tmp_path / "chen2018.zip").write_bytes(archive)
    server.shutdown()
    server.server_close()
    with pytest.raises(DatasetMissing, match="could not be downloaded"):
        fetch("chen2018", tmp_path, mirror=server.address)
    assert (tmp_path / "chen2018.zip").read_bytes() == archive


def test_a_wrong_checksum_is_refused(server, archive, tmp_path):
    server.content = archive
    with pytest.raises(DatasetMissing, match="(?s)hash.*1\\. open"):
        fetch("chen2018", tmp_path, mirror=server.address, known_hash="sha256:" + "0" * 64)
    assert not (tmp_path / "chen2018.zip").exists()


def test_something_else_is_not_kept(server, tmp_path):
    server.content = b"<html>sign in first</html>"
    with pytest.raises(DatasetMissing, match="(?s)not the data set.*1\\. open"):
        fetch("chen2018", tmp_path, mirror=f"{server.address}/some.zip")
    assert not (tmp_path / "chen2018.zip").exists()


def test_a_dead_address_gives_the_steps(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    server.shutdown()
    server.server_close()
    with pytest.raises(DatasetMissing, match="(?s)could not be downloaded.*4\\. check it"):
        fetch("gornale2020", tmp_path, mirror=server.address)


def test_a_mirror_is_an_address(tmp_path):
    with pytest.raises(UserError, match="http"):
        fetch("gornale2020", tmp_path, mirror="/some/where")
