"""How far a coarse image lies from a fine one: corners followed from one to the other, as the sen2like processor does.

Saunier et al. (Remote Sensing 14, 2022): a Laplacian of both images; corners by their smallest eigenvalue (Shi and
Tomasi 1994); pyramidal Lucas-Kanade tracking there and back (Lucas and Kanade 1981; Bouguet 2001); outliers removed
until nothing changes. Differences from the processor: the Laplacian is not rounded to 8 bits, windows are followed
with linear interpolation, and both images are compared at the pixel of the coarse one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import hypot

import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.errors import GridError
from sitsfusion.grid import Window
from sitsfusion.methods.arrays import usable
from sitsfusion.methods.two_sensors import band_pairs, whole_ratio
from sitsfusion.scene import Scene

# The processor's settings, pixels unless said otherwise; but steps are taken until they are ten times smaller than
# there (0.03), or too few points would come back to within 0.01.
_MOST_POINTS, _QUALITY, _APART, _BLOCK = 20_000, 0.1, 10, 15
_WINDOW, _ROUNDS, _STEP, _RETURN = 25, 30, 0.003, 0.01
_OUTLIER_SIGMAS, _OUTLIER_PIXELS = 3.0, 20.0
# Side of the part of the scene that is looked at, coarse pixels.
_SIDE = 2048
# Points followed together, for memory.
_CHUNK = 2000
# Fewer points that are found again say nothing.
FEWEST = 10


@dataclass(frozen=True)
class Offset:
    """Mean shift (rows, columns) of the second image against the first, its root mean squares, and the points used."""

    rows: float
    columns: float
    rmse_rows: float
    rmse_columns: float
    points: int


def offset(first: Tensor, second: Tensor) -> Offset | None:
    """How far `second [h w]` is shifted against `first [h w]`, in pixels; NaN = not usable.

    None where fewer than 10 points of the first image are found again in the second.
    """
    usable = _inside((first + second).isfinite())
    fine, coarse = _laplacian(first), _laplacian(second)
    points = _corners(fine, usable)  # [n 2]
    if not len(points):
        return None
    parts = [points[start : start + _CHUNK] for start in range(0, len(points), _CHUNK)]
    moved = _without_outliers(torch.cat([_moved(fine, coarse, part) for part in parts]))
    if len(moved) < FEWEST:
        return None
    (rows, columns), rmse = moved.mean(0).tolist(), moved.square().mean(0).sqrt().tolist()
    return Offset(rows, columns, rmse[0], rmse[1], len(moved))


def _laplacian(image: Tensor) -> Tensor:
    """Second derivatives over 5 x 5 pixels (Sobel's, of order 2), scaled to a spread of 1: [h w]."""
    smooth, second = (torch.tensor(k, dtype=torch.float64) for k in ([1, 4, 6, 4, 1], [1, 0, -2, 0, 1]))
    kernel = torch.outer(second, smooth) + torch.outer(smooth, second)
    filled = image.double().nan_to_num(image.double().nanmean().nan_to_num(0.0).item())
    found = F.conv2d(F.pad(filled[None, None], (2, 2, 2, 2), "replicate"), kernel[None, None])[0, 0]
    return found / found.std().clamp(min=1e-12)


def _inside(usable: Tensor) -> Tensor:
    """Pixels whose Laplacian is made of usable ones only."""
    share = F.avg_pool2d(F.pad(usable.double(), (2, 2, 2, 2))[None], 5, stride=1, divisor_override=1)[0]
    return share == 25  # 5 x 5 pixels


def _corners(image: Tensor, usable: Tensor) -> Tensor:
    """Rows and columns [n 2] of corners, the strongest first, at least so far apart from each other."""
    down, right = _gradients(image)
    products = torch.stack([down * down, right * right, down * right])[None]
    dd, rr, dr = F.avg_pool2d(products, _BLOCK, stride=1, padding=_BLOCK // 2)[0]
    strength = (dd + rr) / 2 - ((dd - rr).square() / 4 + dr * dr).sqrt()  # the smaller eigenvalue
    strength = strength.masked_fill(~usable, 0.0)
    side = 2 * _APART - 1
    peak = F.max_pool2d(strength[None], side, stride=1, padding=side // 2)[0]
    chosen = (strength == peak) & (strength > _QUALITY * strength.max())
    points = chosen.nonzero()
    order = strength[chosen].argsort(descending=True, stable=True)[:_MOST_POINTS]
    found: Tensor = points[order].double()
    return found


def _moved(first: Tensor, second: Tensor, points: Tensor) -> Tensor:
    """Shifts [n 2] of those points that are followed to the second image and back to where they came from."""
    there = _track(first, second, points)
    back = _track(second, first, there)
    return (there - points)[(back - points).abs().amax(1) <= _RETURN]


def _track(first: Tensor, second: Tensor, points: Tensor) -> Tensor:
    """Where the surroundings of `points [n 2]` of the first image are in the second: [n 2]; on two scales."""
    shift = torch.zeros_like(points)
    for scale in (2, 1):
        a, b = (image if scale == 1 else F.avg_pool2d(image[None, None], 2)[0, 0] for image in (first, second))
        # The centre of pixel i is at (i - 0.5) / 2 of an image of half the size.
        shift = scale * _follow(a, b, (points + 0.5) / scale - 0.5, shift / scale)
    return points + shift


def _follow(first: Tensor, second: Tensor, points: Tensor, shift: Tensor) -> Tensor:
    """Newton's steps on the squared difference of windows around the points, from a first guess: shifts [n 2]."""
    template = _windows(first[None], points)[:, 0]  # [n w]
    slopes = _windows(torch.stack(_gradients(first)), points)  # [n 2 w]
    normal = slopes @ slopes.transpose(1, 2)  # [n 2 2]
    normal = normal + 1e-9 * torch.eye(2, dtype=normal.dtype)
    for _ in range(_ROUNDS):
        difference = template - _windows(second[None], points + shift)[:, 0]
        step = torch.linalg.solve(normal, slopes @ difference[..., None])[..., 0]
        shift = shift + step
        if bool((step.norm(dim=1) < _STEP).all()):
            break
    return shift


def _gradients(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along rows and columns."""
    wide = F.pad(image[None, None], (1, 1, 1, 1), "replicate")[0, 0]
    return (wide[2:, 1:-1] - wide[:-2, 1:-1]) / 2, (wide[1:-1, 2:] - wide[1:-1, :-2]) / 2


def _windows(images: Tensor, centres: Tensor) -> Tensor:
    """Square windows of images [c h w] around `centres [n 2]`, linear between pixels, edges repeated: [n c w]."""
    around = torch.arange(_WINDOW, dtype=centres.dtype) - _WINDOW // 2
    rows, columns = (centres[:, None, axis] + around for axis in (0, 1))  # [n s]
    height, width = images.shape[-2:]
    y = (2 * rows + 1) / height - 1
    x = (2 * columns + 1) / width - 1
    places = torch.stack([x[:, None, :].expand(-1, _WINDOW, -1), y[:, :, None].expand(-1, -1, _WINDOW)], -1)
    flat = places.reshape(1, -1, _WINDOW, 2)  # all windows below each other
    found = F.grid_sample(images[None], flat, padding_mode="border", align_corners=False)[0]
    return found.reshape(len(images), len(centres), -1).transpose(0, 1)


def _without_outliers(moved: Tensor) -> Tensor:
    """Shifts [n 2] near the mean along both axes; repeated until none is dropped."""
    while len(moved):
        limit = (_OUTLIER_SIGMAS * moved.std(0, correction=0)).clamp(max=_OUTLIER_PIXELS)
        near = ((moved - moved.mean(0)).abs() <= limit + 1e-9).all(1)
        if bool(near.all()):
            break
        moved = moved[near]
    return moved


def check_offset(scene: Scene, day: date, fine_day: date, limit: float) -> Offset | None:
    """The offset of a coarse image against a fine one in coarse pixels, by their red bands (else the first they share).

    Looked at is the middle of the scene, at most 2048 coarse pixels a side.

    Raises:
        GridError: it is larger than `limit`, in the unit of the grid (m).
    """
    pairs = band_pairs(scene.cubes)
    named = {band.common_name: band.key for band in scene["fine"].band_info() if band.key in pairs}
    key, window = named.get("red", next(iter(pairs))), _middle(scene)
    fine, coarse = (
        usable(scene[role].window(window.scaled(scene.per_cell(role))), at, [band])
        for role, at, band in (("fine", fine_day, key), ("coarse", day, pairs[key]))
    )
    found = offset(F.avg_pool2d(fine, whole_ratio(scene, "sen2like"))[0], coarse[0])
    step = scene["coarse"].grid.affine.a
    far = 0.0 if found is None else hypot(found.rows, found.columns) * step
    if found is not None and far > limit:
        down, right = found.rows * step, found.columns * step
        raise GridError(
            f"sen2like: the coarse image of {day} lies {far:.1f} off the fine image of {fine_day} "
            f"(down {down:.1f}, right {right:.1f}; {found.points} points), "
            f"allowed are {limit:g} (max_offset); register it to the fine images or leave it out"
        )
    return found


def _middle(scene: Scene) -> Window:
    most = max(1, _SIDE // scene.per_cell("coarse"))
    height, width = (min(side, most) for side in scene.size)
    return Window((scene.size[0] - height) // 2, (scene.size[1] - width) // 2, height, width)
