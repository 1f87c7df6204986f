"""The headline's rules are fitted out of fold, its members averaged, and its test stays closed until it is opened."""

import numpy as np
import pytest
from fake_ledger import fill

from koalib.errors import UserError
from koalib.study import headline, ledger, shipped
from koalib.study.calibration import temper
from koalib.study.tables import ensemble_markdown
from koalib.study.teachers import taught


@pytest.fixture
def folds(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path))
    monkeypatch.setattr(shipped, "GRADER", tmp_path / "none.safetensors")
    fill("headline", {"folds": 0.8})
    return tmp_path


def open_test(folder, runs):
    ledger.write_json(folder / "headline" / "unsealed.json", {"unsealed_at": "2026-01-01T00:00:00+00:00", "runs": runs})


def test_every_film_is_scored_by_rules_it_did_not_fit(folds):
    found = headline.out_of_fold()
    assert found.p.shape == (300, 5) and [int((found.fold == k).sum()) for k in range(5)] == [60] * 5
    rule = headline.fit_rule(found)
    assert len(rule.thresholds) == 4 and 0 < rule.conformal <= 1
    honest = headline.scored_out_of_fold(found)
    assert honest["accuracy"]["value"] == pytest.approx(0.8, abs=0.06)
    rng = np.random.default_rng(0)
    noise = headline.OutOfFold(rng.integers(0, 5, 300), found.group, found.fold, rng.dirichlet(np.ones(5), 300))
    fitted = headline.decide(temper(noise.p, headline.fit_rule(noise).temperature), headline.fit_rule(noise).thresholds)
    optimistic = headline.summary(noise.grade, noise.p, noise.group, tuned=fitted)["qwk_tuned"]["value"]
    assert headline.scored_out_of_fold(noise)["qwk_tuned"]["value"] < optimistic, "thresholds were fitted on the films they are scored on"


def test_the_test_is_scored_when_it_is_open(folds):
    rule = headline.fit_rule(headline.out_of_fold())
    with pytest.raises(UserError, match="sealed"):
        headline.ensemble(rule)
    assert len(headline.rows()) == 3 and "official test" not in ensemble_markdown()
    open_test(folds, headline.members())
    films, p = headline.ensemble(rule)
    each = [temper(ledger.probabilities(ledger.read_predictions("headline", run, "test")), rule.temperature) for run in headline.members()]
    assert len(films) == 60 and np.allclose(p, np.mean(each, axis=0)) and np.allclose(p.sum(axis=1), 1)
    label, count, scores = headline.rows()[-1]
    assert label == "the first grader's recipe, official test, five models averaged" and count == 60 and headline.reached("accuracy", scores["accuracy"]["value"]) in ensemble_markdown()
    assert all(f"| {'all' if k == 'all' else f'KL {k}'} | {row['n']} | {row['coverage']:.3f} (" in ensemble_markdown() for k, row in headline.coverage().items())
    assert "Accuracy (tuned thresholds)" in ensemble_markdown()


def test_two_seeds_of_teachers_are_averaged_film_by_film(folds):
    found = headline.out_of_fold(headline.TEACHERS)
    assert found.p.shape == (300, 5) and np.allclose(found.p.sum(axis=1), 1)
    runs = headline.arm_runs("headline")[headline.TEACHERS]
    pair = [ledger.read_predictions("headline", runs[3, seed], "oof").sort_values("image_id") for seed in (0, 1)]
    assert (pair[0].grade.to_numpy() == found.grade[found.fold == 3]).all()
    assert np.allclose(found.p[found.fold == 3], np.mean([ledger.probabilities(table) for table in pair], axis=0))


def test_what_teachers_say_is_the_mean_of_those_that_were_asked(folds):
    runs = [headline.arm_runs("headline")[headline.TEACHERS][2, seed] for seed in (0, 1)]
    said = taught("headline", runs)
    tables = [ledger.read_predictions("headline", run, "oof").set_index("image_id") for run in runs]
    assert said.runs == tuple(runs) and set(said.films.index) == set(tables[0].index)
    film = said.films.index[7]
    assert np.allclose(said.films.loc[film], np.mean([table.loc[film, ledger.PROBABILITIES].to_numpy(float) for table in tables], axis=0), atol=1e-5)
    assert taught("headline", []) is None


def test_a_missing_fold_is_said(folds):
    run = headline.members()[2]
    (folds / "headline" / run / ledger.PREDICTIONS_FILE).unlink()
    (folds / "headline" / run / ledger.RUN_FILE).unlink()
    assert headline.rows() == [] and "4 of 5 runs" in ensemble_markdown()
    with pytest.raises(UserError, match="not all recorded"):
        headline.out_of_fold()


@pytest.mark.parametrize(("value", "words"), [(0.75, "aim reached"), (0.71, "least reached"), (0.7, "below the least")])
def test_points_are_held_against_the_protocol(value, words):
    assert headline.reached("accuracy", value) == words
