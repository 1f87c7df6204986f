"""Losses for ordered grades, and how their outputs become five probabilities.

Cross-entropy (with label smoothing, class weights or the focal factor of Lin et al., ICCV 2017), distance-based soft
labels (Diaz & Marathe, CVPR 2019, doi 10.1109/CVPR.2019.00487), and from coral-pytorch CORN (Shi, Cao & Raschka, 2023,
doi 10.1007/s10044-023-01181-9) and CORAL (Cao, Mirjalili & Raschka 2020, doi 10.1016/j.patrec.2020.11.008), whose shared
weights are the head `koalib.model.heads.CoralHead`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from coral_pytorch.dataset import levels_from_labelbatch
from coral_pytorch.losses import coral_loss, corn_loss
from torch import Tensor

from koalib.study.experiment import Experiment

GRADES = 5


def outputs(loss: str) -> int:
    """Number of outputs the model needs: one a grade, or one a threshold for CORN."""
    return GRADES - 1 if loss == "corn" else GRADES


def soft_labels(grade: Tensor, width: float) -> Tensor:
    """Targets softmax(-|d| / width) over the distance d to each grade, shape (B, 5)."""
    distance = (torch.arange(GRADES, device=grade.device)[None] - grade[:, None]).abs()
    return torch.softmax(-distance / width, dim=1)


def class_weights(grades: Tensor) -> Tensor:
    """Inverse frequency of each grade, with mean 1 over the films, shape (5,)."""
    counts = torch.bincount(grades, minlength=GRADES).clamp(min=1)
    return len(grades) / (GRADES * counts.float())


def make_loss(experiment: Experiment, train_grades: Tensor):
    """The experiment's loss as a function of logits (B, outputs) and grades (B,) to a scalar."""
    name, smoothing = experiment.loss, experiment.label_smoothing
    if name == "ce":
        return lambda z, g: F.cross_entropy(z, g, label_smoothing=smoothing)
    if name == "weighted":
        weights = class_weights(train_grades)
        return lambda z, g: F.cross_entropy(z, g, weight=weights.to(z.device), label_smoothing=smoothing)
    if name == "focal":
        return _focal
    if name == "soft":
        return lambda z, g: F.cross_entropy(z, soft_labels(g, experiment.soft_width))
    if name == "coral":
        return _coral
    return lambda z, g: corn_loss(z, g, GRADES)


def distilled(loss: Tensor, logits: Tensor, taught: Tensor, share: float) -> Tensor:
    """The loss mixed with the cross-entropy to the teachers' probabilities (B, 5) (Hinton, Vinyals & Dean 2015, arXiv 1503.02531, temperature 1)."""
    return (1 - share) * loss + share * F.cross_entropy(logits, taught)


def batch_mass(experiment: Experiment, train_grades: Tensor) -> Callable[[Tensor], Tensor]:
    """What the loss of a batch is divided by, as a function of its grades (B,) to a scalar.

    Films for most losses, their class weights' sum for ``weighted``, the number of questions asked for CORN. By it the losses
    of the processes' parts make up the loss of the whole batch: sum(mass * loss) / sum(mass).
    """
    if experiment.loss == "weighted":
        weights = class_weights(train_grades)
        return lambda g: weights.to(g.device)[g].sum()
    if experiment.loss == "corn":  # a film of grade g is asked "worse than k?" for k = 0 ... min(g, 3)
        return lambda g: (g + 1).clamp(max=GRADES - 1).sum().float()
    return lambda g: torch.tensor(float(len(g)), device=g.device)


def _focal(logits: Tensor, grade: Tensor, gamma: float = 2.0) -> Tensor:
    nll = F.cross_entropy(logits, grade, reduction="none")
    return ((1 - torch.exp(-nll)) ** gamma * nll).mean()


def _coral(log_p: Tensor, grade: Tensor) -> Tensor:
    """CORAL's loss from the head's log-probabilities, which hold its four logits: log P(g > k) - log P(g <= k)."""
    log_p = torch.log_softmax(log_p, dim=1)
    at_most = torch.logcumsumexp(log_p, dim=1)[:, :-1]
    above = torch.logcumsumexp(log_p.flip(1), dim=1).flip(1)[:, 1:]
    return coral_loss(above - at_most, levels_from_labelbatch(grade, GRADES).to(log_p))


def log_probabilities(logits: Tensor) -> Tensor:
    """Five log-probabilities (B, 5) in float64; four outputs are read as CORN's conditional thresholds P(g > k | g >= k)."""
    logits = logits.double()
    if logits.shape[1] == GRADES:
        return torch.log_softmax(logits, dim=1)
    above = F.logsigmoid(logits).cumsum(1)  # log P(g > k)
    stop = F.logsigmoid(-logits)  # log P(g = k | g >= k)
    start = torch.zeros_like(above[:, :1])
    return torch.cat([stop + torch.cat([start, above[:, :-1]], 1), above[:, -1:]], dim=1)
