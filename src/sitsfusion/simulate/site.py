"""Simulated scenes as sites of the LS2S2 data set (doi 10.5281/zenodo.15471890), which all its readers can open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from sitsfusion.cube import Cube
from sitsfusion.datasets.ls2s2_masks import Mask, Masks
from sitsfusion.datasets.ls2s2_rows import Row, write_index
from sitsfusion.errors import InputError, WriteError
from sitsfusion.simulate.quality import SCL_PIXELS
from sitsfusion.simulate.scene import Simulated
from sitsfusion.simulate.write import write_truth

_FOLDERS = {"fine": "sentinel2", "coarse": "landsat"}
_NODATA = -10_000
_CLEAREST = 0.25  # least share of clear pixels of a date that is written, as published
_DARK, _SNOW, _SNOW_BIT = 2, 11, 5  # classes of SCL, bit of QA_PIXEL
_LAYOUT = {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "lzw"}


def write_ls2s2(
    simulated: Simulated, folder: str | Path, *, truth: Sequence[date] = (), min_clear: float = _CLEAREST
) -> None:
    """Write a simulated scene as an LS2S2 site.

    * `sentinel2/index.csv`, `landsat/index.csv`: every date, the rejected ones too;
    * `<sensor>/<YYYYMMDD>/<sensor>_bands_<YYYYMMDD>.tif`: int16, reflectance x 10000 and kelvin x 10, truncated, nodata
      -10000; `..._mask_...` and `..._snow_mask_...`: uint8, 1 = masked, snow; for the dates that are clear enough;
    * `truth/`: as `write_geotiffs`, for the dates in `truth`.

    As in the data set, a pixel that is 0 in a band counts as masked when read. Files that exist are overwritten.

    Args:
        simulated: the scene.
        folder: of the site.
        truth: dates whose noise-free images are written too.
        min_clear: least share of clear pixels of a date whose images are written.

    Raises:
        InputError: a scene of top-of-atmosphere reflectance: LS2S2 has surface reflectance.
        WriteError: a file cannot be written.
    """
    if simulated.place.world.toa:
        raise InputError(
            f"{simulated.scene.name} is top-of-atmosphere reflectance, which an LS2S2 site cannot say; "
            "simulate a world with toa=False"
        )
    root = Path(folder)
    for role, name in _FOLDERS.items():
        cube: Cube = simulated.scene[role]
        rows = [_write_date(simulated, role, t, root / name, min_clear) for t in range(len(cube))]
        write_index(root / name / "index.csv", rows)
    write_truth(simulated, root / "truth", truth)


def _write_date(simulated: Simulated, role: str, t: int, folder: Path, min_clear: float) -> Row:
    """Write the files of one date if it is clear enough; its line of the index."""
    cube: Cube = simulated.scene[role]
    frame, day = cube.frame(t), cube.dates[t]
    masks = _masks(role, simulated.quality[role][t], frame.valid)
    row = Row.of(folder.name, day, masks, masks.clear_share >= min_clear)
    if not row.valid:
        return row
    scales = [10.0 if band.unit == "kelvin" else 1e4 for band in cube.band_info()]
    images: dict[str, NDArray[Any]] = {
        "bands": _stored(frame.values * np.array(scales, np.float32)[:, None, None]),
        "mask": masks.unusable[None].astype(np.uint8),
        "snow_mask": np.asarray(masks.snow, np.uint8)[None],
    }
    files = {kind: f"{day:%Y%m%d}/{folder.name}_{kind}_{day:%Y%m%d}.tif" for kind in images}
    for kind, values in images.items():
        _write(folder / files[kind], values, cube.grid, _NODATA if kind == "bands" else 0)
    return replace(row, bands=files["bands"], mask=files["mask"], snow_mask=files["snow_mask"])


def _masks(role: str, quality: NDArray[np.integer], clear: Mask) -> Masks:
    """What the quality layer says, on the grid of the images."""
    if role == "coarse":
        return Masks(~clear, (quality >> _SNOW_BIT & 1).astype(bool))
    fine = quality.repeat(SCL_PIXELS, 0).repeat(SCL_PIXELS, 1)[: clear.shape[0], : clear.shape[1]]
    return Masks(~clear, fine == _SNOW, fine == _DARK)


def _stored(values: NDArray[np.floating]) -> NDArray[np.int16]:
    """Truncated towards zero, as the data set is; what was never observed (NaN) becomes nodata."""
    limits = np.iinfo(np.int16)
    # float32 puts many whole numbers a hair below themselves; products are stored in steps coarser than this
    whole = np.clip(np.nan_to_num(values + np.copysign(1e-2, values), nan=_NODATA), limits.min, limits.max)
    return np.where(np.isnan(values), _NODATA, whole).astype(np.int16)


def _write(file: Path, values: NDArray[np.generic], grid: GeoBox, nodata: float) -> None:
    count, height, width = values.shape
    place: Mapping[str, object] = {"crs": str(grid.crs), "transform": grid.affine, "nodata": nodata}
    size = {"count": count, "height": height, "width": width, "dtype": values.dtype.name, "interleave": "band"}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(file, "w", **_LAYOUT, **size, **place) as out:
            out.write(np.ascontiguousarray(values))
    except (OSError, RasterioError) as error:
        raise WriteError(f"{file} cannot be written ({error})") from error
