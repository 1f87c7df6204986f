"""Where a network looks: Grad-CAM, occlusion, and the check that a map depends on what was learnt.

Grad-CAM: Selvaraju et al., ICCV 2017, arXiv 1610.02391, by the package grad-cam.
Occlusion: Zeiler & Fergus, ECCV 2014, arXiv 1311.2901, by the package captum; it uses no gradient.
Randomisation: Adebayo et al., *Sanity Checks for Saliency Maps*, NeurIPS 2018, arXiv 1810.03292.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from koalib.errors import UserError
from koalib.study.losses import GRADES, log_probabilities

SMALLEST_MAP = 7  #: cells along a side below which a map is too coarse to show a joint space (224 px at stride 32)


def target_layer(model: nn.Module, size: int) -> nn.Module:
    """The layer whose maps are shown: the deepest one in timm's ``feature_info`` with at least 7 x 7 cells.

    Deep layers know most about the grade and least about the place; on small films the last one has 2 x 2
    cells and says nothing about either, so the choice follows the film's size in pixels.

    Raises:
        UserError: the model has no ``feature_info``, so it is none of timm's.
    """
    try:
        levels = list(model.feature_info)
    except (AttributeError, TypeError):
        raise UserError(f"{type(model).__name__}: no feature_info, so no layer to explain is known; use a model made by timm or koalib") from None
    fine = [level for level in levels if size / level["reduction"] >= SMALLEST_MAP] or levels[:1]
    layer = model.get_submodule(fine[-1]["module"])
    # In a transformer only the class token of the last block reaches the head; its first norm still sees every patch.
    return layer.norm1 if hasattr(layer, "attn") and hasattr(layer, "norm1") else layer


def _to_maps(model: nn.Module, features: Tensor) -> Tensor:
    """Any layer's output as (B, C, h, w): tokens are put back on their grid, channels-last maps are turned."""
    if features.ndim == 3:  # (B, tokens, C) with class tokens in front
        tokens = features[:, getattr(model, "num_prefix_tokens", 0):]
        side = math.isqrt(tokens.shape[1])
        return tokens.unflatten(1, (side, side)).permute(0, 3, 1, 2).clone()
    if getattr(model, "output_fmt", "NCHW") == "NHWC":
        features = features.permute(0, 3, 1, 2)
    return features.clone()  # what follows may work in place


class _GradeScores(nn.Module):
    """One score a grade (B, 5): the logits, or the log-probabilities of a model with ordinal outputs (CORN)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x).float()
        return logits if logits.shape[1] == GRADES else log_probabilities(logits).float()


@contextlib.contextmanager
def _scoring(model: nn.Module) -> Iterator[_GradeScores]:
    """The model's grade scores in evaluation mode and without gradients of its weights; all is restored after.

    No map needs the gradient of a weight, and leaving it out saves most of a backward pass.
    """
    training, wanted = model.training, [p.requires_grad for p in model.parameters()]
    try:
        yield _GradeScores(model).eval().requires_grad_(False)
    finally:
        for parameter, flag in zip(model.parameters(), wanted):
            parameter.requires_grad_(flag)
        model.train(training)


@contextlib.contextmanager
def _gradient_from(layer: nn.Module) -> Iterator[None]:
    """Gradients flow from the scores back to ``layer`` and no further."""
    handle = layer.register_forward_hook(lambda module, inputs, output: output.detach().requires_grad_().clone())
    try:
        with torch.enable_grad():
            yield
    finally:
        handle.remove()


def _gradcam(scores: _GradeScores, layer: nn.Module, x: Tensor, grades: np.ndarray | None, turn: Callable[[Tensor], Tensor]) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """One pass of the package: scores (B, 5), maps of the layer's own size (B, h, w) and unscaled, maps of the films' size (B, H, W) in [0, 1]."""
    from pytorch_grad_cam import GradCAM  # heavy: imported when the first map is made
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    class Keeping(GradCAM):
        """Keeps the map that the package goes on to stretch and enlarge."""

        def get_cam_image(self, *arguments: object, **named: object) -> np.ndarray:
            self.coarse = super().get_cam_image(*arguments, **named)
            return self.coarse

    targets = None if grades is None else [ClassifierOutputTarget(int(g)) for g in grades]
    with _gradient_from(layer), Keeping(scores, [layer], turn) as cam:
        maps = cam(input_tensor=x, targets=targets)
    return cam.outputs.detach(), np.maximum(cam.coarse, 0), maps.astype(np.float32)


def gradcam(model: nn.Module, x: Tensor, grades: np.ndarray | None = None) -> np.ndarray:
    """Grad-CAM of a batch.

    Args:
        model: a network with timm's ``feature_info`` and one output a grade (or CORN's four).
        x: standardised films (B, 1, H, W).
        grades: (B,) the grade whose logit is explained; None explains the predicted one.

    Returns:
        (B, H, W) float32 in [0, 1]. A map is all 0 where nothing speaks for the grade.
    """
    layer = target_layer(model, x.shape[-1])
    with _scoring(model) as scores:
        return _gradcam(scores, layer, x, grades, lambda features: _to_maps(model, features))[2]


class _Split(nn.Module):
    """A network of timm whose last feature maps, which the head sees, are the output of a layer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.features = model, nn.Identity()
        self.train(model.training)

    def forward(self, x: Tensor) -> Tensor:
        return self.model.forward_head(self.features(self.model.forward_features(x)))


def grade_and_look(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and the predicted grade's Grad-CAM from one forward pass, at the last feature maps.

    Only the small head behind them is differentiated, so a reading with its map costs one pass.

    Args:
        model: a convolutional network of timm.
        x: standardised films (B, 1, H, W).

    Returns:
        scores (B, 5), and maps (B, h, w) of the last features' size, at least 0, not scaled to 1: maps of
        a film and of its mirror image may be added.
    """
    split = _Split(model)
    with _scoring(split) as scores:
        found, coarse, _ = _gradcam(scores, split.features, x, None, lambda features: features.float().clone())
    return found, torch.from_numpy(coarse)


def occlusion(model: nn.Module, x: Tensor, grades: np.ndarray | None = None, cells: int = 7) -> np.ndarray:
    """How much the grade's logit falls while a square patch is covered with the film's mean grey, by place.

    Args:
        model, x, grades: as in :func:`gradcam`.
        cells: patches along a side; each covers twice that step, so that neighbours overlap.

    Returns:
        (B, H, W) float32 in [0, 1], what spoke against the grade cut off at 0.
    """
    from captum.attr import Occlusion

    step = x.shape[-1] // cells
    with _scoring(model) as scores, torch.inference_mode():
        wanted = scores(x).argmax(1) if grades is None else torch.as_tensor(grades, device=x.device)
        fall = Occlusion(scores).attribute(x, sliding_window_shapes=(1, 2 * step, 2 * step), strides=(1, step, step), target=wanted, baselines=0)
    positive = fall[:, 0].clamp_min(0)
    return (positive / positive.amax((1, 2), keepdim=True).clamp_min(1e-8)).cpu().numpy().astype(np.float32)


def similarity(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Mean similarity of two stacks of maps (B, H, W): Spearman rank correlation and structural similarity (SSIM).

    A constant map has no ranks; such pairs count as 0.
    """
    ranks = [spearmanr(a, b, axis=None).statistic if a.std() > 0 and b.std() > 0 else 0.0 for a, b in zip(first, second)]
    structure = [structural_similarity(a, b, data_range=1.0) for a, b in zip(first, second)]
    return {"spearman": float(np.mean(ranks)), "ssim": float(np.mean(structure))}


def _parts(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The network's parts that hold weight matrices, from the head down to the stem; stages count one by one."""
    parts = []
    for name, child in model.named_children():
        stages = child.named_children() if isinstance(child, nn.Sequential) and name in ("stages", "blocks", "layers", "features") else [("", child)]
        parts += [(f"{name}.{inner}".rstrip("."), module) for inner, module in stages if any(p.ndim > 1 for p in module.parameters())]
    return parts[::-1]


def randomisation_check(
    model: nn.Module, x: Tensor, method: Callable[..., np.ndarray] = gradcam, seed: int = 0
) -> pd.DataFrame:
    """Cascading randomisation: weights are redrawn from the head down, and the map compared with the first one.

    A method whose map stays the same shows the film's edges, not what the network learnt. Each tensor is redrawn
    from a normal distribution of its own mean and standard deviation. The explained grade stays the first one.

    Args:
        model, x: as in :func:`gradcam`; the model itself is left as it was.
        method: ``gradcam`` or ``occlusion``.
        seed: of the redrawn weights.

    Returns:
        One row a step: randomised (the part's name; the first row is ``nothing``), spearman, ssim.
    """
    with _scoring(model) as scores, torch.inference_mode():
        grades = scores(x).argmax(1).cpu().numpy()
    original, random = method(model, x, grades), copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    rows = [{"randomised": "nothing", **similarity(original, original)}]
    for name, part in _parts(random):
        with torch.no_grad():
            for weight in part.parameters():
                noise = torch.randn(weight.shape, generator=generator).to(weight.device)
                weight.copy_(noise * weight.std(correction=0) + weight.mean())
        rows.append({"randomised": name, **similarity(original, method(random, x, grades))})
    return pd.DataFrame(rows)
