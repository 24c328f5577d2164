"""What the sampled images of a role say about its dates: empty, partial, cloudy, repeated, apart from other roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise

from sitsfusion.cube import Cube
from sitsfusion.doctor.report import Finding
from sitsfusion.doctor.sampling import ImageSample, Sample
from sitsfusion.errors import GridError
from sitsfusion.grid import common_cells, describe

_NAMED = 6
_LONG_GAP_DAYS = 60
_PARTLY = (0.01, 0.95)
_HARDLY_CLEAR = 0.05


def dates(role: str, seen: Sample) -> list[Finding]:
    """Findings about the images of one role."""
    checks = (unreadable, empty, partial, cloudless_knowledge, clear_gaps, repeated, bands)
    return [finding for check in checks for finding in check(role, seen)]


def unreadable(role: str, seen: Sample) -> list[Finding]:
    """Images whose pixels could not be read."""
    remedy = "copy or download the file again, or leave it out (exclude)"
    return [_finding("error", "file", role, f"{day}: {message}", remedy) for day, message in seen.failures]


def empty(role: str, seen: Sample) -> list[Finding]:
    """Images without a single observed pixel."""
    days = [image.day for image in seen.images if image.observed == 0]
    if not days:
        return []
    message = f"{len(days)} image(s) hold no data in any pixel looked at: {_listed(days)}"
    return [_finding("warning", "empty", role, message, "remove them, or check nodata if they should hold some")]


def partial(role: str, seen: Sample) -> list[Finding]:
    """Images that cover a part of the place."""
    days = [f"{image.day} {image.observed:.0%}" for image in seen.images if _PARTLY[0] < image.observed < _PARTLY[1]]
    if not days:
        return []
    return [_finding("note", "partial", role, f"{len(days)} image(s) cover the place partly: {_listed(days)}")]


def cloudless_knowledge(role: str, seen: Sample) -> list[Finding]:
    """No quality layer, or hardly a clear image."""
    if not seen.images:
        return []
    if not any(image.quality for image in seen.images):
        message = "there is no quality layer and no mask: every observed pixel counts as clear, clouds too"
        return [_finding("warning", "quality", role, message, "add SCL, QA_PIXEL, Fmask, ... or mask_pattern")]
    clear = [image for image in seen.images if image.clear > _HARDLY_CLEAR]
    message = f"{len(clear)} of {len(seen.images)} images have more than {_HARDLY_CLEAR:.0%} clear pixels"
    return [_finding("warning" if len(clear) < 2 else "note", "clear", role, message)]


def clear_gaps(role: str, seen: Sample) -> list[Finding]:
    """Long times without a clear image."""
    days = [image.day for image in seen.images if image.clear > _HARDLY_CLEAR]
    gaps = [(b - a).days for a, b in pairwise(days)]
    if not gaps or max(gaps) <= _LONG_GAP_DAYS:
        return []
    i = gaps.index(max(gaps))
    return [_finding("note", "gap", role, f"no clear image for {gaps[i]} days, from {days[i]} to {days[i + 1]}")]


def repeated(role: str, seen: Sample) -> list[Finding]:
    """Different dates with the same pixels: an older image copied, or a file under two names."""
    first: dict[str, ImageSample] = {}
    pairs = []
    for image in (i for i in seen.images if i.observed > 0):
        other = first.setdefault(image.digest, image)
        if other is not image:
            pairs.append(f"{other.day} and {image.day}")
    if not pairs:
        return []
    message = f"{len(pairs)} image(s) hold exactly the pixels of another date: {_listed(pairs)}"
    return [_finding("warning", "repeated", role, message, "remove the copies: they are not observations")]


def bands(role: str, seen: Sample) -> list[Finding]:
    """Bands of the sensor that are not there."""
    absent = absent_bands(seen.cube)
    if not absent:
        return []
    listed = ", ".join(f"{key} ({seen.cube.sensor.band(key).common_name})" for key in absent)
    message = f"bands of {seen.cube.sensor.name} that are not there: {listed}"
    return [_finding("note", "bands", role, message, "methods whose weights need them will refuse")]


def absent_bands(cube: Cube) -> tuple[str, ...]:
    """Bands of the sensor, of the units that the cube has, which it lacks."""
    units = {band.unit for band in cube.band_info()}
    return tuple(band.key for band in cube.sensor.bands if band.unit in units and band.key not in cube.bands)


def nesting(cubes: Mapping[str, Cube]) -> dict[str, Finding]:
    """By role: grids that do not nest in that of the finest role."""
    if len(cubes) < 2:
        return {}
    finest = min(cubes, key=lambda role: abs(cubes[role].grid.affine.a))
    found = {}
    for role in (role for role in cubes if role != finest):
        try:
            common_cells({finest: cubes[finest].grid, role: cubes[role].grid})
        except GridError as error:
            message, _, _ = str(error).rpartition(". ")
            here = f"{message or error}; {role}: {describe(cubes[role].grid)}; {finest}: {describe(cubes[finest].grid)}"
            remedy = f"resample {role} onto a grid that nests (--resample {role}, or `resample: {{onto: {finest}}}`)"
            found[role] = _finding("error", "nesting", role, here, remedy)
    return found


def overlap_in_time(cubes: Mapping[str, Cube]) -> list[Finding]:
    """Roles whose dates lie wholly before or after those of the others."""
    spans = {role: (cube.dates[0], cube.dates[-1]) for role, cube in cubes.items() if cube.dates}
    found = []
    for role, (first, last) in spans.items():
        others = [span for name, span in spans.items() if name != role]
        if others and all(last < start or first > end for start, end in others):
            message = f"its dates ({first} to {last}) do not overlap those of any other role"
            found.append(_finding("warning", "dates", role, message, "check the dates, or add images of the same time"))
    return found


def _finding(level: str, code: str, role: str, message: str, remedy: str = "") -> Finding:
    return Finding.model_validate({"level": level, "code": code, "role": role, "message": message, "remedy": remedy})


def _listed(values: Sequence[str] | Sequence[date]) -> str:
    shown = ", ".join(str(value) for value in values[:_NAMED])
    return shown + (f" and {len(values) - _NAMED} more" if len(values) > _NAMED else "")
