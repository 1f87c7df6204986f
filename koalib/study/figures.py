"""The pictures of figures/, each computed from the ledger: ``koalib study figures``.

A figure whose study has no recorded run is not made, and one of an earlier ledger is taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from koalib.paths import FIGURES
from koalib.study import curves, metrics, plots
from koalib.study.calibration import reliability
from koalib.study.claims import BOTH, GCT, NEITHER, WAVELET
from koalib.study.comparisons import arm_runs, curve_table, stack
from koalib.study.experiments import find_study
from koalib.study.front import phantom_grades
from koalib.study.style import save
from koalib.study.card import CARD, card_block
from koalib.study.tables import HEADLINE, README, renew_block, results_block

TRANSFER = {"from ImageNet": "tf_efficientnet_lite0/imagenet", "from the phantom": "tf_efficientnet_lite0/phantom", "from scratch": "tf_efficientnet_lite0/scratch"}
ATTO = {"neither": NEITHER, "gct": GCT, "wavelet": WAVELET, "both": BOTH}
LITE = {name: f"tf_efficientnet_lite0/{name}" for name in ("neither", "gct", "wavelet", "both")}


def arm_scores(study: str, score: str = "accuracy", arms: Sequence[str] = ()) -> pd.DataFrame:
    """Each arm's score: arm, value, low, high (over patients or groups, all its runs), runs (each run alone); NaN where not run."""
    recorded, rows = arm_runs(study), []
    for name in arms or [a.name for a in find_study(study).arms]:
        found = stack(study, [name]) if name in recorded else None
        if found is None:
            rows.append({"arm": name, "value": np.nan, "low": np.nan, "high": np.nan, "runs": []})
            continue
        difference = found.contrast({name: 1.0})[score]
        alone = [metrics.scores(found.grade, p)[score] for p in found.probabilities[name]]
        rows.append({"arm": name, "value": difference.value, "low": difference.low, "high": difference.high, "runs": alone})
    return pd.DataFrame(rows)


def _data(study: str) -> str:
    recorded = arm_runs(study)
    found = stack(study, [next(iter(recorded))]) if recorded else None
    return f"{found.dataset}, {len(found.grade)} films ({found.films_of}), study {study}" if found else ""


def _arms(study: str, title: str, thesis: float | None = None) -> Callable[[], Figure | None]:
    def draw() -> Figure | None:
        return plots.dots(arm_scores(study), _data(study), title, thesis=thesis) if arm_runs(study) else None
    return draw


def transfer_curves() -> Figure | None:
    """Validation QWK by epoch for the three starts, with the target of C2."""
    table = curve_table("transfer", list(TRANSFER.values()))
    if not len(table):
        return None
    names = {arm: label for label, arm in TRANSFER.items()}
    arms = {name: [rows.to_dict("records") for _, rows in group.groupby("run")] for name, group in table.groupby("arm")}
    pair = [arms.get(TRANSFER[label]) for label in ("from ImageNet", "from scratch")]
    goal = curves.target(*pair) if all(pair) else None
    return plots.learning_curves(table.assign(arm=table.arm.map(names)), _data("transfer"), "How fast three starts learn", goal=goal)


def ablation_forest() -> Figure | None:
    """Paired differences of the 2 x 2 on both data sets, the mean of the four scores in points."""
    rows = []
    for heading, names in (("convwgcnet_atto, gornale2020", ATTO), ("efficientnet_lite0, chen2018", LITE)):
        found = stack("ablation", list(names.values()))
        if found is None:
            continue
        rows.append({"label": heading})
        for label, coefficients in contrasts(names).items():
            difference = found.contrast(coefficients)["four_scores"]
            rows.append({"label": label, "value": 100 * difference.value, "low": 100 * difference.low, "high": 100 * difference.high, "thesis": 2.4 if label.startswith("both - neither") else np.nan})
    data = "out-of-fold and validation films, study ablation"
    return plots.forest(pd.DataFrame(rows), data, "What gates and wavelets add: mean of accuracy, precision, recall, F1") if rows else None


def contrasts(names: dict[str, str]) -> dict[str, dict[str, float]]:
    """The contrasts of a 2 x 2, by what they are called; ``names`` maps neither, gct, wavelet, both to arms."""
    neither, gct, wavelet, both = (names[k] for k in ("neither", "gct", "wavelet", "both"))
    return {"both - neither": {both: 1.0, neither: -1.0}, "gates alone - neither": {gct: 1.0, neither: -1.0},
            "wavelets alone - neither": {wavelet: 1.0, neither: -1.0}, "interaction": {both: 1.0, gct: -1.0, wavelet: -1.0, neither: 1.0}}


def headline_confusion() -> Figure | None:
    """Confusion counts of the single grader."""
    found = stack("headline", [HEADLINE])
    if found is None:
        return None
    counts = metrics.confusion(found.grade, metrics.decide(found.probabilities[HEADLINE][0]))
    return plots.confusion(counts, _data("headline"), "The single grader")


def headline_reliability() -> Figure | None:
    """Whether the single grader's largest probability is the share in which it is right."""
    found = stack("headline", [HEADLINE])
    if found is None:
        return None
    p = found.probabilities[HEADLINE][0]
    return plots.reliability(reliability(p.max(axis=1), p.argmax(axis=1) == found.grade, found.group), _data("headline"), "Is its confidence deserved?")


FIGURE_MAKERS: dict[str, Callable[[], Figure | None]] = {
    "phantoms": phantom_grades,
    "protocol": _arms("protocol", "What twins of test films in the training set are worth"),
    "transfer_curves": transfer_curves,
    "architectures": _arms("architectures", "The compared families", thesis=0.863),
    "ablation_forest": ablation_forest,
    "ablation_arms": _arms("ablation", "Every arm of the ablation"),
    "loss": _arms("loss", "Losses and schedules"),
    "headline_confusion": headline_confusion,
    "headline_reliability": headline_reliability,
}


def renew(folder: Path = FIGURES, readme: Path = README, card: Path = CARD) -> list[Path]:
    """Renew all figures, the README's result table and the model card's figures; return the files written."""
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, make in FIGURE_MAKERS.items():
        file, figure = folder / f"{name}.png", make()
        if figure is None:
            file.unlink(missing_ok=True)
        else:
            written.append(save(figure, file))
    return [*written, renew_block(readme, results_block()), renew_block(card, card_block())]
