"""One HTML file per site and method that plays all days: what was given, what was predicted, what was observed.

No network and no library is needed to watch it: pictures are embedded, `report/animation.html` holds the player.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from datetime import date
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.engine.files import write_text
from sitsfusion.errors import MissingExtraError
from sitsfusion.evaluation.cases import SENSORS, Case, Division
from sitsfusion.prediction import Prediction

MAX_SIDE = 330  # pixels of a picture
BRIGHT = 0.15  # reflectance shown white, as published; brighter scenes are stretched to their 98th percentile
_RGB = ("red", "green", "blue")
_TITLES = {"coarse": "Coarse", "fine": "Fine"}


def write_animation(out: Path, case: Case, label: str, prediction: Prediction, division: Division) -> Path | None:
    """Write `OUT/animations/<case>_<method>.html`: a frame per predicted day, given, predicted and observed images of
    both sensors in true colours, and a timeline.

    Images without red, green and blue bands are shown in their first band; None when nothing was predicted.

    Raises:
        MissingExtraError: Pillow, which comes with matplotlib, is not installed.
        WriteError: the disk is full.
    """
    days = sorted({day for cube in prediction.cubes.values() for day in cube.dates})
    if not days:
        return None
    panels, timeline, bright = [], [], _bright(prediction, division)
    for role in (one for one in SENSORS if one in division.asked or one in division.given):
        given = division.given.cubes.get(role)
        for name, cube in (
            ("given", given),
            ("predicted", prediction.cubes.get(role)),
            ("observed", division.targets.get(role)),
        ):
            if cube is not None and cube.dates:
                panels.append({"title": f"{_TITLES[role]}, {name}", "frames": _frames(cube, days, bright)})
                if name != "predicted":
                    when = [int(n) for n in days_since(cube.dates, division.origin)]
                    timeline.append({"title": panels[-1]["title"], "days": when})
    content = {
        "panels": panels,
        "timeline": timeline,
        "days": [int(n) for n in days_since(days, division.origin)],
        "dates": [day.isoformat() for day in days],
    }
    page = Template((resources.files("sitsfusion.report") / "animation.html").read_text())
    file = out / "animations" / f"{case.name}_{label}.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    title = f"{case.site_name}, {case.label}, {label}"
    write_text(file, page.substitute(title=title, content=json.dumps(content).replace("</", "<\\/")))
    return file


def _bright(prediction: Prediction, division: Division) -> float:
    """Reflectance drawn white."""
    cubes = [cube for role, cube in prediction.cubes.items() if cube.dates]
    levels = []
    for cube in cubes:
        frame = cube.frame(len(cube.dates) // 2)
        at = _shown(cube)
        if cube.band_info()[at[0]].unit == "reflectance" and np.isfinite(frame.values[at]).any():
            levels.append(float(np.nanpercentile(frame.values[at], 98)))
    return max([BRIGHT, *levels])


def _shown(cube: Cube) -> list[int]:
    names = [band.common_name for band in cube.band_info()]
    return [names.index(name) for name in _RGB] if set(_RGB) <= set(names) else [0, 0, 0]


def _frames(cube: Cube, days: Sequence[date], bright: float) -> list[str | None]:
    """One picture per day, None where there is no image."""
    at = _shown(cube)
    chosen = cube.select(bands=list(dict.fromkeys(cube.bands[i] for i in at)))
    warm = cube.band_info()[at[0]].unit == "kelvin"
    found: list[str | None] = []
    for day in days:
        if day not in chosen.dates:
            found.append(None)
            continue
        values = chosen.frame(chosen.dates.index(day)).values
        # select keeps the order red, green, blue that it was asked in
        rgb = values if len(values) == len(at) else np.repeat(values[:1], 3, axis=0)
        level = (rgb - 260.0) / 70.0 if warm else rgb / bright
        step = -(-max(level.shape[1:]) // MAX_SIDE)
        found.append(_picture(level[:, ::step, ::step]))
    return found


def _picture(level: NDArray[np.floating[Any]]) -> str:
    """[3, h, w] in 0 .. 1 as a data address; NaN is grey."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("an animation", "viz") from error
    shades = np.where(np.isnan(level), 0.5, np.clip(level, 0, 1)) * 255
    file = io.BytesIO()
    Image.fromarray(np.moveaxis(shades.astype(np.uint8), 0, -1)).save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
