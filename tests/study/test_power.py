"""Sample sizes against simulation and hand counts."""

import numpy as np
import pytest
from scipy.stats import binomtest, chi2

from koalib.errors import UserError
from koalib.study import power


def test_films_needed_reach_their_power_in_simulation():
    n, rng = power.films_needed(0.05, 0.15), np.random.default_rng(0)
    both = rng.multinomial(n, [0.10, 0.05, 0.85], size=20000)
    b, c = both[:, 0], both[:, 1]
    assert np.mean(chi2.sf((b - c) ** 2 / np.maximum(b + c, 1), 1) < 0.05) == pytest.approx(0.8, abs=0.02)
    assert power.power_of(n, 0.05, 0.15) == pytest.approx(0.8, abs=0.002)


def test_known_sizes_for_the_claimed_gain():
    assert power.films_needed(0.024, 0.15) == 2042  # by hand: ((1.95996 sqrt .15 + .84162 sqrt .149424) / .024)^2 = 2041.9
    assert power.films_needed(0.024, 0.15, design=1.5) == pytest.approx(1.5 * 2042, abs=2)
    assert power.power_of(10**6, 0.024, 0.15) == 1.0


def test_detectable_differences_of_the_protocol():
    seen = {s: power.detectable_difference(1656, 0.15, 0.01, s) for s in (3, 5)}
    assert seen == pytest.approx({3: 0.0265, 5: 0.0222}, abs=1e-4)
    assert power.detectable_difference(1656, 0.15, 0.01, 5, arms=4) == pytest.approx(2**0.5 * seen[5])


def test_what_an_interval_would_have_seen():
    """With one standard error of 1: half the width is 1.96, and an effect of 1.96 + .84 is seen 4 times in 5."""
    assert power.smallest_seen(-1.959964, 1.959964) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    draws = np.random.default_rng(0).normal(power.smallest_seen(-1.959964, 1.959964), 1, 100_000)
    assert np.mean(np.abs(draws) > 1.959964) == pytest.approx(0.8, abs=0.01)


def test_assumptions_are_read_off_the_runs():
    """1,000 pairs of films; a tenth of the pairs is decided by the arms, a fifth by each seed anew, the same for both films of a pair."""
    rng = np.random.default_rng(0)
    arms = rng.choice([0, 1, -1], p=[0.9, 0.05, 0.05], size=1000)
    seeds = rng.choice([0, 1, -1], p=[0.8, 0.1, 0.1], size=(4, 1000))
    pairs = np.where(arms != 0, arms, seeds)
    a, b = (np.repeat(pairs == sign, 2, axis=1) for sign in (1, -1))
    found = power.observed(a, b, np.repeat(np.arange(1000), 2))
    assert (found["films"], found["seeds"]) == (2000, 4) and found["design"] == pytest.approx(2)
    assert found["discordance"] == pytest.approx(0.28, abs=0.02) and found["lasting"] == pytest.approx(0.1 / 0.28, abs=0.05)
    assert found["seed_sd"] == pytest.approx(a.mean(axis=1).std(ddof=1), rel=0.5)
    assert power.observed(a, b, np.arange(2000))["design"] == pytest.approx(1)
    assert power.detectable_difference(**found) > power.detectable_difference(**found | {"design": 1})
    with pytest.raises(UserError, match="one seed"):
        power.observed(a[:1], b[:1], np.arange(2000))


def test_eight_films_are_significant_among_twelve_discordant_ones_only():
    assert power.most_discordant(8) == 12
    assert binomtest(10, 12).pvalue < 0.05 < binomtest(11, 14).pvalue
    with pytest.raises(UserError, match="never"):
        power.most_discordant(4)


def test_design_effect_of_pairs():
    assert power.design_effect(2, 0.3) == pytest.approx(1.3) and power.design_effect(1, 0.9) == 1


def test_impossible_differences_are_refused():
    with pytest.raises(UserError, match="discordance"):
        power.films_needed(0.2, 0.1)
