"""The thesis's claims, each answered from the ledger: our figure with its interval, on what, from how many runs, and the verdict.

The rules stand in `koalib.study.verdicts` and docs/protocol.md; nothing here decides, and nothing is typed in.
A verdict is given when every planned run of the contrast is recorded, not before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from koalib.study import curves, ledger
from koalib.study.comparisons import Stack, arm, arm_runs, planned, stack
from koalib.study.stats import Difference
from koalib.study.verdicts import CLAIMS, claim_verdict, modules_moved

CONVNEXT_T, CONVWGCNET_T = "convnext_tiny.fb_in1k/imagenet", "convwgcnet_tiny/imagenet"
RIVALS_T = tuple(f"{model}/imagenet" for model in ("resnet50.a1_in1k", "mobilevit_s.cvnets_in1k", "vgg16.tv_in1k", "mobilenetv3_large_100.ra_in1k", "swin_tiny_patch4_window7_224.ms_in1k", "densenet121.ra_in1k"))
STAND_IN = "convnext_atto/from_chen2018"
RIVALS = tuple(f"{model}/from_chen2018" for model in ("resnet18", "mobilevit_xs", "densenet121", "deit_tiny_patch16_224", "mobilenetv3_large_100", "vgg11_bn"))
NEITHER, GCT, WAVELET, BOTH = (f"convwgcnet_atto/{name}" for name in ("neither", "gct", "wavelet", "both"))
GAIN = {BOTH: 1.0, NEITHER: -1.0}
SYNERGY = {BOTH: 1.0, GCT: -1.0, WAVELET: -1.0, NEITHER: 1.0}


@dataclass(frozen=True)
class Answer:
    """What the ledger says about a claim.

    value, low, high are NaN while nothing is recorded. They are shares where ``unit`` is ``percent`` or ``points``
    (0.024 is 2.4 points), ratios where it is ``times``.
    """

    claim: str
    measured: str
    verdict: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    unit: str = "points"
    films: str = ""
    runs: int = 0
    planned: int = 0
    note: str = ""


def answers() -> list[Answer]:
    """All claims in their order."""
    return [
        _level("C1", CONVNEXT_T, "architectures", STAND_IN),
        _speed(),
        _lead(),
        _level("C4", CONVWGCNET_T, "ablation", BOTH),
        _contrast("C5", "ablation", GAIN, "four_scores", "mean of the four scores, both modules - neither", _still(BOTH)),
        _contrast("C6", "ablation", SYNERGY, "four_scores", "interaction of gates and wavelets, mean of the four scores", _still(BOTH)),
        _mechanism("C7", "noise", "QWK kept under noise, with wavelets - without"),
        _mechanism("C8", "localisation", "energy of Grad-CAM in the lesion, with gates - without"),
        Answer("C9", "the system of notebook 07, driven through a browser by its test", "rebuilt and tested here, not measured"),
        Answer("C10", "dated publications", "not settled here", note="no dated publication was checked; a search of the literature has to decide"),
        *(_contrast("C11", "ablation", GAIN, f"{name}_kl2", f"{name} for KL >= 2, both modules - neither", _still(BOTH)) for name in ("sensitivity", "specificity")),
    ]


def claims_table() -> pd.DataFrame:
    """One row an answer with the claim's own words and figure: for tables and notebooks."""
    return pd.DataFrame([{"id": a.claim, "text": CLAIMS[a.claim].text, "thesis": CLAIMS[a.claim].thesis, **{k: v for k, v in vars(a).items() if k != "claim"}} for a in answers()])


def not_run_yet(made: int, of: int) -> str:
    """The verdict of a claim whose runs are not all recorded."""
    return f"not run yet ({made} of {of} runs)"


def _made(study: str, arms: list[str]) -> int:
    recorded = arm_runs(study)
    return sum(len(recorded.get(name, {})) for name in arms)


def _judged(claim: str, study: str, arms: list[str], found: Difference | curves.Speedup | None, measured: str, reason: str = "", **more: object) -> Answer:
    """The answer of a contrast: its interval judged by the protocol's rule once all its runs are there."""
    made, of = _made(study, arms), planned(study, arms)
    if made < of and not reason:
        verdict = not_run_yet(made, of)
    else:
        verdict = claim_verdict(claim, *((found.low, found.high) if found else (math.nan, math.nan)), reason)
    numbers = {"value": found.value, "low": found.low, "high": found.high} if found else {}
    return Answer(claim, measured, verdict, runs=made, planned=of, **numbers, **more)


def _contrast(claim: str, study: str, coefficients: dict[str, float], score: str, measured: str, reason: str = "", unit: str = "points") -> Answer:
    """The answer of a linear contrast between arms on the films that all of them graded."""
    found = stack(study, list(coefficients))
    difference = found.contrast(coefficients)[score] if found else None
    return _judged(claim, study, list(coefficients), difference, measured, reason, films=_films(found), unit=unit)


def _films(found: Stack | None) -> str:
    return f"{found.dataset}, {len(found.grade)} films {found.films_of}" if found else ""


def _level(claim: str, wanted: str, study: str, stand_in: str) -> Answer:
    """A claimed accuracy: of the thesis's own model where it was run, else of its stand-in, as context without a verdict."""
    if _made("architectures", [wanted]):
        return _contrast(claim, "architectures", {wanted: 1.0}, "accuracy", f"accuracy of {wanted}", unit="percent")
    needs = arm("architectures", wanted).needs
    return _contrast(claim, study, {stand_in: 1.0}, "accuracy", f"stand-in {stand_in}: accuracy", needs, "percent")


def _lead() -> Answer:
    """C3: ConvNeXt's accuracy minus the mean of the others', all from the same start."""
    here = _made("architectures", [CONVNEXT_T]) > 0
    model, rivals = (CONVNEXT_T, RIVALS_T) if here else (STAND_IN, RIVALS)
    reason = "" if here else arm("architectures", CONVNEXT_T).needs
    coefficients = {model: 1.0} | {name: -1.0 / len(rivals) for name in rivals}
    return _contrast("C3", "architectures", coefficients, "accuracy", f"{'' if here else 'stand-in '}{model} - mean of {len(rivals)} others, accuracy", reason)


def _speed() -> Answer:
    """C2: epochs to the same validation QWK, scratch over pretrained."""
    arms = ["tf_efficientnet_lite0/scratch", "tf_efficientnet_lite0/imagenet"]
    records = {record["name"]: record for record in ledger.read_runs("transfer")}
    runs = arm_runs("transfer")
    common = sorted(set(runs.get(arms[0], {})) & set(runs.get(arms[1], {})))
    found = None
    if len(common) > 1:
        slow, fast = ([records[runs[name][key]]["curve"] for key in common] for name in arms)
        found = curves.speedup(slow, fast)
    note = "lower bound: a run from scratch never arrived" if found and found.at_least else ""
    return _judged("C2", "transfer", arms, found, "epochs to 95 % of the worse arm's best validation QWK, scratch / pretrained", unit="times", note=note,
                   films=f"gornale2020, {found.pairs} pairs of runs" if found else "")


def _mechanism(claim: str, key: str, measured: str) -> Answer:
    """C7 and C8 from the recorded measurement of the saved models of the study ``mechanism``."""
    recorded = (ledger.read_measurement("mechanism") or {}).get(key)
    found = Difference(recorded["value"], recorded["low"], recorded["high"], math.nan, recorded["seeds"]) if recorded else None
    return _judged(claim, "mechanism", [NEITHER, GCT, WAVELET, BOTH], found, measured, films="phantom" if found else "")


def _still(name: str) -> str:
    """Why the modules of an arm may not be judged: the reason of `verdicts.modules_moved`, or nothing."""
    moved = ((ledger.read_measurement("modules") or {}).get("arms") or {}).get(name)
    return modules_moved(moved.get("gate"), moved.get("branch")) if moved else ""
