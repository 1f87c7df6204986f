"""Fit the not-a-knee score on training films and measure it on others: ``python -m benchmarks.novelty``.

Three parts of films, no patient or duplicate group in two of them: the score is fitted on the first (chen2018's training
split, half of gornale2020, phantoms), its thresholds are quantiles on the second, and what is reported is measured on the
third (the halves of chen2018's validation split, quarters of gornale2020, other phantoms). Non-knees, which set nothing, come
from scikit-image's pictures and from generators. Writes ``koalib/clinic/knees.safetensors`` and ``data/results/novelty.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import safetensors.numpy
import skimage
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA

from koalib.clinic.novelty import NUMBERS, SIZE, Kind, Novelty, features
from koalib.data.datasets import KneeDataset, grouped_folds, load
from koalib.data.images import ImageError, read_knee, resize
from koalib.data.knees import find_knees
from koalib.data.phantom import make_phantoms
from koalib.data.public import listing
from koalib.data.sources import open_source
from koalib.paths import atomic_write
from koalib.study.ledger import record_measurement

SETS = ("chen2018", "gornale2020")
COMPONENTS = 60
UNUSUAL, REJECT = 0.97, 0.99


def fit_kinds(films: dict[str, np.ndarray]) -> tuple[Kind, ...]:
    """Probabilistic PCA of each kind's features, in units of the first kind's spread and with at least its noise.

    Phantoms resemble one another more than real films do; measured in their own spread, a phantom with a little more
    grain would be further from them than a photograph is from a real knee.
    """
    first = next(iter(films.values()))
    scale, kinds = first.std(0) + 1e-3, []
    for x in films.values():
        z = (x - x.mean(0)) / scale
        pca = PCA(COMPONENTS).fit(z)
        noise = float(((z**2).sum(1) - (pca.transform(z) ** 2).sum(1)).mean() / (x.shape[1] - COMPONENTS))
        noise = max(noise, kinds[0].noise) if kinds else noise
        kinds.append(Kind(x.mean(0), scale, pca.components_, np.maximum(pca.explained_variance_, noise), noise))
    return tuple(kinds)


def parts(name: str) -> tuple[KneeDataset, KneeDataset, KneeDataset]:
    """Films of a set to fit on, to set the thresholds on, to measure on."""
    films = load(name)
    if name == "chen2018":
        return films.select("train"), *halves(films.select("val"))
    fit, rest = halves(films)
    return fit, *halves(rest)


def phantoms(n: int, seed: int) -> np.ndarray:
    """Phantom films, uint8 (2n, 224, 224), bone bright or dark as they come."""
    return make_phantoms(n, size=224, seed=seed).pixels


def knee_films() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Features (N, 401) of each kind's films as their sets give them: to fit on, and to set the thresholds on."""
    pixels = {name: [part.pixels(SIZE) for part in parts(name)[:2]] for name in SETS}
    pixels["phantom"] = [np.stack([resize(film / np.float32(255), SIZE) for film in phantoms(n, seed)]) for n, seed in ((600, 1), (200, 2))]
    return {name: tuple(np.stack([features(film) for film in part]) for part in of) for name, of in pixels.items()}


def measured_files(name: str) -> Iterator[bytes]:
    """The files of a set's third part, each once."""
    wanted = set(parts(name)[2].table["path"])
    manifest, where, root = listing(name, None)
    with open_source(root) as source:
        yield from (source.read(file) for path, file in zip(manifest["path"], where, strict=True) if path in wanted)


def in_the_clinic(novelty: Novelty, content: bytes) -> float:
    """The score by which the clinic lets a file pass; infinite where it cannot be read as a film at all."""
    try:
        return float(novelty.strangeness(find_knees(read_knee(content, name="film"))).min())
    except ImageError:
        return float("inf")


def file_of(picture: np.ndarray) -> bytes:
    """A picture as the bytes of a PNG."""
    Image.fromarray(picture).save(made := BytesIO(), "PNG")
    return made.getvalue()


def halves(films: KneeDataset) -> tuple[KneeDataset, KneeDataset]:
    """Two halves that share no patient and no duplicate group."""
    fold = grouped_folds(films.table, k=2, seed=0)
    return films.select(fold == 0), films.select(fold == 1)


def photographs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The pictures that come with scikit-image (photographs, textures, microscopy, a scanned page), whole and in parts."""
    folder, found = Path(skimage.__file__).parent / "data", {}
    for path in sorted([*folder.glob("*.png"), *folder.glob("*.jpg")]):
        grey = np.asarray(Image.open(path).convert("RGB").convert("L"))
        found[path.stem] = grey
        for part in range(6):
            side = int(min(grey.shape) * rng.uniform(0.3, 0.9))
            top, left = (int(rng.integers(0, length - side + 1)) for length in grey.shape)
            found[f"{path.stem} part {part}"] = grey[top : top + side, left : left + side]
    faces = np.load(folder / "lfw_subset.npy", allow_pickle=False)
    return found | {f"face {i}": as_grey(face) for i, face in enumerate(faces[::8])}


def made_pictures(rng: np.random.Generator, n: int = 25) -> dict[str, np.ndarray]:
    """Noise of several colours, blank and shaded sheets, pages of text, drawn chest films."""
    found, ramp = {}, np.linspace(0, 1, 224)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(224), np.fft.fftfreq(224)))
    radius[0, 0] = 1
    for i in range(n):
        found[f"white noise {i}"] = rng.integers(0, 256, (224, 224)).astype(np.uint8)
        found[f"coloured noise {i}"] = as_grey(np.fft.ifft2(np.fft.fft2(rng.normal(size=(224, 224))) / radius ** rng.uniform(0.5, 2)).real)
        found[f"blank {i}"] = np.clip(rng.integers(10, 245) + rng.normal(0, 1, (224, 224)), 0, 255).astype(np.uint8)
        found[f"shaded {i}"] = as_grey(np.add.outer(ramp * rng.uniform(-1, 1), ramp * rng.uniform(-1, 1)) + 1e-3 * rng.normal(size=(224, 224)))
        found[f"page {i}"] = page(rng)
        found[f"chest {i}"] = chest(rng)
    return found


def page(rng: np.random.Generator) -> np.ndarray:
    """A scanned page of text."""
    sheet = Image.new("L", (224, 300), 255)
    pen = ImageDraw.Draw(sheet)
    for line in range(22):
        pen.text((10, 10 + 13 * line), "".join(rng.choice(list("abcdefg hijkl mno"), 30)), fill=0)
    return np.asarray(sheet)


def chest(rng: np.random.Generator) -> np.ndarray:
    """A drawn chest film: dark lungs, heart, spine, ribs, noise."""
    y, x = np.mgrid[0:224, 0:224] / 224
    film = np.full((224, 224), 0.75)
    for centre in (0.28, 0.72):
        film[((x - centre - 0.03 * rng.normal()) / (0.15 + 0.02 * rng.random())) ** 2 + ((y - 0.45) / (0.33 + 0.03 * rng.random())) ** 2 < 1] -= 0.5
    film[((x - 0.58) / 0.14) ** 2 + ((y - 0.6) / 0.16) ** 2 < 1] = 0.75
    film[np.abs(x - 0.5) < 0.04] += 0.15
    for rib in range(9):
        film[(np.abs(y - 0.12 - 0.07 * rib - 0.25 * np.abs(x - 0.5)) < 0.012) & (np.abs(x - 0.5) > 0.03) & (np.abs(x - 0.5) < 0.4)] += 0.12
    return as_grey(gaussian_filter(film, 2) + rng.normal(0, 0.02, film.shape))


def as_grey(picture: np.ndarray) -> np.ndarray:
    """Any array stretched to uint8."""
    low, high = float(picture.min()), float(picture.max())
    return np.round((picture - low) / (high - low) * 255).astype(np.uint8)


def write_numbers(novelty: Novelty, names: list[str]) -> None:
    """Half precision is enough for a distance whose margin is wide."""
    tensors = {f"{name}.{part}": np.ascontiguousarray(getattr(kind, part), np.float16 if part == "basis" else np.float32) for name, kind in zip(names, novelty.kinds, strict=True) for part in ("mean", "scale", "basis", "variance")}
    about = {"noise": {name: kind.noise for name, kind in zip(names, novelty.kinds, strict=True)}, "unusual": novelty.unusual, "reject": novelty.reject}
    atomic_write(NUMBERS, safetensors.numpy.save(tensors, {"koalib": json.dumps(about)}))


def main() -> None:
    """Fit, set the thresholds, measure, write."""
    films, rng = knee_films(), np.random.default_rng(0)
    kinds = fit_kinds({name: fit for name, (fit, _) in films.items()})
    setting = [np.log(np.min([kind.distance(x) for kind in kinds], axis=0)) for _, x in films.values()]
    unusual, reject = (max(float(np.quantile(s, share)) for s in setting) for share in (UNUSUAL, REJECT))
    novelty = Novelty(kinds, unusual, reject)
    write_numbers(novelty, list(films))
    files = {name: measured_files(name) for name in SETS} | {"phantom": map(file_of, phantoms(200, 3))}
    report: dict = {"unusual": unusual, "reject": reject, "thresholds_set_on": {name: len(x) for name, (_, x) in films.items()}, "knees": {}}
    for name, of in files.items():
        s = np.array([in_the_clinic(novelty, content) for content in of])
        report["knees"][name] = {"n": len(s), "rejected": float((s > reject).mean()), "unusual": float((s > unusual).mean()), "score_99": float(np.quantile(s, 0.99))}
    for group, pictures in (("scikit-image pictures", photographs(rng)), ("made pictures", made_pictures(rng))):
        s = np.array([in_the_clinic(novelty, file_of(picture)) for picture in pictures.values()])
        report[group] = {"n": len(s), "rejected": float((s > reject).mean()), "unreadable": float(np.isinf(s).mean()), "lowest_score": float(s.min()),
                         "passed": [name for name, value in zip(pictures, s, strict=True) if value <= reject]}
    record_measurement("novelty", report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
