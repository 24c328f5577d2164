"""Cases: a site, and a strategy that says which of its images are given and which days are asked for."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.engine.survey import with_clear_shares
from sitsfusion.errors import InputError
from sitsfusion.evaluation.sites import Site, safe_name
from sitsfusion.scene import Scene
from sitsfusion.strategies import Dates, Split, Strategy, StrategyOptions, split

# Roles of a scene and the two sensors of a strategy.
SENSORS: Mapping[str, str] = {"coarse": "lr", "fine": "hr"}
# Images of these roles are taken by the coarse sensor's satellite: they are given on the days that its images are.
_WITH_COARSE = ("thermal", "pan")
_PUBLISHED = StrategyOptions()


@dataclass(frozen=True)
class Case:
    """One experiment on one site.

    Attributes:
        site: where the images come from.
        strategy: which dates are given and which are asked for.
        options: of the strategy.
        origin: day 0 of the strategy's day numbers (None: January 1st of the year of the first image). The day 0
            that methods count from is the scene's own, or their rule.
        seed: of the strategy's draw; 42 as published.
        label: names the strategy in results, where one is used twice with different options.
        min_clear: images with a smaller share of usable pixels do not exist for this case, as in LS2S2 (0.25).
        max_dates: images of each sensor, evenly thinned (None: all).
    """

    site: Site
    strategy: Strategy
    options: StrategyOptions = _PUBLISHED
    origin: date | None = None
    seed: int = 42
    label: str = ""
    min_clear: float = 0.0
    max_dates: int | None = None

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.strategy.value)
        if not 0 <= self.min_clear <= 1:
            raise InputError(f"min_clear {self.min_clear} is not a share between 0 and 1")
        if self.max_dates is not None and self.max_dates < 1:
            raise InputError(f"max_dates {self.max_dates} is not possible; give 1 or more")

    @property
    def name(self) -> str:
        """Of the case's results: the site and the strategy."""
        return f"{self.site.name}_{safe_name(self.label)}"

    def identity(self) -> dict[str, Any]:
        """What the case's inputs and targets depend on, besides the site's images."""
        return {
            "strategy": self.strategy.value,
            "options": self.options.model_dump(mode="json"),
            "origin": str(self.origin),
            "seed": self.seed,
            "min_clear": self.min_clear,
            "max_dates": self.max_dates,
        }


@dataclass(frozen=True)
class Division:
    """What a strategy made of a scene.

    Attributes:
        given: the scene that methods see: a sensor that the strategy withholds is not in it, one of which all images
            are hidden has no date.
        asked: days to predict, by role.
        targets: the observed images of those days that have one, by role.
        bands: of the scene's images, by role.
        origin: day 0 of the strategy.
    """

    given: Scene
    asked: Mapping[str, tuple[date, ...]]
    targets: Mapping[str, Cube]
    bands: Mapping[str, tuple[str, ...]]
    origin: date

    def given_dates(self, role: str) -> tuple[date, ...]:
        """Dates of the images of a role that methods see."""
        return self.given[role].dates if role in self.given else ()


def strategy_of(name: str) -> Strategy:
    """A strategy by its published name.

    Raises:
        InputError: no such strategy.
    """
    known = [one.value for one in Strategy]
    if name not in known:
        raise InputError(f"no strategy is named {name!r}; the strategies are {', '.join(known)}")
    return Strategy(name)


def divide(case: Case, scene: Scene) -> Division:
    """Hide what the case's strategy hides. Reads pixels only to count usable ones, where `min_clear` asks for it.

    Raises:
        InputError: no image at all, custom days that are no whole days, or nothing to predict (no day in common, ...).
    """
    scene = thinned(scene, case.min_clear, case.max_dates)
    origin = case.origin or _first_day(scene).replace(month=1, day=1)
    days = {name: _days(scene, role, origin) for role, name in SENSORS.items()}
    found = split(case.strategy, days["lr"], days["hr"], case.options, random.Random(case.seed))  # noqa: S311
    asked = {role: _asked(found, name, origin) for role, name in SENSORS.items()}
    asked = {role: dates for role, dates in asked.items() if dates}
    if not asked:
        counts = ", ".join(f"{len(numbers)} {name}" for name, numbers in days.items())
        raise InputError(f"{case.name}: strategy {case.strategy} asks for no date of these images ({counts} dates)")
    targets = {
        role: scene[role].select(dates=[day for day in dates if day in set(scene[role].dates)])
        for role, dates in asked.items()
        if role in scene
    }
    bands = {role: cube.bands for role, cube in scene.cubes.items()}
    return Division(_given(scene, found), asked, targets, bands, origin)


def thinned(scene: Scene, min_clear: float, max_dates: int | None) -> Scene:
    """The scene without cloudy images, and of the others at most so many of each role, evenly chosen."""
    if min_clear > 0:
        scene = with_clear_shares(scene)
    kept = {}
    for role, cube in scene.cubes.items():
        shares = [item.clear_share for item in cube.items]
        dates = [d for d, share in zip(cube.dates, shares, strict=True) if share is None or share >= min_clear]
        kept[role] = _evenly(dates, max_dates)
    return scene.select(kept)


def _evenly(dates: Sequence[date], most: int | None) -> Sequence[date]:
    if most is None or len(dates) <= most:
        return dates
    return [dates[i * len(dates) // most] for i in range(most)]


def _first_day(scene: Scene) -> date:
    dates = scene.dates([role for role in SENSORS if role in scene])
    if not dates:
        raise InputError(f"{scene.name} has no fine or coarse image that is clear enough to be used")
    return dates[0]


def _days(scene: Scene, role: str, origin: date) -> list[int]:
    return [int(n) for n in days_since(scene[role].dates, origin)] if role in scene else []


def _asked(found: Split, name: str, origin: date) -> tuple[date, ...]:
    target: Dates | None = getattr(found, f"{name}_target")
    days = sorted(set(target.days)) if target else []
    broken = [day for day in days if not float(day).is_integer()]
    if broken:
        raise InputError(f"days {broken[:5]} are not whole; images are predicted for days")
    return tuple(origin + timedelta(days=int(day)) for day in days)


def _given(scene: Scene, found: Split) -> Scene:
    kept: dict[str, tuple[date, ...]] = {}
    for role, name in SENSORS.items():
        dates: Dates | None = getattr(found, f"{name}_input")
        if role in scene and dates is not None:
            kept[role] = tuple(scene[role].dates[p] for p in dates.positions if p is not None)
    seen = set(kept.get("coarse", ()))
    for role, cube in scene.cubes.items():
        if role in _WITH_COARSE:
            kept[role] = tuple(day for day in cube.dates if day in seen)
        elif role not in SENSORS:
            kept[role] = cube.dates
    return replace(scene, cubes={role: scene[role].select(dates=dates) for role, dates in kept.items()})
