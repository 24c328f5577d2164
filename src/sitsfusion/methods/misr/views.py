"""Which images a super-resolution looks at, and what they look like to a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import torch
from torch import Tensor

from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.methods.arrays import stack
from sitsfusion.ops.gapfill import linear_gapfill
from sitsfusion.ops.unit_range import to_unit_range


@dataclass(frozen=True, eq=False)
class Views:
    """Images of one place around a day.

    Attributes:
        reflectance: `[l c h w]`, cloudy pixels interpolated in time between the others; NaN where no image is clear.
        days: float32 `[l]`, relative to the day wanted.
    """

    reflectance: Tensor
    days: Tensor

    @property
    def closest(self) -> Tensor:
        """The image nearest to the day wanted, `[c h w]`; of equals the earlier."""
        return self.reflectance[int(self.days.abs().argmin())]

    @property
    def seen(self) -> Tensor:
        """Bool `[h w]`: where some image is clear."""
        return self.reflectance[0].isfinite().all(0)


def closest_dates(dates: Sequence[date], day: date, wanted: int, window_days: int) -> tuple[date, ...]:
    """The `wanted` dates nearest to a day and at most `window_days` away, in time order; ties to the earlier one."""
    near = [d for d in dates if abs((d - day).days) <= window_days]
    return tuple(sorted(sorted(near, key=lambda d: (abs((d - day).days), d))[:wanted]))


def views_of(cube: Cube, day: date) -> Views:
    """The images of a loaded cube as seen from a day, cloudy pixels filled."""
    values, valid = stack(cube)  # [t c h w], [t h w]
    own = torch.from_numpy(days_since(cube.dates, day)).double()
    return Views(linear_gapfill(values, valid, own, own), own.float())


def network_inputs(views: Views, maxima: Sequence[float], wanted: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `wanted` views nearest to the day, `[1 wanted c h w]` in [-1, 1], their days and presence `[1 wanted]`.

    A short series is filled up by repeating its last image, as in training; pixels that were never clear are 0.
    """
    shown = to_unit_range(views.reflectance, maxima).nan_to_num(nan=0.0)
    own = views.days.abs().argsort(stable=True)[:wanted].sort().values.tolist()
    at = own + [own[-1]] * (wanted - len(own))
    present = torch.tensor([1.0] * len(own) + [0.0] * (wanted - len(own)))
    return shown[at][None], views.days[at][None], present[None]
