"""The thesis's claims, each answered from the ledger: our figure with its interval, on what, from how many runs, and the verdict.

The rules stand in `koalib.study.verdicts` and docs/protocol.md; nothing here decides, and nothing is typed in.
A verdict is given when every planned run of the contrast is recorded, not before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from koalib.study import curves, mechanism, races
from koalib.study.comparisons import arm, made, modules, planned, stack
from koalib.study.experiments import LITE0
from koalib.study.runner import recorded
from koalib.study.stats import Difference, holm
from koalib.study.style import signed
from koalib.study.verdicts import PRIMARY, claim_verdict, first_of_its_kind, modules_moved

CONVNEXT_T, CONVWGCNET_T = "convnext_tiny.fb_in1k/imagenet", "convwgcnet_tiny/imagenet"
RIVALS_T = tuple(f"{model}/imagenet" for model in ("resnet50.a1_in1k", "mobilevit_s.cvnets_in1k", "vgg16.tv_in1k", "mobilenetv3_large_100.ra_in1k", "swin_tiny_patch4_window7_224.ms_in1k", "densenet121.ra_in1k"))
STAND_IN = "convnext_atto/from_chen2018"
RIVALS = tuple(f"{model}/from_chen2018" for model in ("resnet18", "mobilevit_xs", "densenet121", "deit_tiny_patch16_224", "mobilenetv3_large_100"))
ATTO = "convwgcnet_atto"
NEITHER, GCT, WAVELET, BOTH = TWO_BY_TWO_ARMS = tuple(f"{ATTO}/{name}" for name in ("neither", "gct", "wavelet", "both"))
ON_ATTO = "stand-in ConvNeXt-Atto, pretrained on chen2018: "
REPEATED = "repeated with fresh seeds (secondary)"
ON_LITE = "again in ablation B, EfficientNet-Lite0 on chen2018, accuracy (secondary)"
LEARNT = 0.2  #: validation QWK ("slight agreement" ends here, Landis & Koch 1977) under which a network is said to have learnt next to nothing
GAIN = {BOTH: 1.0, NEITHER: -1.0}
SYNERGY = {BOTH: 1.0, GCT: -1.0, WAVELET: -1.0, NEITHER: 1.0}
GAIN_R, SYNERGY_R = ({f"{name}_again": weight for name, weight in coefficients.items()} for coefficients in (GAIN, SYNERGY))
GAIN_B, SYNERGY_B = ({name.replace(ATTO, LITE0): weight for name, weight in coefficients.items()} for coefficients in (GAIN, SYNERGY))
BESIDE = {  # what C5's gain is owed to, and whether it and C6's synergy come back: study, coefficients, score, words
    "C5": (
        ("ablation", {BOTH: 1.0, f"{ATTO}/unshuffle": -1.0}, "four_scores", "over a branch as large without wavelets (exploratory)"),
        ("architectures", {f"{ATTO}/from_chen2018": 1.0, STAND_IN: -1.0}, "four_scores", "with the modules from the first training on (exploratory)"),
        ("ablation", GAIN_R, "four_scores", REPEATED),
        ("ablation", GAIN_B, "accuracy", ON_LITE),
    ),
    "C6": (("ablation", SYNERGY_R, "four_scores", REPEATED), ("ablation", SYNERGY_B, "accuracy", ON_LITE)),
}


@dataclass(frozen=True)
class Answer:
    """What the ledger says about a claim.

    value, low, high are NaN while nothing is recorded. They are shares where ``unit`` is ``percent`` or ``points``
    (0.024 is 2.4 points), ratios where it is ``times``, binary logarithms of ratios where it is ``doublings``. ``reason``
    says why nothing may be judged, ``a_a`` is the size of the reference arm's difference from itself (a logarithm where
    the unit is ``times``; infinite where it could not be taken; NaN where none is asked for), ``adjusted`` Holm's p-value
    among ``family`` primary contrasts (NaN and 0 where the claim is none of them).
    """

    claim: str
    measured: str
    verdict: str = ""
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    unit: str = "points"
    films: str = ""
    runs: int = 0
    planned: int = 0
    seeds: int = 0
    note: str = ""
    p: float = math.nan
    adjusted: float = math.nan
    family: int = 0
    a_a: float = math.nan
    reason: str = ""


def answers() -> list[Answer]:
    """All claims in their order."""
    novelty, precedent = first_of_its_kind()
    return _judge([
        _level("C1", CONVNEXT_T, "architectures", STAND_IN),
        _speed(),
        _lead(),
        _level("C4", CONVWGCNET_T, "ablation", BOTH),
        _contrast("C5", "ablation", GAIN, "four_scores", ON_ATTO + "mean of the four scores, both modules - neither", reference=NEITHER, note=_beside("C5")),
        _contrast("C6", "ablation", SYNERGY, "four_scores", ON_ATTO + "interaction of gates and wavelets, mean of the four scores", reference=NEITHER, note=_beside("C6")),
        _mechanism("C7", ("noise",), "QWK kept under noise, with wavelets - without", WAVELET, "branch"),
        _mechanism("C7", ("bands", "all"), "first stage's energy inside the joint over outside, with wavelets - without", WAVELET, "branch", "doublings"),
        _mechanism("C8", ("localisation",), "energy of Grad-CAM in the lesion, with gates - without", GCT, "gate"),
        Answer("C9", "the system of notebook 07, driven through a browser by its test", "rebuilt and tested here, not measured"),
        Answer("C10", "dated public works before the thesis", novelty, note=precedent),
        *(_contrast("C11", "ablation", GAIN, f"{name}_kl2", f"{ON_ATTO}{name} for KL >= 2, both modules - neither (secondary, not corrected)", reference=NEITHER) for name in ("sensitivity", "specificity")),
    ])


def amount(answer: Answer) -> str:
    """An answer's value with its 95 % interval in its unit, or a dash while nothing is recorded."""
    if math.isnan(answer.value):
        return "-"
    if answer.unit == "times":
        high = "no upper bound" if math.isinf(answer.high) else f"{answer.high:.1f}"
        return f"{answer.value:.1f} times ({answer.low:.1f} to {high})"
    if answer.unit == "doublings":
        return f"{signed(answer.value, 2)} doublings ({signed(answer.low, 2)} to {signed(answer.high, 2)})"
    if answer.unit == "percent":
        return f"{100 * answer.value:.1f} % ({100 * answer.low:.1f} to {100 * answer.high:.1f})"
    return f"{signed(100 * answer.value)} points ({signed(100 * answer.low)} to {signed(100 * answer.high)})"


def _judge(found: list[Answer]) -> list[Answer]:
    """Give each answer the protocol's words: missing runs first, then reasons, then interval, Holm's p and A/A.

    A primary claim that still waits for its runs counts in Holm's family as if its p were 1, so that its coming takes
    no verdict back. One that is not tested is out of the family (docs/protocol.md); where it is tested some day, the family
    grows, and every p is adjusted anew.
    """
    family = {a.claim: a.p if _complete(a) else 1.0 for a in found if a.claim in PRIMARY and not a.reason}
    adjusted, judged = holm(family), []
    for a in found:
        if a.claim in family and _complete(a):
            a = replace(a, adjusted=adjusted[a.claim], family=len(family))
        if a.verdict:
            judged.append(a)
        elif not _complete(a) and not a.reason:
            judged.append(replace(a, verdict=not_run_yet(a.runs, a.planned) if a.runs < a.planned else "not measured yet"))
        else:
            size = abs(math.log(a.value)) if a.unit == "times" and a.value > 0 else abs(a.value)
            judged.append(replace(a, verdict=claim_verdict(a.claim, a.low, a.high, a.reason, adjusted.get(a.claim), size <= a.a_a)))
    return judged


def _complete(answer: Answer) -> bool:
    """Whether all runs are recorded and the figure is taken."""
    return answer.runs >= answer.planned and not math.isnan(answer.value)


def not_run_yet(made: int, of: int) -> str:
    """The verdict of a claim whose runs are not all recorded."""
    return f"not run yet ({made} of {of} runs)"


def _answer(claim: str, study: str, arms: Sequence[str], found: Difference | curves.Speedup | None, measured: str, **more: object) -> Answer:
    """The answer of a contrast, not yet judged."""
    numbers = {"value": found.value, "low": found.low, "high": found.high, "p": found.p, "seeds": getattr(found, "seeds", 0)} if found else {}
    return Answer(claim, measured, runs=made(study, arms), planned=planned(study, arms), **numbers, **more)


def _contrast(claim: str, study: str, coefficients: dict[str, float], score: str, measured: str, reason: str = "", unit: str = "points", reference: str = "", note: str = "") -> Answer:
    """The answer of a linear contrast between arms on the films that all of them graded; ``reference`` is the A/A arm."""
    found = stack(study, list(coefficients))
    difference = found.contrast(coefficients, (score,))[score] if found else None
    reason = reason or _still(study, list(coefficients))
    return _answer(claim, study, list(coefficients), difference, measured, reason=reason, films=found.data if found else "", unit=unit, note=note, a_a=_same_arm(study, reference, score))


def _beside(claim: str) -> str:
    """What else is known of C5 and C6, in words: of each contrast of ``BESIDE`` that is recorded whole and whose modules moved."""
    found = {words: _contrast(claim, study, coefficients, score, words) for study, coefficients, score, words in BESIDE[claim]}
    return "; ".join(f"{words}, {a.seeds} seed{'s' * (a.seeds > 1)}: {amount(a)}" for words, a in found.items() if _complete(a) and not a.reason)


def _same_arm(study: str, reference: str, score: str) -> float:
    """Size of an arm's difference from itself between seeds; infinite while it has a single one, NaN where no arm is named."""
    if not reference:
        return math.nan
    found = stack(study, [reference])
    itself = found.against_itself(reference, (score,)) if found else {}
    return abs(itself[score].value) if itself else math.inf


def _level(claim: str, wanted: str, study: str, stand_in: str) -> Answer:
    """A claimed accuracy: of the thesis's own model where it was run, else of its stand-in, as context without a verdict."""
    if made("architectures", [wanted]):
        return _contrast(claim, "architectures", {wanted: 1.0}, "accuracy", f"accuracy of {wanted}", unit="percent")
    needs = arm("architectures", wanted).needs
    return _contrast(claim, study, {stand_in: 1.0}, "accuracy", f"stand-in {stand_in}: accuracy", needs, "percent")


def _lead() -> Answer:
    """C3: ConvNeXt's accuracy minus the mean of the others', all from the same start."""
    here = made("architectures", [CONVNEXT_T]) > 0
    model, rivals = (CONVNEXT_T, RIVALS_T) if here else (STAND_IN, RIVALS)
    reason = "" if here else arm("architectures", CONVNEXT_T).needs
    coefficients = {model: 1.0} | {name: -1.0 / len(rivals) for name in rivals}
    return _contrast("C3", "architectures", coefficients, "accuracy", f"{'' if here else 'stand-in '}{model} - mean of {len(rivals)} others, accuracy", reason, reference=model,
                     note="" if here else _lame(rivals))


def _lame(arms: Sequence[str]) -> str:
    """Which of these arms start from a run that learnt next to nothing, in words: a lead over them says little."""
    look, found = recorded("architectures"), {}
    for name in arms:
        record = look(arm("architectures", name).after.run_name)
        if record and record["scores"]["val"]["qwk"]["value"] < LEARNT:
            found[name.split("/")[0]] = record["scores"]["val"]["qwk"]["value"]
    names = " and ".join(f"{name} (QWK {kappa:.2f})" for name, kappa in found.items())
    return f"of the others, {names} had learnt next to nothing on chen2018" if found else ""


def _speed() -> Answer:
    """C2: epochs to the same validation QWK, scratch over pretrained."""
    arms, found, again = [races.SCRATCH, races.IMAGENET], races.race(), races.against_itself()
    note = "lower bound: a run from scratch never arrived" if found and found.at_least else ""
    reason = found.why if found and made("transfer", arms) >= planned("transfer", arms) else ""
    seen = again and again.value > 0 and not again.at_least  # a run of either seed that missed the line leaves no A/A to be larger than
    return _answer("C2", "transfer", arms, found, "EfficientNet-Lite0, epochs to 95 % of the worse arm's best validation QWK, scratch / pretrained", unit="times", note=note, reason=reason,
                   films=f"gornale2020, {found.pairs} pairs of runs" if found else "", a_a=abs(math.log(again.value)) if seen else math.inf)


def _mechanism(claim: str, place: tuple[str, ...], measured: str, alone: str, part: str, unit: str = "points") -> Answer:
    """C7 and C8 from the recorded measurement of the saved models of the study ``mechanism``; ``place`` is where in it.

    The claim needs its own ``part`` to have moved, in the arm that has it ``alone`` and in both together.
    """
    taken = mechanism.measurement()
    for key in place:
        taken = taken.get(key, {})
    found = Difference(taken["value"], taken["low"], taken["high"], math.nan, taken["seeds"]) if taken else None
    return _answer(claim, "mechanism", TWO_BY_TWO_ARMS, found, f"ConvNeXt-Atto trained on phantoms: {measured}", films="phantom" if found else "", unit=unit,
                   reason=_still("mechanism", (alone, BOTH), (part,)), a_a=taken["a_a"] if found and taken["a_a"] is not None else math.inf)


def _still(study: str, arms: Sequence[str], parts: Sequence[str] = ("gate", "branch")) -> str:
    """Why a contrast of these arms may not be judged: the first arm whose modules did not move, of the ``parts`` it needs, once all runs are recorded.

    A run that does not say how far its modules moved counts as one where they did not.
    """
    if made(study, arms) < planned(study, arms):
        return ""
    moved = modules(study)
    for name in arms:
        options = arm(study, name).experiment
        has = {"gate": options.gct, "branch": options.wavelet}
        still = modules_moved(**{part: moved[part].get(name, math.nan) for part in parts if has[part] not in (None, "none")})
        if still:
            return f"{name.split('/')[1]}: {still}"
    return ""
