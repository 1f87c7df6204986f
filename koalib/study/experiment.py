"""One training run, described completely: two equal experiments give two equal results on one machine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace

from koalib.errors import UserError

LOSSES = ("ce", "weighted", "focal", "soft", "corn", "coral")
TAUGHT = ("ce", "focal", "soft")  #: losses that a teacher's can be mixed with
SCHEDULES = ("cosine", "step", "constant")
SAMPLERS = ("shuffle", "balanced")
SMALLEST = 32  #: pixels: the networks halve a film five times
TRAINING_SETS = ("grouped", "train_split", "twins", "no_twins", "random")


@dataclass(frozen=True)
class Experiment:
    """Every setting of a run; what is not here does not change a result.

    ``fold`` None keeps the data set's own split. Fold k of a grouped k-fold split is tested (split ``oof``),
    fold k+1 selects (split ``val``), the others train; an official test split is left out of all folds, with ``train_split``
    an official validation split as well.
    """

    dataset: str
    model: str
    pretrained: str = "none"  #: none | imagenet | a .safetensors file | run:RUN (an earlier run of the same study)
    gct: str | None = None  #: None leaves the model's default
    wavelet: str | None = None
    drop_path: float = 0.0
    layer_scale: float | None = None  #: ConvNeXt's layer scale at the start; None leaves timm's 1e-6
    size: int = 224
    patients: int | None = None  #: size of the phantom
    fold: int | None = None
    folds: int = 5
    training_set: str = "grouped"  #: only the study ``protocol`` trains with twins of the test films
    seed: int = 0
    epochs: int = 8
    batch: int = 32
    lr: float = 6e-4
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    new_module_lr: float = 1.0  #: factor on the learning rate of gates and wavelet branches
    schedule: str = "cosine"
    warmup: float = 0.5  #: epochs of linear warm-up
    loss: str = "soft"
    label_smoothing: float = 0.1  #: of ``ce`` and ``weighted``
    soft_width: float = 0.5  #: tau of the distance-based soft labels, softmax(-|d| / tau)
    teacher: str = ""  #: an arm of the same study, MODEL/VARIANT, whose out-of-fold answers are learnt beside the grades; the record names its runs
    teacher_share: float = 0.5  #: of the loss, the rest is ``loss``
    sampler: str = "shuffle"
    augment: str = "standard"
    ema: float = 0.995  #: decay of the weights' moving average, 0 for none
    select: str = "best"  #: best epoch on validation QWK, or the last
    patience: int | None = None  #: epochs without a better validation QWK before the run stops
    precision: str = "auto"
    variant: str = "plain"  #: what tables call this arm

    def __post_init__(self) -> None:
        allowed = {"loss": LOSSES, "schedule": SCHEDULES, "sampler": SAMPLERS, "training_set": TRAINING_SETS,
                   "select": ("best", "last"), "precision": ("auto", "fp32", "bf16")}
        for field, values in allowed.items():
            if getattr(self, field) not in values:
                raise UserError(f"{field} {getattr(self, field)!r}: choose one of {', '.join(values)}")
        positive = {field: (getattr(self, field) > 0, "larger than 0") for field in ("size", "epochs", "batch", "lr", "folds", "soft_width")}
        shares = {field: (0 <= getattr(self, field) < 1, "at least 0 and less than 1") for field in ("ema", "label_smoothing", "drop_path", "teacher_share")}
        others = {"warmup": (self.warmup >= 0, "at least 0"), "patience": (self.patience is None or self.patience >= 1, "at least 1, or None")}
        for field, (fits, rule) in (positive | shares | others).items():
            if not fits:
                raise UserError(f"{field} {getattr(self, field)}: must be {rule}")
        if self.teacher and self.loss not in TAUGHT:
            raise UserError(f"loss {self.loss!r} with a teacher: choose one of {', '.join(TAUGHT)}, whose outputs are five logits and whose films count alike")
        if self.size < SMALLEST:
            raise UserError(f"size {self.size}: films of at least {SMALLEST} pixels are needed")
        if self.fold is not None and not 0 <= self.fold < self.folds:
            raise UserError(f"fold {self.fold}: must lie between 0 and {self.folds - 1}")

    @property
    def leaky(self) -> bool:
        """True when the training set may hold twins of test films."""
        return self.training_set in ("twins", "random")

    @property
    def model_options(self) -> dict:
        """Options that are passed to the model, only those that were given."""
        from koalib.model.weights import needs_size  # heavy, and most of what reads experiments builds no network

        options = {"gct": self.gct, "wavelet": self.wavelet, "drop_path_rate": self.drop_path or None, "ls_init_value": self.layer_scale,
                   "head": "coral" if self.loss == "coral" else None, "img_size": self.size if needs_size(self.model) else None}
        return {k: v for k, v in options.items() if v is not None}

    def as_dict(self) -> dict:
        """All settings as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: dict) -> "Experiment":
        """The inverse of ``as_dict``; an unknown setting is an error, never dropped."""
        unknown = set(settings) - {f.name for f in fields(cls)}
        if unknown:
            raise UserError(f"unknown setting of an experiment: {', '.join(sorted(unknown))}")
        return cls(**settings)

    def but(self, **changes: object) -> "Experiment":
        """The same experiment with some settings changed."""
        return replace(self, **changes)

    @property
    def run_name(self) -> str:
        """``dataset-model-variant-fold-seed-hash8``, the name of the ledger's folder.

        Settings at their default are left out of the hash, so that a new setting renames no run of the past.
        """
        text = json.dumps({f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        fold = "official" if self.fold is None else f"fold{self.fold}"
        parts = (self.dataset, self.model, self.variant, fold, f"seed{self.seed}", digest)
        return "-".join(str(p).replace("/", "_").replace("-", "_") for p in parts)
