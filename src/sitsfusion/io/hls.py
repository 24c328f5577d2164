"""Reader of Harmonized Landsat and Sentinel-2 granules (HLS v2: one GeoTIFF per band and Fmask).

**Images**: nadir reflectance of L30 (Landsat: B01 to B07) or S30 (Sentinel-2: B01 to B08, B8A, B11, B12), on one grid
of 30 m per tile. A place with granules of one kind gives role `coarse` (sensor hls-l30 or hls-s30); with both kinds,
S30 is `fine` and L30 is `coarse`; `bands` should then be common names, because the same key is another band (B05 is
near infrared in L30, red edge in S30). The brightness temperature of L30 (B10, B11) is role `thermal`. The water
vapour and cirrus bands, reflectance at the top of the atmosphere, are read only when `bands` names them.

**Quality**: Fmask (cloud, its surroundings, shadow, fill).

**Metadata**: time from the file name; platform, angles of sun and view and cloud cover from the tags of the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sitsfusion import sensors
from sitsfusion.cube import Cube, Item
from sitsfusion.dates import solar_day
from sitsfusion.io import rasters
from sitsfusion.io.geotiff_files import longitude_of
from sitsfusion.io.products import (
    Delivery,
    Image,
    Layer,
    ProductOptions,
    Reading,
    find,
    member_path,
    quality_layers,
    recognised,
    refuse_missing,
    refuse_mixture,
    series,
)
from sitsfusion.io.roles import keys_by_role
from sitsfusion.sensors import Sensor

NAME = "hls"

_ID = re.compile(r"HLS\.(L30|S30)\.T(\d{2}[A-Z]{3})\.(\d{7}T\d{6})\.v\d+\.\d+")
_LAYER = re.compile(_ID.pattern + r"\.(\w+)\.tif$")
_SENSORS = {"L30": "hls-l30", "S30": "hls-s30"}
_PIXEL = 30.0
_TOP_OF_ATMOSPHERE = ("cirrus", "nir09")
_PLATFORMS = {"LC08": "Landsat 8", "LC09": "Landsat 9", "LO08": "Landsat 8", "LO09": "Landsat 9"}
_PLATFORMS |= {f"S2{letter}_": f"Sentinel-2{letter}" for letter in "ABCD"}


class Options(ProductOptions):
    """How HLS granules are read."""


def recognise(path: Path) -> bool:
    """A folder or archive with the name of an HLS granule, or a folder that holds some (or their files)."""
    return recognised(path, _identify)


def read(path: Path, options: Options) -> dict[str, Cube]:
    """The cubes of a place: `coarse`, `fine` (where there are both kinds of granules), `thermal` (of L30).

    Raises:
        ReadError: no granule, or files that cannot be read. InputError: several tiles, or a band that neither has.
        MissingBandError: layers that some granules lack. GridError, DateError: as `products.series`.
    """
    deliveries = find(path, _identify, "HLS granule (HLS.L30.T..., HLS.S30.T...)", options.exclude)
    refuse_mixture({d.id: d.id.split(".")[2] for d in deliveries}, "tile")
    kinds = sorted({d.id.split(".")[1] for d in deliveries})
    cubes: dict[str, Cube] = {}
    for kind in kinds:
        role = "fine" if kind == "S30" and len(kinds) == 2 else "coarse"
        of_kind = [delivery for delivery in deliveries if delivery.id.split(".")[1] == kind]
        cubes |= _cubes(path, role, sensors.get(_SENSORS[kind]), of_kind, options)
    return cubes


def _cubes(path: Path, role: str, sensor: Sensor, deliveries: Sequence[Delivery], options: Options) -> dict[str, Cube]:
    """The cubes of granules of one kind."""
    usual = tuple(band.key for band in sensor.bands if band.common_name not in _TOP_OF_ATMOSPHERE)
    wanted = usual if options.bands is None else sensor.resolve(options.bands)
    quality = tuple(quality_layers(sensor, options.quality))
    images = [_image(delivery, sensor) for delivery in deliveries]
    refuse_missing(images, quality, "quality")
    refuse_missing(images, wanted, "bands")
    by_role = keys_by_role(sensor, wanted)
    cubes = {name: series(Reading(path, sensor, keys, quality, options), images) for name, keys in by_role.items()}
    return {role if name == "coarse" else name: cube for name, cube in cubes.items()}


def _identify(name: str) -> str | None:
    match = _ID.search(name.rsplit("/", 1)[-1])
    return None if match is None else match[0]


def _image(delivery: Delivery, sensor: Sensor) -> Image:
    known = {*sensor.keys, *(rule.layer for rule in sensor.quality)}
    found = {match[4]: name for name in delivery.names if (match := _LAYER.search(name))}
    layers = {layer: Layer(name, _PIXEL) for layer, name in found.items() if layer in known}
    time = datetime.strptime(delivery.id.split(".")[3], "%Y%jT%H%M%S")
    encodings = dict(zip(sensor.keys, sensor.stored(sensor.keys), strict=True))
    image = Image(delivery, Item(delivery.id, time), time.date(), layers, encodings)
    if not layers:
        return image
    head = rasters.header(str(member_path(delivery.place, next(iter(layers.values())).name)))
    return replace(image, item=_item(image.item, head.tags), day=solar_day(time, longitude_of(head.grid)))


def _item(item: Item, tags: Mapping[str, str]) -> Item:
    """With what the tags of a file say; unknown where a granule was made of several images that differ."""
    source = tags.get("LANDSAT_PRODUCT_ID", tags.get("PRODUCT_URI", ""))
    cover = _number(tags, "cloud_coverage")
    return replace(
        item,
        platform=_PLATFORMS.get(source[:4]),
        clear_share=None if cover is None else 1 - cover / 100,
        sun_zenith=_number(tags, "MEAN_SUN_ZENITH_ANGLE"),
        sun_azimuth=_number(tags, "MEAN_SUN_AZIMUTH_ANGLE"),
        view_zenith=_number(tags, "MEAN_VIEW_ZENITH_ANGLE"),
        view_azimuth=_number(tags, "MEAN_VIEW_AZIMUTH_ANGLE"),
    )


def _number(tags: Mapping[str, str], key: str) -> float | None:
    try:
        return float(tags[key])
    except (KeyError, ValueError):
        return None
