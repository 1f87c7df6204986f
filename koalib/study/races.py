"""How much sooner one start reaches the finishing line than another: the recorded races of the study ``transfer`` (claim C2)."""

from __future__ import annotations

import pandas as pd

from koalib.study import curves, ledger
from koalib.study.comparisons import arm_runs

SCRATCH, IMAGENET, PHANTOM = (f"tf_efficientnet_lite0/{start}" for start in ("scratch", "imagenet", "phantom"))
Curves = dict[tuple[int | None, int], curves.Curve]  #: learning curves by fold and seed


def _recorded(arm: str) -> Curves:
    of_run = {record["name"]: record["curve"] for record in ledger.read_runs("transfer")}
    return {key: of_run[name] for key, name in arm_runs("transfer").get(arm, {}).items()}


def _pairs(slow: Curves, fast: Curves) -> tuple[list, list]:
    common = sorted(set(slow) & set(fast))
    return [slow[key] for key in common], [fast[key] for key in common]


def race(slow: str = SCRATCH, fast: str = IMAGENET, axis: str = "epoch") -> curves.Speedup | None:
    """How many times longer the slow arm needs, over the folds and seeds that both have; None with fewer than two.

    Args:
        axis: ``epoch`` or ``seconds``.
    """
    pairs = _pairs(_recorded(slow), _recorded(fast))
    return curves.speedup(*pairs, axis) if len(pairs[0]) > 1 else None


def against_itself() -> curves.Speedup | None:
    """The A/A of C2: the arm from ImageNet with its second seed over that with its first, to the finishing line of C2.

    None before there is such a line, or with fewer than two folds.
    """
    fast, line = _recorded(IMAGENET), _pairs(_recorded(SCRATCH), _recorded(IMAGENET))
    first, second = ({(fold, 0): curve for (fold, s), curve in fast.items() if s == seed} for seed in (0, 1))
    pairs = _pairs(second, first)
    return curves.speedup(*pairs, goal=curves.target(*line)) if len(line[0]) > 1 and len(pairs[0]) > 1 else None


def table() -> pd.DataFrame:
    """All races that are recorded, C2's first: value, low, high, pairs of runs, and whether the value is a lower bound."""
    run = {
        "scratch / ImageNet, epochs (C2)": race(),
        "scratch / ImageNet, seconds": race(axis="seconds"),
        "scratch / phantom, epochs": race(fast=PHANTOM),
        "phantom / ImageNet, epochs": race(slow=PHANTOM),
        "A/A: ImageNet, other seeds, epochs": against_itself(),
    }
    rows = {name: {"times": found.value, "low": found.low, "high": found.high, "pairs": found.pairs, "lower bound": found.at_least} for name, found in run.items() if found}
    return pd.DataFrame.from_dict(rows, orient="index")
