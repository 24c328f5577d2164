"""The arithmetic of STAIR on tensors: as it was compared, and with masks as its authors published it."""

from __future__ import annotations

import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.ops.gapfill import linear_gapfill
from sitsfusion.ops.series_ops import common_days


def difference_fusion(
    fine: tuple[Tensor, Tensor | None, Tensor], coarse: tuple[Tensor, Tensor], targets: Tensor
) -> Tensor:
    """STAIR as it was compared: [q c h w], NaN where a difference or the coarse image is NaN.

    Per target day d: the days E of both sensors but d; the fine images without d, gap-filled linearly at E, less the
    coarse images at E, interpolated linearly to d, plus the coarse image of d.

    Args:
        fine: values [t c h w], valid [t h w] or None, days [t].
        coarse: values on the fine grid [s c h w], clouds included, and days [s].
        targets: days [q], each one of the coarse days.

    Raises:
        InputError: a target without coarse image, or without any other day of both sensors.
    """
    values, valid, days = fine
    made = []
    for target in targets:
        kept = days != target
        common = common_days(coarse[1], days[kept])
        here = (coarse[1] == target).nonzero()[:, 0]
        if not len(common) or not len(here):
            raise InputError(f"day {float(target):g}: STAIR needs a coarse image of it and another day of both sensors")
        seen = None if valid is None else valid[kept]
        filled = linear_gapfill(values[kept], seen, days[kept], common)  # [e c h w]
        at = torch.stack([(coarse[1] == day).nonzero()[0, 0] for day in common])
        difference = linear_gapfill(filled - coarse[0][at], None, common, target[None])
        made.append(coarse[0][here[:1]] + difference)
    return torch.cat(made)


def masked_fusion(fine: tuple[Tensor, Tensor], coarse: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
    """STAIR as published: [q c h w], NaN where a pixel has no difference or no coarse value on any day.

    Coarse gaps, and target days without coarse image, are interpolated linearly in time; so are the differences.

    Args:
        fine: gap-filled images [e c h w] of days that have a coarse image too, NaN in all bands where a gap is left;
            days [e].
        coarse: values on the fine grid [s c h w], NaN in all bands where not usable; days [s].
        targets: days [q].
    """
    images, days = fine
    clear = coarse[0][:, 0].isfinite()
    known = linear_gapfill(coarse[0], clear, coarse[1], torch.cat([days, targets]))
    difference = images - known[: len(days)]
    change = linear_gapfill(difference, difference[:, 0].isfinite(), days, targets)
    return known[len(days) :] + change
