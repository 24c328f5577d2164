"""Options of the reader `geotiff`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sitsfusion.io.merge import Duplicates
from sitsfusion.io.warp import Method


class Options(BaseModel):
    """How a folder of GeoTIFFs is read; the module `geotiff` says by which rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensor: str | None = Field(None, description="name, or a .yaml file (default: recognised from the names)")
    bands: tuple[str, ...] | None = Field(None, description="bands wanted, in this order (default: all)")
    layers: tuple[str, ...] = Field(
        (), description="names of the bands inside each file, in order, where the files do not say; '-': leave out"
    )
    exclude: tuple[str, ...] = Field((), description="patterns of files to leave out, e.g. '*_ndvi.tif'")
    date_pattern: str | None = Field(None, description=r"regular expression whose group is the date, e.g. '_(\d{8})_'")
    dates_csv: Path | None = Field(
        None, description="table with columns file,date and perhaps baseline; only the files in it are read"
    )
    mask_pattern: str | None = Field(None, description="pattern of your mask files, one per date; above 0: unusable")
    quality: tuple[str, ...] | None = Field(
        None, description="quality layers to use (default: all that the sensor knows and the folder has; []: none)"
    )
    scale: float | None = Field(None, description="physical value = stored number * scale + offset")
    offset: float | None = Field(None, description="in physical units: -0.1 for Sentinel-2 from baseline 04.00 on")
    nodata: float | None = Field(None, description="stored number of missing pixels")
    valid_range: tuple[float, float] | None = Field(None, description="stored numbers outside are read as nodata")
    baseline: str | None = Field(None, description="processing baseline of Sentinel-2 products, e.g. '05.09'")
    duplicates: Duplicates = Field("error", description="several images of one solar day: error, or merge into one")
    incomplete: Literal["error", "drop"] = Field("error", description="dates that lack a band: error, or leave out")
    resample_to: str | None = Field(
        None, description="put dates of other grids on that of the `first` date or of the file named (default: error)"
    )
    interpolation: Method = Field("cubic", description="kernel for coarser bands and for `resample_to`")
