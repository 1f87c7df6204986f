"""How fast a training converges: time to a fixed validation score, with runs that never get there kept as censored.

The target is 95 % of the worse arm's best validation QWK, so that both arms can be expected to reach it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import CensoredData, ecdf, logrank, ttest_1samp

from koalib.errors import UserError

Curve = Sequence[dict]  #: one row an epoch, as the ledger's ``curve``: epoch (1, 2, ...), seconds, val_qwk (None: undefined)
SHARE = 0.95


@dataclass(frozen=True)
class Arrival:
    """When a run reached the target; where it did not, ``time`` is how long it was watched."""

    time: float
    reached: bool


@dataclass(frozen=True)
class Speedup:
    """How many times longer the slow arm needs: geometric mean over pairs of runs, with its 95 % interval.

    ``at_least`` is true when a slow run never arrived: then value is a lower bound, low is the limit for times that are
    restricted to the watch, which are never longer and so have no larger mean, and high is infinite. All are NaN when a
    fast run never arrived, or when the target is no kappa above 0, since the worse arm learned nothing; ``why`` then says which.
    """

    value: float
    low: float
    high: float
    pairs: int
    at_least: bool
    p: float  #: two-sided, of a ratio of 1, from the same Student's t
    why: str = ""  #: why there is no value


def best(curve: Curve) -> float:
    """The best validation QWK of a run; NaN where it is defined in no epoch."""
    return max((row["val_qwk"] for row in curve if row["val_qwk"] is not None), default=math.nan)


def target(arm_a: Sequence[Curve], arm_b: Sequence[Curve], share: float = SHARE) -> float:
    """``share`` of the worse arm's best validation QWK; an arm's best is the mean of its runs' best."""
    return share * float(np.min([np.mean([best(curve) for curve in arm]) for arm in (arm_a, arm_b)]))


def arrival(curve: Curve, goal: float, axis: str = "epoch") -> Arrival:
    """When the validation QWK first reaches the goal, on the axis ``epoch`` or ``seconds``.

    Between two epochs the curve is a straight line, and it starts at QWK 0 at time 0: whole epochs would round a
    ratio of 2.4 epochs to 1.2 up to 3 to 2. A goal of 0 or less (an arm that learned nothing) is never reached:
    every run stands there before its first step, and its time says nothing.
    """
    time, score = 0.0, 0.0
    if not goal > 0:
        return Arrival(float(curve[-1][axis]), False)
    for row in curve:
        if row["val_qwk"] is None:
            continue
        if row["val_qwk"] >= goal:
            return Arrival(time + (row[axis] - time) * (goal - score) / (row["val_qwk"] - score), True)
        time, score = row[axis], row["val_qwk"]
    return Arrival(float(curve[-1][axis]), False)


def speedup(slow: Sequence[Curve], fast: Sequence[Curve], axis: str = "epoch", share: float = SHARE, goal: float | None = None) -> Speedup:
    """Time of the slow arm over time of the fast arm, run by run (same fold, same seed).

    The interval is Student's on the log ratios: exact for a log-normal ratio at any number of pairs, where a bootstrap
    of five would be too narrow.

    Args:
        goal: a validation QWK; None takes the `target` of these two arms.

    Raises:
        UserError: the arms have different numbers of runs, or fewer than two.
    """
    if len(slow) != len(fast) or len(slow) < 2:
        raise UserError(f"{len(slow)} and {len(fast)} runs: a speed-up is taken over pairs of runs, at least two")
    goal = target(slow, fast, share) if goal is None else goal
    arrivals = [(arrival(s, goal, axis), arrival(f, goal, axis)) for s, f in zip(slow, fast, strict=True)]
    if not all(f.reached for _, f in arrivals):
        why = "a run of the faster arm never reached the target" if goal > 0 else "the worse arm's best validation QWK is not above 0"
        return Speedup(math.nan, math.nan, math.nan, len(slow), False, math.nan, why)
    ratios = np.log([s.time / f.time for s, f in arrivals])
    test = ttest_1samp(ratios, 0)
    low, high = np.exp(test.confidence_interval(0.95))
    censored = not all(s.reached for s, _ in arrivals)
    return Speedup(float(np.exp(ratios.mean())), float(low), math.inf if censored else float(high), len(slow), censored, float(test.pvalue))


def _censored(arrivals: Sequence[Arrival]) -> CensoredData:
    times, reached = np.array([a.time for a in arrivals]), np.array([a.reached for a in arrivals])
    return CensoredData(uncensored=times[reached], right=times[~reached])


def survival(arrivals: Sequence[Arrival]) -> tuple[np.ndarray, np.ndarray]:
    """Kaplan-Meier share of runs still under the target: times and shares, as steps."""
    curve = ecdf(_censored(arrivals)).sf
    return curve.quantiles, curve.probabilities


def median_time(arrivals: Sequence[Arrival]) -> float:
    """Kaplan-Meier median time to the target; infinite when fewer than half of the runs reach it."""
    times, shares = survival(arrivals)
    return float(next((time for time, share in zip(times, shares, strict=True) if share <= 0.5), np.inf))


def logrank_p(arm_a: Sequence[Arrival], arm_b: Sequence[Arrival]) -> float:
    """Two-sided log-rank p-value of equal times to the target."""
    return float(logrank(_censored(arm_a), _censored(arm_b)).pvalue)
