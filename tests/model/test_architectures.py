"""The compared networks exist, their weights are of one corpus, and their state on this machine is told."""

import timm

from koalib.model import sources
from koalib.model.architectures import ARCHITECTURES, CONTROLS, VARIANTS, table, weights_here
from koalib.model.weights import create


def test_timm_knows_every_network_and_its_weights():
    for name in ARCHITECTURES:
        assert sources.tagged(name) in timm.list_pretrained(), name


def test_one_corpus():
    for name in ARCHITECTURES:
        tag = sources.tagged(name).partition(".")[2]
        assert tag.endswith("in1k") and "ft" not in tag, f"{name}.{tag} was pretrained on more than ImageNet-1k"


def test_table_tells_what_is_here(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setenv("KOALIB_WEIGHTS", str(tmp_path))
    (tmp_path / "resnet50.a1_in1k.safetensors").touch()
    here = table()["on this machine"]
    assert here["tf_efficientnet_lite0"] == "yes" and here["resnet50"] == "yes" and here["vgg16"] == "no"
    assert weights_here("resnet50") == "folder: resnet50.a1_in1k.safetensors"


def test_controls_cost_what_the_modules_cost():
    """The plain 5x5 branch computes on every pixel what the wavelet branch does on all levels together: within 1 % in all."""
    count = {name: sum(p.numel() for p in create("convnext_atto", **options).parameters()) for name, options in {**VARIANTS, **CONTROLS}.items()}
    assert count["gates"] - count["baseline"] < 0.01 * count["baseline"]
    assert count["eca"] - count["baseline"] < 0.01 * count["baseline"]
