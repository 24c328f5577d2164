"""Positions of the frames of a sequence, as U-TILISE's positional encoding takes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sitsfusion.dates import day_of_year, days_since
from sitsfusion.errors import InputError

PositionStrategy = Literal["day-of-year", "day-within-sequence", "absolute", "enumeration"]
SENTINEL2_LAUNCH = date(2015, 6, 23)


def positions(dates: Sequence[date], strategy: PositionStrategy) -> NDArray[np.float32] | NDArray[np.int64]:
    """Position of each frame: [t], float32, or int64 for an enumeration.

    `day-of-year`: 0 on January 1st of the image's own year; `day-within-sequence`: days since the first frame;
    `absolute`: days since the launch of Sentinel-2A; `enumeration`: 0, 1, 2.

    Raises:
        InputError: an unknown strategy.
    """
    if strategy == "enumeration":
        return np.arange(len(dates))
    if strategy == "day-of-year":
        return (day_of_year(dates) - 1).astype(np.float32)
    if strategy == "absolute":
        return days_since(dates, SENTINEL2_LAUNCH).astype(np.float32)
    if strategy == "day-within-sequence":
        return days_since(dates, dates[0]).astype(np.float32) if dates else np.zeros(0, np.float32)
    raise InputError(f"pe_strategy {strategy!r} is not one of {', '.join(get_args(PositionStrategy))}")
