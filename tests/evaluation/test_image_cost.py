"""What one image costs, measured in a process of its own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

import sitsfusion
from sitsfusion import methods
from sitsfusion.engine.job import Resources
from sitsfusion.evaluation import image_cost
from sitsfusion.evaluation.image_cost import _predict_one
from sitsfusion.evaluation.settings import MethodSpec, Settings
from sitsfusion.evaluation.sites import SceneSite
from sitsfusion.query import query_of
from tests.evaluation import tiny
from tests.fake.stf_weights import stf_weights
from tests.methods.stf_classical.places import pair_scene
from tests.scenes import days

CPU = Resources(device="cpu", threads=1)


def test_a_run_with_costs_shows_them_and_measures_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(margin=0, costs=True, resources=CPU)
    specs = ["closest", MethodSpec("tamrfsits", {"accept_missing": True}, label="learned")]
    site = SceneSite(tiny.scene(), tiny.truth)
    found = sitsfusion.evaluate(site, ["GAPS"], specs, out=tmp_path, settings=settings)
    rows = {row["method"]: row for row in csv.DictReader(found.files["costs.csv"].read_text().splitlines())}
    assert int(rows["closest"]["parameters"]) == int(rows["closest"]["macs"]) == 0
    assert int(rows["learned"]["parameters"]) == 266_234
    assert int(rows["learned"]["macs"]) > 30 * 30 * 266_234  # encoder, attention and decoder run for every pixel
    assert float(rows["learned"]["peak_mib"]) > 0
    assert all(float(row["seconds"]) > 0 and row["rows"] == "30" for row in rows.values())
    assert "What an image costs" in (tmp_path / "summary.md").read_text()
    assert "266,234" in found.report.read_text()
    monkeypatch.setattr(image_cost, "_predict_one", None)  # what was measured is not measured again
    sitsfusion.evaluate(site, ["GAPS"], specs[:1], out=tmp_path, settings=settings)
    again = sitsfusion.evaluate(site, ["GAPS"], specs[1:], out=tmp_path, settings=settings)
    assert again.files["costs.csv"].read_text().count("\n") == 3  # of all methods in the folder


def test_costs_of_left_out_images_are_of_one_of_them(tmp_path: Path) -> None:
    settings = Settings(margin=0, costs=True, metrics="paper", resources=CPU)
    found = sitsfusion.evaluate(tiny.scene(), "LEAVE_ONE_OUT", ["closest"], out=tmp_path, settings=settings)
    [row] = csv.DictReader(found.files["costs.csv"].read_text().splitlines())
    assert row["method"] == "closest"


def test_without_being_asked_nothing_is_measured(tmp_path: Path) -> None:
    settings = Settings(margin=0, metrics="paper", resources=CPU)
    found = sitsfusion.evaluate(tiny.scene(), "GAPS", ["closest"], out=tmp_path, settings=settings)
    assert "costs.csv" not in found.files


@pytest.mark.parametrize("model", ["edcstfn", "srsfgan"])
def test_multiplications_are_those_of_the_layers(model: str) -> None:
    spec = MethodSpec(model, {"weights": stf_weights(model)})
    scene = pair_scene((8, 8), clouds=False)
    method = methods.make(spec.name, spec.options)
    counted = 0

    def count(layer: nn.Module, _: object, made: Tensor) -> None:
        nonlocal counted
        if isinstance(layer, nn.Conv2d):
            counted += made.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.ConvTranspose2d):
            counted += made.numel() // made.shape[1] * layer.weight.numel() // (layer.stride[0] * layer.stride[1])
        elif isinstance(layer, nn.Linear):
            counted += made.numel() * layer.in_features

    hook = register_module_forward_hook(count)
    try:
        with torch.inference_mode():
            found = _predict_one(scene, query_of(scene, days(5), method.outputs(scene)), spec, CPU)
    finally:
        hook.remove()
    assert found.macs == pytest.approx(counted, rel=1e-6)
