"""Loading, splitting, caching, verifying: on made-up sets in the public layouts."""

import multiprocessing
import os
import zipfile

import numpy as np
import pandas as pd
import pytest

from koalib.data import own, registry
from koalib.data.cache import cached_array
from koalib.data.datasets import assert_disjoint, grouped_folds, load
from koalib.data.images import decode, film_hash
from koalib.data.verify import verify
from koalib.errors import UserError
from koalib.paths import cache_dir
from tests.data.films import CHEN_PATHS as PATHS
from tests.data.films import save

REAL = os.environ.get("KOALIB_DATA")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KOALIB_DATA", raising=False)


def test_a_folder_and_a_zip_give_the_same_pixels(small_chen, films):
    from_folder = load("chen2018", data=small_chen)
    with zipfile.ZipFile(small_chen / "chen2018.zip", "w") as archive:
        for path in PATHS:
            archive.write(small_chen / "chen2018" / path, f"56rmx5bjcr-1/KneeXrayData/ClsKLData/kneeKL224/{path}")
    from_zip = load("chen2018", data=small_chen / "chen2018.zip")
    assert from_zip.fingerprint == from_folder.fingerprint
    assert np.array_equal(from_folder.pixels(224), films)
    assert np.array_equal(from_zip.pixels(224), films)


def test_select_is_aligned_and_read_only(small_chen, films):
    dataset = load("chen2018", data=small_chen)
    test = dataset.select("test")
    assert list(test.table["image_id"]) == ["9000004R", "9000005L"]
    assert np.array_equal(test.pixels(224), films[4:])
    odd = test.select(test.table["grade"] == 0)
    assert np.array_equal(odd.pixels(224), films[5:6])
    with pytest.raises(ValueError, match="read-only"):
        test.pixels(224)[0] = 0
    with pytest.raises(UserError, match="train"):
        dataset.select("valid")


def test_an_inverted_film_is_turned_by_the_manifest(small_chen, films, tmp_path):
    file = save(255 - films[0], small_chen / "chen2018" / PATHS[0])
    manifest = registry.read_manifest("chen2018")
    manifest.loc[0, ["inverted", "sha256"]] = True, film_hash(decode(file.read_bytes(), PATHS[0]))
    manifest.to_csv(tmp_path / "manifests" / "chen2018.csv", index=False)
    assert np.abs(load("chen2018", data=small_chen).pixels(224)[0].astype(int) - films[0]).max() <= 1


def test_a_changed_film_is_named_and_not_kept(small_chen, films):
    film = small_chen / "chen2018" / PATHS[2]
    save(films[2] // 2, film)
    with pytest.raises(UserError, match=f"{PATHS[2]} has other pixels.*koalib data verify chen2018"):
        load("chen2018", data=small_chen).pixels(64)
    save(films[2], film)
    assert np.array_equal(load("chen2018", data=small_chen).pixels(224), films)


def test_a_film_of_ones_own_that_changes_after_it_was_measured_is_named(films, tmp_path):
    for grade in (0, 1):
        save(films[grade], tmp_path / f"own/{grade}/film{grade}.png")
    measured = load(str(tmp_path / "own"))
    save(films[2], tmp_path / "own/1/film1.png")
    with pytest.raises(UserError, match="1/film1.png has other pixels.*load the set again"):
        measured.pixels(224)
    assert np.array_equal(load(str(tmp_path / "own")).pixels(224)[1], films[2])


def test_ones_own_films_are_measured_anew_when_films_are_prepared_differently(films, tmp_path, monkeypatch):
    for grade in (0, 1):
        save(films[grade], tmp_path / f"own/{grade}/film{grade}.png")
    measured = []
    monkeypatch.setattr(own, "describe_films", lambda *given, measure=own.describe_films: measured.append(given) or measure(*given))
    for preparation in (own.PREPARATION, own.PREPARATION, f"{own.PREPARATION}, changed"):
        monkeypatch.setattr(own, "PREPARATION", preparation)
        load(str(tmp_path / "own"))
    assert len(measured) == 2


def test_verify_says_ok_and_passes_over_what_is_published_beside(small_chen, films):
    home = small_chen / "chen2018"
    save(films[4], home / "auto_test/3/9000004_1.png")
    save(films[4], home / "kneeKL299/test/3/9000004R.png")
    (home / "readme.txt").write_text("hello")
    found = verify("chen2018", small_chen)
    assert found["ok"] and found["images"] == 6
    assert found["counts"]["test"] == {0: 1, 1: 0, 2: 0, 3: 1, 4: 0}
    assert "9000004_1" not in set(load("chen2018", data=small_chen).table["image_id"])


def test_verify_finds_every_difference(small_chen, films):
    home = small_chen / "chen2018"
    (home / PATHS[0]).unlink()
    save(films[1] // 2, home / PATHS[1])
    (home / PATHS[2]).write_text("not a film")
    save(films[3], home / "test/2/9000003L.png")
    found = verify("chen2018", small_chen)
    assert not found["ok"]
    assert found["missing"] == ["9000001L"]
    assert found["changed"] == ["9000001R", "9000002L"]
    assert found["unknown"] == ["test/2/9000003L.png"]
    assert found["patients_in_several_splits"] == ["9000003"]


def test_a_reencoded_copy_still_verifies(small_chen, films):
    from PIL import Image

    Image.fromarray(films[0]).convert("RGB").save(small_chen / "chen2018" / PATHS[0], compress_level=1)
    assert verify("chen2018", small_chen)["ok"]


def test_missing_sets_come_with_numbered_steps(tmp_path):
    for data in (None, tmp_path):
        with pytest.raises(registry.DatasetMissing, match=r"(?s)1\. open https://doi.org.*4\. check it"):
            load("gornale2020", data=data)
    (tmp_path / "chen2018.zip").write_bytes(b"PK not a zip")
    with pytest.raises(UserError, match="chen2018.zip"):
        load("chen2018", data=tmp_path)


def test_an_incomplete_copy_is_refused(small_chen):
    (small_chen / "chen2018" / PATHS[3]).unlink()
    with pytest.raises(UserError, match="lacks 1 films.*verify"):
        load("chen2018", data=small_chen)


def test_committed_manifests_agree_with_the_registry():
    for name, facts in registry.DATASETS.items():
        table = registry.read_manifest(name)
        counts = table.groupby(["split", "grade"]).size().to_dict()
        assert counts == {(split, grade): n for split, grades in facts.counts.items() for grade, n in grades.items()}
        assert table["image_id"].is_unique and table["sha256"].str.fullmatch("[0-9a-f]{64}").all()
        assert all(facts.key("some/where/" + path) == path for path in table["path"])
        assert_disjoint(table)


def test_what_is_known_of_gornale2020():
    table = registry.read_manifest("gornale2020")
    assert table["sha256"].nunique() == 1579
    assert (table["two_knees"].sum(), table["bit16"].sum()) == (186, 80)
    assert table[table["conflicting_grade"]]["group"].nunique() == 10
    assert (table["grade"] != table["second_grade"]).sum() == 11


def test_own_folder_of_a_grade_that_does_not_exist_is_named(films, tmp_path):
    save(films[0], tmp_path / "train" / "4" / "a.png")
    save(films[1], tmp_path / "train" / "KL5" / "b.png")
    with pytest.raises(UserError, match="b.png lies in a folder of grade KL5; grades are 0, 1, 2, 3, 4"):
        load(str(tmp_path))


def test_own_folder_by_grade_by_split_and_as_csv(films, tmp_path):
    for path, film in zip(PATHS, films):
        save(film, tmp_path / "split" / path)
        save(film, tmp_path / "flat" / path.split("/", 1)[1])
    by_split, flat = load(str(tmp_path / "split")), load(str(tmp_path / "flat"))
    assert set(by_split.table["split"]) == {"train", "val", "test"}
    assert sorted(flat.table["grade"]) == [0, 0, 1, 2, 3, 4]
    assert by_split.table.set_index("image_id").loc["9000004R", ["patient", "side"]].tolist() == ["9000004", "R"]
    rows = pd.DataFrame({"path": [f"split/{path}" for path in PATHS], "grade": range(-1, 5)})
    with pytest.raises(UserError, match="row 2 has grade '-1'"):
        load(str(_csv(rows, tmp_path)))
    assert len(load(str(_csv(rows.assign(grade=[0, 1, 2, 3, 4, 4]), tmp_path)))) == 6
    with pytest.raises(UserError, match="no such film"):
        load(str(_csv(pd.DataFrame({"path": ["gone.png"], "grade": [0]}), tmp_path)))


def _csv(rows, folder):
    rows.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def test_own_films_that_repeat_share_a_group_and_stems_become_unique(films, tmp_path):
    save(films[0], tmp_path / "0/a.png")
    save(films[0], tmp_path / "1/a.png")
    save(films[1], tmp_path / "1/b.png")
    table = load(str(tmp_path)).table
    assert list(table["image_id"]) == ["0_a", "1_a", "b"]
    assert table["group"].iloc[0] == table["group"].iloc[1] != table["group"].iloc[2]


def test_a_patient_in_two_splits_is_refused(films, tmp_path):
    save(films[0], tmp_path / "train/0/9000001L.png")
    save(films[1], tmp_path / "test/0/9000001R.png")
    with pytest.raises(UserError, match="9000001"):
        load(str(tmp_path))


@pytest.mark.parametrize("patients", [("p1", "p2"), ("p1", ""), ("", "p1"), ("", "")])
def test_copies_in_two_splits_are_refused_whatever_the_patients_are_called(films, tmp_path, patients):
    for name in ("a", "b"):
        save(films[0], tmp_path / f"{name}.png")
    rows = pd.DataFrame({"path": ["a.png", "b.png"], "grade": 0, "patient": patients, "split": ["train", "test"]})
    with pytest.raises(UserError, match="1 groups lie in several splits"):
        load(str(_csv(rows, tmp_path)))


def test_a_group_is_a_chain_of_patients_and_copies():
    manifest = pd.DataFrame({"image_id": list("abcdef"), "patient": ["", "p1", "p1", "p2", "", ""], "sha256": ["1", "1", "2", "2", "3", "4"]})
    assert list(own.groups(manifest)) == ["p1", "p1", "p1", "p1", "e", "f"]


@pytest.mark.parametrize("what", ["empty", "nowhere", "text"])
def test_bad_paths(tmp_path, what):
    place = {"empty": tmp_path, "nowhere": tmp_path / "x", "text": tmp_path / "notes.txt"}[what]
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError) as caught:
        load(str(place))
    assert "\n" not in str(caught.value)


def test_two_knee_films_are_cut_or_dropped(films, tmp_path):
    save(np.hstack([films[0][:80], films[1][:80], films[2][:80][:, :100]]), tmp_path / "2/wide.png")
    save(films[3], tmp_path / "0/one.png")
    cut = load(str(tmp_path)).table
    assert list(cut["image_id"]) == ["one", "wide_R", "wide_L"]
    assert list(cut["side"]) == ["", "R", "L"] and cut["group"].nunique() == 2
    assert list(load(str(tmp_path), two_knees="drop").table["image_id"]) == ["one"]
    with pytest.raises(UserError, match="cut or drop"):
        load(str(tmp_path), two_knees="whole")


def test_grouped_folds_keep_groups_whole_and_grades_alike():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"group": np.repeat(np.arange(300), 2).astype(str), "grade": rng.integers(0, 5, 600), "split": "all"})
    folds = grouped_folds(table, 5)
    assert set(folds) == set(range(5))
    assert table.assign(fold=folds).groupby("group")["fold"].nunique().max() == 1
    shares = pd.crosstab(folds, table["grade"], normalize="index")
    assert np.ptp(shares, axis=0).max() < 0.08
    assert np.array_equal(folds, grouped_folds(table, 5))
    with pytest.raises(UserError, match="groups cannot be dealt"):
        grouped_folds(table[table["group"] == "0"], 5)


def test_assert_disjoint():
    table = pd.DataFrame({"group": ["a", "a", "b"], "split": ["train", "train", "test"]})
    assert_disjoint(table)
    with pytest.raises(UserError, match="a"):
        assert_disjoint(table.assign(split=["train", "test", "test"]))


def _fill_slowly(out):
    import time

    time.sleep(0.5)
    out[:] = os.getpid() % 250


def _cached(_):
    return int(cached_array("shared", (3, 2, 2), _fill_slowly)[0, 0, 0])


def _die(out):
    out[:] = 1
    os._exit(9)


def test_two_processes_make_a_cache_once():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert len(set(pool.map(_cached, range(2)))) == 1


def test_the_disk_is_asked_for_the_room_before_an_array_is_mapped():
    def fill(out):
        (file,) = (cache_dir() / "pixels").glob("room.unfinished")
        assert file.stat().st_blocks * 512 >= 2**21 and not out.any()
        out.fill(7)

    assert (cached_array("room", (2, 2**10, 2**10), fill) == 7).all()


def test_a_killed_process_leaves_nothing_broken():
    killed = multiprocessing.get_context("spawn").Process(target=cached_array, args=("killed", (3, 2, 2), _die))
    killed.start()
    killed.join()
    assert killed.exitcode == 9
    assert (cached_array("killed", (3, 2, 2), lambda out: out.fill(7)) == 7).all()


@pytest.mark.real
@pytest.mark.parametrize("name", list(registry.DATASETS))
def test_the_real_sets_verify(name):
    assert verify(name, REAL)["ok"]
