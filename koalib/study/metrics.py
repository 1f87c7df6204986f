"""Scores of five-grade predictions, with intervals that resample patients.

Every score is a function of sums over films: the confusion counts, the squared errors, the calibration bins.
So one resample of patients is one row of weights, 10,000 resamples are one matrix product, and the point
estimate is the same formula with all weights one.

Averaging: ``macro_*`` is the plain mean over the grades that occur in the truth; a grade that is never
predicted has precision 0. Intervals: 95 % percentile bootstrap over patients or duplicate groups
(Efron & Tibshirani 1993, chapter 13; for clusters Field & Welsh 2007, doi 10.1111/j.1467-9868.2007.00593.x).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from koalib.errors import UserError

N_GRADES = 5
ECE_BINS = 15
REPORTED = (
    "accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1",
    "qwk", "mae", "auc_kl2", "brier", "rps", "ece",
)
BY_RULE = ("accuracy", "balanced_accuracy", "macro_f1", "qwk", "mae", "sensitivity_kl2", "specificity_kl2")  #: shown for each rule of decision
FOUR_SCORES = ("accuracy", "macro_precision", "macro_recall", "macro_f1")  #: their mean is what the thesis reports
_GRADES = np.arange(N_GRADES)
_DISTANCE = np.abs(_GRADES[:, None] - _GRADES)
_CELLS = N_GRADES * N_GRADES
_CHUNK = 500  # resamples whose film weights are held at once: bounds the memory of the AUC

Decision = str | Sequence[float]


def expected_grade(p: np.ndarray) -> np.ndarray:
    """Mean grade of each film's distribution: (N, 5) -> (N,) in [0, 4]."""
    return np.asarray(p, dtype=float) @ _GRADES


def decide(p: np.ndarray, decision: Decision = "argmax") -> np.ndarray:
    """Grades (N,) from probabilities (N, 5).

    Args:
        decision: ``argmax``, ``expected`` (the mean grade, rounded half up), or four rising thresholds on the mean grade.
    """
    if isinstance(decision, str):
        if decision == "argmax":
            return np.argmax(p, axis=1)
        if decision != "expected":
            raise UserError(f"decision {decision!r}: choose argmax, expected or four thresholds on the expected grade")
        decision = (0.5, 1.5, 2.5, 3.5)
    thresholds = np.asarray(decision, dtype=float)
    if thresholds.shape != (N_GRADES - 1,) or np.any(np.diff(thresholds) < 0):
        raise UserError(f"thresholds {list(thresholds)}: {N_GRADES - 1} rising numbers are needed")
    return np.searchsorted(thresholds, expected_grade(p), side="right")


def check_predictions(grade: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two as arrays of int (N,) and float (N, 5).

    Raises:
        UserError: no films, shapes that do not fit, grades outside 0-4, or rows that are no distributions.
    """
    grade, p = np.asarray(grade), np.asarray(p, dtype=float)
    if grade.ndim != 1 or not len(grade):
        raise UserError(f"grades of shape {grade.shape}: one grade a film and at least one film are needed")
    if p.shape != (len(grade), N_GRADES):
        raise UserError(f"probabilities of shape {p.shape}: {len(grade)} films need ({len(grade)}, {N_GRADES})")
    if not np.isin(grade, _GRADES).all():
        raise UserError(f"grades {sorted(set(np.unique(grade)) - set(_GRADES))}: Kellgren-Lawrence grades are 0 to 4; correct the labels")
    if not np.isfinite(p).all() or p.min() < -1e-9 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise UserError("probabilities: every row must be finite, not negative and sum to 1 (are these logits?)")
    return grade.astype(int), p


def confusion(grade: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Counts (5, 5): the row is the true grade, the column the decided one."""
    cells = N_GRADES * np.asarray(grade, dtype=int) + np.asarray(decided, dtype=int)
    return np.bincount(cells, minlength=_CELLS).reshape(N_GRADES, N_GRADES)


def from_confusion(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Every score that the confusion counts decide, for any stack of them (..., 5, 5); undefined ones are NaN.

    Quadratic weighted kappa: Cohen 1968, doi 10.1037/h0026256. Its expected counts come from the two margins.
    """
    counts = np.asarray(counts, dtype=float)
    truth, decided, hits = counts.sum(-1), counts.sum(-2), np.diagonal(counts, axis1=-2, axis2=-1)
    n = truth.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hits / truth
        precision = hits / np.maximum(decided, 1e-300)
        f1 = 2 * hits / (truth + decided)
        occurs = truth > 0

        def macro(by_grade: np.ndarray) -> np.ndarray:
            return np.where(occurs, by_grade, 0).sum(-1) / occurs.sum(-1)

        squared = _DISTANCE**2
        by_chance = np.einsum("...i,ij,...j->...", truth, squared, decided) / n
        scores = {
            "accuracy": hits.sum(-1) / n,
            "balanced_accuracy": macro(recall),
            "macro_precision": macro(precision),
            "macro_recall": macro(recall),
            "macro_f1": macro(f1),
            "qwk": 1 - (counts * squared).sum((-2, -1)) / by_chance,
            "mae": (counts * _DISTANCE).sum((-2, -1)) / n,
            "one_off": (counts * (_DISTANCE <= 1)).sum((-2, -1)) / n,
            "sensitivity_kl2": counts[..., 2:, 2:].sum((-2, -1)) / truth[..., 2:].sum(-1),
            "specificity_kl2": counts[..., :2, :2].sum((-2, -1)) / truth[..., :2].sum(-1),
        }
    scores["four_scores"] = sum(scores[name] for name in FOUR_SCORES) / len(FOUR_SCORES)
    for name, by_grade in (("precision", precision), ("recall", recall), ("f1", f1)):
        scores |= {f"{name}_{k}": by_grade[..., k] for k in _GRADES}
    return scores


def film_losses(grade: np.ndarray, p: np.ndarray) -> dict[str, np.ndarray]:
    """Proper scores of each film, (N,), 0 is best.

    ``brier``: squared distance of p from the truth's unit vector, 0 to 2 (Brier 1950).
    ``rps``: ranked probability score, the mean over KL >= 1 ... 4 of the squared error of that probability,
    0 to 1 (Epstein 1969, divided by the four cuts).
    """
    truth = np.eye(N_GRADES)[grade]
    cuts = (p - truth).cumsum(axis=1)[:, :-1]
    return {"brier": ((p - truth) ** 2).sum(axis=1), "rps": (cuts**2).mean(axis=1)}


def _film_sums(grade: np.ndarray, p: np.ndarray, decisions: dict[str, np.ndarray]) -> np.ndarray:
    """What is summed over films, (N, F): a confusion cell a decision, brier, rps, and the gap in its calibration bin."""
    rows = np.arange(len(grade))
    columns = []
    for decided in decisions.values():
        cell = np.zeros((len(grade), _CELLS))
        cell[rows, N_GRADES * grade + decided] = 1
        columns.append(cell)
    columns += [loss[:, None] for loss in film_losses(grade, p).values()]
    top = p.max(axis=1)
    gap = np.zeros((len(grade), ECE_BINS))
    gap[rows, np.minimum((top * ECE_BINS).astype(int), ECE_BINS - 1)] = (p.argmax(axis=1) == grade) - top
    return np.hstack([*columns, gap])


def _from_sums(sums: np.ndarray, decisions: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores of any stack of sums (..., F). ECE: Guo 2017 (arXiv 1706.04599), 15 bins of equal width on the largest p."""
    scores = {}
    for i, suffix in enumerate(decisions):
        counts = sums[..., i * _CELLS : (i + 1) * _CELLS].reshape(*sums.shape[:-1], N_GRADES, N_GRADES)
        scores |= {name + suffix: value for name, value in from_confusion(counts).items()}
    brier, rps, gaps = np.split(sums[..., len(decisions) * _CELLS :], (1, 2), axis=-1)
    n = counts.sum((-2, -1))
    return scores | {"brier": brier[..., 0] / n, "rps": rps[..., 0] / n, "ece": np.abs(gaps).sum(-1) / n}


def _auc(score: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted areas under the ROC curve, (B,): a tie counts half. ``weights`` is (B, N)."""
    order = np.argsort(score[~positive], kind="stable")
    negatives = score[~positive][order]
    below = np.zeros((len(weights), len(negatives) + 1))
    np.cumsum(weights[:, ~positive][:, order], axis=1, out=below[:, 1:])
    cases, first, last = weights[:, positive], *(np.searchsorted(negatives, score[positive], s) for s in ("left", "right"))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (cases * (below[:, first] + below[:, last])).sum(1) / (2 * cases.sum(1) * below[:, -1])


def _decisions(p: np.ndarray, decision: Decision, tuned: np.ndarray | None) -> dict[str, np.ndarray]:
    """The rules scored beside each other, by the suffix of their names."""
    rules = {"": decide(p, decision), "_expected": decide(p, "expected")}
    return rules if tuned is None else rules | {"_tuned": np.asarray(tuned, dtype=int)}


def scores(grade: np.ndarray, p: np.ndarray, decision: Decision = "argmax", tuned: np.ndarray | None = None) -> dict[str, float]:
    """All scores of N films.

    Args:
        grade: the truth, (N,) in 0-4.
        p: probabilities, (N, 5).
        decision: the rule behind the plain names, see `decide`; ``*_expected`` is always the rounded expected grade.
        tuned: grades (N,) decided with thresholds fitted elsewhere; adds the ``*_tuned`` names.

    Returns:
        n and the scores by name; what the films leave undefined (no film at KL >= 2, say) is NaN.
    """
    grade, p = check_predictions(grade, p)
    rules = _decisions(p, decision, tuned)
    found = _from_sums(_film_sums(grade, p, rules).sum(axis=0), rules)
    found["auc_kl2"] = _auc(p[:, 2:].sum(axis=1), grade >= 2, np.ones((1, len(grade))))[0]
    return {"n": len(grade)} | {name: float(value) for name, value in found.items()}


def group_codes(groups: np.ndarray, n: int) -> np.ndarray:
    """Groups (any labels) as codes 0..G-1, one a film; raises UserError where their number is not n."""
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(codes) != n:
        raise UserError(f"{len(codes)} groups for {n} films: every film needs its patient or duplicate group")
    return codes


def resampling_weights(n_groups: int, n: int, seed: int) -> np.ndarray:
    """How often each group was drawn in each of n resamples with replacement: (n, n_groups), rows sum to n_groups."""
    rng, weights = np.random.default_rng(seed), np.empty((n, n_groups))
    for row in weights:  # row by row: a matrix of draws beside that of counts would double the memory
        row[:] = np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups)
    return weights


def by_group(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Sums (G, F) of film values (N, F) over their groups."""
    sums = np.zeros((codes.max() + 1, values.shape[1]))
    np.add.at(sums, codes, values)
    return sums


def resampled_scores(
    grade: np.ndarray, p: np.ndarray, groups: np.ndarray, weights: np.ndarray,
    decision: Decision = "argmax", tuned: np.ndarray | None = None, only: Collection[str] | None = None,
) -> dict[str, np.ndarray]:
    """`scores` of each resample, (B,) by name. Films that share a group are drawn together; ``weights`` is (B, G).

    Args:
        only: names of the scores that are wanted, all by default; most of the time goes into ``auc_kl2``.
    """
    grade, p = check_predictions(grade, p)
    codes, rules = group_codes(groups, len(grade)), _decisions(p, decision, tuned)
    found = _from_sums(weights @ by_group(_film_sums(grade, p, rules), codes), rules)
    if only is None or "auc_kl2" in only:
        chunks = (weights[i : i + _CHUNK, codes] for i in range(0, len(weights), _CHUNK))
        found["auc_kl2"] = np.concatenate([_auc(p[:, 2:].sum(axis=1), grade >= 2, chunk) for chunk in chunks])
    return found if only is None else {name: found[name] for name in only}


def percentile_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled values (B,); resamples where the score is undefined are left out."""
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def without_bias(values: np.ndarray, value: float) -> np.ndarray:
    """Resampled values (B,) less the bias that resampling adds, its bootstrap estimate, mean - value; not below 0.

    For the ECE: it sums absolute gaps, so noise alone makes it larger, and resampling adds noise to noise; uncorrected,
    its percentiles can lie above the value itself. Efron & Tibshirani 1993, section 10.2.
    """
    return np.maximum(values - (np.mean(values) - value), 0.0)


def bootstrap(
    grade: np.ndarray, p: np.ndarray, groups: np.ndarray, n: int = 10_000, seed: int = 0,
    decision: Decision = "argmax", tuned: np.ndarray | None = None,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of every score by resampling groups (patients, duplicate groups) n times.

    That of ``ece`` is for the ECE one expects of so many films, which is above 0 for a perfect model: see
    `koalib.study.calibration.ece_if_calibrated`.

    Args:
        grade, p, decision, tuned: as in `scores`.
        groups: (N,) any labels; films of one group are drawn together.
    """
    codes = group_codes(groups, len(np.asarray(grade)))
    weights = resampling_weights(codes.max() + 1, n, seed)
    resampled = resampled_scores(grade, p, codes, weights, decision, tuned)
    resampled["ece"] = without_bias(resampled["ece"], scores(grade, p)["ece"])
    return {name: percentile_interval(values) for name, values in resampled.items()}


def summary(
    grade: np.ndarray, p: np.ndarray, groups: np.ndarray, n: int = 10_000, seed: int = 0,
    decision: Decision = "argmax", tuned: np.ndarray | None = None,
) -> dict[str, dict[str, float | None]]:
    """Every score as {"value", "low", "high"}, as the ledger keeps it; None where undefined."""
    values = scores(grade, p, decision, tuned)
    intervals = bootstrap(grade, p, groups, n, seed, decision, tuned)
    return {
        name: {"value": _json(values[name]), "low": _json(low), "high": _json(high)}
        for name, (low, high) in intervals.items()
    }


def per_grade(grade: np.ndarray, p: np.ndarray, decision: Decision = "argmax") -> dict[str, dict[str, float]]:
    """Films, precision, recall and F1 of each grade: {"0": {"n", "precision", "recall", "f1"}, ...}."""
    found, counts = scores(grade, p, decision), np.bincount(grade, minlength=N_GRADES)
    return {
        str(k): {"n": int(counts[k])} | {name: found[f"{name}_{k}"] for name in ("precision", "recall", "f1")}
        for k in range(N_GRADES)
    }


def evaluation(grade: np.ndarray, p: np.ndarray, groups: np.ndarray, n: int = 10_000, seed: int = 0, tuned: np.ndarray | None = None) -> dict:
    """The document of ``koalib evaluate --json``: scores of argmax, ``*_expected`` and ``*_tuned`` beside them, ``intervals``, ``per_grade``, ``confusion``.

    It holds only what JSON knows: an undefined number is None. ``tuned``: as in `scores`.
    """
    grade, p = check_predictions(grade, p)
    table = summary(grade, p, groups, n, seed, tuned=tuned)
    grades = per_grade(grade, p)
    for k, row in grades.items():
        row["intervals"] = {name: [table[f"{name}_{k}"][end] for end in ("low", "high")] for name in ("precision", "recall", "f1")}
    rules = ("", "_expected") if tuned is None else ("", "_expected", "_tuned")
    names = dict.fromkeys((*REPORTED, *(name + rule for rule in rules for name in BY_RULE)))
    return {
        "n": len(grade),
        **{name: table[name]["value"] for name in names},
        "intervals": {name: [table[name]["low"], table[name]["high"]] for name in names},
        "per_grade": {k: {name: v if isinstance(v, dict) else _json(v) for name, v in row.items()} for k, row in grades.items()},
        "confusion": confusion(grade, decide(p)).tolist(),
    }


def _json(value: float) -> float | int | None:
    """A number as JSON has it: NaN becomes None."""
    return value if isinstance(value, int) else float(value) if np.isfinite(value) else None
