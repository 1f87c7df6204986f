"""The compared networks exist, their weights are of one corpus, and their state on this machine is told."""

import timm

from koalib.model import sources
from koalib.model.architectures import ARCHITECTURES, VARIANTS, table, weights_here
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


def test_gates_and_their_control_eca_add_less_than_a_hundredth_of_the_parameters():
    count = {name: sum(p.numel() for p in create("convnext_atto", **options).parameters()) for name, options in VARIANTS.items()}
    for with_gate, without in (("gct", "neither"), ("both", "wavelet"), ("eca", "wavelet")):
        assert 0 < count[with_gate] - count[without] < 0.01 * count[without]
