"""LS2S2: which sites there are, where they lie, and the published splits (`ls2s2.yaml`). Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sitsfusion.errors import InputError, ReadError

Split = Literal["train", "test"]
SIDE = 9900.0  # of a site, metres


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Aoi(_Frozen):
    """Description of a site, as in the JSON files of the published download tool.

    Attributes:
        name: `<MGRS tile>_<number>`.
        aoi: left, bottom, right, top in metres.
        crs: `EPSG:` and the code.
        start_date: first day.
        end_date: day after the last.
    """

    name: str
    aoi: tuple[float, float, float, float]
    crs: Annotated[str, Field(pattern=r"^EPSG:\d+$")]
    start_date: date
    end_date: date


class Preset(_Frozen):
    """A published configuration: its sets of sites, the set of its validation items, day 0 (None: first fine date)."""

    sites: tuple[str, ...]
    validation: str
    dt_orig: date | None


class Content(_Frozen):
    """The content of `ls2s2.yaml`, by split, set of sites or preset."""

    places: Mapping[Split, Mapping[str, Mapping[str, tuple[float, float]]]]
    sites: Mapping[str, Mapping[Split, tuple[str, ...]]]
    validation: Mapping[str, tuple[int, ...]]
    presets: Mapping[str, Preset]
    settings: Mapping[str, float]


@cache
def content() -> Content:
    """All of `ls2s2.yaml`."""
    text = (package_files("sitsfusion") / "datasets" / "ls2s2.yaml").read_text()
    return Content.model_validate(yaml.safe_load(text))


def aois(split: Split | None = None) -> dict[str, Aoi]:
    """The 105 sites of LS2S2 1.0.0 by name (64 train, 41 test); those of the extension are not known."""
    chosen = [split] if split else list(content().places)
    return {
        name: Aoi(
            name=name,
            aoi=(left, bottom, left + SIDE, bottom + SIDE),
            crs=crs,
            start_date=date(2022, 1, 1),
            end_date=date(2023, 1, 1),
        )
        for part in chosen
        for crs, places in content().places[part].items()
        for name, (left, bottom) in places.items()
    }


def read_aoi(path: Path) -> Aoi:
    """The description of a site in a JSON file.

    Raises:
        ReadError: the file is missing.
        InputError: it is not such a description.
    """
    try:
        return Aoi.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error}); expected the JSON description of a site") from error
    except ValidationError as error:
        raise InputError(
            f"{path} is not the description of a site (name, aoi, crs, start_date, end_date): {error}"
        ) from error


def find_aois(texts: Sequence[str]) -> list[Aoi]:
    """The sites that a user named, each once: JSON files, names of the 105 sites, `train` or `test` for all of a split.

    Raises:
        ReadError: a file that cannot be read.
        InputError: a text that is none of these, or a file that is no description; two different sites of one name.
    """
    found: dict[str, Aoi] = {}
    for text in texts:
        for aoi in _named(text):
            if found.setdefault(aoi.name, aoi) != aoi:
                raise InputError(f"{text}: a site named {aoi.name} is described twice, differently")
    return list(found.values())


def _named(text: str) -> list[Aoi]:
    for split in content().places:
        if text == split:
            return list(aois(split).values())
    if text in (known := aois()):
        return [known[text]]
    if not text.endswith(".json"):
        raise InputError(f"{text!r} is no site of LS2S2 1.0.0 (`sitsfusion dataset sites` lists them), nor a JSON file")
    return [read_aoi(Path(text))]


def presets() -> tuple[str, ...]:
    """Names of the published configurations."""
    return tuple(content().presets)


def published(name: str) -> Preset:
    """A published configuration.

    Raises:
        InputError: no such name.
    """
    if name not in content().presets:
        raise InputError(f"no LS2S2 preset is named {name!r}; the presets are {', '.join(presets())}")
    return content().presets[name]


def site_folders(root: Path, preset: str, split: Split) -> tuple[Path, ...]:
    """The folders of a preset's sites below `root`, in published order, as `site_places` looks for them.

    Raises:
        InputError: no such preset.
        ReadError: sites that are not there. (Item numbers depend on all of them being there.)
    """
    places = site_places(root, preset, split)
    missing = [name for name, place in places.items() if not place.is_dir()]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise ReadError(
            f"{len(missing)} of {len(places)} {split} sites of {preset} are not below {root}: {shown}; expected "
            f"folders such as {places[missing[0]]} or {root / split / missing[0]}"
        )
    return tuple(places.values())


def site_places(root: Path, preset: str, split: Split) -> dict[str, Path]:
    """Where each site of a preset lies below `root`, or would lie: by name, in published order.

    A site of set S (`eu22`, `wwmy`) is looked for as `S/<split>/<site>`, `data/<split>/<site>` and `<split>/<site>`.

    Raises:
        InputError: no such preset.
    """
    wanted = [(group, name) for group in published(preset).sites for name in content().sites[group][split]]
    return {name: _place(root, group, split, name) for group, name in wanted}


def _place(root: Path, group: str, split: Split, name: str) -> Path:
    places = (root / group / split / name, root / "data" / split / name, root / split / name)
    return next((place for place in places if place.is_dir()), places[0])
