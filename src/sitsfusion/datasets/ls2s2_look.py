"""Looking at an LS2S2 site: synopsis figures of all its dates, and the images of one patch as GeoTIFFs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray
from torch.nn import functional as F

from sitsfusion.datasets.ls2s2 import SiteParameters, SiteReader
from sitsfusion.errors import MissingExtraError, WriteError
from sitsfusion.grid import Window
from sitsfusion.io import rasters
from sitsfusion.io.ls2s2_index import Acquisition, acquisitions
from sitsfusion.series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Sensor = Literal["landsat", "sentinel2"]
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

_COLUMNS, _INCHES = 8, 2.5
_COLOURS: dict[Sensor, tuple[tuple[int, int, int], float]] = {
    "landsat": ((3, 2, 1), 0.5),
    "sentinel2": ((2, 1, 0), 0.25),
}
_THERMAL = 7


def colour_synopsis(site: Path, out: Path, sensor: Sensor) -> Path:
    """Figure of all valid dates of a sensor in natural colours: `<site>_<sensor>_synopsis.png` in `out`.

    Black is 0, white a reflectance of 0.15 and more; masked pixels are red. Returns the file.

    Raises:
        ReadError: the site, an index or an image is missing.
        NoImageError: no valid date.
        MissingExtraError: matplotlib is not installed.
    """
    bands, factor = _COLOURS[sensor]

    def draw(axes: Axes, acquisition: Acquisition) -> None:
        values, masked = _images(acquisition, bands, factor)
        axes.imshow(rgb(values, masked))

    return _synopsis(acquisitions(site / sensor), draw, out / f"{site.absolute().name}_{sensor}_synopsis.png")


def thermal_synopsis(site: Path, out: Path) -> Path:
    """Figure of the temperature (Celsius) of all valid Landsat dates: `<site>_landsat_thermal_synopsis.png` in `out`.

    The colours of a date go from the 5 % to the 95 % quantile of its clear pixels; masked pixels are dark red. Returns
    the file; errors as `colour_synopsis`.
    """

    def draw(axes: Axes, acquisition: Acquisition) -> None:
        values, masked = _images(acquisition, (_THERMAL,), _COLOURS["landsat"][1])
        celsius = values[0] / 10 - 273.15
        low, high = np.quantile(celsius[~masked], (0.05, 0.95)) if not masked.all() else (0.0, 1.0)
        shown = axes.imshow(celsius, vmin=low, vmax=high)
        axes.imshow(np.ma.masked_where(~masked, masked.astype(np.float32)), cmap="OrRd", vmin=0, vmax=1)
        axes.figure.colorbar(shown, ax=axes, location="bottom", extend="both")

    return _synopsis(acquisitions(site / "landsat"), draw, out / f"{site.absolute().name}_landsat_thermal_synopsis.png")


def rgb(values: Image, masked: Mask) -> Image:
    """Red, green and blue stored numbers `[3 h w]` as colours in [0, 1] `[h w 3]`, masked pixels `[h w]` in red."""
    colours = np.clip(np.moveaxis(values, 0, -1) / 1500, 0, 1)
    red = np.where(masked & (colours[..., 0] == 0), 1, colours[..., 0])
    others = np.where(masked[..., None], 0, colours[..., 1:])
    return np.concatenate([red[..., None], others], -1).astype(np.float32)


def export_patch(site: Path, out: Path, patch_size: float = 1650) -> list[Path]:
    """Write every date of the patch in the south-west corner: `hr/<day>_hr.tif`, `lr/<day>_lr.tif`, int16 as stored.

    Days count from the site's first valid Sentinel-2 date (negative before it). Returns the files.

    Raises:
        ReadError: the site, an index or an image is missing.
        InputError: a patch larger than the site, or not a whole number of pixels.
        WriteError: a file cannot be written.
    """
    reader = SiteReader(site, SiteParameters(patch_size=patch_size, dt_orig=None, exclude_last_date=False))
    crs = rasters.header(str(acquisitions(site / "sentinel2")[0].files(0)[0])).grid.crs
    left, bottom = reader.corners[0]
    pair, written = reader[0], []
    for name, series in (("lr", pair.lr), ("hr", pair.hr)):
        step = patch_size / series.values.shape[-1]
        transform = Affine(step, 0, left, 0, -step, bottom + patch_size)
        written += _write_dates(series, out / name, name, {"crs": crs, "transform": transform})
    return written


def _write_dates(series: Series, folder: Path, name: str, place: dict[str, Any]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for day, values in zip(series.days[0].tolist(), series.values[0].numpy(), strict=True):
        bands, height, width = values.shape
        profile = {"count": bands, "height": height, "width": width, "dtype": "int16", "nodata": -10000}
        files.append(folder / f"{day}_{name}.tif")
        try:
            with rasterio.open(files[-1], "w", driver="GTiff", compress="lzw", **profile, **place) as file:
                file.write(values)
        except (rasterio.errors.RasterioError, OSError) as error:
            raise WriteError(f"{files[-1]} cannot be written ({error})") from error
    return files


def _images(acquisition: Acquisition, bands: Sequence[int], factor: float) -> tuple[Image, Mask]:
    """Stored numbers `[c h w]` of some bands and the mask `[h w]`, shrunk by a factor."""
    bands_file, mask_file = (str(file) for file in acquisition.files(0))
    window = Window(0, 0, *rasters.header(bands_file).grid.shape)
    values = torch.from_numpy(rasters.read_window(bands_file, bands, window).astype(np.float32))
    mask = torch.from_numpy(rasters.read_window(mask_file, [0], window).astype(np.float32))
    small = F.interpolate(values[None], scale_factor=factor, mode="bilinear", align_corners=False)[0]
    masked = F.interpolate(mask[None], size=small.shape[-2:], mode="nearest")[0, 0] > 0
    return small.numpy(), masked.numpy()


def _synopsis(dates: Sequence[Acquisition], draw: Callable[[Axes, Acquisition], None], file: Path) -> Path:
    """One cell per date, eight in a row, titled with date and clear share."""
    rows = ceil(len(dates) / _COLUMNS)
    figure = _figure(_INCHES * _COLUMNS, _INCHES * rows)
    for axes in (cells := figure.subplots(rows, _COLUMNS, squeeze=False).ravel()):
        axes.set_axis_off()
    for axes, acquisition in zip(cells, dates, strict=False):
        draw(axes, acquisition)
        share = acquisition.lines[0].clear_share
        axes.set_title(f"{acquisition.day}" + ("" if share is None else f", {share:.2%} CPR"), fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
    return file


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("a figure", "viz") from error
    return Figure(figsize=(width, height), layout="constrained")
