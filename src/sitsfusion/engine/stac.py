"""A static STAC catalogue of a job's images: one collection, one item per date (STAC 1.0, raster and projection)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sitsfusion.engine.job import Job
from sitsfusion.engine.outputs import product
from sitsfusion.engine.store import write_text

_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
]


def write_catalogue(folder: Path, job: Job, images: Mapping[str, Mapping[str, str]]) -> None:
    """Write `stac/collection.json` and an item per date, with links relative to them."""
    target = folder / "stac"
    target.mkdir(exist_ok=True)
    dates = sorted({day for paths in images.values() for day in paths})
    footprint = job.scene.cells.extent.to_crs("EPSG:4326")
    box = list(footprint.boundingbox.bbox)
    for day in dates:
        item = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "stac_extensions": _EXTENSIONS,
            "id": f"{job.scene.name}_{day}",
            "collection": job.scene.name,
            "geometry": footprint.json,
            "bbox": box,
            "properties": {
                "datetime": f"{day}T00:00:00Z",
                "proj:code": str(job.scene.cells.crs),
                "processing:software": {"sitsfusion": job.provenance()["version"]},
                "sitsfusion:method": job.method.card.name,
                "sitsfusion:plan_id": job.plan_id,
            },
            "links": [{"rel": "collection", "href": "./collection.json", "type": "application/json"}],
            "assets": _assets(job, {name: paths[day] for name, paths in images.items() if day in paths}, folder),
        }
        write_text(target / f"{day}.json", json.dumps(item, indent=1))
    collection = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": job.scene.name,
        "description": f"{job.method.card.title}, fused by sitsfusion",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [box]},
            "temporal": {"interval": [[f"{dates[0]}T00:00:00Z", f"{dates[-1]}T00:00:00Z"]] if dates else [[None, None]]},
        },
        "links": [{"rel": "item", "href": f"./{day}.json", "type": "application/geo+json"} for day in dates],
    }
    write_text(target / "collection.json", json.dumps(collection, indent=1))


def _assets(job: Job, paths: Mapping[str, str], folder: Path) -> dict[str, Any]:
    kinds: Any = ("values", "quality", "sigma")
    made = {p.name: p for r, q in job.query.items() for k in kinds for p in [product(job.scene, r, q, k, job.output)]}
    found = {}
    for name, path in paths.items():
        layout = made[name].layout
        found[name] = {
            "href": os.path.relpath(folder / path, folder / "stac"),
            "type": "image/tiff; application=geotiff; profile=cloud-optimized"
            if path.endswith(".tif")
            else "application/xml",
            "roles": ["data"] if made[name].kind == "values" else ["metadata"],
            "proj:shape": list(layout.grid.shape),
            "proj:transform": list(layout.grid.affine[:6]),
            "raster:bands": [
                {"name": b, "data_type": e.dtype, "scale": e.scale, "offset": e.offset, "nodata": _number(e.nodata), "unit": u}
                for b, e, u in zip(layout.bands, layout.encodings, layout.units, strict=True)
            ],
        }
    return found


def _number(nodata: float | None) -> float | str | None:
    return "nan" if nodata is not None and nodata != nodata else nodata
