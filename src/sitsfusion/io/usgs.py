"""Reader of Landsat Collection 2 level-2 products as USGS delivers them: .tar archives, or folders with their files.

**Images**: surface reflectance (role `coarse`: SR_B1 to SR_B7 as the sensor has them) and surface temperature (role
`thermal`: ST_B10 or ST_B6) of Landsat 8 and 9, or of Landsat 4, 5 and 7. Frames of one path differ from date to date
by whole pixels; the cube covers them all. Several rows of one pass are one solar day (`duplicates: merge`).

**Quality**: QA_PIXEL, QA_RADSAT and (Landsat 8, 9) SR_QA_AEROSOL for the reflectance; QA_PIXEL for the temperature.

**Metadata**: time, platform, angles and cloud cover from the MTL file (json, xml or txt); where there is none, the
date of the product name is taken as the solar day. `clear_share` of an item is 1 - CLOUD_COVER.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from sitsfusion import sensors
from sitsfusion.cube import Cube, Item
from sitsfusion.dates import parse_day, solar_day
from sitsfusion.errors import ReadError
from sitsfusion.io.geotiff_files import longitude_of
from sitsfusion.io.products import (
    Delivery,
    Image,
    Layer,
    ProductOptions,
    Reading,
    find,
    quality_layers,
    recognised,
    refuse_missing,
    refuse_mixture,
    series,
)
from sitsfusion.io.roles import keys_by_role
from sitsfusion.sensors import Sensor

NAME = "usgs"

_ID = re.compile(r"L[COTEM]0\d_L2S[PR]_\d{6}_\d{8}_\d{8}_02_(?:RT|T1|T2)", re.IGNORECASE)
_SENSORS = {"04": "landsat-4-7-c2-l2", "05": "landsat-4-7-c2-l2", "07": "landsat-4-7-c2-l2"}
_SENSORS |= {"08": "landsat-8-9-c2-l2", "09": "landsat-8-9-c2-l2"}
_PIXEL = 30.0  # reflectance, temperature and quality layers come on one grid
_THERMAL_QUALITY = "QA_PIXEL"

Groups = Mapping[str, Mapping[str, str]]


class Options(ProductOptions):
    """How Landsat products are read."""


def recognise(path: Path) -> bool:
    """A .tar or folder with the name of a Landsat Collection 2 level-2 product, or a folder that holds some."""
    return recognised(path, _identify)


def read(path: Path, options: Options) -> dict[str, Cube]:
    """The cubes of a place: `coarse` (reflectance) and, where some products have it, `thermal` (temperature).

    Raises:
        ReadError: no product, or files that cannot be read. InputError: several WRS paths, or Landsat 8-9 with 4-7.
        MissingBandError: layers that some products lack. GridError, DateError: as `products.series`.
    """
    deliveries = find(path, _identify, "Landsat Collection 2 level-2 product (L?0?_L2S?_...)", options.exclude)
    refuse_mixture({d.id: d.id.split("_")[2][:3] for d in deliveries}, "WRS path")
    refuse_mixture({d.id: _SENSORS[d.id[2:4]] for d in deliveries}, "sensor")
    sensor = sensors.get(_SENSORS[deliveries[0].id[2:4]])
    images = [_image(delivery, sensor) for delivery in deliveries]
    wanted = sensor.keys if options.bands is None else sensor.resolve(options.bands)
    quality = tuple(quality_layers(sensor, options.quality))
    refuse_missing(images, quality, "quality")
    refuse_missing(images, wanted, "bands", lambda image: _lacking(image, sensor, wanted))
    cubes = {}
    for role, keys in keys_by_role(sensor, wanted).items():
        having = [image for image in images if all(key in image.layers for key in keys)]
        layers = tuple(name for name in quality if name == _THERMAL_QUALITY) if role == "thermal" else quality
        if having:
            cubes[role] = series(Reading(path, sensor, keys, layers, options), having)
    return cubes


def _lacking(image: Image, sensor: Sensor, keys: Sequence[str]) -> list[str]:
    """Bands that a product should have; level L2SR has no temperature by design."""
    missing = [key for key in keys if key not in image.layers]
    return missing if "_L2SP_" in image.delivery.id else [k for k in missing if sensor.band(k).unit != "kelvin"]


def _identify(name: str) -> str | None:
    match = _ID.search(name.rsplit("/", 1)[-1])
    return None if match is None or match[0][2:4] not in _SENSORS else match[0].upper()


def _image(delivery: Delivery, sensor: Sensor) -> Image:
    names = {key: [alias for alias in sensor.band(key).aliases if alias[:3] in ("SR_", "ST_")] for key in sensor.keys}
    names |= {rule.layer: [rule.layer] for rule in sensor.quality}
    files = {layer: delivery.named(f"_{name}.tif") for layer, (name, *_) in names.items()}
    layers = {layer: Layer(file, _PIXEL) for layer, file in files.items() if file is not None}
    item = _item(delivery, metadata(delivery))
    day = parse_day(delivery.id.split("_")[3])
    encodings = dict(zip(sensor.keys, sensor.stored(sensor.keys), strict=True))
    image = Image(delivery, item, day, layers, encodings)
    if item.time is None or not layers:
        return image
    longitude = longitude_of(image.grid(next(iter(layers))))
    return replace(image, day=solar_day(item.time, longitude))


def metadata(delivery: Delivery) -> Groups:
    """The groups of the MTL file (json, xml or txt, whichever there is); empty if the product has none.

    Raises:
        ReadError: it cannot be understood.
    """
    for ending, parse in (("_MTL.json", _from_json), ("_MTL.xml", _from_xml), ("_MTL.txt", _from_text)):
        name = delivery.named(ending)
        if name is None:
            continue
        try:
            return parse(delivery.text(name))
        except (ValueError, KeyError, AttributeError, ElementTree.ParseError) as error:
            raise ReadError(
                f"{name} in {delivery.place} is no Collection 2 metadata ({error}); download it again, or remove it"
            ) from error
    return {}


def _from_json(text: str) -> Groups:
    groups: Groups = json.loads(text)["LANDSAT_METADATA_FILE"]
    return groups


def _from_xml(text: str) -> Groups:
    root = ElementTree.fromstring(text)  # noqa: S314  expat refuses entity bombs since 2.4.1
    return {group.tag: {entry.tag: entry.text or "" for entry in group} for group in root}


def _from_text(text: str) -> Groups:
    """`GROUP = NAME`, `KEY = VALUE`, `END_GROUP = NAME`; values may be quoted."""
    groups: dict[str, dict[str, str]] = {}
    at = ""
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            at = value
        elif value and key != "END_GROUP":
            groups.setdefault(at, {})[key] = value.strip('"')
    return groups


def _item(delivery: Delivery, groups: Groups) -> Item:
    known = groups.get("IMAGE_ATTRIBUTES", {})
    platform = known.get("SPACECRAFT_ID", f"LANDSAT_{int(delivery.id[2:4])}").replace("_", " ").title()
    cover, elevation = _number(delivery, known, "CLOUD_COVER"), _number(delivery, known, "SUN_ELEVATION")
    return Item(
        id=delivery.id,
        time=_time(delivery, known),
        platform=platform,
        clear_share=None if cover is None or cover < 0 else 1 - cover / 100,  # -1: not computed
        sun_zenith=None if elevation is None else 90 - elevation,
        sun_azimuth=_number(delivery, known, "SUN_AZIMUTH"),
    )


def _number(delivery: Delivery, known: Mapping[str, str], key: str) -> float | None:
    try:
        return float(known[key]) if key in known else None
    except ValueError as error:
        raise ReadError(f"the metadata of {delivery.id} give {key} = {known[key]!r}; expected a number") from error


def _time(delivery: Delivery, known: Mapping[str, str]) -> datetime | None:
    """UTC, without time zone; SCENE_CENTER_TIME has seven decimals."""
    day, clock = known.get("DATE_ACQUIRED"), known.get("SCENE_CENTER_TIME")
    if day is None or clock is None:
        return None
    text = f"{day}T{clock.rstrip('Z')[:15]}"
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ReadError(f"the metadata of {delivery.id} give {text!r}; expected 2022-01-05T10:40:12") from error
