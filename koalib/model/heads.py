"""A head for ordered grades: CORAL (Cao, Mirjalili & Raschka 2020, doi 10.1016/j.patrec.2020.11.008)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from coral_pytorch.layers import CoralLayer
from torch import Tensor, nn

from koalib.errors import UserError

HEADS = ("linear", "coral")
_NARROWEST = 1e-3  # of a grade between two thresholds: they start in order and stay so but for a rare step


class CoralHead(nn.Module):
    """One direction through the features for all thresholds, and a bias for each, so that P(g > k) cannot rise with k.

    (B, F) -> log-probabilities of the grades (B, G), which read like the logits of any other head:
    P(g = k) = s(z[k-1]) - s(z[k]) = s(z[k-1]) s(-z[k]) (1 - exp(z[k] - z[k-1])) for the thresholds' logits z, s the sigmoid.
    """

    def __init__(self, features: int, num_classes: int):
        super().__init__()
        self.thresholds = CoralLayer(features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        z = self.thresholds(x).float()
        above, below = F.logsigmoid(z), F.logsigmoid(-z)
        gap = (z[:, :-1] - z[:, 1:]).clamp_min(_NARROWEST)
        between = above[:, :-1] + below[:, 1:] + torch.log(-torch.expm1(-gap))
        return torch.cat([below[:, :1], between, above[:, -1:]], dim=1)


def put_head(model: nn.Module, head: str, num_classes: int) -> nn.Module:
    """The network with its last linear layer replaced by the head of that name (``linear`` leaves it)."""
    if head not in HEADS:
        raise UserError(f"head {head!r}: choose one of {', '.join(HEADS)}")
    if head == "coral":
        parent, _, name = model.pretrained_cfg["classifier"].rpartition(".")
        setattr(model.get_submodule(parent), name, CoralHead(model.get_classifier().in_features, num_classes))
    return model
