"""What methods share that predict fine images from coarse ones: which bands pair up, and grids that divide evenly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil

from torch import Tensor

from sitsfusion.cube import Cube
from sitsfusion.errors import InputError
from sitsfusion.methods.base import Local, Step, Tile
from sitsfusion.methods.roles import BICUBIC_REACH
from sitsfusion.query import Output
from sitsfusion.scene import Scene

# The wide near infrared band of Sentinel-2 (B08) stands in for the narrow one (B8A) where a cube lacks that.
_STAND_IN = {"nir08": "nir", "nir": "nir08"}


def band_pairs(cubes: Mapping[str, Cube]) -> dict[str, str]:
    """Each fine band that the coarse sensor has too (`matching_bands`).

    Raises:
        InputError: no band in common.
    """
    pairs = matching_bands(cubes)
    if not pairs:
        fine, coarse = (", ".join(_by_common_name(cubes[role])) for role in ("fine", "coarse"))
        raise InputError(f"fine and coarse images have no band in common: {fine}; {coarse} (common names)")
    return pairs


def matching_bands(cubes: Mapping[str, Cube]) -> dict[str, str]:
    """Each fine band that the coarse sensor has too, by common name: {fine key: coarse key}, maybe empty.

    `nir` and `nir08` pair up where one sensor has only the one and the other only the other.
    """
    fine, coarse = (_by_common_name(cubes[role]) for role in ("fine", "coarse"))
    pairs = {key: coarse[name] for name, key in fine.items() if name in coarse}
    for name, other in _STAND_IN.items():
        if name in fine and name not in coarse and other in coarse and other not in fine:
            pairs[fine[name]] = coarse[other]
    return {key: pairs[key] for key in cubes["fine"].bands if key in pairs}


def paired_output(scene: Scene) -> dict[str, Output]:
    """What can be asked of a method that predicts the fine bands which both sensors have, on the fine grid."""
    return {"fine": Output(scene["fine"].sensor, tuple(band_pairs(scene.cubes)), scene.per_cell("fine"))}


def whole_ratio(scene: Scene, method: str) -> int:
    """Fine pixels along the side of a coarse one.

    Raises:
        InputError: not a whole number.
    """
    fine, coarse = scene.per_cell("fine"), scene.per_cell("coarse")
    if fine % coarse:
        raise InputError(
            f"{method}: {fine} fine pixels per {coarse} coarse ones is not a whole ratio; "
            "resample the coarse images to a multiple of the fine pixel (--resample coarse)"
        )
    return fine // coarse


def halo(scene: Scene, step: Step, *, fine: int, coarse: int) -> Local:
    """The halo of a method that looks `fine` fine pixels around the core, and `coarse` coarse ones around each of them.

    What a bicubic step to an output grid other than the fine one adds is added.
    """
    n = scene.per_cell("fine")
    extra = 0 if step.query["fine"].per_cell == n else BICUBIC_REACH
    cells = ceil((fine + extra) / n)
    return Local({"fine": cells, "coarse": cells + ceil(coarse / scene.per_cell("coarse"))})


def on_fine_grid(tile: Tile, values: Tensor, resample: Callable[[Tensor, float], Tensor]) -> Tensor:
    """Values [... h w] over the coarse reach, resampled to the fine grid and cropped to the fine reach."""
    n = tile.per_cell["fine"]
    rows, cols = tile.reach["fine"].relative_to(tile.reach["coarse"]).scaled(n).slices
    return resample(values, tile.per_cell["coarse"] / n)[..., rows, cols]


def _by_common_name(cube: Cube) -> dict[str, str]:
    return {band.common_name: band.key for band in cube.band_info()}
