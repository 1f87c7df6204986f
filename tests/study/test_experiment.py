"""Experiments and studies as data."""

import pytest

from koalib.errors import UserError
from koalib.study.experiment import Experiment
from koalib.study.experiments import STUDIES, find_study

BASE = Experiment("phantom", "convwgcnet_atto")


def test_round_trip_and_unknown_settings() -> None:
    assert Experiment.from_dict(BASE.as_dict()) == BASE
    with pytest.raises(UserError, match="learning_rate"):
        Experiment.from_dict(BASE.as_dict() | {"learning_rate": 1})


@pytest.mark.parametrize("wrong", [{"loss": "mse"}, {"fold": 5}, {"epochs": 0}, {"precision": "int8"}, {"training_set": "all"}, {"size": 31}])
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError):
        BASE.but(**wrong)


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


def test_the_search_comes_first_and_its_best_rate_serves() -> None:
    arm = STUDIES["transfer"].arms[0]
    assert [e.lr for e in arm.runs(lambda name: None)] == list(arm.rates)
    winner = arm.search()[1].run_name
    runs = arm.runs(lambda name: {"scores": {"val": {"qwk": {"value": float(name == winner)}}}})
    assert {e.lr for e in runs if e.fold != 0} == {arm.rates[1]} and len(runs) == arm.planned


def test_only_the_protocol_study_is_leaky() -> None:
    for name, study in STUDIES.items():
        assert any(arm.experiment.leaky for arm in study.arms) == (name == "protocol")
