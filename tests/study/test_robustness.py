"""Disturbances do what they say, and a model that is blind to them keeps its score."""

import numpy as np
import pytest

from koalib.errors import UserError
from koalib.study.robustness import STRENGTHS, disturb, kept_scores

FILMS = np.random.default_rng(0).integers(60, 190, (10, 32, 32), dtype=np.uint8)


@pytest.mark.parametrize("kind", STRENGTHS)
def test_stronger_is_worse_and_zero_is_nothing(kind):
    harm = [np.abs(disturb(FILMS, kind, s).astype(float) - FILMS).mean() for s in STRENGTHS[kind]]
    assert harm[0] == 0 and (np.diff(harm) > 0).all()
    assert disturb(FILMS, kind, STRENGTHS[kind][1]).dtype == np.uint8


def test_noise_has_the_spread_it_names_and_repeats():
    noisy = disturb(np.full((1, 200, 200), 128, np.uint8) + np.tile(np.array([0, 20], np.uint8), 100), "noise", 0.4)
    assert np.std(noisy[0, :, ::2].astype(float)) == pytest.approx(4, abs=0.1)
    assert (disturb(FILMS, "noise", 0.2, seed=3) == disturb(FILMS, "noise", 0.2, seed=3)).all()


def test_unknown_kind_is_named():
    with pytest.raises(UserError, match="fog"):
        disturb(FILMS, "fog", 1)


def test_a_blind_model_keeps_its_score_and_a_fragile_one_loses_it():
    grade = np.arange(10) % 5

    def blind(films):
        return 0.8 * np.eye(5)[grade] + 0.04

    def fragile(films):
        return blind(films) if films.tobytes() == FILMS.tobytes() else np.roll(blind(films), 2, axis=1)

    table = kept_scores({"blind": [blind], "fragile": [fragile]}, FILMS, grade, np.arange(10), "blur", resamples=50).set_index(["arm", "level"])
    assert (table.loc["blind", "value"] == 1).all()
    assert table.loc[("fragile", 5.0), "value"] < 0.5 and table.loc[("fragile", 0.0), "value"] == 1
