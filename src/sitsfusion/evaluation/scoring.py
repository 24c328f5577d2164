"""Score a prediction: against the observed images of its days, and against the truth where it is known.

All metrics are those of `sitsfusion.metrics.scoring`; here is decided what is compared with what. An observed image is
compared with the prediction as the sensor would see it. The truth is compared as it is, on the finest grid, clouds or
not. Pixels whose filter would reach one that was not predicted do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sitsfusion.cube import Cube, Frame
from sitsfusion.dates import days_since
from sitsfusion.errors import GridError, InputError
from sitsfusion.evaluation.cases import SENSORS, Division
from sitsfusion.evaluation.profiles import Profile, Profiles
from sitsfusion.evaluation.results import Row
from sitsfusion.evaluation.settings import Settings
from sitsfusion.evaluation.sites import Truth
from sitsfusion.metrics.frequency import Restoration
from sitsfusion.metrics.further import Further
from sitsfusion.metrics.scoring import Pair, SensorScores, SensorScoring, score_dates
from sitsfusion.prediction import Prediction
from sitsfusion.sensors import Band

ALL_BANDS = "all"
# Columns of the scores under the names of a row; the others keep theirs.
_RENAMED = {"clear_pixel_rate": "clear_share", "closest_doy": "closest_days", "closest_joint_doy": "closest_joint_days"}
_IMAGE = ("clear_share", "closest_days", "closest_joint_days", "local_density", "local_joint_density")
_NOT_SHOWN = ("doy", "clear_doy", "pred_pixel_rate", "missing_pixel_rate")


@dataclass(frozen=True)
class Eye:
    """How images of some bands are compared.

    Attributes:
        bands: of the images.
        sensor: optics, ratio of the grids, margin and metrics.
        invert: pixels count where the image is masked.
    """

    bands: tuple[Band, ...]
    sensor: SensorScoring
    invert: bool = False


def observed_eye(bands: Sequence[Band], pixel: float, factor: int, settings: Settings) -> Eye:
    """For images of a sensor's bands.

    Args:
        bands: of the images.
        pixel: of the prediction, metres.
        factor: pixels of the prediction along one of the image.
        settings: of the run.
    """
    # a band whose real pixel is not larger than the prediction's is compared as it is
    mtf = tuple(1.0 if band.resolution <= pixel * 1.001 else band.mtf for band in bands)
    return Eye(tuple(bands), _sensor(bands, pixel, mtf, factor, settings), settings.invert_masks)


def truth_eye(bands: Sequence[Band], pixel: float, settings: Settings) -> Eye:
    """For the truth on the prediction's grid; arguments as `observed_eye`."""
    return Eye(tuple(bands), _sensor(bands, pixel, (1.0,) * len(bands), 1, settings))


def _sensor(
    bands: Sequence[Band], pixel: float, mtf: tuple[float, ...], factor: int, settings: Settings
) -> SensorScoring:
    warm = [i for i, band in enumerate(bands) if band.unit == "kelvin"]
    return SensorScoring(
        pixel_size=pixel,
        resolution=tuple(pixel if m == 1.0 else band.resolution for m, band in zip(mtf, bands, strict=True)),
        mtf=mtf,
        factor=factor,
        thermal=warm[0] if warm else None,
        margin=settings.margin,
        brisque=settings.brisque_model,
        further=_further(bands, factor) if settings.metrics == "all" else None,
        published=settings.published,
    )


def _further(bands: Sequence[Band], factor: int) -> Further:
    names = [band.common_name for band in bands]
    nir = next((names.index(name) for name in ("nir", "nir08") if name in names), None)
    red = names.index("red") if "red" in names else None
    optical = tuple(i for i, band in enumerate(bands) if band.unit == "reflectance")
    return Further(optical, ratio=1 / factor, red=red, nir=nir)


def whole_factor(predicted: int, observed: int, what: str) -> int:
    """Predicted pixels along one pixel of the observed image, from the pixels along both images.

    Raises:
        GridError: not a whole number.
    """
    factor, rest = divmod(predicted, observed)
    if rest or factor < 1:
        raise GridError(
            f"{what} images are {predicted} pixels wide as predicted and {observed} as observed: a prediction can only "
            "be scored on pixels of the observed size or a whole fraction of it"
        )
    return factor


def pair(day: float, predicted: Frame, target: Frame, eye: Eye) -> Pair:
    """A prediction and the image of its day, ready to be scored."""
    observed = torch.from_numpy(target.values)
    valid = ~target.valid & np.isfinite(target.values).all(axis=0) if eye.invert else target.valid
    said = torch.from_numpy(predicted.valid)
    return Pair(day, torch.from_numpy(predicted.values), _filled(observed), torch.from_numpy(np.asarray(valid)), said)


def truth_frame(values: NDArray[np.float32]) -> Frame:
    """The truth [c, h, w] as an image that is clear everywhere."""
    return Frame(values, np.asarray(np.isfinite(values).all(axis=0)))


def _filled(observed: Tensor) -> Tensor:
    """Pixels that were never observed set to their band's mean: they never count, but optics and spectra look across
    them, and NaN would spread to their neighbours.
    """
    means = observed.nanmean((-2, -1), keepdim=True).nan_to_num()
    return torch.where(observed.isnan(), means, observed)


# --- a whole prediction ----------------------------------------------------------------------------------------------


def score_prediction(
    prediction: Prediction, division: Division, truth: Truth | None, settings: Settings
) -> tuple[tuple[Row, ...], tuple[Profile, ...]]:
    """Rows of all predicted images, against the observed image of the day and, where it is known, the truth; and the
    mean spectra.

    Images are read one date at a time.

    Raises:
        InputError, GridError: grids or sizes on which a prediction cannot be scored.
    """
    profiles = Profiles()
    rows: list[Row] = []
    for role, predicted in prediction.cubes.items():
        for reference, eye, pairs in _compared(predicted, division, truth, role, settings):
            scores = score_dates(pairs, eye.sensor, *_inputs(division, role))
            rows += _rows(scores, eye, division, reference, role)
            for i, clear in enumerate(scores.clear.tolist()):
                spectra = (scores.columns["frr"][i], scores.prediction_profiles[i], scores.target_profiles[i])
                keys = tuple(band.key for band in eye.bands)
                profiles.add(reference, _group(clear), role, keys, Restoration(*spectra, scores.frequencies))
    return tuple(rows), profiles.means()


def _compared(
    predicted: Cube, division: Division, truth: Truth | None, role: str, settings: Settings
) -> Iterator[tuple[str, Eye, Iterator[Pair]]]:
    """Whatever a role's predictions can be compared with, date by date."""
    pixel = abs(float(predicted.grid.affine.a))
    target = division.targets.get(role)
    if target is not None and set(target.dates) & set(predicted.dates):
        seen, images = _common_bands(predicted, target, role)
        eye = observed_eye(images.band_info(), pixel, _factor(seen, images, role), settings)
        yield "observed", eye, _observed_pairs(seen, images, eye, division)
    if truth is not None and predicted.dates:
        at = [division.bands[role].index(key) for key in predicted.bands if key in division.bands[role]]
        seen = predicted.select(bands=[division.bands[role][i] for i in at])
        eye = truth_eye(seen.band_info(), pixel, settings)
        yield "truth", eye, _true_pairs(seen, truth, role, at, eye, division)


def _observed_pairs(seen: Cube, images: Cube, eye: Eye, division: Division) -> Iterator[Pair]:
    for t, day in enumerate(seen.dates):
        if day in images.dates:
            yield pair(_number(day, division), seen.frame(t), images.frame(images.dates.index(day)), eye)


def _true_pairs(seen: Cube, truth: Truth, role: str, at: Sequence[int], eye: Eye, division: Division) -> Iterator[Pair]:
    for t, day in enumerate(seen.dates):
        yield pair(_number(day, division), seen.frame(t), truth_frame(truth(role, day)[list(at)]), eye)


def _number(day: date, division: Division) -> float:
    return float(days_since([day], division.origin)[0])


def _inputs(division: Division, role: str) -> tuple[Tensor | None, Tensor | None]:
    """Days of the given images of a role and of the other sensor; empty where there is none."""
    others = [day for one in SENSORS if one != role for day in division.given_dates(one)]
    own, joint = (torch.tensor(days_since(d, division.origin)) for d in (division.given_dates(role), others))
    return own, joint


def _common_bands(predicted: Cube, target: Cube, role: str) -> tuple[Cube, Cube]:
    common = [key for key in predicted.bands if key in target.bands]
    if not common:
        raise InputError(
            f"{role}: no observed band ({', '.join(target.bands)}) is among those predicted "
            f"({', '.join(predicted.bands)})"
        )
    return predicted.select(bands=common), target.select(bands=common)


def _factor(predicted: Cube, target: Cube, role: str) -> int:
    crs = target.grid.crs
    if crs is not None and crs.geographic:
        raise GridError(f"{role} images are in degrees ({crs}), the sensors' optics in metres: reproject the images")
    return whole_factor(predicted.grid.shape.x, target.grid.shape.x, role)


def _rows(scores: SensorScores, eye: Eye, division: Division, reference: str, role: str) -> Iterator[Row]:
    """Of each date one row per band, and one for the metrics over all bands."""
    columns = {_RENAMED.get(name, name): values.tolist() for name, values in scores.columns.items()}
    columns = {name: values for name, values in columns.items() if name not in _NOT_SHOWN}
    brisque = ("brisque", "target_brisque") if eye.sensor.brisque is None else ()
    per_band = [n for n, v in columns.items() if isinstance(v[0], list) and n not in (*brisque, "count", "coverage")]
    overall = [name for name, values in columns.items() if not isinstance(values[0], list) and name not in _IMAGE]
    for i, number in enumerate(scores.days.tolist()):
        day = division.origin + timedelta(days=int(number))
        image: dict[str, object] = {"reference": reference, "group": _group(bool(scores.clear[i])), "role": role}
        image |= {"date": day.isoformat(), "day": int(number)} | {name: columns[name][i] for name in _IMAGE}
        for b, band in enumerate(eye.bands):
            counts = {"count": int(columns["count"][i][b]), "coverage": columns["coverage"][i][b]}
            metrics = {name: columns[name][i][b] for name in per_band}
            group = band_group(role, band.resolution, band.unit)
            yield {**image, "band": band.key, "band_group": group, **counts, **metrics}
        most = {"count": int(max(columns["count"][i])), "coverage": max(columns["coverage"][i])}
        names = {"band": ALL_BANDS, "band_group": f"{role} all bands"}
        yield {**image, **names, **most, **{name: columns[name][i] for name in overall}}


def _group(clear: bool) -> str:
    return "clear" if clear else "masked"


def band_group(role: str, resolution: float, unit: str) -> str:
    """The group that a band's scores are averaged in: by role and real pixel; temperatures apart."""
    return "temperature" if unit == "kelvin" else f"{role} {resolution:g} m"
