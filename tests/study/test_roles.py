"""Who trains, selects, tests."""

import numpy as np
import pandas as pd
import pytest

from koalib.errors import UserError
from koalib.study.experiment import Experiment
from koalib.study.roles import assign_roles

BASE = Experiment("made_up", "m", fold=1)


def films(groups: int = 60, each: int = 2, split: str = "") -> pd.DataFrame:
    """``groups`` groups of ``each`` films; the grade goes with the group."""
    group = np.repeat(np.arange(groups), each)
    return pd.DataFrame({"image_id": [f"i{i}" for i in range(len(group))], "group": [f"g{g}" for g in group], "patient": "", "grade": group % 5, "split": split})


def test_fold_k_tests_and_the_next_one_selects() -> None:
    table = films()
    roles = [assign_roles(BASE.but(fold=k), table) for k in range(5)]
    assert all(((roles[k] == "val") == (roles[(k + 1) % 5] == "oof")).all() for k in range(5))
    assert sum((r == "oof").astype(int) for r in roles).eq(1).all()


def test_no_group_has_two_roles() -> None:
    table = films()
    assert assign_roles(BASE, table).groupby(table.group).nunique().max() == 1


def test_official_test_films_stay_out_of_the_folds() -> None:
    table = pd.concat([films(60, split="train"), films(20, split="test").assign(group=lambda t: "t" + t.group, image_id=lambda t: "t" + t.image_id)], ignore_index=True)
    roles = assign_roles(BASE, table)
    assert (roles[table.split == "test"] == "test").all() and not (roles[table.split == "train"] == "test").any()


def test_official_validation_films_stay_out_of_the_folds_of_teachers() -> None:
    parts = [films(60, split="train"), *(films(20, split=split).assign(group=lambda t, s=split: s + t.group, image_id=lambda t, s=split: s + t.image_id) for split in ("val", "test"))]
    table = pd.concat(parts, ignore_index=True)
    roles = [assign_roles(BASE.but(fold=k, training_set="train_split"), table) for k in range(5)]
    assert all((r[table.split == "val"] == "unused").all() and (r[table.split == "test"] == "test").all() for r in roles)
    assert (sum((r == "oof").astype(int) for r in roles) == (table.split == "train")).all()


def test_twins_arms_differ_only_in_the_twins() -> None:
    table = films(each=3)
    clean, twins = (assign_roles(BASE.but(training_set=kind), table) for kind in ("no_twins", "twins"))
    assert (clean == "oof").equals(twins == "oof") and (clean == "val").equals(twins == "val")
    assert table.grade[clean == "train"].value_counts().equals(table.grade[twins == "train"].value_counts())
    tested = set(table.group[clean == "oof"])
    assert not tested & set(table.group[clean == "train"])
    assert tested & set(table.group[twins == "train"]) == tested


def test_random_folds_are_blind_to_groups() -> None:
    table = films()
    roles = assign_roles(BASE.but(training_set="random"), table)
    assert roles.groupby(table.group).nunique().max() > 1


@pytest.mark.parametrize(("table", "fold", "line"), [
    (films(split="train"), None, "no validation films"),
    (films(), None, "no split of its own"),
    (films(split="val"), None, "no film of its split is for training"),
    (films(split="train").assign(split=lambda t: np.where(t.group == "g3", "val", t.split)), None, "all validation films are of grade 3"),
    (films(groups=3), 0, "too few for 5 folds"),
    (films(groups=1), 0, "1 patients or groups"),
    (films()[lambda t: t.grade != 3], 0, "no training film of grade 3"),
])
def test_unusable_tables_are_one_clear_line(table: pd.DataFrame, fold: int | None, line: str) -> None:
    with pytest.raises(UserError, match=line):
        assign_roles(BASE.but(fold=fold), table)
