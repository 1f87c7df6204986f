"""pyproject.toml, constraints.txt, environment.yml and the scripts ask for the same things."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from koalib.paths import ROOT

CONDA_NAMES = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib", "seaborn-base": "seaborn"}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def conda() -> list:
    return yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


@pytest.fixture(scope="module")
def needed(project) -> dict[str, Requirement]:
    """Every requirement by its canonical name, those of the extras included."""
    lines = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def script_extras() -> str:
    return re.search(r'^EXTRAS="([\w,]+)"', (ROOT / "scripts/setup.sh").read_text(), re.MULTILINE)[1]


def test_conda_asks_for_the_versions_that_pip_asks_for(conda, needed, project):
    asked = {canonicalize_name(r.name): r for r in (Requirement(line) for line in conda if isinstance(line, str))}
    assert str(asked.pop("python").specifier) == project["requires-python"]
    del asked["pip"]
    for name, requirement in asked.items():
        assert str(requirement.specifier) == str(needed[canonicalize_name(CONDA_NAMES.get(name, name))].specifier), name


def test_conda_takes_torch_without_cuda_and_the_rest_from_the_project(conda):
    assert [line for line in conda if isinstance(line, str) and line.startswith("pytorch-cpu")]
    (pip,) = (entry["pip"] for entry in conda if isinstance(entry, dict))
    assert pip == [f"--editable .[{script_extras()}]"]


def test_the_scripts_install_extras_that_exist(project):
    assert set(script_extras().split(",")) <= set(project["optional-dependencies"])


def test_every_requirement_is_pinned_to_an_accepted_version(needed):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(r.name): r for r in (Requirement(line) for line in lines if line and not line.startswith("#"))}
    for name, requirement in needed.items():
        (pin,) = pins[name].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version, prereleases=True), name


def test_every_pin_installs_on_the_oldest_python_promised(project):
    oldest = re.fullmatch(r">=([\d.]+)", project["requires-python"])[1] + ".0"
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(r.name): r.specifier for r in (Requirement(line) for line in lines if line and not line.startswith("#"))}
    installed = {canonicalize_name(d.name): d for d in metadata.distributions() if d.version in pins.get(canonicalize_name(d.name), ())}
    assert len(installed) > 100
    refused = {name: asked for name, d in installed.items() if (asked := d.metadata["Requires-Python"]) and oldest not in SpecifierSet(asked)}
    assert not refused


def test_newer_torch_is_accepted(needed):
    for name in ("torch", "torchvision"):
        assert needed[name].specifier.contains("99.0"), "the pinned pair belongs into constraints.txt"


def test_no_pin_is_tied_to_one_build_or_platform():
    pins = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"^(nvidia|cuda|triton)|\+cpu|\+cu\d|file:|://", pins, re.MULTILINE)
