"""Contrasts of the 2 x 2 over models whose weakness is known."""

import numpy as np
import pytest
import timm
import torch
from fake_ledger import fill
from torch import nn

from benchmarks import mechanism as benchmark
from koalib.data.datasets import load
from koalib.errors import UserError
from koalib.model.architectures import TWO_BY_TWO
from koalib.model.depthwise import DepthwiseConv2d
from koalib.model.weights import create, save_checkpoint
from koalib.paths import cache_dir
from koalib.study import claims, ledger, mechanism
from koalib.study.comparisons import arm_runs
from koalib.study.mechanism import answering, answers, crossed, looking, phantoms_at, saved_models, saved_runs, table, under
from koalib.study.outcome import WEIGHTS_FILE
from koalib.study.predict import model_input
from koalib.study.runner import work_folder

GRADE = np.arange(40) % 5
FILMS = np.full((40, 32, 32), 100, np.uint8) + np.random.default_rng(0).integers(0, 4, (40, 32, 32), dtype=np.uint8)
FILMS[:, :8] = 60  # so that even grade 0 has some contrast
FILMS[:, 14:18] += (10 * GRADE).astype(np.uint8)[:, None, None]


class Band(nn.Module):
    """Reads the grade off the middle band; a fragile one turns its answer round on rough films."""

    def __init__(self, fragile: bool) -> None:
        super().__init__()
        self.fragile, self.weight = fragile, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        level = x[:, 0, 14:18].mean((1, 2))
        rough = (x[:, 0, :, 1:] - x[:, 0, :, :-1]).abs().mean((1, 2))
        ranks = level.argsort().argsort() * 5 // len(x)
        logits = 8.0 * nn.functional.one_hot(ranks, 5).float()
        return torch.where(((rough > 0.2) & self.fragile)[:, None], logits.flip(1), logits)


def test_a_module_that_helps_against_noise_is_seen():
    strong, weak = [Band(False), Band(False)], [Band(True), Band(True)]
    models = {"wavelet": strong, "both": strong, "neither": weak, "gct": weak}
    found = under(models, "noise", FILMS, GRADE, np.arange(40) // 2, answers(models, FILMS), n=200)
    assert found["value"] > 0.2 and found["low"] > 0 and found["seeds"] == 2


def test_equal_arms_look_alike():
    torch.manual_seed(0)
    models = {name: [timm.create_model("resnet18", in_chans=1, num_classes=5)] for name in ("a",)}
    models = dict.fromkeys(("neither", "gct", "wavelet", "both"), models["a"])
    lesion = np.zeros((40, 32, 32), bool)
    lesion[:, 12:20] = True
    found = looking(models, FILMS, lesion, np.arange(40) // 2, n=50)
    assert found["value"] == pytest.approx(0) and found["low"] == pytest.approx(0) == found["high"]


class Looks(nn.Module):
    """Its only convolution answers to bright pixels of the rows it looks at, and so does each grade."""

    feature_info = [{"module": "conv", "reduction": 1, "num_chs": 1}]

    def __init__(self, rows: slice) -> None:
        super().__init__()
        self.conv, self.rows = nn.Conv2d(1, 1, 1, bias=False), rows
        self.conv.weight.data.fill_(1)

    def forward(self, x):
        seen = torch.zeros_like(x)
        seen[:, :, self.rows] = x[:, :, self.rows] - x.amin()
        return self.conv(seen).mean((2, 3)) * torch.arange(1.0, 6.0)


def test_gates_that_make_it_look_at_the_lesion_are_seen():
    lesion = np.zeros((40, 32, 32), bool)
    lesion[:, 14:18] = True
    there, elsewhere = [Looks(slice(14, 18))], [Looks(slice(20, 32))]
    found = looking({"gct": there, "both": there, "neither": elsewhere, "wavelet": elsewhere}, FILMS, lesion, np.arange(40) // 2, n=50)
    assert found["low"] > 0.5 and found["arms"]["both"] > 0.9 and found["arms"]["wavelet"] < 0.1


def test_fresh_phantoms_are_those_of_the_training_set(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALIB_CACHE", str(tmp_path))
    fresh, trained_on = phantoms_at(3, 64, 0), load("phantom", n=3)
    assert np.array_equal(fresh.films, trained_on.pixels(64)) and np.array_equal(fresh.grade, trained_on.table.grade)
    assert fresh.joint.any(axis=(1, 2)).all() and (fresh.lesion >= fresh.joint).all() and fresh.lesion.mean() < 0.2


def test_seeds_widen_the_interval():
    draws = np.random.default_rng(0).normal(0.1, 0.01, (3, 2000))
    alike, apart = (crossed(np.array(seeds), draws) for seeds in ([0.1, 0.1, 0.1], [0.0, 0.1, 0.2]))
    assert alike["value"] == pytest.approx(apart["value"])
    assert apart["high"] - apart["low"] > 3 * (alike["high"] - alike["low"])


class Filter(nn.Module):
    """A network that is one depthwise convolution with a given kernel."""

    def __init__(self, kernel: np.ndarray) -> None:
        super().__init__()
        self.conv = DepthwiseConv2d(1, 3, padding=1, bias=False)
        self.conv.weight.data = torch.from_numpy(kernel).float()[None, None]

    def forward(self, x):
        return self.conv(x).mean((2, 3)).repeat(1, 5)


def test_a_filter_for_horizontal_edges_answers_in_the_joint_and_one_that_passes_all_does_not():
    sharp, edges = np.zeros((3, 3)), np.zeros((3, 3))
    sharp[1, 1], edges[0], edges[2] = 1, -1, 1
    rng = np.random.default_rng(0)
    films = rng.integers(90, 110, (20, 64, 64), dtype=np.uint8)
    films[:, :, ::4] += 60  # vertical stripes everywhere
    films[:, 28:32] = 40  # a dark joint, whose edges are horizontal
    region = np.zeros((20, 64, 64), bool)
    region[:, 24:36] = True
    models = {"wavelet": [Filter(edges)], "both": [Filter(edges)], "neither": [Filter(sharp)], "gct": [Filter(sharp)]}
    found = answering(models, films, region, np.arange(20) // 2, n=200)
    assert found["middle"]["low"] > 1 and found["middle"]["arms"]["both"] > 2 > 1 > found["middle"]["arms"]["neither"]
    same = answering(dict.fromkeys(models, models["gct"]), films, region, np.arange(20) // 2, n=200)
    assert all(row["value"] == row["low"] == row["high"] == 0 for row in same.values())


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A ledger with all twelve runs of the study; kernels that were compiled before are not compiled again."""
    kernels = cache_dir() / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/kernels").symlink_to(kernels)
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("KOALIB_CACHE", str(tmp_path / "cache"))
    fill("mechanism")
    return tmp_path


def knowing(films: np.ndarray, grade: np.ndarray, modules: dict[str, str]) -> nn.Module:
    """An untrained network whose last layer is solved for so that it knows these films by heart."""
    model = create("convwgcnet_atto", **modules).eval()
    with torch.inference_mode():
        features = model.forward_head(model.forward_features(model_input(films)), pre_logits=True)
        features = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
        solved = torch.linalg.lstsq(features, 20.0 * nn.functional.one_hot(torch.tensor(grade), 5).double()).solution.float()
    model.head.fc.weight.data, model.head.fc.bias.data = solved[:-1].T.contiguous(), solved[-1].contiguous()
    return model


def test_a_model_that_knows_nothing_has_nothing_to_keep():
    models, films = dict.fromkeys(TWO_BY_TWO, [create("convwgcnet_atto")]), np.zeros((10, 32, 32), np.uint8)
    with pytest.raises(UserError, match="kappa 0.00 on clean phantoms"):
        under(models, "noise", films, np.arange(10) % 5, np.arange(10), answers(models, films), n=10)


def interrupted(*_: object, **__: object) -> dict:
    raise KeyboardInterrupt


def test_the_benchmark_goes_from_saved_models_to_answered_claims(recorded, capsys, monkeypatch):
    torch.manual_seed(0)
    fresh = phantoms_at(8, 64, benchmark.SEED)
    for arm, modules in TWO_BY_TWO.items():
        for run in arm_runs("mechanism")[f"convwgcnet_atto/{arm}"].values():
            folder = work_folder("mechanism", run)
            folder.mkdir(parents=True)
            save_checkpoint(knowing(fresh.films, fresh.grade, modules), folder / WEIGHTS_FILE, {"size": 64})
    assert {arm: len(of) for arm, of in saved_models(saved_runs()).items()} == dict.fromkeys(TWO_BY_TWO, 3)
    words = ["--patients", "8", "--size", "64", "--resamples", "50"]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(mechanism, "under", interrupted)
        benchmark.main(words)
    assert set(ledger.read_measurement("mechanism")) >= {"localisation", "bands"} and capsys.readouterr().err
    benchmark.main(words)
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines() if ": measured, " in line] == ["noise", "blur", "contrast", "jpeg"]
    found = ledger.read_measurement("mechanism")
    assert found["films"] == 16 and set(found["bands"]) == {"high", "middle", "low", "all"} and found["localisation"]["seeds"] == 3
    shown = table()
    assert len(shown) == 9 and shown.loc["kappa kept under blur", "contrast"] == found["blur"]["value"]
    assert shown.loc["kappa kept under noise", ["wavelet", "both"]].mean() - shown.loc["kappa kept under noise", ["neither", "gct"]].mean() == pytest.approx(found["noise"]["value"])
    by_arm = found["localisation"]["arms"]
    assert (by_arm["gct"] + by_arm["both"]) / 2 - (by_arm["neither"] + by_arm["wavelet"]) / 2 == pytest.approx(found["localisation"]["value"]) != 0
    answered = {a.claim: a for a in claims.answers()}
    assert (answered["C8"].value, answered["C8"].films, answered["C8"].runs) == (found["localisation"]["value"], "phantom", 12)
    assert [a.value for a in claims.answers() if a.claim == "C7"] == [found["noise"]["value"], found["bands"]["all"]["value"]]
    assert answered["C8"].a_a == found["localisation"]["a_a"] and not answered["C8"].verdict.startswith("not")


def test_a_measurement_of_other_runs_is_none(recorded):
    row = {"value": 0.2, "low": 0.1, "high": 0.3, "seeds": 3, "a_a": 0.01, "arms": dict.fromkeys(TWO_BY_TWO, 0.5)}
    for runs, verdict in ((saved_runs(), "holds"), ({**saved_runs(), "both": ["of", "another", "day"]}, "not measured yet")):
        ledger.record_measurement("mechanism", {"runs": runs, "localisation": row})
        assert {a.claim: a for a in claims.answers()}["C8"].verdict == verdict
        assert table().empty == (verdict == "not measured yet")


def test_gates_that_did_not_move_answer_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path))
    fill("mechanism", gate=0.001)
    found = {a.claim: a.verdict for a in claims.answers()}
    assert found["C8"].startswith("not tested here: gct: the gates did not move")
    assert found["C7"] == "not measured yet"  # its wavelet branches moved, which is all that it needs


def test_nothing_recorded_is_an_empty_table(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALIB_RESULTS", str(tmp_path))
    assert table().empty


def test_models_that_were_not_saved_are_named(recorded):
    with pytest.raises(UserError, match="model.safetensors"):
        saved_models(saved_runs())
