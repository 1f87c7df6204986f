"""``scripts/ship_grader.py``: what is put together of several runs."""

import runpy

import torch
from torch import nn

from koalib.paths import ROOT

mean_weights = runpy.run_path(str(ROOT / "scripts/ship_grader.py"))["mean_weights"]


def test_several_runs_become_the_mean_of_their_weights_and_statistics() -> None:
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)) for _ in range(3)]
    for times, model in enumerate(models, 1):
        for _ in range(times):
            model(torch.randn(4, 1, 8, 8))
    states = [{key: value.clone() for key, value in model.state_dict().items()} for model in models]
    found = mean_weights(models).state_dict()
    assert found["1.num_batches_tracked"] == 1, "a counter is the first's"
    for key in ("0.weight", "0.bias", "1.weight", "1.running_mean", "1.running_var"):
        torch.testing.assert_close(found[key], (states[0][key] + states[1][key] + states[2][key]) / 3)
