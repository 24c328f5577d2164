"""DSen2, DSTFN and Deep-Harmonization behind `fuse`: what they refuse, what they say, what the engine's tiles give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sitsfusion import fuse, methods
from sitsfusion.checkpoints.deepharmo import load_deepharmo
from sitsfusion.checkpoints.dsen2 import load_dsen2
from sitsfusion.checkpoints.dstfn import load_dstfn
from sitsfusion.errors import GridError, InputError, MissingBandError
from sitsfusion.methods.base import Local, Patches, Whole
from sitsfusion.methods.deepharmo.images import stacked
from sitsfusion.methods.dsen2.arrays import degraded, interpolated, sharpen
from sitsfusion.methods.dsen2.reference import COARSE, FINE, sharpen_series
from sitsfusion.nets.deepharmo_ensemble import mean_and_variance
from sitsfusion.nets.dsen2 import Dsen2Net
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from sitsfusion.series import Series
from tests import scenes
from tests.methods.single_date import places

DAY = scenes.days(5)


def clear(place: Scene) -> Scene:
    """The same values, every pixel observed."""
    cubes = {}
    for role, cube in place.cubes.items():
        values, _ = cube.to_numpy()
        filled = np.where(np.isnan(values), np.float32(0.2), values)
        cubes[role] = type(cube).from_array(
            filled, sensor=cube.sensor, bands=cube.bands, grid=cube.grid, dates=cube.dates, native=cube.native
        )
    return Scene(cubes, name=place.name)


def planned(name: str, place: Scene, **options: Any) -> Any:
    method = methods.make(name, options)
    query = query_of(place, DAY, method.outputs(place))
    return method, method.plan(place, query)


# --- Deep-Harmonization ----------------------------------------------------------------------------------------------


@torch.inference_mode()
def test_ensemble_gives_mean_and_spread_of_whole_images() -> None:
    place = clear(places.landsat_scene((16, 20)))
    members = [places.deepharmo_weights(), places.deepharmo_weights(1, depth=2), places.deepharmo_weights(2)]
    found = fuse(place, DAY, method="deepharmo-ensemble", members=members)
    images = [torch.from_numpy(place[role].select(dates=DAY).frame(0).values)[None] for role in ("coarse", "pan")]
    x = stacked(images[0], images[1])
    mean, variance = mean_and_variance(load_deepharmo(Path(m))[0](x) for m in members)
    np.testing.assert_allclose(found["fine"].frame(0).values, mean[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(found.sigma["fine"].frame(0).values, variance[0].sqrt().numpy(), atol=1e-5)
    assert found["fine"].frame(0).valid.all()
    assert found.provenance["method"] == "deepharmo-ensemble"


def test_the_comparison_weighting_leaves_the_last_member_out() -> None:
    members = [places.deepharmo_weights(seed) for seed in range(4)]
    method = methods.make("deepharmo-ensemble", {"members": members, "weighting": "tamrfsits"})
    assert [str(path) for path in method.paths] == members[:3]  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="4 members"):
        planned("deepharmo-ensemble", places.landsat_scene(), members=members[:2], weighting="tamrfsits")


@pytest.mark.parametrize("cells", [(5, 7), (1, 1), (9, 16)])
def test_sizes_that_are_no_multiple_of_the_stride_are_handled(cells: tuple[int, int]) -> None:
    found = fuse(clear(places.landsat_scene(cells)), DAY, method="deepharmo-unet", weights=places.deepharmo_weights())
    assert found["fine"].shape == (1, 6, 3 * cells[0], 3 * cells[1])
    assert found["fine"].frame(0).valid.all()
    assert not found.sigma


def test_sigma_of_a_gaussian_head_and_clipping() -> None:
    place = clear(places.landsat_scene((8, 9)))
    found = fuse(place, DAY, method="deepharmo-unet", weights=places.deepharmo_weights(3, head="gaussian"))
    assert np.isfinite(found.sigma["fine"].frame(0).values).all()
    low = fuse(place, DAY, method="deepharmo-unet", weights=places.deepharmo_weights(), clip=(0.0, 0.01))
    assert low["fine"].frame(0).values.max() <= 0.01


def test_channel_attention_is_shown_patches() -> None:
    place = places.landsat_scene()
    method, plan = planned("deepharmo-unet", place, weights=places.deepharmo_weights(ca_layer=True), patch=16)
    assert method.tiling(place, plan.steps[0]) == Patches(16, 12)
    method, plan = planned("deepharmo-unet", place, weights=places.deepharmo_weights())
    tiling = method.tiling(place, plan.steps[0])
    assert isinstance(tiling, Local)
    assert tiling.halo["coarse"] % tiling.align == 0


def test_landsat_alone_with_weights_without_pan() -> None:
    place = clear(places.landsat_scene((8, 9)))
    weights = places.deepharmo_weights(in_channels=6)
    alone = Scene({"coarse": place["coarse"]})
    found = fuse(alone, DAY, method="deepharmo-unet", weights=weights)
    assert found["fine"].frame(0).valid.all()
    with pytest.raises(InputError, match="panchromatic"):
        fuse(alone, DAY, method="deepharmo-unet", weights=places.deepharmo_weights())


def test_bad_scenes_are_refused_with_a_remedy() -> None:
    place = places.landsat_scene()
    weights = places.deepharmo_weights()
    few = place.with_cubes(coarse=place["coarse"].select(bands=("B02", "B03")))
    with pytest.raises(MissingBandError):
        fuse(few, DAY, method="deepharmo-unet", weights=weights)
    pan = place["pan"]
    moved = scenes.grid(pan.grid.shape, 15, corner=(scenes.CORNER[0] + 4, scenes.CORNER[1]))
    with pytest.raises(GridError):
        place.with_cubes(pan=replace(pan, grid=moved))
    with pytest.raises(InputError, match="trained for other bands"):
        planned("deepharmo-ensemble", place, members=[weights, places.deepharmo_weights(in_channels=6)])
    with pytest.raises(InputError, match="neither a file or folder nor a name"):
        planned("deepharmo-unet", place, weights="nothing")
    _, plan = planned("deepharmo-unet", place.with_cubes(pan=pan.select(dates=pan.dates[:1])), weights=weights)
    assert [refusal.reason for refusal in plan.refused] == ["no pan image of that day"]


# --- DSen2 -----------------------------------------------------------------------------------------------------------


def test_dsen2_equals_the_reference_and_copies_the_10m_bands() -> None:
    place = clear(places.sentinel_scene((6, 7)))
    bands = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    found = fuse(place, DAY, method="dsen2", weights=places.dsen2_weights())
    given, _ = place["fine"].select(bands=bands, dates=DAY).to_numpy()
    series = Series(torch.from_numpy(given)[None] * 10_000, torch.zeros(1, 1))
    expected = sharpen_series(load_dsen2(Path(places.dsen2_weights()))[0], series).values[0, 0]
    made = found["fine"].select(bands=bands).frame(0).values
    np.testing.assert_allclose(made, expected.numpy(), atol=1e-5)
    np.testing.assert_array_equal(made[list(FINE)], given[0, list(FINE)])
    assert not np.allclose(made[list(COARSE)], given[0, list(COARSE)])
    assert set(found["fine"].bands) == set(bands)  # the 60 m bands are left out without their weights


def test_dsen2_says_what_it_cannot() -> None:
    place = places.sentinel_scene()
    _, plan = planned("dsen2", place.select({"fine": scenes.days(-5)}), weights=places.dsen2_weights())
    assert "sharpens images, it makes none" in plan.refused[0].reason
    with pytest.raises(MissingBandError):
        fuse(Scene({"fine": place["fine"].select(bands=("B02", "B08"))}), DAY, method="dsen2",
             weights=places.dsen2_weights())  # fmt: skip
    wrong = replace(place["fine"], native=(3,) * len(place["fine"].bands))
    with pytest.raises(GridError, match="10 m grid"):
        fuse(Scene({"fine": wrong}), DAY, method="dsen2", weights=places.dsen2_weights())


@torch.inference_mode()
def test_tiles_on_arrays_equal_the_whole_where_the_border_reaches_far_enough() -> None:
    torch.manual_seed(0)
    net = Dsen2Net((4, 6), 1, 4).eval()
    ten, twenty = torch.rand(4, 68, 92), torch.rand(6, 34, 46)
    whole = sharpen(net, [ten, twenty], tile=0)
    tiled = sharpen(net, [ten, twenty], tile=32, border=8)
    inside = (slice(None), slice(8, -8), slice(8, -8))
    torch.testing.assert_close(tiled[inside], whole[inside], rtol=0, atol=1e-5)
    assert sharpen(net, [ten, twenty]).shape == (6, 68, 92)  # smaller than the authors' tile
    sixty = Dsen2Net((4, 6, 2), 1, 4).eval()
    assert sharpen(sixty, [torch.rand(4, 60, 72), torch.rand(6, 30, 36), torch.rand(2, 10, 12)]).shape == (2, 60, 72)
    with pytest.raises(InputError, match="do not nest"):
        sharpen(net, [ten, torch.rand(6, 33, 46)])
    with pytest.raises(InputError, match="core left"):
        sharpen(net, [ten, twenty], tile=16, border=8)
    with pytest.raises(InputError, match="interpolation"):
        interpolated([ten, twenty], "sinc")


def test_degradation_keeps_means_and_removes_detail() -> None:
    rng = torch.Generator().manual_seed(0)
    ten, twenty = torch.rand(4, 24, 36, generator=rng), torch.full((6, 12, 18), 0.3)
    small = degraded([ten, twenty], 2)
    assert [tuple(x.shape) for x in small] == [(4, 12, 18), (6, 6, 9)]
    torch.testing.assert_close(small[1], torch.full((6, 6, 9), 0.3))
    assert float(small[0].mean()) == pytest.approx(float(ten.mean()), abs=0.01)
    assert small[0].std() < 0.6 * ten.std()


# --- DSTFN -----------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def test_dstfn_takes_the_nearest_fine_image_of_another_day() -> None:
    place = clear(places.three_roles((6, 7)))
    weights = places.dstfn_weights()
    found = fuse(place, DAY, method="dstfn", weights=weights, tiling="whole")
    net, _ = load_dstfn(Path(weights))
    images = {
        role: torch.from_numpy(place[role].select(dates=scenes.days(day)).frame(0).values)[None]
        for role, day in (("fine", 2), ("coarse", 5), ("pan", 5))
    }
    expected = net(images["fine"], images["coarse"], images["pan"])[0]
    np.testing.assert_allclose(found["fine"].frame(0).values, expected.numpy(), atol=1e-5)
    without = fuse(place, DAY, method="dstfn", weights=places.dstfn_weights(kind="slfnt1"), tiling="whole")
    assert without["fine"].frame(0).valid.all()


def test_dstfn_says_what_it_cannot() -> None:
    place, weights = clear(places.three_roles()), places.dstfn_weights()
    method, plan = planned("dstfn", place, weights=weights)
    assert method.tiling(place, plan.steps[0]) == Patches(64, 48)
    method, _ = planned("dstfn", place, weights=weights, tiling="whole")
    assert method.tiling(place, plan.steps[0]) == Whole()
    same = place.with_cubes(fine=replace(place["fine"].select(dates=scenes.days(2)), dates=DAY))
    _, plan = planned("dstfn", same, weights=weights)
    assert "of another day" in plan.refused[0].reason
    _, plan = planned("dstfn", same, weights=weights, allow_same_day=True)
    assert len(plan.steps) == 1
    with pytest.raises(InputError, match="slfnt1"):
        fuse(Scene({role: place[role] for role in ("fine", "coarse")}), DAY, method="dstfn", weights=weights)
    with pytest.raises(InputError, match="options of dstfn"):
        methods.make("dstfn")
