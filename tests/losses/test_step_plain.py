"""The objective against its formulas written out (`benchmarks/training_step_plain.py`): what is saved is exact."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sitsfusion.nets.tamrfsits import TamrfsitsNet

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def tiny_net() -> TamrfsitsNet:
    torch.manual_seed(0)
    sizes = {"latent": 8, "feedforward": 8, "decoder_feedforward": 8, "sensor_token": 4, "encoding_features": 8}
    net = TamrfsitsNet.from_dict(sizes | {"heads": 2, "decoder_heads": 2, "layers": 2}).eval()
    torch.nn.init.normal_(net.decoder.default_token)
    return net


def gradients(net: TamrfsitsNet, loss: Tensor) -> list[Tensor]:
    """Of what both ways share: encoders, tokens, spatial decoder."""
    encoder, decoder = net.encoder, net.decoder
    shared = [encoder.hr_token, encoder.lr_token, decoder.default_token, decoder.sensor_token]
    for part in (encoder.hr, encoder.lr, decoder.spatial):
        shared += [p for p in part.parameters() if p.requires_grad]
    return list(torch.autograd.grad(loss, shared))


def test_the_step_equals_its_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    """A margin of 15 pixels, of which 3 need no output at all."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    benchmark = importlib.import_module("training_step")
    net, case = tiny_net(), benchmark.Case(63, 3, 3, smallest=33)
    assert case.config.margin == 15
    plain, fast = (benchmark.loss_of(path, net, case)[0]() for path in ("plain", "fast"))
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=0)
    for ours, theirs in zip(gradients(net, fast), gradients(net, plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5 * float(theirs.norm()) + 1e-7)
