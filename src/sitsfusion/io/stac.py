"""Landsat and Sentinel-2 items of a STAC catalogue: found, filtered, and levels 1 and 2 of a scene paired.

A catalogue is the address of a STAC API, or the path of a static catalogue on this disk (`catalog.json`). Nothing is
requested on import; `io.stac_scene` loads what is found here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sitsfusion.errors import InputError, MissingExtraError, ReadError

_LOOK, _BUCKET = "https://landsatlook.usgs.gov/data/", "s3://usgs-landsat/"
Box = tuple[float, float, float, float]  # west, south, east, north, degrees


class StacOptions(BaseModel):
    """Where to search, what for, and how to read.

    Attributes:
        landsat: catalogue of Landsat; level2 and level1: its collections.
        sentinel2: catalogue of Sentinel-2, None to leave it out; sentinel2_collection: its collection.
        platforms: of Landsat.
        max_cloud: per cent of a Landsat item; sentinel2_max_cloud: of a Sentinel-2 item.
        requester_pays: read from the bucket of the USGS, which bills the reader: addresses of its web server are
            rewritten to it.
        profile: name of AWS credentials (default: the environment's).
        threads: files read at a time.
        mtl: where the rescaling of the panchromatic band comes from: the item's metadata file, or the constants of
            Collection 2 (the same in all its products).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    landsat: str = "https://landsatlook.usgs.gov/stac-server"
    level2: str = "landsat-c2l2-sr"
    level1: str = "landsat-c2l1"
    sentinel2: str | None = None
    sentinel2_collection: str = "sentinel-2-l2a"
    platforms: tuple[str, ...] = ("LANDSAT_8", "LANDSAT_9")
    max_cloud: float = Field(10.0, ge=0, le=100)
    sentinel2_max_cloud: float = Field(5.0, ge=0, le=100)
    requester_pays: bool = True
    profile: str | None = None
    threads: int = Field(5, ge=1)
    mtl: Literal["asset", "constants"] = "asset"


@dataclass(frozen=True)
class ScenePair:
    """Level 2 (multispectral) and level 1 (panchromatic) items of one acquisition."""

    level2: Any
    level1: Any

    @property
    def day(self) -> date:
        """As in the product's name."""
        return datetime.strptime(_key(self.level2.id)[1], "%Y%m%d").date()


def area_of(file: Path, *, side: float | None = None) -> Box:
    """The bounds of the first geometry of a GeoJSON file (longitude, latitude).

    Args:
        file: a geometry, a feature or a collection of them.
        side: of a square around the centre of the bounds instead, degrees.

    Raises:
        ReadError: no geometry is found.
    """
    try:
        content = json.loads(file.read_text())
        points = list(_points(_first_geometry(content)["coordinates"]))
    except (OSError, json.JSONDecodeError, KeyError, TypeError, IndexError) as error:
        raise ReadError(f"{file} holds no geometry ({error!r}); expected GeoJSON in longitude and latitude") from error
    xs, ys = zip(*points, strict=True)
    if side is None:
        return min(xs), min(ys), max(xs), max(ys)
    x, y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


def find_items(
    catalogue: str,
    collection: str,
    box: Box,
    dates: tuple[date, date],
    *,
    max_cloud: float,
    platforms: Sequence[str] | None = None,
) -> list[Any]:
    """The items of a collection that touch a box within two days (both included), clear enough, in time order.

    Args:
        catalogue: address of an API, or path of a static catalogue.
        collection: its id.
        box: west, south, east, north in degrees.
        dates: first and last day.
        max_cloud: per cent; items of this and more are left out.
        platforms: only these.

    Raises:
        MissingExtraError: the extra `stac` is not installed.
        ReadError: the catalogue cannot be read.
    """
    if catalogue.startswith(("http://", "https://")):
        found = _from_api(catalogue, collection, box, dates, max_cloud, platforms)
    else:
        found = _from_disk(Path(catalogue), collection, box, dates)
    wanted = None if platforms is None else {p.upper().replace("-", "_") for p in platforms}
    kept = [
        item
        for item in found
        if float(item.properties.get("eo:cloud_cover", 0.0)) < max_cloud
        and (wanted is None or str(item.properties.get("platform", "")).upper().replace("-", "_") in wanted)
    ]
    return sorted(kept, key=lambda item: (item.datetime, item.id))


def pair_levels(level2: Iterable[Any], level1: Iterable[Any]) -> list[ScenePair]:
    """Items of the same path, row and day (parts 2 and 3 of their names), in the order of level 2; others are dropped.

    Raises:
        InputError: nothing pairs.
    """
    ones = {_key(item.id): item for item in level1}
    twos = list(level2)
    found = [ScenePair(item, ones[_key(item.id)]) for item in twos if _key(item.id) in ones]
    if not found:
        raise InputError(
            f"none of {len(twos)} level 2 items has a level 1 item of the same path, row and day "
            f"(level 1: {len(ones)} items); widen the dates, or allow more clouds"
        )
    return found


def readable(href: str, requester_pays: bool) -> str:
    """The address to read a file at: that of the USGS bucket where it bills the reader."""
    return href.replace(_LOOK, _BUCKET) if requester_pays else href


def pan_rescaling(item: Any) -> tuple[float, float]:
    """Factor and offset from digital numbers to reflectance of band 8, from the level 1 item's metadata file (MTL).

    Raises:
        ReadError: there is none, it is not on this disk or on a web server, or it lacks the numbers.
    """
    asset = item.assets.get("MTL.json")
    if asset is None:
        raise ReadError(f"{item.id} has no asset MTL.json; take the constants of Collection 2 (mtl=constants)")
    metadata = _read_json(item, asset)
    try:
        numbers = metadata["LANDSAT_METADATA_FILE"]["LEVEL1_RADIOMETRIC_RESCALING"]
        return float(numbers["REFLECTANCE_MULT_BAND_8"]), float(numbers["REFLECTANCE_ADD_BAND_8"])
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(f"the metadata of {item.id} lack the rescaling of band 8 ({error!r})") from error


def _read_json(item: Any, asset: Any) -> Any:
    """The content of a metadata asset, from the first of its addresses that can be read without an AWS client."""
    alternate = asset.extra_fields.get("alternate", {}).get("s3", {}).get("href")
    hrefs = [href for href in (asset.get_absolute_href(), alternate) if href]
    href = next((h for h in hrefs if not h.startswith("s3://")), None)
    if href is None:
        raise ReadError(f"the metadata of {item.id} lie at {hrefs}; give mtl=constants, or a copy on this disk")
    try:
        if href.startswith(("http://", "https://")):
            import urllib.request

            with urllib.request.urlopen(href, timeout=60) as answer:  # noqa: S310  http and https only
                return json.load(answer)
        return json.loads(Path(href.removeprefix("file://")).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ReadError(f"the metadata of {item.id} cannot be read at {href} ({error}); give mtl=constants") from error


def _key(product: str) -> tuple[str, str]:
    """Path and row, and day: LC08_L2SP_143054_20230520_20230524_02_T1_SR."""
    parts = product.split("_")
    if len(parts) < 4 or not parts[3].isdigit():
        raise InputError(f"{product!r} is not the name of a Landsat product: expected LC08_L2SP_143054_20230520_...")
    return parts[2], parts[3]


def _from_api(
    url: str, collection: str, box: Box, dates: tuple[date, date], max_cloud: float, platforms: Sequence[str] | None
) -> list[Any]:
    try:
        from pystac_client import Client
        from pystac_client.exceptions import APIError
    except ImportError as error:
        raise MissingExtraError("searching a STAC catalogue", "stac") from error
    query: dict[str, Mapping[str, Any]] = {"eo:cloud_cover": {"lt": max_cloud}}
    if platforms is not None:
        query["platform"] = {"in": list(platforms)}
    try:
        search = Client.open(url).search(
            collections=[collection], bbox=box, datetime=f"{dates[0]}/{dates[1]}", query=query
        )
        return list(search.items())
    except (APIError, OSError) as error:
        raise ReadError(f"{url} could not be searched ({error}); try again, or check the address") from error


def _from_disk(path: Path, collection: str, box: Box, dates: tuple[date, date]) -> list[Any]:
    try:
        import pystac
    except ImportError as error:
        raise MissingExtraError("reading a STAC catalogue", "stac") from error
    file = path / "catalog.json" if path.is_dir() else path
    if not file.is_file():
        raise ReadError(f"no STAC catalogue at {path}: expected catalog.json, or the address of an API")
    try:
        items = list(pystac.Catalog.from_file(str(file)).get_items(recursive=True))
    except (pystac.STACError, OSError, KeyError, json.JSONDecodeError) as error:
        raise ReadError(f"{file} is not a complete STAC catalogue ({error!r})") from error
    wanted = [item for item in items if item.collection_id == collection and dates[0] <= _day(item) <= dates[1]]
    return [item for item in wanted if item.bbox is not None and _touches(item.bbox, box)]


def _day(item: Any) -> date:
    if item.datetime is None:
        raise ReadError(f"item {item.id} has no datetime")
    found: date = item.datetime.date()
    return found


def _touches(bbox: Sequence[float], box: Box) -> bool:
    return bbox[0] <= box[2] and bbox[2] >= box[0] and bbox[1] <= box[3] and bbox[3] >= box[1]


def _first_geometry(content: Any) -> Any:
    if content["type"] == "FeatureCollection":
        content = content["features"][0]
    return content["geometry"] if content["type"] == "Feature" else content


def _points(nested: Any) -> Iterable[tuple[float, float]]:
    if isinstance(nested[0], int | float):
        yield float(nested[0]), float(nested[1])
    else:
        for inner in nested:
            yield from _points(inner)
