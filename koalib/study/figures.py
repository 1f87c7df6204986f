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
from koalib.study import conformal, curves, headline, metrics, plots, shipped
from koalib.study.calibration import reliability
from koalib.study.comparisons import SELECTED_ON, arm_scores, contrasts, curve_table, panels
from koalib.study.experiments import find_study
from koalib.study.front import phantom_grades
from koalib.study.style import save
from koalib.study.card import CARD, card_block
from koalib.study.tables import README, renew_block, results_block
from koalib.study.verdicts import CLAIMS

TRANSFER = {"from ImageNet": "tf_efficientnet_lite0/imagenet", "from the phantom": "tf_efficientnet_lite0/phantom", "from scratch": "tf_efficientnet_lite0/scratch"}


def _arms(study: str, title: str, thesis: float | None = None, part: int = 0) -> Callable[[], Figure | None]:
    """Every arm of a panel by its accuracy; an arm whose runs are not all recorded says how many are."""
    def draw() -> Figure | None:
        panel = find_study(study).panels[part]
        if panel not in panels(study):
            return None
        rows = arm_scores(study, ("accuracy",)).query("panel == @panel.title").rename(columns=lambda name: name.removeprefix("accuracy_")).rename(columns={"accuracy": "value"})
        data = _which(rows)
        partly = (rows.made > 0) & (rows.made < rows.planned)
        rows["arm"] = rows.arm.where(~partly, rows.arm + "\n" + rows.made.astype(str) + " of " + rows.planned.astype(str) + " runs")
        return plots.dots(rows, f"{data}, study {study}", title, thesis=thesis)
    return draw


def _which(rows: pd.DataFrame) -> str:
    """The films of a table of arms: said once where they are the same for all."""
    run = rows[rows.made > 0]
    return run.films.iloc[0] if run.films.nunique() == 1 else "; ".join(f"{arm}: {films}" for arm, films in zip(run.arm, run.films, strict=True))


def transfer_curves() -> Figure | None:
    """Validation QWK by epoch for every start that is recorded, with the target of C2."""
    table = curve_table("transfer", list(TRANSFER.values()))
    if not len(table):
        return None
    names = {arm: label for label, arm in TRANSFER.items()}
    arms = {name: [rows.to_dict("records") for _, rows in group.groupby("run")] for name, group in table.groupby("arm")}
    pair = [arms.get(TRANSFER[label]) for label in ("from ImageNet", "from scratch")]
    goal = curves.target(*pair) if all(pair) else None
    return plots.learning_curves(table.assign(arm=table.arm.map(names)), f"gornale2020, validation films of {table.run.nunique()} runs, study transfer", "How fast each start learns", goal=goal)


def _contrasts(study: str, title: str, score: str = "four_scores", thesis: dict[str, float] | None = None, only: str = "") -> Callable[[], Figure | None]:
    """Every recorded comparison of a study in points, or those that ``only`` matches, panel by panel, the reference with itself first; ``thesis``: what it claims of which."""
    def draw() -> Figure | None:
        rows, films = [], []
        table = contrasts(study, (score,))
        table = table[table.comparison.str.match(only)] if len(table) else table
        for panel, found in table.groupby("panel", sort=False) if len(table) else ():
            rows.append({"label": panel})
            films += list(found.films.unique())
            for row in found.itertuples():
                missing = [] if row.made == row.planned else [f"{row.made} of {row.planned} runs"]
                fewer = [f"{row.seeds} seed"] if row.seeds < found.seeds.max() and not row.comparison.startswith("A/A") else []
                rows.append({"label": ", ".join([row.comparison, *missing, *fewer]), "value": 100 * getattr(row, score), "low": 100 * getattr(row, f"{score}_low"), "high": 100 * getattr(row, f"{score}_high"),
                             "thesis": (thesis or {}).get(row.comparison, np.nan)})
        return plots.forest(pd.DataFrame(rows), "; ".join(dict.fromkeys(films)), title) if rows else None
    return draw


def headline_confusion() -> Figure | None:
    """Confusion counts of the shipped grader."""
    if shipped.shipped_record() is None:
        return None
    table, p, _ = shipped.predictions(shipped.latest())
    return plots.confusion(metrics.confusion(table.grade.to_numpy(), metrics.decide(p)), _shipped_data(table), "The shipped grader")


def headline_reliability() -> Figure | None:
    """Whether the shipped grader's largest probability is the share in which it is right."""
    if shipped.shipped_record() is None:
        return None
    table, p, _ = shipped.predictions(shipped.latest())
    right = p.argmax(axis=1) == table.grade.to_numpy()
    return plots.reliability(reliability(p.max(axis=1), right, table.group.to_numpy()), _shipped_data(table), "Is its confidence deserved?")


def headline_coverage() -> Figure | None:
    """How often the 90 % sets hold the truth, by grade: of the shipped grader, and of the average of five once the test is open."""
    if shipped.shipped_record() is None:
        return None
    table, p, rule = shipped.predictions(shipped.latest())
    held = {"shipped grader": conformal.coverage_by_grade(p, table.grade.to_numpy(), table.group.to_numpy(), rule["conformal"])}
    if headline.opened() and shipped.latest() == "test":
        held[f"{headline.FIRST},\nfive averaged"] = headline.coverage()
    shown = {name: [found[str(k)] | {"value": found[str(k)]["coverage"]} for k in range(5)] for name, found in held.items()}
    return plots.by_grade(shown, _shipped_data(table), "Do the 90 % sets hold in every grade?", "share that holds the truth", level=0.9)


def _shipped_data(table: pd.DataFrame) -> str:
    return f"{table.dataset.iloc[0]}, {len(table)} films ({SELECTED_ON[shipped.latest()]}), after its temperature"


_C5 = {"both - neither": 100 * CLAIMS["C5"].claimed[0]}
FIGURE_MAKERS: dict[str, Callable[[], Figure | None]] = {
    "phantoms": phantom_grades,
    "protocol": _arms("protocol", "What twins of test films in the training set are worth"),
    "protocol_contrasts": _contrasts("protocol", "What twins add to the accuracy", "accuracy"),
    "transfer_curves": transfer_curves,
    "architectures": _arms("architectures", "The compared families, one common start"),
    "architectures_imagenet": _arms("architectures", "The compared families from ImageNet", thesis=0.863, part=1),
    "ablation_forest": _contrasts("ablation", "What gates and wavelets add: mean of accuracy, precision, recall, F1", thesis=_C5),
    "ablation_questions": _contrasts("ablation", "What C5 and C6 ask: mean of accuracy, precision, recall, F1", thesis=_C5, only="A/A|interaction|(gct|wavelet|both) - neither|both - (gct|wavelet|unshuffle)$"),
    "ablation_arms": _arms("ablation", "Every arm of ablation A"),
    "loss": _arms("loss", "Losses and schedules"),
    "loss_contrasts": _contrasts("loss", "What losses and schedules add to the accuracy", "accuracy"),
    "headline_confusion": headline_confusion,
    "headline_reliability": headline_reliability,
    "headline_coverage": headline_coverage,
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
