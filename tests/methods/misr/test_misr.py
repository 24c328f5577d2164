"""Super-resolution behind the protocol: which images, which grid, which radiometry, seams, and bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sitsfusion import methods
from sitsfusion.api import Wanted, fuse
from sitsfusion.errors import CheckpointError, GridError, InputError, MissingBandError
from sitsfusion.methods.misr.learned import method_for
from sitsfusion.methods.misr.reach import reach
from sitsfusion.methods.misr.views import Views, closest_dates, network_inputs
from sitsfusion.nets.srdiff import build_misr
from sitsfusion.ops.unit_range import from_unit_range, to_unit_range
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from tests import scenes
from tests.fake.misr import BACKBONES, seeded_misr, small_config

RGB = ("B02", "B03", "B04")


def place(dates: tuple[int, ...] = (0, 5, 17), cells: tuple[int, int] = (5, 8), bands: tuple[str, ...] = RGB) -> Scene:
    """A Sentinel-2 series with a Landsat one beside it: cells of 30 m."""
    return Scene(
        {
            "fine": scenes.cube("fine", dates, cells, bands=bands),
            "coarse": scenes.cube("coarse", (3,), cells),
        },
        name="made-up",
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Weights of every kind, by method."""
    root, found = tmp_path_factory.mktemp("weights"), {}
    for name in BACKBONES:
        found["misr-" + name.replace("_", "-")] = str(seeded_misr(root / name, small_config(name)))
    found["misr-srdiff"] = str(seeded_misr(root / "srdiff", small_config(None, diffusion=True)))
    return found


def test_pixels_are_a_quarter_on_the_same_ground(folders: dict[str, str]) -> None:
    scene, day = place(), scenes.days(6)
    options: dict[str, Any] = {"weights": folders["misr-highresnet-ltae"], "min_clear_share": 0}
    found = fuse(scene, day, "misr-highresnet-ltae", wanted=Wanted(resolution=2.5), **options)
    cube, given = found["fine"], scene["fine"].grid
    assert cube.grid.affine.a == given.affine.a / 4 == 2.5
    assert cube.grid.boundingbox == given.boundingbox
    assert cube.grid.crs == given.crs
    assert cube.bands == ("B04", "B03", "B02")
    values = cube.frame(0).values[:, cube.frame(0).valid]
    assert values.size
    assert cube.dates == day


def test_other_pixels_are_refused(folders: dict[str, str]) -> None:
    scene = place()
    method = methods.make("misr-highresnet", {"weights": folders["misr-highresnet"]})
    query = query_of(scene, scenes.days(6), method.outputs(scene), resolution=5.0)
    with pytest.raises(GridError, match=r"pixels of 2\.5 .* not of 5"):
        method.plan(scene, query)


def test_weights_of_another_network_name_their_method(folders: dict[str, str]) -> None:
    for name in folders:
        for other, weights in folders.items():
            if name != other:
                with pytest.raises(CheckpointError, match=f"use --method {other}"):
                    methods.make(name, {"weights": weights}).outputs(place())
    assert method_for(methods.make("misr-srdiff", {"weights": folders["misr-srdiff"]}).weights) == "misr-srdiff"


def test_missing_bands_and_images_are_named(folders: dict[str, str]) -> None:
    method = methods.make("misr-rrdb", {"weights": folders["misr-rrdb"]})
    with pytest.raises(MissingBandError, match="lack B03"):
        method.outputs(place(bands=("B02", "B04", "B08")))
    coarse = Scene({"coarse": scenes.cube("coarse", (3,), (4, 4))}, name="made-up")
    with pytest.raises(InputError, match="no fine"):
        method.outputs(coarse)
    with pytest.raises(InputError, match="weights"):
        methods.make("misr-rrdb")


def test_days_without_a_clear_image_are_refused(folders: dict[str, str]) -> None:
    scene = place()
    method = methods.make("misr-highresnet", {"weights": folders["misr-highresnet"], "window_days": 4})
    plan = method.plan(scene, query_of(scene, scenes.days(1, 60), method.outputs(scene)))
    assert [step.inputs["fine"] for step in plan.steps] == [scenes.days(0, 5)]
    assert [(r.day, "within 4 days" in r.reason) for r in plan.refused] == [(scenes.days(60)[0], True)]
    assert any("3 usable images where the network takes 4" in note for note in plan.notes)


def test_the_closest_images_are_chosen_ties_to_the_earlier() -> None:
    dates = scenes.days(0, 4, 8, 30)
    (day,) = scenes.days(6)
    assert closest_dates(dates, day, 1, 90) == scenes.days(4)
    assert closest_dates(dates, day, 3, 90) == scenes.days(0, 4, 8)
    assert closest_dates(dates, day, 3, 3) == scenes.days(4, 8)


def test_a_short_series_is_filled_up_by_its_last_image() -> None:
    reflectance = torch.rand(2, 3, 4, 4)
    reflectance[:, :, 0, 0] = torch.nan
    shown, days, present = network_inputs(Views(reflectance, torch.tensor([-8.0, 3.0])), (0.5, 0.5, 0.5), 4)
    assert days.tolist() == [[-8.0, 3.0, 3.0, 3.0]]
    assert present.tolist() == [[1.0, 1.0, 0.0, 0.0]]
    torch.testing.assert_close(shown[0, 2], shown[0, 1])
    assert not bool(shown.isnan().any())
    one, day, _ = network_inputs(Views(reflectance, torch.tensor([-8.0, 3.0])), (0.5, 0.5, 0.5), 1)
    assert (one.shape[1], day.tolist()) == (1, [[3.0]])


def test_reflectance_there_and_back() -> None:
    values = torch.tensor([[[0.0, 0.1]], [[0.2, 0.9]]])
    back = from_unit_range(to_unit_range(values, (0.2, 0.3)), (0.2, 0.3))
    torch.testing.assert_close(back, torch.tensor([[[0.0, 0.1]], [[0.2, 0.3]]]))


def test_bicubic_keeps_every_band_and_fills_clouds() -> None:
    scene = place((0, 2, 5, 8, 9, 10, 17))
    cube = fuse(scene, scenes.days(8), "misr-bicubic", min_clear_share=0)["fine"]
    assert cube.bands == RGB
    frame, clear = cube.frame(0), scene["fine"].frame(3).valid
    assert clear.mean() < 0.8 < frame.valid.mean()
    assert not frame.valid[:4, :4].any()  # never observed


def test_several_draws_have_a_spread_and_one_has_none(folders: dict[str, str]) -> None:
    options: dict[str, Any] = {
        "weights": folders["misr-srdiff"],
        "min_clear_share": 0,
        "patch": 8,
        "overlap": 4,
        "steps": 2,
    }
    scene, day = place(cells=(3, 4)), scenes.days(5)
    one = fuse(scene, day, "misr-srdiff", **options)
    several = fuse(scene, day, "misr-srdiff", **options | {"samples": 3})
    every = fuse(scene, day, "misr-srdiff", **options | {"steps": None})
    assert not one.sigma
    sigma = several.sigma["fine"].frame(0).values
    assert float(np.nanmean(sigma)) > 0.01
    assert not np.allclose(one["fine"].frame(0).values, every["fine"].frame(0).values, equal_nan=True)


@pytest.mark.parametrize("name", ["highresnet", "highresnet_ltae"])
def test_halos_are_as_wide_as_networks_see(name: str) -> None:
    torch.manual_seed(0)
    config = small_config(name, views=8)
    halo, net = reach(config), build_misr(config).eval()
    centre = halo + 3
    views = torch.rand(1, 8, 3, 2 * centre + 1, 2 * centre + 1).requires_grad_()
    made = net(views, torch.arange(8.0)[None], torch.ones(1, 8))
    made[..., 4 * centre : 4 * centre + 4, 4 * centre : 4 * centre + 4].square().sum().backward()
    assert views.grad is not None
    rows = views.grad.abs().sum((0, 1, 2, 4)).nonzero()[:, 0]
    assert (int(rows.min()), int(rows.max())) == (centre - halo, centre + halo)


def seam(image: np.ndarray, every: int) -> float:
    """How much larger steps are across the lines of a lattice than elsewhere: 1 where no seam can be seen."""
    steps = np.abs(np.diff(image, axis=-1))
    across = np.zeros(steps.shape[-1], bool)
    across[every - 1 :: every] = True
    return float(np.nanmean(steps[..., across]) / np.nanmean(steps[..., ~across]))


def test_patches_of_a_diffusion_leave_no_seam(folders: dict[str, str]) -> None:
    """Patches of 12 pixels begin every 6: their edges lie on every 24th fine pixel."""
    options: dict[str, Any] = {
        "weights": folders["misr-srdiff"],
        "min_clear_share": 0,
        "patch": 12,
        "overlap": 6,
        "steps": 3,
    }
    scene = place(cells=(8, 16))
    made = fuse(scene, scenes.days(5), "misr-srdiff", **options)
    image = made["fine"].frame(0).values
    assert seam(image, 24) < 1.1
    broken = image.copy()
    broken[..., 24:48] += 0.2
    assert seam(broken, 24) > 1.1
