"""Experiments and studies as data."""

import pytest
import torch

from koalib.errors import UserError
from koalib.model.weights import create
from koalib.study.experiment import Experiment
from koalib.study.experiments import STUDIES, find_study

BASE = Experiment("phantom", "convwgcnet_atto")


def test_round_trip_and_unknown_settings() -> None:
    assert Experiment.from_dict(BASE.as_dict()) == BASE
    with pytest.raises(UserError, match="learning_rate"):
        Experiment.from_dict(BASE.as_dict() | {"learning_rate": 1})


@pytest.mark.parametrize("wrong", [{"loss": "mse"}, {"fold": 5}, {"epochs": 0}, {"precision": "int8"}, {"training_set": "all"}, {"size": 31},
                                   {"patience": 0}, {"soft_width": 0}, {"ema": 1}, {"label_smoothing": 1}, {"drop_path": -0.1}, {"warmup": -1}, {"teacher": "a", "loss": "corn"}, {"teacher": "a", "loss": "weighted"}, {"teacher_share": 1}])
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError):
        BASE.but(**wrong)


@pytest.mark.parametrize("model", ["deit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_networks_with_a_table_of_positions_are_told_the_films_size(model: str) -> None:
    e = BASE.but(model=model, size=128)
    assert create(model, **e.model_options)(torch.zeros(1, 1, 128, 128)).shape == (1, 5)
    assert e.run_name == f"phantom-{model}-plain-official-seed0-{e.run_name[-8:]}" and "img_size" not in BASE.model_options


def test_every_setting_is_in_the_name() -> None:
    names = {BASE.run_name, BASE.but(lr=1e-3).run_name, BASE.but(seed=1).run_name, BASE.but(fold=0).run_name, BASE.but(ema=0.0).run_name}
    assert len(names) == 5 and BASE.run_name.startswith("phantom-convwgcnet_atto-plain-official-seed0-")


def test_studies_name_each_run_once_and_count_right() -> None:
    for study in STUDIES.values():
        def best(name: str) -> dict:  # the search is over: every rate as good as the next
            return {"scores": {"val": {"qwk": {"value": 0.5}}}}
        names = [e.run_name for _, e in study.runs(best)]
        assert len(names) == len(set(names)) == study.planned, study.name
    with pytest.raises(UserError, match="choose one of"):
        find_study("nothing")


def test_all_arms_of_a_seed_come_before_the_next_seed() -> None:
    named = [e for _, e in STUDIES["ablation"].runs(lambda name: None) if e.model == "tf_efficientnet_lite0"]
    assert [(e.seed, e.variant) for e in named[:5]] == [(0, "neither"), (0, "gct"), (0, "wavelet"), (0, "both"), (1, "neither")] and len(named) == 20


def test_the_search_comes_first_and_its_best_rate_serves() -> None:
    arm = STUDIES["transfer"].arms[0]
    assert [e.lr for e in arm.runs(lambda name: None)] == list(arm.rates)
    winner = arm.search()[1].run_name
    runs = arm.runs(lambda name: {"scores": {"val": {"qwk": {"value": float(name == winner)}}}})
    assert {e.lr for e in runs if e.fold != 0} == {arm.rates[1]} and len(runs) == arm.planned


def test_only_the_protocol_study_is_leaky() -> None:
    for name, study in STUDIES.items():
        assert any(arm.experiment.leaky for arm in study.arms) == (name == "protocol")
