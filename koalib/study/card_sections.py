"""Sections of the model card beside the scores: who was in, where it errs, how it does elsewhere, what it looks at, joint spaces."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from koalib.data.registry import GRADES, read_manifest
from koalib.study import ledger, shipped
from koalib.study.abroad import AT_HOME
from koalib.study.choice import candidates
from koalib.study.conformal import prediction_sets
from koalib.study.external import JOURNEYS, NAME, SHIPPED, runs_of
from koalib.study.metrics import confusion, decide, summary
from koalib.study.tables import interval, markdown

ROLES = {"train": "trained the network", "val": "chose the epoch, fitted temperature, thresholds and sets", "test": "official test", "all": ""}
FEW = 20  #: films below which a subgroup's scores are not shown


def participant_flow(dataset: str) -> str:
    """Patients and films by split, from the manifest: how many, which grades, what was special."""
    films = read_manifest(dataset)
    parts = [*films.groupby("split", sort=False), ("all", films)] if films.split.nunique() > 1 else [("all", films)]
    rows = [(name, part.group.nunique(), len(part), *((part.grade == k).sum() for k in GRADES), part.inverted.sum(), part.low_contrast.sum(), ROLES.get(name, "")) for name, part in parts]
    return markdown(("split", "patients", "knees", *(f"KL {k}" for k in GRADES), "dark bone, turned", "low contrast", "use"), rows)


def choice() -> str:
    """The candidates and both files on the validation films, by what decided; the means of the arms beside it."""
    table = candidates()
    rows = [(row.arm, f"`{row.run}`", f"{row.accuracy:.4f}", f"{row.qwk_tuned:.4f}", f"{row.mean:.4f}") for row in table.itertuples()]
    arms = table[~table.arm.str.contains("file")].groupby("arm")["mean"].mean()
    means = "; ".join(f"{arm} {value:.4f}" for arm, value in arms.items())
    return (f"By [the protocol](protocol_grader.md), the largest mean of accuracy and kappa (thresholds of each, fitted on the same films). Means of the arms over their seeds: {means or 'none recorded'}.\n\n"
            + markdown(("network", "run", "accuracy", "kappa", "mean"), rows))


def failures(dataset: str, table: pd.DataFrame, p: np.ndarray, rule: Mapping) -> str:
    """Confusions, distance of the errors, and scores of the subgroups that the films themselves tell.

    Args:
        table: the ledger's predictions of one split. p: their tempered probabilities, (N, 5).
    """
    grade, group, decided = table.grade.to_numpy(), table.group.to_numpy(), decide(p)
    rows = [(f"KL {k}", *row) for k, row in zip(GRADES, confusion(grade, decided), strict=True)]
    far = int((np.abs(grade - decided) >= 2).sum())
    missed, alarms = int(((grade >= 2) & (decided < 2)).sum()), int(((grade < 2) & (decided >= 2)).sum())
    text = (f"{(grade != decided).sum()} of {len(grade)} films are graded otherwise than by the readers, {far} of them ({far / len(grade):.1%} of all) by two grades or more. "
            f"Knees of KL 2 or more that are called less: {missed}; of less that are called more: {alarms}.")
    return "\n\n".join([text, markdown(("reader \\ network", *(f"KL {k}" for k in GRADES)), rows), _subgroups(dataset, table, grade, group, p, rule)])


def _subgroups(dataset: str, table: pd.DataFrame, grade: np.ndarray, group: np.ndarray, p: np.ndarray, rule: Mapping) -> str:
    facts = read_manifest(dataset).set_index("image_id").loc[table.image_id]
    wide = prediction_sets(p, rule["conformal"]).sum(axis=1) > 2
    parts = {"left knees": facts.side == "L", "right knees": facts.side == "R", "bone dark in the file": facts.inverted, "low contrast": facts.low_contrast,
             "sets of one or two grades": ~wide, "sets of more: referred to a reader": wide}
    rows = []
    for name, these in parts.items():
        these = np.asarray(these, bool)
        if these.sum() < FEW:
            rows.append((name, these.sum(), "too few", "too few"))
            continue
        found = summary(grade[these], p[these], group[these])
        rows.append((name, these.sum(), interval(found["accuracy"]), interval(found["qwk"])))
    return markdown(("films", "number", "accuracy", "kappa (argmax)"), rows)


def elsewhere() -> str:
    """The external set: as it is, and after each correction, from the measurement ``external``."""
    journey = next(journey for journey in JOURNEYS if journey.arm == SHIPPED)
    recorded, runs = ledger.read_measurement(NAME), runs_of(journey)
    if recorded is None or not runs or any(run["name"] not in recorded["runs"] for run in runs):
        return "Not measured yet for this file; `koalib study run external` does it."
    found = [row for row in recorded["rows"] if row["model"] == SHIPPED]
    rows = [(row["step"], row["films"], *(_shown(row, name) for name in ("accuracy", "qwk", "auc_kl2", "rps")), f"{row['ece']:.3f}", _shown(row, "coverage")) for row in found]
    shares = next(row for row in recorded["shares"] if row["model"] == SHIPPED)
    mix = [(name.replace("_", " "), *(f"{share:.1%}" for share in shares[name])) for name in ("trained_on", "estimated", "abroad")]
    gain = {row["what"]: row for row in recorded["gains"] if row["model"] == SHIPPED}
    mended = "; ".join(f"{what} {row['rps']:+.3f} ({row['rps_low']:+.3f} to {row['rps_high']:+.3f})" for what, row in gain.items())
    text = (f"Single knees of {journey.to}, one film of each group of duplicates. `{AT_HOME}`: {journey.home}'s validation films. `shares` corrects the shares of the grades only, estimated from the films alone or "
            "known; `recalibrated` fits a slope and an offset a grade. What uses labels is cross-fitted over five folds of groups.")
    head = ("step", "films", "accuracy", "kappa (argmax)", "AUC, KL >= 2", "ranked probability score", "calibration error", "coverage of the 90 % sets")
    return "\n\n".join([text, markdown(head, rows), f"What each correction takes off the ranked probability score (above 0 is better): {mended}.", markdown(("shares of the grades", *(f"KL {k}" for k in GRADES)), mix)])


def _shown(row: Mapping, name: str) -> str:
    return "-" if row.get(name) is None else interval({part: row[f"{name}{end}"] for part, end in (("value", ""), ("low", "_low"), ("high", "_high"))})


def joint_covered() -> str:
    """What covering the joint costs against as much of the border, from the measurement ``occlusion``."""
    recorded = ledger.read_measurement("occlusion")
    if recorded is None or recorded["file_sha256"] != shipped.sha256(shipped.GRADER):
        return "Not measured yet for this file; `python -m benchmarks.occlusion` does it."
    table = {(row["covered"], row["score"]): row for row in recorded["rows"]}
    names = {"qwk": "kappa lost", "accuracy": "accuracy lost", "probability of the true grade": "probability of the true grade lost", "expected grade moved": "grades that the expected grade moved"}
    places = ("joint", "border", "joint - border")
    rows = [(label, *(interval(table[place, score]) for place in places)) for score, label in names.items()]
    films = table["joint", "qwk"]["films"]
    return f"{films} films of {recorded['dataset']} ({recorded['split']}), a rectangle around the joint or as many pixels of the border painted in the film's mean grey.\n\n" + markdown(("", *places), rows)


def joint_space() -> str:
    """How well the joint-space measure of the system does, from the measurement ``joint_space``."""
    recorded = ledger.read_measurement("joint_space")
    if recorded is None:
        return "Not measured yet; `python -m benchmarks.joint_space` does it."
    phantom, real = recorded["phantom"], recorded["real"]
    rows = []
    for name, mm in phantom["mm"].items():
        px = phantom["px"][name]
        rows.append((name, f"{mm['measured']:.1%}", f"{mm['bias']['value']:+.2f}", interval(mm["mean_absolute_error"], 2), interval(px["mean_absolute_error"], 2), f"{mm['error_of_naming_the_mean']:.2f}",
                     interval(mm["spearman"], 2), interval(real["spearman_with_grade"][name], 2)))
    head = ("compartment", "measured", "bias, mm", "mean absolute error, mm", "the same, pixels", "error of always naming the mean, mm", "rank correlation with the truth", f"with the grade, {real['dataset']}")
    worse = [name for name, mm in phantom["mm"].items() if mm["mean_absolute_error"]["value"] > mm["error_of_naming_the_mean"]]
    verdict = f" As a width in mm the {' and the '.join(worse)} compartment's is worse than naming the mean every time: read it for its order only." if worse else ""
    return (f"{phantom['films']} phantoms, whose narrowest widths are known ({phantom['spacing_mm']:.2f} mm a pixel at {recorded['size']} px), and {real['films']} {real['split']} films, "
            f"where it measures {real['measured']:.1%} and is compared with the readers' grade (-1 would be perfect).{verdict}\n\n" + markdown(head, rows))
