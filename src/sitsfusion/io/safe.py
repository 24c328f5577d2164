"""Reader of Sentinel-2 products (level 2A and 1C) as Copernicus delivers them: .SAFE folders, or .zip archives of them.

**Images** (role `fine`): the pixels of the finest band wanted (default: the bands of 10 and 20 m on 10 m pixels, the
20 m bands interpolated; with `bands` others). Level 2A or level 1C, one tile at a time.

**Numbers**: the offset and the quantification value that the product's own metadata give; where these name no offset,
the processing baseline decides (-1000 from 04.00 on). Both are per product: a series may mix them.

**Quality**: SCL of level 2A. Level 1C: the masks of opaque clouds and cirrus of MSK_CLASSI_B00.jp2 (from baseline
04.00 on; older products have none that can be read: `quality: []`).

**Metadata**: sensing time, platform, mean angles of sun and view (over the bands), and `clear_share` = 1 - cloud
coverage, from MTD_MSIL2A.xml (MTD_MSIL1C.xml) and MTD_TL.xml.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from math import atan2, cos, degrees, radians, sin
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from sitsfusion import sensors
from sitsfusion.cube import Cube, Item
from sitsfusion.dates import solar_day
from sitsfusion.errors import ReadError
from sitsfusion.io.geotiff_files import longitude_of
from sitsfusion.io.names import find_baseline
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
from sitsfusion.sensors import Encoding, Sensor

NAME = "safe"

_ID = re.compile(r"S2[A-D]_MSIL(1C|2A)_(\d{8}T\d{6})_N\d{4}_R\d{3}_T(\d{2}[A-Z]{3})_\d{8}T\d{6}")
# QI_DATA holds masks with the same endings
_IMAGE = re.compile(r"IMG_DATA/(?:R\d0m/)?[^/]+_(B\d[0-9A]|SCL)(?:_(10|20|60)m)?\.jp2$")
_SENSORS = {"2A": "sentinel-2-l2a", "1C": "sentinel-2-l1c"}
# Band numbers of the metadata (Products Specification Document).
_BAND_IDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
_FINE = 20.0  # bands of at most this resolution are read unless others are asked for
_CLASSI_PIXEL = 60.0


class Options(ProductOptions):
    """How Sentinel-2 products are read."""


def recognise(path: Path) -> bool:
    """A .SAFE folder or .zip with the name of a Sentinel-2 product, or a folder that holds some."""
    return recognised(path, _identify)


def read(path: Path, options: Options) -> dict[str, Cube]:
    """The cube `fine` of a place.

    Raises:
        ReadError: no product, or files that are missing or cannot be read. InputError: several tiles or levels.
        MissingBandError: layers that some products lack. GridError, DateError: as `products.series`.
    """
    deliveries = find(path, _identify, "Sentinel-2 product (S2?_MSIL2A_... or S2?_MSIL1C_...)", options.exclude)
    refuse_mixture({d.id: _parts(d)[0] for d in deliveries}, "level")
    refuse_mixture({d.id: _parts(d)[2] for d in deliveries}, "tile")
    sensor = sensors.get(_SENSORS[_parts(deliveries[0])[0]])
    fine = [band.key for band in sensor.bands if band.resolution <= _FINE]
    keys = tuple(fine) if options.bands is None else sensor.resolve(options.bands)
    pixel = min(sensor.band(key).resolution for key in keys)
    images = [_image(delivery, sensor, keys, pixel) for delivery in deliveries]
    quality = tuple(quality_layers(sensor, options.quality))
    refuse_missing(images, quality, "quality")
    refuse_missing(images, keys, "bands")
    return {"fine": series(Reading(path, sensor, keys, quality, options), images)}


def _identify(name: str) -> str | None:
    match = _ID.search(name)
    return None if match is None else match[0]


def _parts(delivery: Delivery) -> tuple[str, str, str]:
    """Level, time at which the datatake began, and tile of a product's name."""
    level, start, tile = delivery.id.split("_")[1][-2:], delivery.id.split("_")[2], delivery.id.split("_")[5][1:]
    return level, start, tile


def _image(delivery: Delivery, sensor: Sensor, keys: Sequence[str], pixel: float) -> Image:
    product = _xml(delivery, f"MTD_MSIL{_parts(delivery)[0]}.xml")
    item = _item(delivery, product, _xml(delivery, "MTD_TL.xml"))
    encodings = _encodings(sensor, keys, item.baseline, product)
    image = Image(delivery, item, _start(delivery).date(), _layers(delivery, sensor, pixel), encodings)
    if item.time is None or not image.layers:
        return image
    return replace(image, day=solar_day(item.time, longitude_of(image.grid(next(iter(image.layers))))))


def _layers(delivery: Delivery, sensor: Sensor, pixel: float) -> dict[str, Layer]:
    """Of each band the file with its own pixels (SCL: 20 m), but none finer than `pixel`."""
    layers = {}
    for name in delivery.names:
        match = _IMAGE.search(name)
        if match is None:
            continue
        key = match[1]
        if key != "SCL" and key not in sensor.keys:
            continue
        own = 20.0 if key == "SCL" else sensor.band(key).resolution
        delivered = float(match[2] or own)
        if delivered == max(own, pixel):
            layers[key] = Layer(name, delivered)
    masks = delivery.named("MSK_CLASSI_B00.jp2")
    if masks is not None:
        layers["MSK_CLASSI_OPAQUE"], layers["MSK_CLASSI_CIRRUS"] = (Layer(masks, _CLASSI_PIXEL, i) for i in (0, 1))
    return layers


def _encodings(
    sensor: Sensor, keys: Sequence[str], baseline: str | None, product: Element | None
) -> dict[str, Encoding]:
    """How the product stores these bands: by its metadata where they say so, else by its baseline."""
    quantification = _number(product, "BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
    offsets = _offsets(product)
    encodings = {}
    for key, by_baseline in zip(keys, sensor.stored(keys, baseline), strict=True):
        scale = by_baseline.scale if quantification is None else 1 / quantification
        added = offsets.get(key, by_baseline.offset / by_baseline.scale)  # in stored numbers
        encodings[key] = by_baseline.model_copy(update={"scale": scale, "offset": added * scale})
    return encodings


def _offsets(product: Element | None) -> dict[str, float]:
    """What is added to the stored numbers, by band; empty where the metadata say nothing of it."""
    found = [] if product is None else [*product.iter("BOA_ADD_OFFSET"), *product.iter("RADIO_ADD_OFFSET")]
    try:
        return {_BAND_IDS[int(entry.attrib["band_id"])]: float(entry.text or "") for entry in found}
    except (KeyError, IndexError, ValueError) as error:
        raise ReadError(
            f"the product metadata hold an offset that cannot be used ({error}); expected 0 to 12"
        ) from error


def _item(delivery: Delivery, product: Element | None, tile: Element | None) -> Item:
    cover = _number(product, "Cloud_Coverage_Assessment")
    sun = None if tile is None else tile.find(".//Mean_Sun_Angle")
    views = [] if tile is None else list(tile.iter("Mean_Viewing_Incidence_Angle"))
    return Item(
        id=delivery.id,
        time=_time(delivery, tile),
        platform=f"Sentinel-{delivery.id[1:3]}",
        baseline=_text(product, "PROCESSING_BASELINE") or find_baseline(delivery.id),
        clear_share=None if cover is None else 1 - cover / 100,
        sun_zenith=_number(sun, "ZENITH_ANGLE"),
        sun_azimuth=_number(sun, "AZIMUTH_ANGLE"),
        view_zenith=_mean_zenith(views),
        view_azimuth=_mean_azimuth(views),
    )


def _start(delivery: Delivery) -> datetime:
    return datetime.strptime(_parts(delivery)[1], "%Y%m%dT%H%M%S")


def _time(delivery: Delivery, tile: Element | None) -> datetime:
    """UTC, without time zone: of the tile's sensing where the metadata give it, else the start of the datatake."""
    text = _text(tile, "SENSING_TIME")
    if text is None:
        return _start(delivery)
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError as error:
        raise ReadError(
            f"the metadata of {delivery.id} give the time {text!r}; expected 2022-01-05T10:56:30Z"
        ) from error


def _mean_zenith(views: Sequence[Element]) -> float | None:
    angles = [angle for view in views if (angle := _number(view, "ZENITH_ANGLE")) is not None]
    return sum(angles) / len(angles) if angles else None


def _mean_azimuth(views: Sequence[Element]) -> float | None:
    """The mean direction, in [0, 360)."""
    angles = [radians(angle) for view in views if (angle := _number(view, "AZIMUTH_ANGLE")) is not None]
    return degrees(atan2(sum(map(sin, angles)), sum(map(cos, angles)))) % 360 if angles else None


def _xml(delivery: Delivery, ending: str) -> Element | None:
    """The root of a metadata file; None if the product has none.

    Raises:
        ReadError: it is no XML.
    """
    name = delivery.named(ending)
    if name is None:
        return None
    try:
        return ElementTree.fromstring(delivery.text(name))  # noqa: S314  expat refuses entity bombs since 2.4.1
    except ElementTree.ParseError as error:
        raise ReadError(f"{name} in {delivery.place} is no XML ({error}); download it again, or remove it") from error


def _text(element: Element | None, *tags: str) -> str | None:
    """Text of the first element, at any depth, with one of these tags."""
    found = () if element is None else (inner for tag in tags for inner in element.iter(tag))
    return next((inner.text.strip() for inner in found if inner.text), None)


def _number(element: Element | None, *tags: str) -> float | None:
    text = _text(element, *tags)
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise ReadError(f"the product metadata give {tags[0]} = {text!r}; expected a number") from error
