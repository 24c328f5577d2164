"""Spectra of predictions and targets, averaged over the dates of a case: how much detail at which frequency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sitsfusion.metrics.frequency import Restoration


@dataclass(frozen=True)
class Profile:
    """Mean attenuation in decibels of the images of one role, [bands][rings], beside that of their targets.

    `reference`: observed or truth; `group`: clear or masked dates; `frequencies` in units of Nyquist; `images`: that
    the mean is over. None where no image has a value.
    """

    reference: str
    group: str
    role: str
    bands: tuple[str, ...]
    frequencies: tuple[float, ...]
    predicted: tuple[tuple[float | None, ...], ...]
    target: tuple[tuple[float | None, ...], ...]
    images: int


class Profiles:
    """Takes in the spectra of images and gives their means."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str, tuple[str, ...]], list[Any]] = {}

    def add(self, reference: str, group: str, role: str, bands: Sequence[str], found: Restoration) -> None:
        """Take in the spectra [c, rings] of one image."""
        key = (reference, group, role, tuple(bands))
        if key not in self._found:
            self._found[key] = [found.frequencies, _Mean(), _Mean(), 0]
        sums = self._found[key]
        sums[1].add(found.prediction)
        sums[2].add(found.target)
        sums[3] += 1

    def means(self) -> tuple[Profile, ...]:
        """One per reference, group and role; dates without a value left out ring by ring."""
        return tuple(
            Profile(reference, group, role, bands, _rounded(frequencies), predicted.rows(), target.rows(), images)
            for (reference, group, role, bands), (frequencies, predicted, target, images) in self._found.items()
        )


class _Mean:
    """A mean over images in which NaN and infinite values do not count."""

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._count: Tensor | None = None

    def add(self, values: Tensor) -> None:
        known = values.isfinite()
        total = torch.where(known, values, 0.0).double()
        self._total = total if self._total is None else self._total + total
        self._count = known.long() if self._count is None else self._count + known

    def rows(self) -> tuple[tuple[float | None, ...], ...]:
        if self._total is None or self._count is None:
            return ()
        return tuple(
            tuple(round(t / n, 4) if n else None for t, n in zip(totals, counts, strict=True))
            for totals, counts in zip(self._total.tolist(), self._count.tolist(), strict=True)
        )


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def as_profile(content: Mapping[str, Any]) -> Profile:
    """A profile read back from JSON."""
    rows = {name: tuple(tuple(row) for row in content[name]) for name in ("predicted", "target")}
    lists = {name: tuple(content[name]) for name in ("bands", "frequencies")}
    return Profile(**{**content, **rows, **lists})
