"""The figures of docs/model_card.md: who was in, how the shipped grader scores, from its own file and its run's record."""

from __future__ import annotations

import numpy as np

from koalib.model.checkpoints import read_checkpoint
from koalib.paths import ROOT
from koalib.study import card_sections as sections_of
from koalib.study import shipped
from koalib.study.calibration import ece_if_calibrated, slope_intercept
from koalib.study.conformal import coverage_by_grade
from koalib.study.metrics import per_grade
from koalib.study.tables import against_the_protocol, interval, markdown, scored

CARD = ROOT / "docs" / "model_card.md"
SHOWN = {"accuracy": "accuracy (argmax)", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "qwk": "quadratic weighted kappa (argmax)",
         "qwk_tuned": "quadratic weighted kappa (thresholds of the file)", "accuracy_tuned": "accuracy (thresholds of the file)", "qwk_expected": "quadratic weighted kappa (rounded expected grade)", "mae": "mean absolute error, grades", "auc_kl2": "AUC, KL >= 2",
         "sensitivity_kl2": "sensitivity, KL >= 2", "specificity_kl2": "specificity, KL >= 2", "brier": "Brier score", "rps": "ranked probability score",
         "ece": "expected calibration error"}
TITLES = {"val": "Validation films", "test": "Official test films"}


def card_block() -> str:
    """The computed part of the card, or one line while no grader is shipped."""
    record = shipped.shipped_record()
    if record is None:
        return "No grader is shipped yet."
    _, metadata = read_checkpoint(shipped.GRADER)
    rule, dataset = metadata["decision"], record["experiment"]["dataset"]
    films = ", ".join(f"{count} {role}" for role, count in record["films"].items())
    head = (f"* Network {metadata['model']}, films of {metadata['size']} px, start {record['pretrained_source']}; run `{shipped.STUDY}/{record['shipped_from']}`.\n"
            f"* Films of {record['data']['name']}: {films}. No patient is in two of them.\n"
            f"* File of {shipped.GRADER.stat().st_size / 2**20:.1f} MB in half precision. Temperature {rule['temperature']:.3f}, conformal threshold {rule['conformal']:.3f}, "
            f"thresholds on the expected grade {', '.join(f'{t:.2f}' for t in rule['thresholds'])}: all fitted on the validation films.")
    latest = shipped.latest()
    table, p, _ = shipped.predictions(latest)
    sections = {
        "Participant flow": sections_of.participant_flow(dataset), "How it was chosen": sections_of.choice(), "Scores": "\n\n".join(_split(split) for split in ("val", "test")),
        f"Where it errs: {TITLES[latest].lower()}": sections_of.failures(dataset, table, p, rule), "On films from elsewhere": sections_of.elsewhere(),
        "Does it read the joint?": sections_of.joint_covered(), "The joint-space measure beside it": sections_of.joint_space(),
    }
    return "\n\n".join([head, *(f"### {title}\n\n{text}" for title, text in sections.items())])


def _split(split: str) -> str:
    """Scores, grades and prediction sets of one split; a sealed one is said to be."""
    if split == "test" != shipped.latest():
        return f"**{TITLES[split]}:** {shipped.seal()} (docs/protocol.md)."
    table, p, rule = shipped.predictions(split)
    grade, group = table.grade.to_numpy(), table.group.to_numpy()
    scores, grades, sets = scored((table, p, rule)), per_grade(grade, p), coverage_by_grade(p, grade, group, rule["conformal"])
    first = markdown(("score", "value", "95 % interval, patients resampled"), [(label, f"{scores[key]['value']:.3f}", f"{scores[key]['low']:.3f} to {scores[key]['high']:.3f}") for key, label in SHOWN.items()])
    rows = [(k, found["n"], *(f"{found[s]:.3f}" for s in ("precision", "recall", "f1")), f"{sets[k]['coverage']:.3f}", f"{sets[k]['size']:.2f}") for k, found in grades.items()]
    second = markdown(("grade", "films", "precision", "recall", "F1", "coverage of the 90 % sets", "grades in a set"), rows)
    said = "They also chose the epoch and fitted temperature, thresholds and sets, which flatters every figure here." if split == "val" else f"The official test: {shipped.seal()}."
    said += f"\n\n{against_the_protocol(docs='')}" if split == "test" else ""
    return f"**{TITLES[split]}** ({len(table)}). {said}\n\n{first}\n\n{_calibration(p, grade, group)}\n\n{second}"


def _calibration(p: np.ndarray, grade: np.ndarray, group: np.ndarray) -> str:
    """Whether the ECE is more than so many films would show by chance, and slope and intercept of P(KL >= 2)."""
    chance, fitted = ece_if_calibrated(p), slope_intercept(p, grade, group)
    slope, intercept = (interval(fitted[name], 2) for name in ("slope", "intercept"))
    return (f"Right probabilities would show so many films an expected calibration error of {chance['low']:.3f} to {chance['high']:.3f}. "
            f"Calibration of P(KL >= 2): slope {slope}, 1 is right; intercept {intercept}, 0 is right (docs/statistics.md).")
