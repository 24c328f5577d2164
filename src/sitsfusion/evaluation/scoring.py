"""Score one predicted image against an observed one, or against the truth: what `sitsfusion.metrics` needs for it.

An observed image is compared as published (`metrics.scoring`): with the prediction as the sensor would see it. The
truth is compared as it is, on the finest grid, clouds or not. Pixels whose filter would reach one that was not
predicted do not count (beside the truth: those next to one).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sitsfusion.cube import Frame
from sitsfusion.errors import GridError
from sitsfusion.metrics.brisque import BrisqueModel
from sitsfusion.metrics.frequency import Restoration
from sitsfusion.metrics.scoring import PATCH, DateScores, SensorScoring, inside, score_date
from sitsfusion.metrics.spectral import ndvi_sums
from sitsfusion.metrics.structure import GAUSSIAN, ssim
from sitsfusion.ops.mtf import degrade
from sitsfusion.sensors import Band

ALL_BANDS = "all"
_REFLECTANCE_RANGE = 1.0  # of PSNR and SSIM; temperatures have no natural range and get none


@dataclass(frozen=True)
class Scores:
    """Of one image.

    Attributes:
        count: pixels that counted, per band.
        coverage: share of the pixels to be predicted that were, per band; NaN if there are none.
        per_band: values by metric, one per band; NaN where there is none.
        overall: values by metric, over all reflectance bands.
        restoration: spectra [c, rings] of the prediction and the target.
    """

    count: tuple[int, ...]
    coverage: tuple[float, ...]
    per_band: Mapping[str, tuple[float, ...]]
    overall: Mapping[str, float]
    restoration: Restoration


@dataclass(frozen=True)
class Eye:
    """How images of some bands are compared.

    Attributes:
        bands: of the images.
        sensor: optics, ratio of the grids and margin, for `score_date`.
    """

    bands: tuple[Band, ...]
    sensor: SensorScoring

    @property
    def optical(self) -> list[bool]:
        """Which bands are reflectances."""
        return [band.unit == "reflectance" for band in self.bands]


def observed_eye(
    bands: Sequence[Band], pixel: float, factor: int, margin: int, brisque: BrisqueModel | None = None
) -> Eye:
    """For images of a sensor's bands.

    Args:
        bands: of the images.
        pixel: of the prediction, metres.
        factor: pixels of the prediction along one of the image.
        margin: pixels of the image's grid left out along the border.
        brisque: support vectors, if that index is wanted.
    """
    # a band whose real pixel is not larger than the prediction's is compared as it is
    mtf = tuple(1.0 if band.resolution <= pixel * 1.001 else band.mtf for band in bands)
    return _eye(bands, pixel, mtf, factor, margin, brisque)


def truth_eye(bands: Sequence[Band], pixel: float, margin: int, brisque: BrisqueModel | None = None) -> Eye:
    """For the truth on the prediction's grid; arguments as `observed_eye`."""
    return _eye(bands, pixel, (1.0,) * len(bands), 1, margin, brisque)


def _eye(
    bands: Sequence[Band], pixel: float, mtf: tuple[float, ...], factor: int, margin: int, brisque: BrisqueModel | None
) -> Eye:
    warm = [i for i, band in enumerate(bands) if band.unit == "kelvin"]
    resolution = tuple(pixel if m == 1.0 else band.resolution for m, band in zip(mtf, bands, strict=True))
    sensor = SensorScoring(pixel, resolution, mtf, factor, warm[0] if warm else None, margin, PATCH, brisque)
    return Eye(tuple(bands), sensor)


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


def score_image(predicted: Frame, target: Frame, eye: Eye) -> Scores:
    """All metrics of a prediction beside an observed image, or the truth, of the same bands and date.

    Raises:
        InputError: sizes that do not fit, a margin that leaves no pixel, an image too small for the optics.
    """
    image, observed = torch.from_numpy(predicted.values), _known(target)
    clear, said = torch.from_numpy(target.valid), torch.from_numpy(predicted.valid)
    found = score_date(image, observed, eye.sensor, clear, said)
    possible = int(inside(clear, eye.sensor.margin).sum())
    count = [int(n) for n in found.errors.count]
    seen = degrade(image, eye.sensor.taps(), eye.sensor.factor)
    counted = inside(clear, eye.sensor.margin)
    per_band = {**_errors(found, eye.sensor.brisque is not None), **_similarity(found, seen, observed, counted, eye)}
    return Scores(
        tuple(count),
        tuple(n / possible if possible else math.nan for n in count),
        {name: tuple(float(v) for v in values) for name, values in per_band.items()},
        {"sam": float(found.sam.value()), **_index(seen, observed, counted, eye)},
        found.restoration,
    )


def truth_frame(values: NDArray[np.float32]) -> Frame:
    """The truth [c, h, w] as an image that is clear everywhere."""
    return Frame(values, np.asarray(np.isfinite(values).all(axis=0)))


def _known(target: Frame) -> Tensor:
    """The target with pixels that were never observed set to its bands' means: they never count, but optics and
    spectra look across them, and NaN would spread to their neighbours.
    """
    observed = torch.from_numpy(target.values)
    means = observed.nanmean((-2, -1), keepdim=True).nan_to_num()
    return torch.where(observed.isnan(), means, observed)


def _errors(found: DateScores, brisque: bool) -> dict[str, Tensor]:
    sums = found.errors
    errors = {"rmse": sums.rmse(), "nrmse": found.nrmse, "bias": sums.bias(), "mae": sums.mae(), "r2": sums.r2()}
    errors |= {"correlation": sums.correlation(), "frr": found.restoration.frr}
    return errors | ({"brisque": found.brisque, "target_brisque": found.target_brisque} if brisque else {})


def _similarity(found: DateScores, seen: Tensor, observed: Tensor, counted: Tensor, eye: Eye) -> Mapping[str, Tensor]:
    """PSNR, and SSIM where the image is large enough for its window."""
    optical = torch.tensor(eye.optical)
    values = {"psnr": found.errors.psnr(_REFLECTANCE_RANGE)}
    if min(observed.shape[-2:]) >= GAUSSIAN.size:
        values["ssim"] = ssim(seen, observed, counted, data_range=_REFLECTANCE_RANGE).value()
    return {name: torch.where(optical, value, math.nan) for name, value in values.items()}


def _index(seen: Tensor, observed: Tensor, counted: Tensor, eye: Eye) -> dict[str, float]:
    """Error of the vegetation index, where there are a red and a near infrared band."""
    names = [band.common_name for band in eye.bands]
    nir = next((names.index(name) for name in ("nir", "nir08") if name in names), None)
    if nir is None or "red" not in names:
        return {}
    sums = ndvi_sums(seen, observed, names.index("red"), nir, counted)
    return {"ndvi_rmse": float(sums.rmse()), "ndvi_bias": float(sums.bias())}
