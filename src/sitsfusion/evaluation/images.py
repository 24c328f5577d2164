"""Predicted images and their observed counterparts as GeoTIFFs, under the names of the published test tool."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.errors import InputError
from sitsfusion.evaluation.cases import SENSORS, Case, Division
from sitsfusion.grid import Window
from sitsfusion.io.cog import Layout, write_cog
from sitsfusion.prediction import Prediction
from sitsfusion.sensors import Encoding

_STORED = {
    "reflectance": Encoding(dtype="int16", scale=1e-4, nodata=-32768),
    "kelvin": Encoding(dtype="int16", scale=0.1, nodata=-32768),
}
_COARSE_PER_FINE = 3  # the published margin of coarse images is a third


@dataclass(frozen=True)
class _Image:
    cube: Cube
    day: date
    file: Path


def write_images(out: Path, case: Case, label: str, prediction: Prediction, division: Division, margin: int) -> Path:
    """Write the predicted images of a case, and beside them the observed ones of the same days.

    Files are `OUT/paper/<strategy>/<method>/predictions/<site>/<mode>/<day>_<YYYY-MM-DD>_<mode>_pred.tif` and
    `..._ref.tif`; mode is `<lr|hr>_<mae|clr>_<strategy>_<100 x hidden share>_<forecast day>`: `clr` are days
    whose image was given, `mae` the others; `day` counts from the strategy's day 0.

    Numbers are int16: reflectance x 10000, kelvin x 10 (rounded, saturated), -32768 where nothing is known. The
    published files lie nowhere; these have the coordinates of their pixels. `margin` pixels of the prediction are left
    out along the border (a third of them of coarser images).

    Returns:
        The folder `OUT/paper/<strategy>/<method>/predictions/<site>`.

    Raises:
        GridError: images without a coordinate system.
        InputError: a margin that leaves nothing.
        WriteError: the disk is full.
    """
    folder = out / "paper" / case.label / label / "predictions" / case.site_name
    for role, predicted in prediction.cubes.items():
        for image in _images(folder, case, role, predicted, division, margin):
            _write(image)
    return folder


def _images(folder: Path, case: Case, role: str, predicted: Cube, division: Division, margin: int) -> Iterator[_Image]:
    options, given, target = case.options, set(division.given_dates(role)), division.targets.get(role)
    shown = _cropped(predicted, margin)
    for day in predicted.dates:
        kind = "clr" if day in given else "mae"
        pivot = f"{options.forecast_day:g}"
        mode = f"{SENSORS.get(role, role)}_{kind}_{case.strategy.value}_{int(100 * options.rate)}_{pivot}"
        start = folder / mode / f"{int(days_since([day], division.origin)[0])}_{day}_{mode}"
        yield _Image(shown, day, start.with_name(f"{start.name}_pred.tif"))
        if target is not None and day in target.dates:
            coarser = target.grid.shape.x < predicted.grid.shape.x
            same = target.select(bands=[key for key in predicted.bands if key in target.bands])
            reference = _cropped(same, margin // _COARSE_PER_FINE if coarser else margin)
            yield _Image(reference, day, start.with_name(f"{start.name}_ref.tif"))


def _cropped(cube: Cube, margin: int) -> Cube:
    height, width = cube.grid.shape
    if 2 * margin >= min(height, width):
        raise InputError(f"a margin of {margin} pixels leaves nothing of images of {height} x {width} pixels")
    return cube.window(Window(margin, margin, height - 2 * margin, width - 2 * margin))


def _write(image: _Image) -> None:
    bands = image.cube.band_info()
    encodings = tuple(_STORED[band.unit] for band in bands)
    layout = Layout(image.cube.grid, image.cube.bands, encodings, tuple(band.unit for band in bands))
    values = image.cube.frame(image.cube.dates.index(image.day)).values
    held = [np.clip(v, *e.limits()) for v, e in zip(values, encodings, strict=True)]  # NaN stays NaN
    image.file.parent.mkdir(parents=True, exist_ok=True)
    tags = {"day": str(image.day), "sensor": image.cube.sensor.name}
    write_cog(image.file, layout.encode(np.stack(held), image.file.name), layout, tags=tags, overviews=False)
