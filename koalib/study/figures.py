"""The pictures of figures/, each computed from the ledger: ``koalib study figures``.

A figure whose study has no recorded run is not made, and one of an earlier ledger is taken away.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from koalib.paths import FIGURES
from koalib.study import curves, metrics, plots
from koalib.study.calibration import reliability
from koalib.study.comparisons import arm_runs, arm_scores, contrasts, curve_table, panels, stack
from koalib.study.experiments import Panel, find_study
from koalib.study.front import phantom_grades
from koalib.study.style import save
from koalib.study.card import CARD, card_block
from koalib.study.tables import HEADLINE, README, renew_block, results_block

TRANSFER = {"from ImageNet": "tf_efficientnet_lite0/imagenet", "from the phantom": "tf_efficientnet_lite0/phantom", "from scratch": "tf_efficientnet_lite0/scratch"}


def _data(study: str) -> str:
    shown = panels(study)
    return f"{stack(study, [_first_recorded(study, shown[0])]).data}, study {study}" if shown else ""


def _first_recorded(study: str, panel: Panel) -> str:
    runs = arm_runs(study)
    return next(arm.name for arm in panel.arms if arm.name in runs)


def _arms(study: str, title: str, thesis: float | None = None, part: int = 0) -> Callable[[], Figure | None]:
    """Every arm of a panel by its accuracy; an arm whose runs are not all recorded says how many are."""
    def draw() -> Figure | None:
        panel = find_study(study).panels[part]
        if panel not in panels(study):
            return None
        rows = arm_scores(study, ("accuracy",)).query("panel == @panel.title").rename(columns=lambda name: name.removeprefix("accuracy_")).rename(columns={"accuracy": "value"})
        partly = (rows.made > 0) & (rows.made < rows.planned)
        rows["arm"] = rows.arm.where(~partly, rows.arm + "\n" + rows.made.astype(str) + " of " + rows.planned.astype(str) + " runs")
        films = rows.films[rows.made > 0].unique()
        data = films[0] if len(films) == 1 else "; ".join(f"{arm}: {films}" for arm, films in zip(rows.arm, rows.films, strict=True) if films != "-")
        return plots.dots(rows, f"{data}, study {study}", title, thesis=thesis)
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


def _contrasts(study: str, title: str, score: str = "four_scores", thesis: dict[str, float] | None = None) -> Callable[[], Figure | None]:
    """Every recorded comparison of a study in points, panel by panel, the reference with itself first; ``thesis``: what it claims of which."""
    def draw() -> Figure | None:
        rows, films = [], []
        table = contrasts(study, (score,))
        for panel, found in table.groupby("panel", sort=False) if len(table) else ():
            rows.append({"label": panel})
            films += list(found.films.unique())
            for row in found.itertuples():
                runs = "" if row.made == row.planned else f" ({row.made} of {row.planned} runs)"
                rows.append({"label": row.comparison + runs, "value": 100 * getattr(row, score), "low": 100 * getattr(row, f"{score}_low"), "high": 100 * getattr(row, f"{score}_high"),
                             "thesis": (thesis or {}).get(row.comparison, np.nan)})
        return plots.forest(pd.DataFrame(rows), "; ".join(dict.fromkeys(films)), title) if rows else None
    return draw


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
    "protocol_contrasts": _contrasts("protocol", "What twins add to the accuracy", "accuracy"),
    "transfer_curves": transfer_curves,
    "architectures": _arms("architectures", "The compared families, one common start"),
    "architectures_imagenet": _arms("architectures", "The compared families from ImageNet", thesis=0.863, part=1),
    "ablation_forest": _contrasts("ablation", "What gates and wavelets add: mean of accuracy, precision, recall, F1", thesis={"both - neither": 2.4}),
    "ablation_arms": _arms("ablation", "Every arm of ablation A"),
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
