"""A static STAC catalogue of a job's images: one collection, one item per date (STAC 1.0, projection, raster)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from odc.geo.geobox import GeoBox
from rasterio.warp import transform

from sitsfusion.engine.files import write_text
from sitsfusion.engine.job import Job
from sitsfusion.engine.outputs import KINDS, Product

_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
]
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def write_catalogue(target: Path, job: Job, images: Mapping[str, Mapping[str, str]]) -> None:
    """Write `collection.json` and an item per date into a folder beside the images, with links relative to it.

    `images`: by product and day (ISO), paths relative to the job's folder.
    """
    target.mkdir(exist_ok=True)
    made = {p.name: p for role in job.query for kind in KINDS for p in [job.product(role, kind)]}
    days = sorted({day for paths in images.values() for day in paths})
    for day in days:
        assets = {
            name: _asset(made[name], os.path.relpath(job.output.folder / paths[day], target))
            for name, paths in images.items()
            if day in paths
        }
        write_text(target / f"{day}.json", json.dumps(_item(job, day, assets), indent=1))
    write_text(target / "collection.json", json.dumps(_collection(job, days), indent=1))


def _item(job: Job, day: str, assets: Mapping[str, Any]) -> dict[str, Any]:
    ring = _footprint(job.scene.cells)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": _EXTENSIONS,
        "id": f"{job.scene.name}_{day}",
        "collection": job.scene.name,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": _box(ring),
        "properties": {
            "datetime": f"{day}T00:00:00Z",
            **_projection(job.scene.cells),
            "processing:software": {"sitsfusion": job.provenance()["version"]},
            "sitsfusion:method": job.method.card.name,
            "sitsfusion:plan_id": job.plan_id,
        },
        "links": [
            {"rel": rel, "href": "./collection.json", "type": "application/json"}
            for rel in ("root", "parent", "collection")
        ],
        "assets": assets,
    }


def _collection(job: Job, days: list[str]) -> dict[str, Any]:
    interval = [f"{days[0]}T00:00:00Z", f"{days[-1]}T00:00:00Z"] if days else [None, None]
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": job.scene.name,
        "description": f"{job.method.card.title}, fused by sitsfusion",
        "license": "various",  # that of the input images
        "extent": {"spatial": {"bbox": [_box(_footprint(job.scene.cells))]}, "temporal": {"interval": [interval]}},
        "links": [
            {"rel": "root", "href": "./collection.json", "type": "application/json"},
            *({"rel": "item", "href": f"./{day}.json", "type": "application/geo+json"} for day in days),
        ],
    }


def _footprint(grid: GeoBox) -> list[list[float]]:
    """The corners in longitude and latitude, counterclockwise and closed."""
    west, south, east, north = grid.boundingbox.bbox
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    lon, lat = transform(str(grid.crs), "EPSG:4326", *zip(*corners, strict=True))
    return [[round(x, 7), round(y, 7)] for x, y in zip(lon, lat, strict=True)]


def _box(ring: list[list[float]]) -> list[float]:
    lon, lat = zip(*ring, strict=True)
    return [min(lon), min(lat), max(lon), max(lat)]


def _asset(made: Product, href: str) -> dict[str, Any]:
    layout = made.layout
    return {
        "href": Path(href).as_posix(),
        "type": _COG if href.endswith(".tif") else "application/xml",
        "roles": ["data"] if made.kind == "values" else ["metadata"],
        "proj:shape": list(layout.grid.shape),
        "proj:transform": list(layout.grid.affine[:6]),
        "raster:bands": [
            {
                "name": name,
                "data_type": e.dtype,
                "scale": e.scale,
                "offset": e.offset,
                **_present(_number(e.nodata), unit),
            }
            for name, e, unit in zip(layout.bands, layout.encodings, layout.units, strict=True)
        ],
    }


def _present(nodata: float | str | None, unit: str) -> dict[str, Any]:
    return {key: value for key, value in (("nodata", nodata), ("unit", unit)) if value not in (None, "")}


def _number(nodata: float | None) -> float | str | None:
    return "nan" if nodata is not None and nodata != nodata else nodata


def _projection(grid: GeoBox) -> dict[str, str]:
    """The code of the coordinate system, or its text when it has no code."""
    if grid.crs is None:
        return {}
    return {"proj:code": f"EPSG:{grid.crs.epsg}"} if grid.crs.epsg else {"proj:wkt2": str(grid.crs.to_wkt())}
