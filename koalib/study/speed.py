"""The recorded speed of our networks beside the targets that were set for it."""

from __future__ import annotations

import pandas as pd

COLUMNS = {"forward_wall": "inference", "step_wall": "training step", "peak": "peak memory"}
BETTER = "times the reference's speed"
#: Time or memory over the plain network's that is to be reached, by rival (of every network, or of one), where its type of numbers is the faster.
TARGETS = {
    "wavelets and gates": {"inference": 1.3, "peak memory": 1.5},
    "tiny wavelets and gates": {"training step": 1.15, BETTER: 2.5},
    "tiny fast gradient": {"training step": 1 / 1.25},
    "lite0 fast gradient": {"training step": 1 / 1.4},
}


def faster_types(cases: dict[str, dict]) -> dict[str, str]:
    """For each network the type of numbers, ``fp32`` or ``bf16``, whose plain training step takes less time."""
    seconds: dict[str, dict[str, float]] = {}
    for case, found in cases.items():
        model, kind = case.split()
        seconds.setdefault(model, {})[kind] = found["rivals"]["plain"]["step"]["wall"]
    return {model: min(by_type, key=by_type.get) for model, by_type in seconds.items()}


def table(record: dict) -> pd.DataFrame:
    """Every rival's ratios to the plain network as text, one row a case and rival; where a target is set, it and whether it is met."""
    rows, faster = {}, faster_types(record["cases"])
    for case, found in record["cases"].items():
        model, kind = case.split()
        for rival, over in found["over_plain"].items():
            if rival == "plain":
                continue
            values = {title: over[name] for name, title in COLUMNS.items()}
            if rival == "wavelets and gates":
                values[BETTER] = found["over_plain"]["reference wavelets"]["step_wall"] / over["step_wall"]
            goals = TARGETS.get(rival, {}) | TARGETS.get(f"{model} {rival}", {}) if faster[model] == kind else {}
            rows[case, rival] = {title: _judged(value, goals.get(title), title == BETTER) for title, value in values.items()}
    return pd.DataFrame(rows).T.reindex(columns=[*COLUMNS.values(), BETTER]).fillna("")


def _judged(value: float, goal: float | None, more: bool) -> str:
    if goal is None:
        return f"{value:.2f}"
    met = value >= goal if more else value <= goal
    return f"{value:.2f} ({'at least' if more else 'at most'} {goal:.2f}: {'met' if met else 'missed'})"
