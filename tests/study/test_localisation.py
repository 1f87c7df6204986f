"""Localisation scores worked by hand, and models whose eyes are where we put them."""

import numpy as np
import pytest

from koalib.study.controls import joint_region
from koalib.study.ledger import record_measurement
from koalib.study.localisation import covered_table, energy_share, localisation, mean_by_group, occlusion_drop, pointing_game

MASKS = {name: np.zeros((4, 8, 8), bool) for name in ("joint_space", "osteophytes", "sclerosis", "femur")}
MASKS["joint_space"][:, 3:5] = True
MASKS["osteophytes"][2:, 3:5, :1] = True
MASKS["sclerosis"][2:, 2] = True
MASKS["femur"][:, :2] = True


def test_energy_and_pointing_by_hand():
    maps = np.zeros((4, 8, 8))
    maps[0, 3, 3] = 1.0  # inside
    maps[1, 3, 3], maps[1, 7, 7] = 0.25, 0.75  # hottest outside
    maps[2, 3, :4] = 1.0
    joint = MASKS["joint_space"]
    assert pointing_game(maps, joint).tolist() == [1, 0, 1, 0]  # the last map is empty: a miss
    assert energy_share(maps, joint).tolist() == [1, 0.25, 1, 0]


def test_films_without_the_region_are_left_out():
    values = energy_share(np.ones((4, 8, 8)), MASKS["osteophytes"])
    assert np.isnan(values[:2]).all() and values[2:].tolist() == [2 / 64, 2 / 64]
    assert mean_by_group(values, np.arange(4), 10)["films"] == 2


def test_mean_by_group_is_wider_when_films_share_a_patient():
    values = np.repeat(np.random.default_rng(0).random(40), 2)
    alone = mean_by_group(values, np.arange(80), 2_000)
    paired = mean_by_group(values, np.repeat(np.arange(40), 2), 2_000)
    assert alone["value"] == paired["value"] == pytest.approx(values.mean())
    assert (paired["high"] - paired["low"]) > 1.25 * (alone["high"] - alone["low"])


def test_a_flat_map_scores_chance_and_a_perfect_one_scores_one():
    flat = localisation(np.ones((4, 8, 8)), MASKS, np.arange(4), 50).set_index(["region", "score"])
    assert flat.loc[("lesion", "energy share"), "value"] == pytest.approx(flat.loc[("lesion", "energy share"), "chance"])
    perfect = localisation(MASKS["joint_space"].astype(float), MASKS, np.arange(4), 50).set_index(["region", "score"])
    assert perfect.loc[("lesion", "pointing game"), "value"] == perfect.loc[("joint_space", "energy share"), "value"] == 1
    assert perfect.loc[("osteophytes", "energy share"), "films"] == 2


def test_covering_the_joint_hurts_a_model_that_reads_the_joint():
    rng = np.random.default_rng(0)
    grade = np.arange(40) % 5
    films = rng.integers(90, 110, (40, 32, 32)).astype(np.uint8)
    films[:, joint_region(32)] += (grade * 20).astype(np.uint8)[:, None]

    def reads_the_joint(shown: np.ndarray) -> np.ndarray:
        level = shown[:, joint_region(32)].mean(axis=1) - 100
        return np.eye(5)[np.clip(np.round(level / 20), 0, 4).astype(int)]

    table = occlusion_drop(reads_the_joint, films, grade, np.arange(40) // 2, 500).set_index(["covered", "score"])
    assert table.loc[("border", "accuracy"), "value"] == 0
    assert table.loc[("joint - border", "accuracy"), "low"] > 0.3
    assert table.loc[("joint", "accuracy"), "value"] == table.loc[("joint - border", "accuracy"), "value"]
    assert table.loc[("joint", "qwk"), "low"] > 0.5 and table.loc[("border", "qwk"), ["value", "low", "high"]].tolist() == [0, 0, 0]
    # the paint is the film's mean, brighter by a quarter of what the joint was: grades 0 to 4 are now read as 0, 0, 0, 1, 1
    assert table.loc[("joint", "expected grade moved"), "value"] == pytest.approx(1.6) and table.loc[("border", "expected grade moved"), "value"] == 0
    assert table.loc[("joint", "negative log-likelihood"), "value"] == pytest.approx(0.8 * -np.log(1e-12))


def test_the_recorded_occlusion_has_a_row_a_score(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path))
    assert covered_table().empty
    rows = [{"covered": name, "score": score, "value": 0.5, "low": 0.4, "high": 0.6} for name in ("border", "joint", "joint - border") for score in ("accuracy", "qwk")]
    record_measurement("occlusion", {"rows": rows})
    assert covered_table().shape == (2, 3) and covered_table().loc["qwk", "joint"] == "0.500 (0.400 to 0.600)"
