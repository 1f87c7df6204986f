"""A folder with planted twins, mirrors, inversions and a shared patient: every plant is found, and nothing else."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.polarity import inverted_by_eye
from koalib.data.audit import audit, twin_share
from koalib.data.audit_page import write_audit
from koalib.data.duplicates import Pairs, groups_of
from koalib.paths import ROOT
from koalib.study.ledger import read_measurement
from tests.data.films import knees, save


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder, films = tmp_path_factory.mktemp("planted"), knees(40, seed=4)
    for number, film in enumerate(films):
        save(film, folder / f"{'train' if number < 30 else 'test'}/{number % 5}/film{number}.png")
    save(films[0], folder / "train/0/copy0.png")
    save(films[1], folder / "train/3/copy1.png")  # under another grade: film1 is of grade 1
    noisy = films[2] * 0.8 + 10 + np.random.default_rng(0).normal(0, 2, films[2].shape)
    save(np.uint8(np.clip(noisy, 0, 255)), folder / "test/2/noisy2.png")
    Image.fromarray(films[3]).resize((300, 300)).save(folder / "train/3/larger3.png")
    save(films[4][:, ::-1].copy(), folder / "train/4/mirror4.png")
    save(255 - films[41 - 36], folder / "train/0/film5.png")  # film5 itself, inverted in place
    save(films[6][:, ::-1].copy(), folder / "test/1/9000001L.png")
    save(knees(1, seed=99)[0], folder / "train/1/9000001R.png")
    return folder


def test_every_plant_and_no_other(planted):
    found = audit(str(planted)).report
    assert found["images"] == 47
    assert found["exact_duplicates"] == [["copy0", "film0"], ["film1", "copy1"]]
    assert sorted(map(sorted, found["near_duplicates"])) == [["film2", "noisy2"], ["film3", "larger3"]]
    assert sorted(map(sorted, found["mirrored_twins"])) == [["9000001L", "film6"], ["film4", "mirror4"]]
    assert found["label_conflicts"] == [["film1", "copy1"]]
    assert found["inverted"] == ["film5"]
    assert found["patients_in_several_splits"] == ["9000001"]
    assert found["shortcuts"] == []
    assert 0.1 < found["twin_share_random_split"] < 0.35


def test_a_property_that_goes_with_the_grade_is_a_shortcut(tmp_path):
    for number, film in enumerate(knees(60, seed=7)):
        grade = number % 5
        save(film if grade != 4 else film[:200], tmp_path / f"{grade}/film{number}.png")
    shortcuts = audit(str(tmp_path)).report["shortcuts"]
    assert {(found["property"], found["value"]) for found in shortcuts} == {("size", "224x224"), ("size", "224x200")}
    assert next(found for found in shortcuts if found["value"] == "224x200")["never_with_grades"] == [0, 1, 2, 3]


def test_page_table_and_json(planted, tmp_path):
    found = audit(str(planted))
    page = write_audit(found, tmp_path / "out").read_text()
    assert page.count("data:image/png") == page.count("<img") > 10
    assert json.loads((tmp_path / "out" / "audit.json").read_text()) == json.loads(json.dumps(found.report))
    assert len((tmp_path / "out" / "films.csv").read_text().splitlines()) == 48


def test_twin_share_of_a_set_of_pairs():
    rows = np.arange(0, 1000, 2)
    ones = np.ones(500)
    mean, spread = twin_share(Pairs(rows, rows + 1, ones, ones), 1000)
    assert mean == pytest.approx(0.8, abs=0.01) and 0 < spread < 0.05  # a film's only twin is in training 4 times of 5


def test_groups_are_chains_of_pairs():
    groups = groups_of(Pairs(np.array([0, 1]), np.array([1, 2]), np.ones(2), np.ones(2)), 4)
    assert groups[0] == groups[1] == groups[2] != groups[3]


def test_the_data_card_quotes_the_recorded_audit():
    card, found = (ROOT / "data" / "README.md").read_text(), read_measurement("data_audit")["gornale2020"]
    twins, share = found["films_with_a_twin"], found["twin_share_random_split"]["mean"]
    assert f"{twins} of the {found['films']:,} films ({twins / found['films']:.1%}".replace("%", " %") in card
    assert f"{share:.1%} of a random".replace("%", " %") in card


@pytest.mark.real
def test_what_is_known_of_gornale2020():
    """The figures of the first audit by hand, within the spread that the choice of resampling makes."""
    found = audit("gornale2020")
    twins = found.films.groupby("twin_group")["image_id"].transform("size") > 1
    assert twins.sum() == pytest.approx(505, rel=0.03)
    assert found.films["twin_group"].nunique() == pytest.approx(1319, rel=0.03)
    assert found.report["twin_share_random_split"] == pytest.approx(0.273, abs=0.021)
    assert len(found.report["label_conflicts"]) in (9, 10, 11)
    never = {short["property"] for short in found.report["shortcuts"] if 4 in short["never_with_grades"]}
    assert {"two_knees", "bit16"} <= never


@pytest.mark.real
def test_what_is_known_of_chen2018():
    """No copies, no patient in two splits; the inverted films of the validation split are those that the eye sees."""
    found = audit("chen2018")
    for kind in ("exact_duplicates", "near_duplicates", "mirrored_twins", "label_conflicts", "patients_in_several_splits", "unreadable"):
        assert found.report[kind] == []
    assert found.report["images"] == 8260 and found.report["twin_share_random_split"] == 0
    inverted = found.films[found.films["inverted"]]
    assert set(inverted.loc[inverted["split"] == "val", "image_id"]) == inverted_by_eye()
    assert inverted.groupby("split").size().to_dict() == {"train": 70, "val": 14, "test": 26}
    assert found.films["low_contrast"].sum() == 115
