"""Suites: benchmarks declared in YAML. Packaged ones go by name; a user's own is a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sitsfusion.datasets.ls2s2_splits import site_places
from sitsfusion.dates import parse_day
from sitsfusion.errors import InputError, ReadError
from sitsfusion.evaluation.cases import Case, LeaveOneOut, Patch, Work, strategy_of
from sitsfusion.evaluation.settings import MethodSpec, Metrics
from sitsfusion.evaluation.sites import PlaceSite, SimulatedSite, Site
from sitsfusion.strategies import Strategy, StrategyOptions

# Trivial methods that every suite is compared with.
BASELINES = ("naive", "closest")
LEAVE_ONE_OUT = "LEAVE_ONE_OUT"
SIMULATED_MARGIN = 10  # made-up sites are smaller than those of LS2S2
# In text options of methods, stands for the folder of weights that the suite is run with.
_WEIGHTS = "{weights}"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SimulatedSites(_Frozen):
    """Made-up places with known truth, one per seed: `random` places on Earth, or `temperate` farmland."""

    kind: Literal["simulated"]
    first_seed: int = Field(ge=0)
    count: int = Field(ge=1)
    size: int = Field(210, ge=12, multiple_of=3, description="side in pixels of 10 m")
    year: int = Field(2022, ge=2, le=9998)
    world: Literal["random", "temperate"] = "random"


class Ls2s2Sites(_Frozen):
    """Sites of a published LS2S2 configuration, below `root` (or the folder given when the suite is run); `only`: names
    of some of them.
    """

    kind: Literal["ls2s2"]
    preset: str = "ls2s2_2022"
    split: Literal["train", "test"] = "test"
    root: Path | None = None
    only: tuple[str, ...] = ()


class FolderSites(_Frozen):
    """Places that `open_scene` opens; relative paths are relative to the suite's file."""

    kind: Literal["folders"]
    folders: tuple[Path, ...] = Field(min_length=1)


class StrategyEntry(_Frozen):
    """A strategy, its options, and its name in the results.

    `LEAVE_ONE_OUT` is a protocol: one case per image of `role`, which alone is hidden.
    """

    name: str
    label: str = ""
    options: StrategyOptions = StrategyOptions()
    role: Literal["fine", "coarse"] = "fine"

    @field_validator("name")
    @classmethod
    def _is_one(cls, name: str) -> str:
        return name if name == LEAVE_ONE_OUT else strategy_of(name).value

    def work(self, **case: Any) -> Work:
        """The case, or the protocol, of a site; keywords as `Case`."""
        if self.name == LEAVE_ONE_OUT:
            return LeaveOneOut(Case(strategy=Strategy.ALL, label=self.label or LEAVE_ONE_OUT, **case), self.role)
        return Case(strategy=strategy_of(self.name), options=self.options, label=self.label, **case)


class MethodEntry(_Frozen):
    """A method, its options, and its name in the results; `optional` methods may be unknown to this version."""

    name: str
    label: str = ""
    options: Mapping[str, Any] = {}
    optional: bool = False


class Suite(_Frozen):
    """A benchmark.

    Attributes:
        description: what it shows.
        sites: where the images come from.
        strategies, methods: names, or entries with options. `naive` and `closest` are always added.
        origin: day 0 of the strategies (default: January 1st of a site's first image).
        seed, min_clear, max_dates: as in `Case`.
        margin, metrics, images, animations, costs: as in `Settings`.

    In options of methods, `{weights}` stands for the folder of weights that the suite is run with.
    """

    description: str = ""
    sites: Annotated[SimulatedSites | Ls2s2Sites | FolderSites, Field(discriminator="kind")]
    strategies: tuple[StrategyEntry, ...] = Field(min_length=1)
    methods: tuple[MethodEntry, ...] = ()
    origin: date | None = None
    seed: int = 42
    margin: int = Field(30, ge=0)
    min_clear: float = Field(0, ge=0, le=1)
    max_dates: int | None = Field(None, ge=1)
    metrics: Metrics = "all"
    images: bool = False
    animations: bool = False
    costs: bool = False

    @field_validator("strategies", "methods", mode="before")
    @classmethod
    def _names_alone(cls, entries: Any) -> Any:
        if not isinstance(entries, list):
            return entries
        return [{"name": entry} if isinstance(entry, str) else entry for entry in entries]

    @field_validator("origin", mode="before")
    @classmethod
    def _any_day(cls, value: object) -> object:
        return parse_day(value) if isinstance(value, str) else value

    def specs(self, weights: Path = Path("weights")) -> list[MethodSpec]:
        """The methods, and the baselines that are not among them.

        Args:
            weights: folder that `{weights}` stands for.
        """
        named = {entry.name for entry in self.methods}
        added = [MethodEntry(name=name) for name in BASELINES if name not in named]
        return [MethodSpec(m.name, _placed(m.options, weights), m.label, m.optional) for m in (*self.methods, *added)]

    def cases(self, sites: Sequence[Site], patch: Patch | None = None) -> list[Work]:
        """Every strategy on every site (or this patch of it)."""
        how = {"seed": self.seed, "min_clear": self.min_clear, "max_dates": self.max_dates, "origin": self.origin}
        return [entry.work(site=site, patch=patch, **how) for site in sites for entry in self.strategies]


def packaged() -> tuple[str, ...]:
    """Names of the suites that come with the library."""
    return tuple(sorted(f.name.removesuffix(".yaml") for f in _folder().iterdir() if f.name.endswith(".yaml")))


def read_suite(name: str) -> tuple[Suite, Path]:
    """A packaged suite by name, or one in a YAML file; and the folder that its paths are relative to.

    Raises:
        ReadError: no such suite or file.
        InputError: not a suite: an unknown key, strategy or value, with its path.
    """
    if name in packaged():
        return _parse((_folder() / f"{name}.yaml").read_text(), f"suite {name}"), Path()
    path = Path(name)
    try:
        text = path.read_text()
    except OSError as error:
        known = ", ".join(packaged())
        raise ReadError(f"{name} is neither a readable file ({error.strerror}) nor a suite; suites: {known}") from error
    return _parse(text, str(path)), path.parent


def sites_of(suite: Suite, folder: Path, data: Path | None = None) -> list[Site]:
    """The sites of a suite; those of LS2S2 that are not there are refused one by one when they are opened.

    Args:
        suite: or what was read of it.
        folder: that its paths are relative to.
        data: root of LS2S2, where the suite does not name it or another one is wanted.

    Raises:
        InputError: LS2S2 without a root.
        ReadError: no published site is there.
    """
    wanted = suite.sites
    if isinstance(wanted, SimulatedSites):
        seeds = range(wanted.first_seed, wanted.first_seed + wanted.count)
        return [SimulatedSite(seed, wanted.size, wanted.year, wanted.world == "random") for seed in seeds]
    if isinstance(wanted, FolderSites):
        return [PlaceSite(folder / path) for path in wanted.folders]
    root = data or (folder / wanted.root if wanted.root else None)
    if root is None:
        raise InputError("this suite needs the LS2S2 data set: give its folder (--data), or sites of your own (--site)")
    places = site_places(root, wanted.preset, wanted.split)
    unknown = [name for name in wanted.only if name not in places]
    if unknown:
        raise InputError(f"{wanted.preset} has no {wanted.split} site {', '.join(unknown)}; it has {', '.join(places)}")
    chosen = [place for name, place in places.items() if not wanted.only or name in wanted.only]
    if not any(place.is_dir() for place in chosen):
        raise ReadError(f"none of the {len(chosen)} sites is below {root}; expected folders such as {chosen[0]}")
    return [PlaceSite(place) for place in chosen]


def simulated_twin(count: int, size: int = 210) -> list[Site]:
    """Made-up sites in the place of a suite's own, which anyone can make again; the first seeds of `simulated`."""
    return [SimulatedSite(2_000_000 + i, size) for i in range(count)]


def _placed(options: Mapping[str, Any], weights: Path) -> dict[str, Any]:
    return {k: v.replace(_WEIGHTS, str(weights)) if isinstance(v, str) else v for k, v in options.items()}


def _parse(text: str, what: str) -> Suite:
    try:
        return Suite.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InputError(f"{what} is not YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
        raise InputError(f"{what} is not a suite: {problems}") from error


def _folder() -> Any:
    return resources.files(__package__) / "suites"
