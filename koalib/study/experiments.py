"""The studies as data: what is compared, on what, how often. ``docs/protocol.md`` says why and what follows.

A study is a list of arms. An arm is one experiment repeated over folds and seeds; where it names several learning
rates, each is first tried on the first fold and seed, and the best on validation QWK serves for all the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from koalib.errors import UserError
from koalib.model.architectures import CONTROLS, TWO_BY_TWO
from koalib.study.experiment import Experiment

Recorded = Callable[[str], dict | None]  # name of a run -> its record in the ledger, or None


@dataclass(frozen=True)
class Arm:
    """One thing that is compared."""

    experiment: Experiment
    folds: tuple[int | None, ...] = (None,)
    seeds: tuple[int, ...] = (0,)
    rates: tuple[float, ...] = ()  #: learning rates to search; empty keeps the experiment's
    after: Experiment | None = None  #: a run of the same study whose weights this arm starts from
    needs: str = ""  #: weights that may not be on this machine, as text for the tables

    @property
    def name(self) -> str:
        """What tables call this arm."""
        return f"{self.experiment.model}/{self.experiment.variant}"

    @property
    def planned(self) -> int:
        """Number of runs, the search included."""
        return len(self.folds) * len(self.seeds) + max(len(self.rates) - 1, 0)

    def is_of(self, run: Experiment) -> bool:
        """Whether a run is one of this arm's, repetitions with other seeds included."""
        return (run.model, run.variant) == (self.experiment.model, self.experiment.variant)

    def _at(self, fold: int | None, seed: int, rate: float | None = None) -> Experiment:
        changes: dict = {"fold": fold, "seed": seed} | ({"lr": rate} if rate else {})
        if self.after is not None:
            changes["pretrained"] = f"run:{self.after.run_name}"
        return self.experiment.but(**changes)

    def search(self) -> list[Experiment]:
        """The runs of the learning-rate search: first fold, first seed."""
        return [self._at(self.folds[0], self.seeds[0], rate) for rate in self.rates]

    def results(self, recorded: Recorded) -> list[Experiment]:
        """The runs that stand for the arm, at the rate that the search chose; none while it is under way."""
        tried = self.search()
        found = [recorded(e.run_name) for e in tried]
        if any(record is None for record in found):
            return []
        best = max(range(len(found)), key=lambda i: found[i]["scores"]["val"]["qwk"]["value"], default=None)
        return [self._at(fold, seed, None if best is None else self.rates[best]) for fold in self.folds for seed in self.seeds]

    def runs(self, recorded: Recorded) -> list[Experiment]:
        """All runs known so far: the search, and the rest once the search is recorded."""
        tried = self.search()
        return tried + [e for e in self.results(recorded) if e not in tried]


@dataclass(frozen=True)
class Panel:
    """Arms that grade the same films and are compared with the first of them, which is also compared with itself."""

    title: str
    arms: tuple[Arm, ...]
    factorial: bool = False  #: the first four arms are a 2 x 2: neither, gates, wavelets, both
    suffix: str = ""  #: of its variants, which are those of another panel: left out of their labels
    second: bool = False  #: of the second grader, whose test is opened by a protocol of its own (docs/protocol_grader.md)
    chosen_by: bool = False  #: its comparison chose what is shipped: it stays on validation films when the test is opened

    def label(self, arm: Arm) -> str:
        """The shortest name of an arm that is clear within the panel."""
        models, variants = ({getattr(a.experiment, part) for a in self.arms} for part in ("model", "variant"))
        return arm.experiment.variant.removesuffix(self.suffix) if len(models) == 1 else arm.experiment.model if len(variants) == 1 else arm.name

    def comparisons(self) -> dict[str, dict[str, float]]:
        """What is compared: its name -> coefficient of each arm's score, by the arm's name."""
        crossed = self.arms[:4] if self.factorial else self.arms
        reference, last = crossed[0], crossed[-1]
        found = {f"{self.label(arm)} - {self.label(reference)}": {arm.name: 1.0, reference.name: -1.0} for arm in crossed[1:]}
        if self.factorial:
            found |= factorial(*(arm.name for arm in crossed))
        for control in self.arms[len(crossed):]:  # it differs from the last of the 2 x 2, both modules, in the one thing that it controls for
            found |= {f"{self.label(control)} - {self.label(reference)}": {control.name: 1.0, reference.name: -1.0},
                      f"{self.label(last)} - {self.label(control)}": {last.name: 1.0, control.name: -1.0}}
        return found


def factorial(neither: str, gates: str, wavelets: str, both: str) -> dict[str, dict[str, float]]:
    """What a 2 x 2 is asked beside each arm against ``neither``."""
    return {"both - gct": {both: 1.0, gates: -1.0}, "both - wavelet": {both: 1.0, wavelets: -1.0},
            "interaction": {both: 1.0, gates: -1.0, wavelets: -1.0, neither: 1.0}}


@dataclass(frozen=True)
class Study:
    """Panels of arms; an arm is compared within its panel only."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    first: tuple[Experiment, ...] = field(default=())  #: runs that arms start from

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms."""
        return tuple(arm for panel in self.panels for arm in panel.arms)

    @property
    def planned(self) -> int:
        """Number of runs in all."""
        return len(self.first) + sum(arm.planned for arm in self.arms)

    def runs(self, recorded: Recorded) -> Iterable[tuple[Arm | None, Experiment]]:
        """Every run that can be named so far, with its arm: seed by seed within a panel, so that whatever is reached is paired."""
        yield from ((None, e) for e in self.first)
        for panel in self.panels:
            yield from sorted(((arm, e) for arm in panel.arms for e in arm.runs(recorded)), key=lambda run: run[1].seed)


FIVE = (0, 1, 2, 3, 4)
AGAIN = (0, 1)  #: seeds of an arm that is also compared with itself (A/A)
HUB = "ImageNet weights, not on this machine"
LITE0 = "tf_efficientnet_lite0"

# ---------------------------------------------------------------- protocol: what leakage is worth

_protocol = Experiment("gornale2020", LITE0, "imagenet", size=160, epochs=15, select="last", ema=0.99)
PROTOCOL = Study("protocol", "what twins of test films in the training set are worth", (Panel("EfficientNet-Lite0 from ImageNet", tuple(
    Arm(_protocol.but(training_set=kind, variant=kind), FIVE, AGAIN if kind == "no_twins" else (0,)) for kind in ("no_twins", "twins", "random"))),))

# ---------------------------------------------------------------- transfer: C2

# a constant rate: a cosine that falls over 15 epochs in one arm and over 45 in the other would by itself bring the ratio near 3
_transfer = Experiment("gornale2020", LITE0, size=96, epochs=15, schedule="constant", ema=0.99)
_phantom_start = Experiment("phantom", LITE0, patients=3_000, size=96, epochs=10, lr=2e-3, variant="start")
TRANSFER = Study("transfer", "C2: pretrained against scratch", (Panel("EfficientNet-Lite0", (
    Arm(_transfer.but(pretrained="imagenet", variant="imagenet"), folds=FIVE, seeds=AGAIN, rates=(3e-4, 6e-4, 1.2e-3)),
    Arm(_transfer.but(epochs=45, variant="scratch"), folds=FIVE, rates=(1e-3, 2e-3, 4e-3)),
    Arm(_transfer.but(variant="phantom"), folds=FIVE, rates=(6e-4, 1.2e-3, 2.4e-3), after=_phantom_start),
)),), first=(_phantom_start,))

# ---------------------------------------------------------------- architectures: C1, C3

#: learning rate from scratch on chen2018
_SMALL = {"convnext_atto": 5e-4, "convwgcnet_atto": 5e-4, "resnet18": 1e-3, "mobilevit_xs": 1e-3, "densenet121": 1e-3,
          "deit_tiny_patch16_224": 5e-4, "mobilenetv3_large_100": 1e-3}
_TUNED = (1e-4, 3e-4, 1e-3)  #: tried for every network on gornale2020
_LAYER_SCALE = 1.0  #: of ConvNeXt from scratch; timm's 1e-6 is meant for hundreds of epochs
_COMPARED = ("convnext_tiny.fb_in1k", "convwgcnet_tiny", "resnet50.a1_in1k", "mobilevit_s.cvnets_in1k", "vgg16.tv_in1k",
             "mobilenetv3_large_100.ra_in1k", "swin_tiny_patch4_window7_224.ms_in1k", "densenet121.ra_in1k")


def _of_modules(model: str) -> float:
    """Factor on the learning rate of gates and wavelet branches, as in the ablations: at 1 they hardly move."""
    return 10.0 if "convwgcnet" in model else 1.0


def _architectures() -> Study:
    common = Experiment("chen2018", "", size=96, epochs=8, variant="chen2018")
    tuned = Experiment("gornale2020", "", size=96, epochs=8, ema=0.99, variant="from_chen2018")
    first = tuple(common.but(model=model, lr=lr, new_module_lr=_of_modules(model), layer_scale=_LAYER_SCALE if "atto" in model else None) for model, lr in _SMALL.items())
    small = tuple(Arm(tuned.but(model=e.model, new_module_lr=_of_modules(e.model)), FIVE, AGAIN if e.model == "convnext_atto" else (0,), _TUNED, after=e) for e in first)
    imagenet = tuple(Arm(tuned.but(model=model, pretrained="imagenet", size=224, epochs=15, new_module_lr=_of_modules(model), variant="imagenet"), FIVE, AGAIN if model == _COMPARED[0] else (0,), _TUNED, needs=HUB) for model in _COMPARED)
    panels = (Panel("from the training films of chen2018", small), Panel("from ImageNet", imagenet))
    return Study("architectures", "C1, C3: ConvNeXt against the other families", panels, first=first)


ARCHITECTURES = _architectures()

# ---------------------------------------------------------------- ablation: C4, C5, C6

_atto_start = Experiment("chen2018", "convwgcnet_atto", gct="none", wavelet="none", size=128, epochs=15, lr=5e-4, layer_scale=_LAYER_SCALE, variant="start")
_atto = Experiment("gornale2020", "convwgcnet_atto", size=128, epochs=8, lr=5e-4, ema=0.99, new_module_lr=10)
_again = _atto.but(precision="fp32")  # as its first two seeds were computed
_lite = Experiment("chen2018", LITE0, "imagenet", size=96, epochs=8, new_module_lr=10)

ABLATION = Study("ablation", "C4-C6: gates and wavelets, alone and together", (
    Panel("A: ConvNeXt-Atto from chen2018", (
        *(Arm(_atto.but(variant=name, **modules), FIVE, AGAIN, after=_atto_start) for name, modules in TWO_BY_TWO.items()),
        *(Arm(_atto.but(variant=name, **modules), FIVE, after=_atto_start) for name, modules in CONTROLS.items())), factorial=True),
    Panel("B: EfficientNet-Lite0 from ImageNet", tuple(Arm(_lite.but(variant=name, **modules), seeds=FIVE) for name, modules in TWO_BY_TWO.items()), factorial=True),
    Panel("R: A's 2 x 2 repeated, fresh seeds", tuple(Arm(_again.but(variant=f"{name}_again", **modules), FIVE, (2, 3, 4), after=_atto_start) for name, modules in TWO_BY_TWO.items()),
          factorial=True, suffix="_again"),
), first=(_atto_start,))

# ---------------------------------------------------------------- loss and learning strategy: thesis sections 4.1.1, 4.1.2

_loss = Experiment("chen2018", LITE0, "imagenet", size=128, epochs=8)
LOSS = Study("loss", "4.1.1, 4.1.2: losses and schedules", (Panel("EfficientNet-Lite0 from ImageNet", (
    *(Arm(_loss.but(loss=loss, variant=loss), seeds=(0, 1, 2)) for loss in ("soft", "ce", "weighted", "corn")),
    Arm(_loss.but(schedule="step", variant="soft_step"), seeds=(0, 1, 2)),
)),))

# ---------------------------------------------------------------- mechanism: C7, C8

_mechanism = Experiment("phantom", "convwgcnet_atto", patients=2_000, size=160, epochs=10, lr=5e-4, layer_scale=_LAYER_SCALE, augment="geometry", ema=0.99,
                        new_module_lr=10)  # a first series with 1 is in the ledger: its modules did not move (docs/protocol.md, amendments)
MECHANISM = Study("mechanism", "C7, C8: noise and localisation where the truth is known", (Panel("ConvNeXt-Atto from scratch", tuple(
    Arm(_mechanism.but(variant=name, **modules), seeds=(0, 1, 2)) for name, modules in TWO_BY_TWO.items()), factorial=True),))

# ---------------------------------------------------------------- headline

_headline = Experiment("chen2018", LITE0, "imagenet", size=224, epochs=8)
_official = _headline.but(variant="official")
#: the second grader (docs/protocol_grader.md), which needs a GPU: a larger network and larger films, taught by what its folds say of films they have not seen
LITE2 = "tf_efficientnet_lite2"
_second = Experiment("chen2018", LITE2, "imagenet", size=288, epochs=12, drop_path=0.1)
_teachers = Arm(_second.but(training_set="train_split", variant="folds"), FIVE, AGAIN)  # the validation films stay for the student
HEADLINE = Study("headline", "the best honest single grader and ensemble on the official test", (
    Panel("one model, official split", (Arm(_official), Arm(_headline.but(variant="larger", size=288, epochs=2, batch=16, lr=2e-4), after=_official)), chosen_by=True),
    Panel("five patient folds", (Arm(_headline.but(variant="folds"), FIVE),)),
    Panel("second grader, five patient folds", (_teachers,), second=True),
    Panel("second grader, official split", (Arm(_second.but(variant="official"), seeds=AGAIN), Arm(_second.but(variant="distilled", teacher=_teachers.name), seeds=AGAIN)), second=True, chosen_by=True),
))

STUDIES = {study.name: study for study in (PROTOCOL, TRANSFER, ARCHITECTURES, ABLATION, LOSS, MECHANISM, HEADLINE)}


def find_study(name: str) -> Study:
    """A study by its name.

    Raises:
        UserError: no such study.
    """
    if name not in STUDIES:
        raise UserError(f"{name}: no such study; choose one of {', '.join(STUDIES)}")
    return STUDIES[name]
