"""What the sampled numbers say: scale and offset, jumps between processing baselines, wrapped numbers, missing data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sitsfusion.cube import Cube
from sitsfusion.doctor.report import Finding
from sitsfusion.doctor.sampling import ImageSample, Sample, sample
from sitsfusion.io.roles import by_role
from sitsfusion.scene import Scene

# (scale, offset) of common products, tried where the numbers are not plausible as they are read.
_TRIALS = {
    "reflectance": ((1e-4, 0.0), (1e-4, -0.1), (2.75e-5, -0.2), (1.0, 0.0), (0.01, 0.0), (1e-3, 0.0)),
    "kelvin": ((1.0, 0.0), (0.1, 0.0), (0.01, 0.0), (0.02, 0.0), (0.00341802, 149.0), (1.0, 273.15), (0.01, 273.15)),
}
# What the medians of a clear series lie in, whatever the land cover.
_TYPICAL = {"reflectance": (-0.005, 0.75), "kelvin": (230.0, 330.0)}
_FEW, _MANY = 0.01, 0.2
_JUMP = (0.07, 0.13)  # an offset of 1000 on numbers of 1e-4
_SAME_IN_ALL_BANDS = 0.03
_DARK_WITH_OFFSET = 0.075  # the darkest per cent of visible land lies below without an offset
_BRIGHTER = 1.5  # clear over masked pixels, in stored numbers
_NAMED = 5
_PLAN_READS = 24


def check_radiometry(scene: Scene) -> list[Finding]:
    """Findings about the numbers of an open scene: scale, offset, jumps, wrapped numbers, missing data.

    Reads one window in the middle of at most 24 images per role; an image that cannot be read is not the business of
    this check.
    """
    found = []
    for role, cube in scene.cubes.items():
        found += cube_radiometry(role, cube, _PLAN_READS)
    return found


def cube_radiometry(role: str, cube: Cube, reads: int) -> list[Finding]:
    """All findings about the numbers of a cube; reflectances and temperatures are looked at apart."""
    return [f for part in by_role(cube).values() for f in radiometry(role, sample(part, reads))]


def radiometry(role: str, seen: Sample) -> list[Finding]:
    """All findings about the numbers of one role, whose bands have one unit."""
    if not seen.images or not seen.cube.bands:
        return []
    checks = (scaling, wrapped, jumps, inverted_mask, undeclared_nodata)
    return [finding for check in checks for finding in check(role, seen)]


def scaling(role: str, seen: Sample) -> list[Finding]:
    """Numbers that are not what land, water or clouds reflect or emit."""
    cube, images = seen.cube, _with_medians(seen)
    unit = cube.band_info()[0].unit
    if not images or unit not in _TYPICAL:
        return []
    middle = np.median([image.median for image in images], axis=0)
    outside = np.mean([image.outside for image in images], axis=0)
    if _typical(middle, unit) and outside.max() < _FEW:
        return []
    worst = int(np.argmax(outside))
    share = f"{outside[worst]:.0%} of the clear pixels of {cube.bands[worst]} lie outside {_plausible(cube, worst)}"
    better = likely_encoding(seen)
    values = ", ".join(f"{key} {value:.3g}" for key, value in zip(cube.bands, middle, strict=True))
    if outside[worst] < _FEW:
        message = f"the medians are unusual, though each value is possible ({values})"
        return [_finding("note", "unusual", role, message, "snow, ice, or clouds that no mask marks")]
    if better is None:
        level = "warning" if outside[worst] < _MANY else "error"
        return [_finding(level, "implausible", role, f"{share} (medians: {values})", "check scale, offset and nodata")]
    message = f"scale or offset are wrong for these numbers: {share}; medians are {values}"
    remedy = f"with scale {better[0]:g} and offset {better[1]:g} they would be plausible: set these options if so"
    return [_finding("error", "scale", role, message, remedy)]


def likely_encoding(seen: Sample) -> tuple[float, float] | None:
    """(scale, offset) of a common product that makes the numbers plausible, if those in use do not."""
    images = _with_medians(seen)
    unit = seen.cube.band_info()[0].unit
    if not images or unit not in _TYPICAL:
        return None
    if _typical(np.median([image.median for image in images], axis=0), unit):
        return None
    stored = np.median([image.stored_median for image in images], axis=0)
    return next((trial for trial in _TRIALS[unit] if _typical(stored * trial[0] + trial[1], unit)), None)


def wrapped(role: str, seen: Sample) -> list[Finding]:
    """Negative numbers that were stored in an unsigned type: they come back near its largest number."""
    top = np.mean([image.top for image in seen.images], axis=0)
    upper = np.mean([image.upper for image in seen.images], axis=0)
    # clouds fill the whole upper range; wrapped negatives lie at its very end and leave a gap below
    bad = [i for i in range(len(top)) if top[i] > 0 and upper[i] < 0.2 * top[i]]
    if not bad:
        return []
    dtype = seen.images[0].encodings[0].dtype
    most = np.iinfo(dtype).max
    listed = ", ".join(f"{seen.cube.bands[i]} {top[i]:.2%}" for i in bad)
    message = f"stored numbers near {most} ({listed}) are negatives or fill values wrapped round in {dtype}"
    remedy = f"read them as missing: valid_range: [0, {most // 2}]"
    return [_finding("warning", "wrapped", role, message, remedy)]


def jumps(role: str, seen: Sample) -> list[Finding]:
    """Steps of about 0.1 in all reflectance bands at once: part of the dates has an offset that others have not."""
    cube, images = seen.cube, seen.clear_images()
    if cube.band_info()[0].unit != "reflectance" or len(images) < 2 or likely_encoding(seen) is not None:
        return []
    medians = np.array([image.median for image in images])
    steps = np.diff(medians, axis=0)  # t-1 c
    size, spread = np.abs(steps).mean(axis=1), steps.std(axis=1)
    dark = np.abs(np.diff([image.dark.min() for image in images]))
    # nature changes bands differently and leaves dark pixels dark, an offset shifts all alike; so does haze, for a day
    found = [i for i in range(len(steps)) if _JUMP[0] < size[i] < _JUMP[1] and _JUMP[0] < dark[i] < _JUMP[1]]
    alike = [i for i in found if spread[i] < _SAME_IN_ALL_BANDS and len(set(np.sign(steps[i]))) == 1]
    found = [i for i in alike if _stays(medians, i)]
    if not found:
        return []
    listed = [f"{images[i].day} to {images[i + 1].day}: {steps[i].mean():+.2f}" for i in found]
    message = f"all bands change alike by about 0.1 between neighbouring clear dates ({_listed(listed)})"
    remedy = "some dates have an offset that others have not: give each its processing baseline (dates_csv)"
    return [_finding("error", "offset-jump", role, message, remedy)]


def _stays(medians: NDArray[np.float64], i: int) -> bool:
    """Whether the three images after number `i` and the three up to it differ by about 0.1, too."""
    before, after = medians[max(0, i - 2) : i + 1], medians[i + 1 : i + 4]
    return bool(abs(np.median(after, axis=0) - np.median(before, axis=0)).mean() > _JUMP[0] - _SAME_IN_ALL_BANDS)


def dark_level(seen: Sample) -> float | None:
    """The darkest per cent of clear land in the darkest band, median over the clear images; None without one."""
    images = seen.clear_images()
    return float(np.median([image.dark.min() for image in images])) if images else None


def offset_seems_present(seen: Sample) -> bool | None:
    """Whether numbers read without offset seem to hold that of Sentinel-2 (+0.1); None if no clear image tells."""
    dark = dark_level(seen)
    return None if dark is None else dark > _DARK_WITH_OFFSET


def inverted_mask(role: str, seen: Sample) -> list[Finding]:
    """Masked pixels that are darker than the clear ones: clouds were taken for clear sky."""
    pairs = np.array([i.brightness for i in seen.images if i.quality]).reshape(-1, 2)
    clear, masked = (column[~np.isnan(column)] for column in pairs.T)
    if seen.cube.band_info()[0].unit != "reflectance" or len(clear) < 2 or len(masked) < 2:
        return []
    usable, unusable = float(np.median(clear)), float(np.median(masked))
    if unusable <= 0 or usable < _BRIGHTER * unusable:
        return []
    message = (
        f"pixels called clear are brighter (median stored number {usable:.3g}) than masked ones ({unusable:.3g}): "
        "clouds seem to be taken for clear sky"
    )
    remedy = "the mask is inverted (above 0 means unusable), or the quality layer is that of another product version"
    return [_finding("warning", "mask", role, message, f"{remedy} (Landsat Collection 1?); fix it, or use quality: []")]


def undeclared_nodata(role: str, seen: Sample) -> list[Finding]:
    """Zeros in every band although zero is not the number for no data."""
    images = [i for i in seen.images if i.encodings[0].nodata is None and not i.encodings[0].dtype.startswith("float")]
    zeros = [image for image in images if image.zeros > 0]
    if not zeros:
        return []
    share = float(np.mean([image.zeros for image in images]))
    message = f"{len(zeros)} image(s) hold zeros in every band ({share:.1%} of pixels) and declare no nodata number"
    return [_finding("warning", "nodata", role, message, "set nodata: 0 if zero means no data")]


def _with_medians(seen: Sample) -> list[ImageSample]:
    return [image for image in seen.images if not np.isnan(image.median).any()]


def _typical(medians: NDArray[np.float64], unit: str) -> bool:
    low, high = _TYPICAL[unit]
    return bool((medians > low).all() and (medians < high).all() and (unit != "reflectance" or medians.max() > 0.03))


def _plausible(cube: Cube, band: int) -> str:
    low, high = cube.band_info()[band].plausible
    return f"{low:g} to {high:g}"


def _finding(level: str, code: str, role: str, message: str, remedy: str) -> Finding:
    return Finding.model_validate({"level": level, "code": code, "role": role, "message": message, "remedy": remedy})


def _listed(texts: Sequence[str]) -> str:
    return "; ".join(texts[:_NAMED]) + (f"; and {len(texts) - _NAMED} more" if len(texts) > _NAMED else "")
