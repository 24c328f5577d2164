"""U-TILISE behind the protocol: bands, SAR, clear pixels, sizes, and refusals by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import sitsfusion
from sitsfusion import methods, sensors
from sitsfusion.checkpoints.utilise import load_utilise
from sitsfusion.cube import Cube
from sitsfusion.dates import day_of_year
from sitsfusion.engine.job import Resources
from sitsfusion.errors import InputError, MissingBandError
from sitsfusion.methods.utilise.sequence import SequenceOptions, impute
from sitsfusion.ops.tiles import pad_to_multiple
from sitsfusion.prediction import Prediction
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from tests import scenes
from tests.fake.utilise import BANDS, seeded_utilise

WANTED = scenes.days(5, 12)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(seeded_utilise(tmp_path_factory.mktemp("weights")))


def place(cells: tuple[int, int] = (3, 4), days: tuple[int, ...] = (0, 5, 9, 17, 30, 41), **options: object) -> Scene:
    return Scene({"fine": scenes.cube("fine", days, cells, bands=BANDS, **options)}, name="made-up")  # type: ignore[arg-type]


def fused(scene: Scene, **options: object) -> Prediction:
    return sitsfusion.fuse(scene, WANTED, "utilise", resources=Resources(device="cpu"), min_clear_share=0, **options)


def test_a_day_without_image_is_a_hidden_frame(weights: str) -> None:
    """The network by hand gives what the method gives, on a size that is no multiple of anything."""
    scene = place()
    found = fused(scene, weights=weights)["fine"]
    cube = scene["fine"]
    values, valid = cube.to_numpy()
    dates = sorted({*cube.dates, *WANTED})
    x = np.ones((len(dates), *values.shape[1:]), np.float32)
    for t, day in enumerate(cube.dates):
        x[dates.index(day)] = np.where(valid[t], np.clip(values[t], 0, 1), 1)
    net, _ = load_utilise(Path(weights))
    days = torch.from_numpy(day_of_year(dates) - 1).float()[None]
    images = pad_to_multiple(torch.from_numpy(np.nan_to_num(x, nan=1.0))[None], 2)
    masks = torch.ones(1, len(dates), 1, *values.shape[2:])
    for t, day in enumerate(cube.dates):
        masks[0, dates.index(day), 0] = torch.from_numpy(~valid[t])
    out = impute(net, images, days, pad_to_multiple(masks, 2), SequenceOptions(4)).images[0]
    got, ok = found.to_numpy()
    h, w = values.shape[-2:]
    expected = out[[dates.index(day) for day in WANTED]][..., :h, :w].numpy()
    seen = valid.any(0)
    np.testing.assert_array_equal(ok, np.broadcast_to(seen, ok.shape))
    np.testing.assert_allclose(got[:, :, seen], expected[:, :, seen], atol=1e-6)


def test_clear_pixels_stay_if_asked(weights: str) -> None:
    scene = place()
    cube = scene["fine"]
    values, valid = cube.to_numpy()
    t = cube.dates.index(WANTED[0])
    got = fused(scene, weights=weights, keep_clear=True)["fine"].to_numpy()[0][0]
    np.testing.assert_allclose(got[:, valid[t]], values[t][:, valid[t]], atol=1e-6)
    other = fused(scene, weights=weights)["fine"].to_numpy()[0][0]
    assert np.abs(other[:, valid[t]] - values[t][:, valid[t]]).max() > 0.01


def test_reference_mode_shows_the_clouds(weights: str) -> None:
    scene = place()
    one, other = (fused(scene, weights=weights, mode=m)["fine"].to_numpy()[0] for m in ("full", "reference"))
    assert np.nanmax(np.abs(one - other)) > 1e-3


def test_a_series_without_a_clear_pixel_is_refused(weights: str) -> None:
    scene = place()
    cube = scene["fine"]
    values, valid = cube.to_numpy()
    clouded = Cube.from_array(
        values, sensor=cube.sensor, bands=cube.bands, grid=cube.grid, dates=cube.dates, valid=np.zeros_like(valid)
    )
    method = methods.make("utilise", {"weights": weights})
    items = tuple(replace(item, clear_share=0.0) for item in clouded.items)
    dark = Scene({"fine": replace(clouded, items=items)})
    plan = method.plan(dark, query_of(dark, WANTED, method.outputs(dark)))
    assert not plan.steps
    assert [r.day for r in plan.refused] == list(WANTED)
    assert "usable pixels" in plan.refused[0].reason


def test_bands_can_be_others_and_missing_ones_are_named(weights: str) -> None:
    bands = ("B02", "B03", "B04", "B8A")
    scene = Scene({"fine": scenes.cube("fine", (0, 5, 9, 17), (3, 4), bands=bands)})
    with pytest.raises(MissingBandError, match=r"B08.*bands="):
        fused(scene, weights=weights)
    found = fused(scene, weights=weights, bands=bands)["fine"]
    assert found.bands == bands
    with pytest.raises(InputError, match="take 4"):
        fused(scene, weights=weights, bands=("B02",))


def sar_cube(days: tuple[int, ...], like: Cube) -> Cube:
    sensor = sensors.get("sentinel-2-l2a").model_copy(update={"name": "sentinel-1"})
    band = sensor.bands[0]
    described = [
        band.model_copy(update={"key": key, "unit": "decibel", "aliases": (), "common_name": None})
        for key in ("VV", "VH")
    ]
    sensor = sensor.model_copy(update={"bands": tuple(described)})
    values = np.random.default_rng(0).uniform(-20, 0, (len(days), 2, *like.grid.shape)).astype(np.float32)
    valid = np.ones((len(days), *like.grid.shape), bool)
    return Cube.from_array(
        values, sensor=sensor, bands=("VV", "VH"), grid=like.grid, dates=scenes.days(*days), valid=valid
    )


def test_sar_is_needed_by_weights_with_sar(tmp_path: Path) -> None:
    with_sar = str(seeded_utilise(tmp_path / "w", sar=("VV", "VH")))
    scene = place()
    with pytest.raises(InputError, match=r"take SAR images \(VV, VH\)"):
        fused(scene, weights=with_sar)
    complete = scene.with_cubes(sar=sar_cube((1, 4, 10, 16, 29, 40), scene["fine"]))
    got = fused(complete, weights=with_sar)
    assert got["fine"].dates == WANTED
    assert np.isfinite(got["fine"].to_numpy()[0]).any()
    late = scene.with_cubes(sar=sar_cube((1, 4), scene["fine"]))
    found = fused(late, weights=with_sar)
    assert found["fine"].dates == WANTED[:1]
