"""When satellites pass over a place, and which part of it their swath covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sitsfusion.simulate.noise import stream

_HEADING = 12.0  # degrees between the edge of a swath and north, about
_LEAST_SEEN = 0.2  # share of the scene's width that a swath covers at least, along its middle row


class Pass(NamedTuple):
    """One image of the archive: its day, the satellite (by the name of the product's files), and the orbit's number."""

    day: date
    platform: str
    orbit: int


@dataclass(frozen=True)
class Orbits:
    """The calendar of the satellites of one role over a place.

    Attributes:
        revisit: days between two images from one orbit.
        satellites: how many of them take turns.
        overlap: days after which a second, neighbouring orbit passes; 0 where its swath does not reach the place.
        missing: share of the images that are not in the archive.
        edge: probability, of each orbit, that its swath ends inside the place.
        torn: share of the images of which a part is missing.
    """

    revisit: int
    satellites: int = 2
    overlap: int = 0
    missing: float = 0.0
    edge: float = 0.0
    torn: float = 0.0

    def passes(self, role: str, year: int, seed: int, platforms: Sequence[str]) -> list[Pass]:
        """The images of a year in time order; satellites take turns on an orbit."""
        rng = stream(seed, "orbit", role, year)
        first, turn = int(rng.integers(self.revisit)), int(rng.integers(len(platforms)))
        names, new_year = list(platforms)[: self.satellites], date(year, 1, 1)
        length, found = (date(year + 1, 1, 1) - new_year).days, []
        for orbit, start in enumerate(self._starts(first)):
            for i, day in enumerate(range(start, length, self.revisit)):
                found.append(Pass(new_year + timedelta(day), names[(turn + orbit + i) % len(names)], orbit))
        return sorted(image for image in found if self._archived(role, image, seed))

    def observed(self, shape: tuple[int, int], role: str, day: date, orbit: int, seed: int) -> NDArray[np.bool_] | None:
        """What an image covers, [h, w] for any number of pixels of the scene; None if all of it."""
        parts = []
        if (rng := stream(seed, "swath", role, orbit)).random() < self.edge:
            parts.append(_beside(shape, rng, _HEADING))
        if self.torn and (rng := stream(seed, "torn", role, day)).random() < self.torn:
            parts.append(_beside(shape, rng, 90 + _HEADING))
        if not parts or np.all(parts):
            return None
        return np.asarray(np.all(parts, axis=0))

    def _starts(self, first: int) -> tuple[int, ...]:
        return (first, (first + self.overlap) % self.revisit) if self.overlap else (first,)

    def _archived(self, role: str, image: Pass, seed: int) -> bool:
        return self.missing == 0 or stream(seed, "archive", role, image.day).random() >= self.missing


def _beside(shape: tuple[int, int], rng: np.random.Generator, degrees: float) -> NDArray[np.bool_]:
    """The pixels [h, w] on one side of a line, `degrees` from north, through the middle part of the scene."""
    angle, side = np.radians(degrees + rng.normal(0, 3)), rng.choice([-1, 1])
    position = rng.uniform(_LEAST_SEEN, 1 - _LEAST_SEEN) - 0.5
    south, east = ((np.arange(count) + 0.5) / count - 0.5 for count in shape)
    across = east[None, :] * np.cos(angle) + south[:, None] * np.sin(angle)
    return np.asarray(side * (across - position * (abs(np.cos(angle)) + abs(np.sin(angle)))) > 0)
