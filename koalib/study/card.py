"""The figures of docs/model_card.md: who was in, how the shipped grader scores, from its own file and its run's record."""

from __future__ import annotations

from koalib.model.checkpoints import read_checkpoint
from koalib.paths import ROOT
from koalib.study import ledger, shipped
from koalib.study.calibration import temper
from koalib.study.conformal import coverage_by_grade
from koalib.study.metrics import per_grade, summary
from koalib.study.tables import markdown

CARD = ROOT / "docs" / "model_card.md"
SHOWN = {"accuracy": "accuracy (argmax)", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "qwk": "quadratic weighted kappa (argmax)",
         "qwk_expected": "quadratic weighted kappa (rounded expected grade)", "mae": "mean absolute error, grades", "auc_kl2": "AUC, KL >= 2",
         "sensitivity_kl2": "sensitivity, KL >= 2", "specificity_kl2": "specificity, KL >= 2", "brier": "Brier score", "rps": "ranked probability score",
         "ece": "expected calibration error"}


def card_block() -> str:
    """The computed part of the card, or one line while no grader is shipped."""
    record = shipped.shipped_record()
    if record is None:
        return "No grader is shipped yet."
    _, metadata = read_checkpoint(shipped.GRADER)
    study, name = shipped.STUDY, record["name"]
    films = ", ".join(f"{count} {role}" for role, count in record["films"].items())
    rule = metadata["decision"]
    head = (f"* Network {metadata['model']}, films of {metadata['size']} px, start {record['pretrained_source']}; run `{study}/{record['shipped_from']}`.\n"
            f"* Films of {record['data']['name']}: {films}. No patient is in two of them.\n"
            f"* File of {shipped.GRADER.stat().st_size / 2**20:.1f} MB in half precision. Temperature {rule['temperature']:.3f}, conformal threshold {rule['conformal']:.3f}, "
            f"thresholds on the expected grade {', '.join(f'{t:.2f}' for t in rule['thresholds'])}: all fitted on the validation films.")
    return "\n\n".join([head, *(_split(study, name, split, rule) for split in ("val", "test"))])


def _split(study: str, name: str, split: str, rule: dict) -> str:
    """Scores, grades and prediction sets of one split; a sealed one is said to be."""
    if split == "test" and not ledger.unsealed(study):
        return "**Official test films:** sealed. They were predicted when the run ended, and nobody has looked (docs/protocol.md)."
    table = ledger.read_predictions(study, name, split)
    grade, group = table.grade.to_numpy(), table.group.to_numpy()
    p = temper(ledger.probabilities(table), rule["temperature"])
    scores, grades, sets = summary(grade, p, group), per_grade(grade, p), coverage_by_grade(p, grade, group, rule["conformal"])
    title = {"val": "Validation films, which also chose the epoch and fitted temperature and sets: flattering", "test": "Official test films"}[split]
    first = markdown(("score", "value", "95 % interval, patients resampled"), [(label, f"{scores[key]['value']:.3f}", f"{scores[key]['low']:.3f} to {scores[key]['high']:.3f}") for key, label in SHOWN.items()])
    rows = [(k, found["n"], *(f"{found[s]:.3f}" for s in ("precision", "recall", "f1")), f"{sets[k]['coverage']:.3f}", f"{sets[k]['size']:.2f}") for k, found in grades.items()]
    second = markdown(("grade", "films", "precision", "recall", "F1", "coverage of the 90 % sets", "grades in a set"), rows)
    return f"**{title}** ({len(table)} films)\n\n{first}\n\n{second}"
