"""Augmentation of knee films, batched on tensors: every film of a batch gets its own random parameters.

torchvision's v2 transforms draw one set of parameters for a whole batch, from the global generator, and its functions
take one angle, one sigma, one rectangle a call. Here every film has its own, drawn from the generator that is passed in:
its state is saved with a training, which then goes on bit for bit where it stopped, and the draws can be applied to masks
and landmarks too. From torchvision come the mirror images, which need no parameter; the tests compare turning, scaling
and blurring with it. Speed is no reason: film by film it is about as fast (benchmarks/augment.py). What may be changed in
a knee film, and what may not, is the subject of notebook 02.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as v2

from koalib.errors import UserError

GREY_LEVEL = 1 / 255


def standardise(x: Tensor) -> Tensor:
    """Every film to zero mean and unit standard deviation: the input of every model.

    Args:
        x: uint8 in 0..255, or float in [0, 1]; (B, H, W) or (B, 1, H, W).

    Returns:
        float32 (B, 1, H, W). The standard deviation is taken as at least one grey level of 255, so that an empty film
        gives zeros.
    """
    x = x[:, None] if x.dim() == 3 else x
    flat = x.flatten(1).float()
    std, mean = torch.std_mean(flat, dim=1, keepdim=True, correction=0)
    floor = 1.0 if x.dtype == torch.uint8 else GREY_LEVEL
    return ((flat - mean) / std.clamp_min(floor)).view(x.shape)


@dataclass(frozen=True)
class Draws:
    """What was drawn for a batch of B films; None where a change is switched off."""

    flip: Tensor  #: bool (B,); the side of the knee changes with it
    upside_down: Tensor  #: bool (B,)
    theta: Tensor | None  #: (B, 2, 3) output to input coordinates in [-1, 1], flips included
    bend: Tensor | None  #: (B, 2, 6, 6) coarse displacement, in the same coordinates
    contrast: Tensor | None  #: factor (B, 1, 1, 1)
    gamma: Tensor | None  #: exponent (B, 1, 1, 1)
    blur: Tensor | None  #: standard deviation in pixels (B,)
    noise: Tensor | None  #: (B, 1, H, W), in standard deviations of the film
    erase: Tensor | None  #: bool (B, 1, H, W), True where the film is blanked


@dataclass(frozen=True)
class Augment:
    """Random changes of standardised films (B, 1, H, W). A field that is 0 switches its change off.

    The order is fixed: geometry, gamma, contrast, blur, noise, erasing.
    """

    flip: float = 0.0  #: probability of a mirror image (a left knee becomes a right one)
    rotate: float = 0.0  #: degrees, uniform in +-rotate
    scale: float = 0.0  #: size times exp(u), u uniform in +-scale
    shift: float = 0.0  #: share of the film's width, uniform in +-shift, both directions
    contrast: float = 0.0  #: spread times exp(u), u uniform in +-contrast
    gamma: float = 0.0  #: grey values in [0, 1] to the power exp(u), u uniform in +-gamma
    noise: float = 0.0  #: standard deviation uniform in [0, noise], of the film's own
    blur: float = 0.0  #: Gaussian, standard deviation uniform in [0, blur], in shares of the film's width
    erase: float = 0.0  #: probability of one blanked rectangle of 2-15 % of the film
    upside_down: float = 0.0  #: probability of a vertical flip
    crop: float = 0.0  #: the side of a random crop anywhere is uniform in [1 - crop, 1] of the film's
    elastic: float = 0.0  #: standard deviation of a random bending, in shares of the film's width

    @classmethod
    def named(cls, name: str) -> Augment:
        """The recipe of that name.

        Raises:
            UserError: there is none.
        """
        if name not in RECIPES:
            raise UserError(f"augmentation {name!r}: choose one of {', '.join(RECIPES)}")
        return RECIPES[name]

    def __call__(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Changed copies of the films (B, 1, H, W); the generator lives on the device of ``x``."""
        return self.apply(x, self.draw(x, generator))

    def draw(self, x: Tensor, generator: Generator | None = None) -> Draws:
        """Random parameters for the films (B, 1, H, W), one set a film."""
        b, _, height, width = x.shape

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(b, *shape, generator=generator, device=x.device)

        flip, upside_down = uniform(0, 1) < self.flip, uniform(0, 1) < self.upside_down
        moves = self.rotate or self.scale or self.shift or self.crop or self.elastic
        normal = torch.randn(b, 2, 6, 6, generator=generator, device=x.device) if self.elastic else None
        return Draws(
            flip=flip,
            upside_down=upside_down,
            theta=self._affine(uniform, flip, upside_down) if moves else None,
            bend=None if normal is None else 2 * self.elastic * normal,
            contrast=torch.exp(uniform(-self.contrast, self.contrast, 1, 1, 1)) if self.contrast else None,
            gamma=torch.exp(uniform(-self.gamma, self.gamma, 1, 1, 1)) if self.gamma else None,
            blur=uniform(0, self.blur * width) if self.blur else None,
            noise=uniform(0, self.noise, 1, 1, 1) * torch.randn(x.shape, generator=generator, device=x.device) if self.noise else None,
            erase=_rectangles(uniform, self.erase, height, width) if self.erase else None,
        )

    def _affine(self, uniform, flip: Tensor, upside_down: Tensor) -> Tensor:
        angle = uniform(-math.radians(self.rotate), math.radians(self.rotate))
        crop = uniform(1 - self.crop, 1)
        size = crop * torch.exp(uniform(-self.scale, self.scale))
        centre = uniform(-2 * self.shift, 2 * self.shift, 2) + uniform(-1, 1, 2) * (1 - crop)[:, None]
        mirror_x, mirror_y = 1 - 2 * flip.float(), 1 - 2 * upside_down.float()
        rows = [size * angle.cos() * mirror_x, -size * angle.sin() * mirror_y, centre[:, 0],
                size * angle.sin() * mirror_x, size * angle.cos() * mirror_y, centre[:, 1]]  # fmt: skip
        return torch.stack(rows, dim=1).reshape(-1, 2, 3)

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """The films (B, 1, H, W) changed by ``draws``, strided as they came."""
        out = _geometry(x, draws)
        if draws.gamma is not None:
            low, high = out.amin((1, 2, 3), keepdim=True), out.amax((1, 2, 3), keepdim=True)
            span = (high - low).clamp_min(1e-6)
            out = ((out - low) / span).pow(draws.gamma) * span + low
        if draws.contrast is not None:
            out = out * draws.contrast
        if draws.blur is not None:
            out = gaussian_blur(out, draws.blur)
        if draws.noise is not None:
            out = out + draws.noise
        if draws.erase is not None:
            out = out.masked_fill(draws.erase, 0.0)
        return out.contiguous().as_strided(x.shape, x.stride()) if x.is_contiguous() else out


def flip_sides(sides: list[str], flip: Tensor) -> list[str]:
    """The side, ``L`` or ``R``, of each knee after mirroring: a mirrored left knee is a right knee."""
    other = {"L": "R", "R": "L"}
    return [other[side] if mirrored else side for side, mirrored in zip(sides, flip.tolist(), strict=True)]


def gaussian_blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Blur each film (B, 1, H, W) by its own Gaussian; ``sigma`` (B,) in pixels, films continue at their edges.

    (torchvision's ``gaussian_blur`` takes one sigma for the whole batch.)
    """
    b, _, height, width = x.shape
    radius = min(max(1, math.ceil(3 * sigma.max().item())), min(height, width) - 1)
    steps = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    weight = torch.exp(-0.5 * (steps / sigma.clamp_min(1e-3)[:, None]) ** 2)
    weight = (weight / weight.sum(1, keepdim=True))[:, None]
    rows = x.reshape(1, b, height, width)
    rows = F.conv2d(F.pad(rows, (radius, radius, 0, 0), mode="reflect"), weight[:, :, None, :], groups=b)
    rows = F.conv2d(F.pad(rows, (0, 0, radius, radius), mode="reflect"), weight[:, :, :, None], groups=b)
    return rows.reshape(x.shape)


def _geometry(x: Tensor, draws: Draws) -> Tensor:
    if draws.theta is None:
        x = torch.where(draws.flip[:, None, None, None], v2.horizontal_flip(x), x)
        return torch.where(draws.upside_down[:, None, None, None], v2.vertical_flip(x), x)
    grid = F.affine_grid(draws.theta, list(x.shape), align_corners=False)
    if draws.bend is not None:
        grid = grid + F.interpolate(draws.bend, size=x.shape[-2:], mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _rectangles(uniform, probability: float, height: int, width: int) -> Tensor:
    """One rectangle a film, 2-15 % of its area, sides at most 2:1 (Zhong et al., AAAI 2020, arXiv 1708.04896)."""
    area, aspect = uniform(0.02, 0.15), torch.exp(uniform(-math.log(2) / 2, math.log(2) / 2))
    wanted = uniform(0, 1) < probability
    half_h, half_w = (area * aspect).sqrt() / 2, (area / aspect).sqrt() / 2
    middle_y, middle_x = half_h + uniform(0, 1) * (1 - 2 * half_h), half_w + uniform(0, 1) * (1 - 2 * half_w)
    y = (torch.arange(height, device=area.device) + 0.5) / height
    x = (torch.arange(width, device=area.device) + 0.5) / width
    rows = (y - middle_y[:, None]).abs() < half_h[:, None]
    columns = (x - middle_x[:, None]).abs() < half_w[:, None]
    return (rows[:, :, None] & columns[:, None, :] & wanted[:, None, None])[:, None]


#: Changes that a radiographer's daily work produces too.
HARMLESS = {
    "flip": Augment(flip=0.5),
    "rotation": Augment(rotate=10),
    "scale": Augment(scale=0.1),
    "shift": Augment(shift=0.05),
    "contrast": Augment(contrast=0.25),
    "gamma": Augment(gamma=0.3),
    "noise": Augment(noise=0.15),
    "blur": Augment(blur=0.006),
    "erasing": Augment(erase=0.25),
}
#: Changes that destroy what the grade is read from, or make knees that do not exist.
HARMFUL = {
    "upside_down": Augment(upside_down=0.5),
    "any_angle": Augment(rotate=180),
    "off_joint": Augment(crop=0.7),
    "heavy_blur": Augment(blur=0.03),
    "elastic": Augment(elastic=0.04),
    "heavy_noise": Augment(noise=1.5),
}
_GEOMETRY = Augment(flip=0.5, rotate=10, scale=0.1, shift=0.05)
_STANDARD = replace(_GEOMETRY, contrast=0.25, gamma=0.3, noise=0.1)
RECIPES = {
    "none": Augment(),
    "light": Augment(flip=0.5, rotate=10, contrast=0.25),
    "geometry": _GEOMETRY,
    "standard": _STANDARD,
    "strong": replace(_STANDARD, rotate=15, scale=0.2, blur=0.006, erase=0.25),
    **HARMLESS,
    **HARMFUL,
}
