"""Tables of results as Markdown, computed from the ledger; the README's part between its two marks is one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from koalib.errors import UserError
from koalib.paths import ROOT, atomic_write
from koalib.study import external, headline, shipped
from koalib.study.claims import Answer, amount, answers
from koalib.study.comparisons import SELECTED_ON, arm_runs, made, planned
from koalib.study.experiments import STUDIES, find_study
from koalib.study.metrics import decide, summary
from koalib.study.runner import progress
from koalib.study.verdicts import CLAIMS

README = ROOT / "README.md"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def interval(score: Mapping[str, float], digits: int = 3) -> str:
    """A value with its 95 % interval."""
    return f"{score['value']:.{digits}f} ({score['low']:.{digits}f} to {score['high']:.{digits}f})"


def rounded(table: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """A table for the page: numbers rounded, what the ledger does not hold called ``not recorded yet``."""
    return table.round(digits).astype(object).where(table.notna(), "not recorded yet")


def claims_markdown(found: Sequence[Answer] | None = None) -> str:
    """One row a claim: the thesis's figure, ours with its interval, verdict, what was measured on which films, runs."""
    rows = []
    for a in answers() if found is None else found:
        measured = "; ".join(text for text in (a.measured, a.films, yardstick(a), significance(a), a.note) if text)
        runs = (f"{a.runs} of {a.planned}" if a.planned else "-") + (f", {a.seeds} seed{'s' * (a.seeds > 1)}" if a.seeds else "")
        rows.append((a.claim, CLAIMS[a.claim].text, CLAIMS[a.claim].thesis, amount(a), f"**{a.verdict}**", measured, runs))
    return markdown(("", "Claim", "Thesis", "Ours (95 % interval)", "Verdict", "What was measured", "Runs"), rows)


def yardstick(answer: Answer) -> str:
    """How far the reference arm lies from itself between seeds, in the answer's unit; nothing where it was not taken."""
    if not math.isfinite(answer.a_a):
        return ""
    size = {"times": f"{math.exp(answer.a_a):.2f} times", "doublings": f"{answer.a_a:.2f} doublings"}.get(answer.unit, f"{100 * answer.a_a:.1f} points")
    return f"seeds alone (A/A): {size}"


def significance(answer: Answer) -> str:
    """The p-value of a primary contrast, alone and among its family by Holm's method; nothing for other answers."""
    p, adjusted = ("< 0.001" if value < 0.001 else f"{value:.3f}" for value in (answer.p, answer.adjusted))
    return f"p {p}, among {answer.family} primary contrasts {adjusted} (Holm)" if answer.family else ""


def studies_markdown() -> str:
    """One row a study: runs recorded of runs planned, and what has not been run for want of weights, the hub's or saved models'."""
    rows = []
    for name, study in STUDIES.items():
        waiting = [arm for arm in study.arms if arm.needs and arm.name not in arm_runs(name)]
        needed, recorded = sum(arm.planned for arm in waiting), runs_recorded(name)
        missing = [f"{needed}: {', '.join(sorted({arm.needs for arm in waiting}))}"] if waiting else []
        missing += [f"{left}: not run yet"] if (left := study.planned - recorded - needed) > 0 else []
        rows.append((name, study.title, f"{recorded} of {study.planned}", "; ".join(missing) or "-"))
    made, wanted = external.progress()
    rows.append((external.NAME, external.TITLE, f"{made} of {wanted}", f"{wanted - made}: saved models, not on this machine" if made < wanted else "-"))
    return markdown(("Study", "Question", "Runs recorded", "Not run"), rows)


def runs_recorded(study: str) -> int:
    """Planned runs of a study that the ledger holds."""
    return progress(find_study(study))[0]


def headline_markdown(docs: str = "docs/") -> str:
    """Scores of the shipped grader on chen2018, with those of the grader that the first opening scored: validation films while the test is sealed, test films after; ``docs``: the way to the documents."""
    if shipped.shipped_record() is None:
        return f"No grader is shipped yet; the study `headline` makes it ({runs_recorded('headline')} of {find_study('headline').planned} runs)."
    table, *_ = found = shipped.predictions(split := shipped.latest())
    graders = {"Value (95 % interval, patients resampled)": scored(found)} | ({"The first opening's grader": scored(first)} if (first := shipped.predictions_before(split)) else {})
    names = {"accuracy": "accuracy (argmax)", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "qwk": "quadratic weighted kappa (argmax)",
             "qwk_expected": "quadratic weighted kappa (rounded expected grade)", "qwk_tuned": "quadratic weighted kappa (the file's thresholds)", "accuracy_tuned": "accuracy (the file's thresholds)", "mae": "mean absolute error", "auc_kl2": "AUC for KL >= 2", "ece": "expected calibration error"}
    rows = [(label, *(interval(scores[key]) for scores in graders.values())) for key, label in names.items()]
    state = shipped.seal() if split == "test" else f"they also chose its epoch and fitted its temperature and thresholds; the official test: {shipped.seal()}"
    text = f"The shipped grader on {len(table)} {SELECTED_ON[split]} films of chen2018 ({state}):\n\n" + markdown(("Score", *graders), rows)
    return f"{text}\n\n{against_the_protocol(docs)}" if split == "test" else text


def scored(found: tuple[pd.DataFrame, np.ndarray, dict]) -> dict[str, dict]:
    """Scores with intervals of films, probabilities and decision rule, as `shipped.predictions` gives them."""
    table, p, rule = found
    return summary(table.grade.to_numpy(), p, table.group.to_numpy(), tuned=decide(p, rule["thresholds"]))


def against_the_protocol(docs: str = "docs/") -> str:
    """The two scores that the protocol sets an aim and a least for, to the digit that decides; where the test was opened twice, both times, a line each.

    Raises:
        UserError: the test is sealed for the shipped grader.
    """
    first, last = shipped.predictions_before("test"), shipped.predictions("test")
    if first is None:
        return f"Against the protocol: {_reached(scored(last))}."
    return (f"Against [the protocol]({docs}protocol.md), first opening, another grader: {_reached(scored(first))}. This answer stands.\n\n"
            f"By [a protocol of its own]({docs}protocol_grader.md), second and last opening, this file: {_reached(scored(last))}.")


def _reached(scores: dict[str, dict]) -> str:
    asked = {"accuracy": "accuracy", "qwk_tuned": "kappa by the file's thresholds"}
    return "; ".join(f"{label} {scores[key]['value']:.4f}, least {headline.LEAST[key]:g}, aim {headline.AIM[key]:g}: {headline.reached(key, scores[key]['value'])}" for key, label in asked.items())


def ensemble_markdown() -> str:
    """The five patient folds out of fold and, once opened, their average on the official test; what is missing where they are not all recorded."""
    shown = headline.rows()
    if not shown:
        return f"Five patient folds and their average: not run yet ({made(headline.STUDY, [headline.FOLDS])} of {planned(headline.STUDY, [headline.FOLDS])} runs)."
    names = {"accuracy": "Accuracy (argmax)", "qwk_tuned": "Kappa (tuned thresholds)", "accuracy_tuned": "Accuracy (tuned thresholds)", "qwk_expected": "Kappa (rounded expected grade)", "qwk": "Kappa (argmax)"}
    rows = [(label, films, *(interval(scores[key]) + (f", {headline.reached(key, scores[key]['value'])}" if "test" in label and key in headline.AIM else "") for key in names))
            for label, films, scores in shown]
    text = "Models of five patient folds:\n\n" + markdown(("", "Films", *names.values()), rows)
    return f"{text}\n\n{_coverage_markdown()}" if headline.opened() else text


def _coverage_markdown() -> str:
    """The ensemble's prediction sets on the official test, for each grade; the guarantee is for all films together."""
    rows = [(f"KL {name}" if name != "all" else name, row["n"], interval(row | {"value": row["coverage"]}), f"{row['size']:.2f}")
            for name, row in headline.coverage().items()]
    return "The 90 % sets of the first recipe's five models averaged, on the official test:\n\n" + markdown(("", "Films", "Share that holds the truth", "Grades in a set"), rows)


def results_block() -> str:
    """What stands between the README's marks."""
    parts = ("Computed from `data/results` by `koalib study figures`; nothing here is typed in.", claims_markdown(), studies_markdown(), headline_markdown(), ensemble_markdown())
    return "\n\n".join(parts)


def recorded_block(text: str, name: str = README.name) -> str:
    """The part of a document between the marks.

    Raises:
        UserError: the marks are missing.
    """
    if BEGIN not in text or END not in text:
        raise UserError(f"{name}: the marks {BEGIN} and {END} are missing; put them where the results belong")
    return text.split(BEGIN, 1)[1].split(END, 1)[0].strip()


def renew_block(file: Path, block: str) -> Path:
    """Write ``block`` between the marks of a document."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    recorded_block(text, file.name)
    before, after = text.split(BEGIN, 1)[0], text.split(END, 1)[1]
    return atomic_write(file, f"{before}{BEGIN}\n{block}\n{END}{after}")
