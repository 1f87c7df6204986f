"""What is said of each claim, decided before looking (docs/protocol.md): rules, claims and thresholds as data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from koalib.errors import UserError

HOLDS = "holds"
SMALLER = "smaller than claimed"
INCONCLUSIVE = "inconclusive"
FAILS = "does not hold as stated"
REVERSED = "the opposite is seen"
EXCEEDS = "exceeds the claim"
NOT_TESTED = "not tested here"

PRIMARY = ("C2", "C3", "C5", "C6")  #: the family that Holm's correction is made over
ALPHA = 0.05
GATE_MOVED = 0.01  #: mean |gamma| from which a gate counts as moved: its factor 1 + tanh(gamma n) is then about 1 % from 1
BRANCH_MOVED = 0.01  #: energy of the wavelet branch over that of the base, from which the branch counts as moved: a tenth in amplitude


@dataclass(frozen=True)
class Claim:
    """A claim of the thesis, as its abstract makes it."""

    id: str
    text: str
    thesis: str  #: the thesis's figure, in its words
    claimed: tuple[float, float] | None = None  #: lowest and highest value that count as the claimed one, in the unit of the contrast
    null: float = 0.0  #: the value that would mean "no effect"
    study: str = ""  #: study of the ledger that answers it


@dataclass(frozen=True)
class Precedent:
    """A dated public work that did what a claim calls new."""

    date: str  #: ISO 8601
    what: str
    where: str  #: its address


THESIS_YEAR = 2025
PRECEDENTS = (
    Precedent("2023-06-27", "ConvNeXt-Tiny graded knee osteoarthritis in a public application (history of its files)", "https://huggingface.co/spaces/LightFury9/knee_osteoarthritis_classification"),
)  #: for C10; a search may add to it, and one is enough

CLAIMS = {claim.id: claim for claim in (
    Claim("C1", "ConvNeXt-T with transfer learning on Knee X-ray Images: accuracy", "86.3 %", (0.863, 0.863), 0.2, "architectures"),
    Claim("C2", "Transfer learning makes training converge faster", "2-3 times", (2.0, 3.0), 1.0, "transfer"),
    Claim("C3", "ConvNeXt-T leads ResNet, MobileViT and other common classifiers in mean accuracy", "about 10 points", (0.10, 0.10), 0.0, "architectures"),
    Claim("C4", "ConvWGCNet: accuracy, precision, recall, F1", "88.7 / 88.9 / 88.4 / 89.1 %", (0.887, 0.887), 0.2, "ablation"),
    Claim("C5", "ConvWGCNet gains over the baseline, mean of the four scores", "+2.4 points", (0.024, 0.024), 0.0, "ablation"),
    Claim("C6", "Wavelet and channel attention together beat either alone", "significantly", None, 0.0, "ablation"),
    Claim("C7", "The wavelet path suppresses high-frequency noise and strengthens the response to the joint", "qualitative", None, 0.0, "mechanism"),
    Claim("C8", "The gated channel transformation improves the localisation of the lesion", "qualitative", None, 0.0, "mechanism"),
    Claim("C9", "A browser-server system runs the whole flow from import to stored report", "chapter 5"),
    Claim("C10", "ConvNeXt is brought to the diagnosis of knee osteoarthritis for the first time", "novelty"),
    Claim("C11", "Fewer misdiagnoses and missed diagnoses", "qualitative", None, 0.0, "ablation"),
)}


def verdict(low: float, high: float, claimed: float | tuple[float, float] | None = None, null: float = 0.0) -> str:
    """The words for a 95 % interval, given what was claimed.

    Args:
        low, high: the interval of the contrast; an end may be infinite.
        claimed: the claimed value, or its range; None for a claim of direction only.
        null: the value of no effect, below the claimed one.

    Returns:
        with "above the null" meaning low > null, one of: `HOLDS` (above the null and meets the claimed value), `SMALLER`
        (above the null, wholly below it), `EXCEEDS` (wholly above it), `INCONCLUSIVE` (contains the null and reaches
        the claimed value), `FAILS` (contains the null, ends below it), `REVERSED` (wholly below the null),
        `NOT_TESTED` (there is no interval). A claim of direction holds above the null and is else inconclusive or reversed.
    """
    if math.isnan(low) or math.isnan(high):
        return NOT_TESTED
    if low > high:
        raise UserError(f"interval {low} to {high}: its lower end lies above its upper end")
    if high < null:
        return REVERSED
    if claimed is None:
        return HOLDS if low > null else INCONCLUSIVE
    least, most = claimed if isinstance(claimed, tuple) else (claimed, claimed)
    if not null < least <= most:
        raise UserError(f"claimed {least} to {most} with a null of {null}: the claim must lie above it")
    if low > null:
        return SMALLER if high < least else EXCEEDS if low > most else HOLDS
    return FAILS if high < least else INCONCLUSIVE


def claim_verdict(claim: str, low: float, high: float, not_tested: str = "", adjusted_p: float | None = None, within_noise: bool = False) -> str:
    """Verdict of a claim by its id.

    Args:
        low, high: 95 % interval of its primary contrast.
        not_tested: the reason why no interval may speak (weights, a module that did not move); it overrules all else.
        adjusted_p: Holm's p-value of the four primary contrasts, where the claim is one of them (C2, C3, C5, C6):
            what lies above the null counts only while it is below 0.05, and is else inconclusive.
        within_noise: the contrast is no larger than that of the reference arm with itself (A/A): also inconclusive.
    """
    if not_tested:
        return f"{NOT_TESTED}: {not_tested}"
    known = CLAIMS[claim]
    words = verdict(low, high, known.claimed, known.null)
    doubtful = within_noise or (adjusted_p is not None and not adjusted_p < ALPHA)
    return INCONCLUSIVE if doubtful and words in (HOLDS, SMALLER, EXCEEDS) else words


def modules_moved(gate: float | None = None, branch: float | None = None) -> str:
    """The reason why modules count as not moved, or nothing.

    Args:
        gate: mean |gamma| over all gates and channels, averaged over the runs of the arm; None without gates.
        branch: energy of the wavelet branch over the energy of the base convolution's output on validation films,
            median over blocks, averaged over runs; None without wavelets.
    """
    still = []
    if gate is not None and not gate >= GATE_MOVED:
        still.append(f"the gates did not move (mean |gamma| {gate:.4f} < {GATE_MOVED})")
    if branch is not None and not branch >= BRANCH_MOVED:
        still.append(f"the wavelet branch did not move (energy {branch:.4f} of the base < {BRANCH_MOVED})")
    return " and ".join(still)


def first_of_its_kind() -> tuple[str, str]:
    """C10: the verdict on "for the first time", and the precedent it rests on, in Markdown."""
    earlier = [p for p in PRECEDENTS if int(p.date[:4]) < THESIS_YEAR]
    if not earlier:
        return "not settled here", "no earlier work is known to us, which is no proof that there is none"
    first = min(earlier, key=lambda p: p.date)
    return FAILS, f"{first.date}: [{first.what}]({first.where})"  # a bare address would widen every table it stands in


def f1_bound(precision: float, recall: float) -> float:
    """The largest macro F1 that a macro precision and recall allow: their mean.

    For each grade F1 = 2PR/(P+R) <= (P+R)/2, and averaging keeps the inequality. C4's 89.1 lies above (88.9 + 88.4)/2.
    """
    return float(np.mean([precision, recall]))
