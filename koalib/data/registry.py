"""The real data sets as data: what they are, who may use them, how to get them, where they lie."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from koalib.data.sources import Source, open_source
from koalib.errors import UserError
from koalib.paths import MANIFESTS, data_dir

GRADES = (0, 1, 2, 3, 4)
GRADE_NAMES = ("none", "doubtful", "minimal", "moderate", "severe")
FLAGS = ("inverted", "low_contrast", "bit16", "two_knees", "conflicting_grade")
TEXTS = ("image_id", "path", "split", "patient", "side", "group", "mode", "sha256", "exact_twin_of", "mirrored_twin_of")

PATIENT = r"(?:^|_)(\d{7})(?:[LR]|_[12])$"
"""The patient in the names that films of the Osteoarthritis Initiative have: ``9003175L``, ``9003175_1`` (a re-crop)."""


class DatasetMissing(UserError):
    """A set that is not where it was looked for; the text ends in numbered steps to get it."""


@dataclass(frozen=True)
class DatasetInfo:
    """Facts of one public data set.

    ``counts`` is {split: {grade: number of films}}; ``film`` is a regular expression with the groups ``key``
    (the path in the manifest, below ``prefix``) and ``aside`` tells which films belong to the publication
    but not to the set; ``homes`` are the names of archives and folders that are looked for.
    """

    name: str
    title: str
    doi: str
    url: str
    licence: str
    citation: str
    labels: tuple[str, ...]
    counts: Mapping[str, Mapping[int, int]]
    layouts: tuple[str, ...]
    homes: tuple[str, ...]
    film: str
    prefix: str
    aside: str
    by_hand: tuple[str, ...]

    def key(self, path: str) -> str | None:
        """The manifest's path of a film found at ``path`` in whatever public layout, None for any other file."""
        found = None if self.is_aside(path) else re.search(self.film, path)
        return self.prefix + found["key"] if found else None

    def is_aside(self, path: str) -> bool:
        """Whether the file is published with the set and set apart: re-crops, other sizes, other readings."""
        return re.search(self.aside, path) is not None

    def films(self, source: Source) -> dict[str, str]:
        """{path in the manifest: path in this copy} of every film of the set that the copy holds."""
        found: dict[str, str] = {}
        for path in sorted(source.paths(), key=lambda p: (p.count("/"), p)):
            key = self.key(path)
            if key:
                found.setdefault(key, path)
        return found

    @property
    def images(self) -> int:
        """Number of films."""
        return sum(sum(grades.values()) for grades in self.counts.values())


def _counts(**splits: tuple[int, ...]) -> dict[str, dict[int, int]]:
    return {split: dict(zip(GRADES, numbers, strict=True)) for split, numbers in splits.items()}


CHEN2018 = DatasetInfo(
    name="chen2018",
    title="Knee Osteoarthritis Severity Grading Dataset",
    doi="10.17632/56rmx5bjcr.1",
    url="https://prod-dcd-datasets-cache-zipfiles.s3.eu-west-1.amazonaws.com/56rmx5bjcr-1.zip",
    licence="CC BY 4.0",
    citation="Chen P. (2018), Knee Osteoarthritis Severity Grading Dataset, Mendeley Data, V1, doi 10.17632/56rmx5bjcr.1; derived from the Osteoarthritis Initiative",
    labels=("None", "Doubtful", "Minimal", "Moderate", "Severe"),
    counts=_counts(train=(2286, 1046, 1516, 757, 173), val=(328, 153, 212, 106, 27), test=(639, 296, 447, 223, 51)),
    layouts=(
        "{train,val,test}/{0..4}/9003175L.png",
        "56rmx5bjcr-1/KneeXrayData/ClsKLData/kneeKL224/{train,val,test,auto_test}/{0..4}/9003175L.png",
    ),
    homes=("chen2018", "56rmx5bjcr-1", "KneeXrayData", "ClsKLData", "kneeKL224"),
    film=r"(?:^|/)(?P<key>(?:train|val|test)/[0-4]/[^/]+\.png)$",
    prefix="",
    aside=r"(?:^|/)(?:auto_test|kneeKL299)/",
    by_hand=(
        "open https://doi.org/10.17632/56rmx5bjcr.1 in a browser and choose 'Download All'",
        "unpack what comes until folders named train, val and test appear (or leave one zip that holds them)",
        "put the zip or the folder, named chen2018, into one folder and name that folder by --data or KOALIB_DATA",
        "check it: koalib data verify chen2018",
    ),
)

GORNALE2020 = DatasetInfo(
    name="gornale2020",
    title="Digital Knee X-ray Images",
    doi="10.17632/t9ndx37v5h.1",
    url="https://prod-dcd-datasets-cache-zipfiles.s3.eu-west-1.amazonaws.com/t9ndx37v5h-1.zip",
    licence="CC BY 4.0",
    citation="Gornale S., Patravali P. (2020), Digital Knee X-ray Images, Mendeley Data, V1, doi 10.17632/t9ndx37v5h.1",
    labels=("Normal", "Doubtful", "Mild", "Moderate", "Severe"),
    counts=_counts(all=(514, 477, 232, 221, 206)),
    layouts=(
        "Knee X-ray Images/MedicalExpert-I/{0Normal,1Doubtful,2Mild,3Moderate,4Severe}/NormalG0 (1).png",
        "t9ndx37v5h-1/.../Knee X-ray Images/{MedicalExpert-I,MedicalExpert-II}/...",
    ),
    homes=("gornale2020", "t9ndx37v5h-1", "Digital Knee X-ray Images", "Knee X-ray Images"),
    film=r"(?:^|/)(?P<key>MedicalExpert-I/[0-4][A-Za-z]+/[^/]+\.png)$",
    prefix="Knee X-ray Images/",
    aside=r"(?:^|/)MedicalExpert-II/",
    by_hand=(
        "open https://doi.org/10.17632/t9ndx37v5h.1 in a browser and choose 'Download All'",
        "unpack what comes until a folder named MedicalExpert-I appears (or leave one zip that holds it)",
        "put the zip or the folder, named gornale2020, into one folder and name that folder by --data or KOALIB_DATA",
        "check it: koalib data verify gornale2020",
    ),
)

DATASETS: dict[str, DatasetInfo] = {set_.name: set_ for set_ in (GORNALE2020, CHEN2018)}


def info(name: str) -> DatasetInfo:
    """Facts of a public set.

    Raises:
        UserError: no such set.
    """
    if name not in DATASETS:
        raise UserError(f"{name}: no public set of that name; choose {' or '.join(DATASETS)} (koalib data audit looks into films of your own)")
    return DATASETS[name]


def read_manifest(name: str) -> pd.DataFrame:
    """One row a film, in the order of every array made from the set; empty text where a fact is not known."""
    file = MANIFESTS / f"{info(name).name}.csv"
    if not file.is_file():
        raise UserError(f"{file.name}: the manifest is missing from data/manifests; koalib needs a complete checkout")
    return _manifest(file, file.stat().st_mtime_ns).copy()


@lru_cache(maxsize=len(DATASETS))
def _manifest(file: Path, changed: int) -> pd.DataFrame:
    """Read once a version: who reads a study's predictions asks for it at each run, which films are sealed."""
    types = {column: str for column in TEXTS} | {column: bool for column in FLAGS}
    return pd.read_csv(file, dtype=types, keep_default_na=False)


def of_split(table: pd.DataFrame, name: str, split: str) -> pd.Series:
    """Which rows show films of one split of a public set, whatever the set is called that they lie in.

    Known by their pixels, where ``table`` has the column ``sha256``, and by the patient's number in ``image_id``, so
    that other crops and sizes of the same knees are known too.
    """
    manifest = read_manifest(name)
    manifest = manifest[manifest["split"] == split]
    patients = table["image_id"].astype(str).str.extract(PATIENT, expand=False)
    found = patients.isin(set(manifest["patient"]) - {""})
    return found | table["sha256"].isin(manifest["sha256"]) if "sha256" in table else found


def steps(name: str, reason: str) -> str:
    """``reason`` and the numbered steps by which a reader gets the set."""
    numbered = "".join(f"\n  {number}. {step}" for number, step in enumerate(info(name).by_hand, 1))
    return f"{reason}; it is free ({info(name).licence}) and comes in four steps:{numbered}"


def locate(name: str, data: str | Path | None = None) -> Path:
    """The zip or folder that holds a set: ``data`` itself, or an entry of it with one of the known names.

    Raises:
        DatasetMissing: no folder was named, or it holds no such set; the text has the numbered steps.
    """
    set_ = info(name)
    folder = _given(data)
    if folder is None:
        raise DatasetMissing(steps(name, f"{name}: no data folder was named (--data or KOALIB_DATA)"))
    for home in _candidates(set_, folder):
        if home.exists() and _holds(set_, home):
            return home
    raise DatasetMissing(steps(name, f"{folder}: holds no copy of {name}"))


def _given(data: str | Path | None) -> Path | None:
    """A zip may be named as well as a folder."""
    if data and Path(data).expanduser().is_file():
        return Path(data).expanduser().resolve()
    return data_dir(data)


def _candidates(set_: DatasetInfo, folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    named = [folder / (home + suffix) for home in set_.homes for suffix in (".zip", "")]
    return [*named, folder]


def _holds(set_: DatasetInfo, home: Path) -> bool:
    with open_source(home) as source:
        return any(set_.key(path) for path in source.paths())
