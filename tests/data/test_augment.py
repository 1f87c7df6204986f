"""Augmentation: repeatable, different for each film, and doing what its names say."""

import pytest
import torch
from torch.testing import assert_close
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from koalib.data.augment import RECIPES, Augment, flip_sides, gaussian_blur, standardise
from koalib.errors import UserError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def films() -> torch.Tensor:
    """Copies of one uneven film, (8, 1, 48, 48)."""
    y, x = torch.meshgrid(torch.linspace(0, 3, 48), torch.linspace(0, 5, 48), indexing="ij")
    return standardise((0.5 + 0.3 * torch.sin(x) * torch.cos(2 * y) + 0.02 * x)[None].repeat(8, 1, 1))


def test_standardise_takes_bytes_and_floats_alike():
    raw = torch.randint(0, 256, (3, 20, 20), dtype=torch.uint8, generator=generator())
    out = standardise(raw)
    assert out.shape == (3, 1, 20, 20) and out.dtype == torch.float32
    assert_close(out.mean((1, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    assert_close(out.std((1, 2, 3), correction=0), torch.ones(3))
    assert_close(out, standardise(raw.float()[:, None] / 255))
    assert_close(standardise(torch.full((1, 8, 8), 7, dtype=torch.uint8)), torch.zeros(1, 1, 8, 8), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", RECIPES)
def test_repeats_with_the_generator_and_differs_between_films(name, films):
    augment = Augment.named(name)
    first = augment(films, generator(1))
    assert first.shape == films.shape and torch.isfinite(first).all()
    assert torch.equal(first, augment(films, generator(1)))
    if name == "none":
        assert torch.equal(first, films)
    else:
        assert any(not torch.equal(a, first[0]) for a in first[1:]) or not torch.equal(first, augment(films, generator(2)))


def test_global_generator_is_left_alone(films):
    state = torch.get_rng_state()
    Augment.named("strong")(films, generator())
    assert torch.equal(state, torch.get_rng_state())


def test_flip_mirrors_the_film_and_its_side(films):
    augment = Augment(flip=0.5)
    draws = augment.draw(films, generator(3))
    out = augment.apply(films, draws)
    assert draws.flip.any() and not draws.flip.all()
    for before, after, flipped in zip(films, out, draws.flip, strict=True):
        assert torch.equal(after, before.flip(-1) if flipped else before)
    assert flip_sides(["L", "R"], torch.tensor([True, False])) == ["R", "R"]


def test_geometry_agrees_with_plain_flip(films):
    plain = Augment(flip=1.0)(films, generator())
    warped = Augment(flip=1.0, rotate=1e-9)(films, generator())
    assert_close(plain, warped, atol=1e-4, rtol=0)


def test_rotation_turns_a_bright_dot_by_its_angle():
    film = torch.zeros(16, 1, 65, 65)
    film[:, 0, 32, 62] = 1
    augment = Augment(rotate=30)
    draws = augment.draw(film, generator())
    out = augment.apply(gaussian_blur(film, torch.ones(16)), draws)
    for dot, theta in zip(out[:, 0], draws.theta, strict=True):
        y, x = divmod(int(dot.argmax()), 65)
        angle = torch.atan2(torch.tensor(y - 32.0), torch.tensor(x - 32.0))
        assert abs(angle + torch.atan2(theta[1, 0], theta[0, 0])) < 0.04


def test_shift_moves_by_a_share_of_the_width():
    film = torch.zeros(64, 1, 40, 40)
    film[:, 0, 20, 20] = 1
    out = Augment(shift=0.1)(gaussian_blur(film, torch.ones(64)), generator())
    x = out.sum(2).squeeze(1).argmax(1).float() - 20
    assert x.abs().max() <= 4.5 and x.std() > 1


def test_contrast_noise_and_gamma_change_what_they_name(films):
    spread = Augment(contrast=0.3)(films, generator()).std((1, 2, 3)) / films.std((1, 2, 3))
    assert (spread > 0.73).all() and (spread < 1.36).all() and spread.std() > 0.02
    noisy = Augment(noise=0.2)(films, generator()) - films
    assert (noisy.std((1, 2, 3)) <= 0.21).all() and noisy.std() > 0.02
    gamma = Augment(gamma=0.4)(films, generator())
    assert_close(gamma.amin((1, 2, 3)), films.amin((1, 2, 3)))
    assert_close(gamma.amax((1, 2, 3)), films.amax((1, 2, 3)))


def test_blur_is_a_gaussian_of_its_own_sigma():
    dot = torch.zeros(2, 1, 41, 41)
    dot[:, 0, 20, 20] = 1
    out = gaussian_blur(dot, torch.tensor([1.0, 3.0]))
    steps = torch.arange(41.0) - 20
    width = [(profile * steps**2).sum().sqrt() for profile in out.sum(2).squeeze(1)]
    assert_close(torch.stack(width), torch.tensor([1.0, 3.0]), atol=0.05, rtol=0)
    assert_close(out.sum((1, 2, 3)), torch.ones(2))


def test_rotation_and_scale_agree_with_torchvision(films):
    draws = Augment(rotate=20, scale=0.2).draw(films, generator(5))
    ours = Augment().apply(films, draws)
    for i, theta in enumerate(draws.theta):
        size = theta[:, 0].norm()
        angle = torch.rad2deg(torch.atan2(theta[1, 0], theta[0, 0])).item()
        theirs = v2.affine(films[i], angle=-angle, translate=[0, 0], scale=1 / size.item(), shear=[0, 0], interpolation=InterpolationMode.BILINEAR)
        assert_close(ours[i, 0, 12:36, 12:36], theirs[0, 12:36, 12:36], atol=2e-3, rtol=0)


def test_blur_agrees_with_torchvision(films):
    ours = gaussian_blur(films, torch.full((8,), 1.5))
    assert_close(ours, v2.gaussian_blur(films, kernel_size=[11, 11], sigma=[1.5, 1.5]), atol=1e-4, rtol=0)


def test_erasing_blanks_one_rectangle_inside_the_film(films):
    draws = Augment(erase=1.0).draw(films, generator())
    for mask in draws.erase[:, 0]:
        rows, columns = mask.any(1), mask.any(0)
        assert 0.01 < mask.float().mean() < 0.17
        assert torch.equal(mask, rows[:, None] & columns)
    assert (Augment(erase=1.0)(films, generator())[draws.erase] == 0).all()


def test_layout_of_the_input_is_kept(films):
    strided = films.as_strided(films.shape, (48 * 48, 1, 48, 1))
    assert Augment.named("strong")(strided, generator()).stride() == strided.stride()


def test_unknown_recipe_is_named():
    with pytest.raises(UserError, match="choose one of none"):
        Augment.named("mixup")
