"""Cases: a site, and a strategy that says which of its images are given and which days are asked for."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.engine.survey import with_clear_shares
from sitsfusion.errors import InputError
from sitsfusion.evaluation.sites import Site, safe_name
from sitsfusion.grid import Window
from sitsfusion.scene import Scene
from sitsfusion.strategies import Dates, Split, Strategy, StrategyOptions, split

# Roles of a scene and the two sensors of a strategy.
SENSORS: Mapping[str, str] = {"coarse": "lr", "fine": "hr"}
# Images of these roles are taken by the coarse sensor's satellite: they are given on the days that its images are.
_WITH_COARSE = ("thermal", "pan")
_PUBLISHED = StrategyOptions()
_NEARLY = 0.1  # cells


@dataclass(frozen=True)
class Patch:
    """A square of a site: number `index` of those of this `width` (metres) that fit, 0 in the south-west, row by row
    northwards, spread evenly over the site, as LS2S2 numbers them.
    """

    width: float
    index: int = 0

    def window(self, scene: Scene) -> Window:
        """In cells of a scene.

        Raises:
            InputError: no such patch, or a scene in degrees.
        """
        crs, cell = scene.cells.crs, abs(float(scene.cells.affine.a))
        degrees = crs is not None and crs.geographic
        side = round(self.width / cell)
        counts = [size // side if side else 0 for size in scene.size]  # rows, columns
        if degrees or not 0 <= self.index < counts[0] * counts[1]:
            raise InputError(
                f"there is no patch {self.index} of {self.width:g} m in {scene.name}: {counts[0]} rows of {counts[1]} "
                f"fit its {scene.size[0]} x {scene.size[1]} cells of {cell:g} {'degrees' if degrees else 'm'}"
            )
        row, column = divmod(self.index, counts[1])
        # as the data set numbers them: a corner just before the edge of a cell belongs to that edge
        top = math.floor(scene.size[0] - side - row * scene.size[0] / counts[0] + _NEARLY)
        left = math.floor(column * scene.size[1] / counts[1] + _NEARLY)
        return Window(max(top, 0), left, side, side)


@dataclass(frozen=True)
class LeftOut:
    """The image of a role that is hidden."""

    role: str
    day: date

    @property
    def name(self) -> str:
        return f"{self.role}-{self.day}"


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
        patch: only this square of the site (None: all of it).
        left_out: hide this image and ask for it, and nothing else: one case of the leave-one-out protocol (see
            `LeaveOneOut`). The strategy must be ALL.
    """

    site: Site
    strategy: Strategy
    options: StrategyOptions = _PUBLISHED
    origin: date | None = None
    seed: int = 42
    label: str = ""
    min_clear: float = 0.0
    max_dates: int | None = None
    patch: Patch | None = None
    left_out: LeftOut | None = None

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.strategy.value)
        if self.left_out is not None and self.strategy is not Strategy.ALL:
            raise InputError(f"leaving an image out of {self.strategy} is not possible; the strategy must be ALL")
        if not 0 <= self.min_clear <= 1:
            raise InputError(f"min_clear {self.min_clear} is not a share between 0 and 1")
        if self.max_dates is not None and self.max_dates < 1:
            raise InputError(f"max_dates {self.max_dates} is not possible; give 1 or more")

    @property
    def name(self) -> str:
        """Of the case's results: the site and the strategy."""
        parts = [self.site_name, safe_name(self.label), *([self.left_out.name] if self.left_out else [])]
        return "_".join(parts)

    @property
    def site_name(self) -> str:
        """Of the site, and of the patch if it is cut into patches."""
        return f"{self.site.name}-p{self.patch.index}" if self.patch else self.site.name

    def identity(self) -> dict[str, Any]:
        """What the case's inputs and targets depend on, besides the site's images."""
        return {
            "strategy": self.strategy.value,
            "options": self.options.model_dump(mode="json"),
            "origin": str(self.origin),
            "seed": self.seed,
            "min_clear": self.min_clear,
            "max_dates": self.max_dates,
            "patch": self.patch and asdict(self.patch),
            "left_out": self.left_out and [self.left_out.role, str(self.left_out.day)],
        }


@dataclass(frozen=True)
class LeaveOneOut:
    """The leave-one-out protocol on one site: one case per image of a role, which is hidden and asked for; all other
    images of both sensors are given, so also those that the other sensor took on that day.

    Attributes:
        case: what the cases have in common; its strategy must be ALL.
        role: of the images that are left out.
    """

    case: Case
    role: str = "fine"

    @property
    def site(self) -> Site:
        return self.case.site

    def cases(self, scene: Scene) -> list[Case]:
        """One per image. Raises InputError: the site has no such images."""
        left = prepared(self.case, scene)
        if self.role not in left or not left[self.role].dates:
            raise InputError(f"{self.case.name}: leave one out needs {self.role} images; the site has none")
        return [replace(self.case, left_out=LeftOut(self.role, day)) for day in left[self.role].dates]


Work = Case | LeaveOneOut


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
    scene = prepared(case, scene)
    origin = case.origin or _first_day(scene).replace(month=1, day=1)
    days = {name: _days(scene, role, origin) for role, name in SENSORS.items()}
    found = _without(case.left_out, days, origin) if case.left_out else _split(case, days)
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


def _split(case: Case, days: Mapping[str, list[int]]) -> Split:
    return split(case.strategy, days["lr"], days["hr"], case.options, random.Random(case.seed))  # noqa: S311


def _without(image: LeftOut, days: Mapping[str, list[int]], origin: date) -> Split:
    """All images but one, which is the target."""
    left, number = SENSORS[image.role], int(days_since([image.day], origin)[0])
    given = {
        name: [(n, i) for i, n in enumerate(numbers) if not (name == left and n == number)]
        for name, numbers in days.items()
    }
    inputs = {f"{name}_input": Dates(*map(tuple, zip(*kept, strict=True))) for name, kept in given.items() if kept}
    target = Dates((number,), (days[left].index(number),))
    nothing = {f"{name}_{what}": None for name in days for what in ("input", "target")}
    empty = {f"{left}_input": Dates((), ())}  # the only image of its sensor: the others are given
    return Split(**{**nothing, **empty, **inputs, f"{left}_target": target})


def prepared(case: Case, scene: Scene) -> Scene:
    """The images that exist for a case: of its patch, clear enough, thinned. Reads pixels where shares are missing."""
    if case.patch is not None:
        scene = scene.window(case.patch.window(scene))
    return thinned(scene, case.min_clear, case.max_dates)


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
