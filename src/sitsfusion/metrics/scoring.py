"""All metrics of one sensor over its predicted dates, as the TAMRFSITS test tool computes them.

A prediction is compared with an image as the sensor would see it: blurred by the sensor's optics and, for a sensor
coarser than the prediction, on the sensor's grid. Dates are taken from an iterator one by one, so memory is bounded by
one date. `SensorScoring.further` adds what the test tool does not have (`metrics.further`).

What the published tool gets wrong is put right; `published=True` gives its values:

- profiles and FRR belong to their own date (published: rolled by n // 2 within the clear and within the masked dates);
- the share of clear pixels belongs to its own date (published: in the order of the target);
- NaN predictions are left out of RMSE, NRMSE and SAM (published: of RMSE only; the others see zeros);
- SAM is computed so that no valid pixel is lost to rounding (published: cosines above 1 are left out).

Kept, because they shape published numbers: the margin is counted in pixels of the *target* for RMSE, NRMSE and SAM and
in pixels of the prediction for FRR and BRISQUE; a mask of the prediction counts for a coarse sensor only; FRR and
BRISQUE see clouds, take NaN as 0 (`missing` tells how many), and the target's BRISQUE is not cropped; RMSE compares
with the raw target, SAM of a fine sensor with the blurred one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.metrics.brisque import BrisqueModel, brisque
from sitsfusion.metrics.frequency import Restoration, frr
from sitsfusion.metrics.further import Further, FurtherMetrics, further_metrics
from sitsfusion.metrics.spectral import sam
from sitsfusion.metrics.sums import BandSums, Mean, band_sums
from sitsfusion.metrics.temporal import clear_rate, closest_distance, density
from sitsfusion.ops.mtf import blur, degrade, psf_taps
from sitsfusion.ops.resample import bicubic, nearest

MARGIN = 30
PATCH = 990


@dataclass(frozen=True)
class SensorScoring:
    """How the bands of one sensor are scored.

    Attributes:
        pixel_size: of the prediction (m).
        resolution: of each band (m), for its point spread function.
        mtf: of each band at its Nyquist frequency, in (0, 1].
        factor: pixels of the prediction per pixel of the target (one direction); 1 for a fine sensor.
        thermal: position of the band that is a temperature in kelvin, None if there is none. It is left out of SAM
            and scaled to the range of the target before BRISQUE.
        margin: pixels left out at the borders; 0: none.
        patch: side of the patches that FRR cuts larger images into; None: none.
        brisque: the support vectors; None: BRISQUE is NaN.
        further: metrics beyond those of the test tool; None: none.
        published: reproduce the faults of the published tool (see the module).
    """

    pixel_size: float
    resolution: tuple[float, ...]
    mtf: tuple[float, ...]
    factor: int = 1
    thermal: int | None = None
    margin: int = MARGIN
    patch: int | None = PATCH
    brisque: BrisqueModel | None = None
    further: Further | None = None
    published: bool = False

    def taps(self) -> Tensor:
        """Point spread functions on the grid of the prediction, `[c k]`."""
        return psf_taps(self.pixel_size, self.resolution, self.mtf)

    def spectral_bands(self) -> list[int]:
        """Positions of the bands of SAM: all but the thermal one."""
        return [i for i in range(len(self.mtf)) if i != self.thermal]


@dataclass(frozen=True, eq=False)
class DateScores:
    """Metrics of one date.

    Attributes:
        errors: sums of the blurred prediction against the target `[c]`: RMSE, bias and all others that they give.
        nrmse: `[c]`, RMSE over the root mean square of the target.
        sam: radians, scalar sums.
        restoration: FRR and profiles `[c]`, `[c rings]`.
        brisque, target_brisque: `[c]`.
        clear: share of valid pixels of the target, margin included.
        missing: share of pixels of the prediction that are NaN in a band, margin included.
        possible: pixels of the target that are valid and not in the margin, scalar.
        further: as `SensorScoring.further` asks for.
    """

    errors: BandSums
    nrmse: Tensor
    sam: Mean
    restoration: Restoration
    brisque: Tensor
    target_brisque: Tensor
    clear: Mean
    missing: Mean
    possible: Tensor
    further: FurtherMetrics | None = None


@dataclass(frozen=True, eq=False)
class Pair:
    """One date: `day`, and the images and masks as `score_date` takes them."""

    day: float
    prediction: Tensor
    target: Tensor
    target_valid: Tensor | None = None
    prediction_valid: Tensor | None = None


@dataclass(frozen=True, eq=False)
class SensorScores:
    """Metrics of all predicted dates: first those that were an input of the sensor (clear), then the others (masked).

    Attributes:
        days: `[n]` day of each row.
        clear: bool `[n]`.
        dates: metrics of each row's date.
        columns: float64 values of each row: `[n]`, or `[n c]` for the metrics per band. Under the names of the
            paper's tables: doy, clear_doy, clear_pixel_rate, closest_doy, closest_joint_doy, local_density,
            local_joint_density, pred_pixel_rate, sam; per band rmse, nrmse, brisque, frr, target_brisque. Ours:
            missing_pixel_rate; per band count, coverage (share of the possible pixels), bias, mae, r2, correlation;
            and the further metrics, where they were asked for.
        prediction_profiles, target_profiles: `[n c rings]`, decibels.
        frequencies: `[rings]`, 1 = Nyquist.
    """

    days: Tensor
    clear: Tensor
    dates: tuple[DateScores, ...]
    columns: dict[str, Tensor]
    prediction_profiles: Tensor
    target_profiles: Tensor
    frequencies: Tensor


def inside(valid: Tensor, margin: int) -> Tensor:
    """`valid [... h w]`, False within `margin` pixels of the border; 0 changes nothing.

    Raises:
        InputError: a margin that leaves no pixel, or is negative.
    """
    if margin == 0:
        return valid
    cropped = _cropped(torch.ones_like(valid), margin)
    return valid & torch.nn.functional.pad(cropped, (margin,) * 4, value=False)


def score_date(
    prediction: Tensor,
    target: Tensor,
    scoring: SensorScoring,
    target_valid: Tensor | None = None,
    prediction_valid: Tensor | None = None,
) -> DateScores:
    """All metrics of one date.

    Args:
        prediction: `[c h*factor w*factor]`, reflectance, temperature in kelvin.
        target: `[c h w]`, same units.
        scoring: of the sensor, one entry per band.
        target_valid: bool `[h w]`, None: all.
        prediction_valid: bool on the grid of the prediction; looked at for a coarse sensor only, as published.

    Raises:
        InputError: sizes that do not match, a margin that leaves no pixel.
    """
    _check(prediction, target, scoring)
    taps = scoring.taps()
    clear = torch.ones_like(target[0], dtype=torch.bool) if target_valid is None else target_valid
    possible = valid = inside(clear, scoring.margin)
    if prediction_valid is not None and scoring.factor > 1:
        valid = valid & nearest(prediction_valid, scoring.factor)
    seen = degrade(prediction, taps, scoring.factor)
    errors, filled = band_sums(seen, target, valid), seen.nan_to_num(nan=0.0) if scoring.published else seen
    spectral, angles_to = scoring.spectral_bands(), target if scoring.factor > 1 else blur(target, taps)
    fine_target = bicubic(target, 1.0 / scoring.factor)
    cropped, cropped_target = (_cropped(x, scoring.margin) for x in (prediction, fine_target))
    lowest, highest = _thermal_range(target, scoring.thermal)
    return DateScores(
        errors=errors,
        nrmse=band_sums(filled, target, valid).nrmse() if scoring.published else errors.nrmse(),
        sam=sam(filled[spectral], angles_to[spectral], valid, scoring.published),
        restoration=frr(cropped, cropped_target, scoring.patch),
        brisque=brisque((cropped - lowest) / (highest - lowest), scoring.brisque),
        target_brisque=brisque((target - lowest) / (highest - lowest), scoring.brisque),
        clear=clear_rate(clear),
        missing=clear_rate(prediction.isnan().any(0)),
        possible=possible.sum(),
        further=None if scoring.further is None else further_metrics(seen, target, valid, errors, scoring.further),
    )


def score_dates(
    pairs: Iterable[Pair], scoring: SensorScoring, inputs: Tensor | None, other_inputs: Tensor | None = None
) -> SensorScores:
    """All metrics of all predicted dates of one place.

    Args:
        pairs: the predicted dates that have a target, in the target's order; each is let go before the next is taken.
        scoring: of the sensor.
        inputs: `[n]` days of the sensor's own input images; None: it had no input series.
        other_inputs: `[m]` days of the other sensor's input images; None: none.

    Returns:
        One row per predicted date, clear dates first.

    Raises:
        InputError: no predicted date; as `score_date`.
    """
    days: list[float] = []
    found: list[DateScores] = []
    for pair in pairs:
        days.append(pair.day)
        found.append(score_date(pair.prediction, pair.target, scoring, pair.target_valid, pair.prediction_valid))
        del pair  # before the next one is read
    if not found:
        raise InputError("scoring needs at least one predicted date that has a target, found none")
    return _rows(torch.tensor(days, dtype=torch.float64), found, scoring.published, inputs, other_inputs)


def _rows(
    days: Tensor, found: Sequence[DateScores], published: bool, inputs: Tensor | None, other_inputs: Tensor | None
) -> SensorScores:
    clear = torch.isin(days, days.new_empty(0) if inputs is None else inputs.double())
    order = torch.cat([clear.nonzero()[:, 0], (~clear).nonzero()[:, 0]])
    dates = [found[i] for i in order.tolist()]
    # Published: each group of rows is rolled by half its length, and clear shares stay in the target's order.
    restorations = [
        dates[i].restoration for i in (_rolled(int(clear.sum()), len(dates)) if published else range(len(dates)))
    ]
    shares = found if published else dates
    columns = {"doy": days[order], "clear_doy": clear[order].double()}
    columns |= {"clear_pixel_rate": torch.stack([d.clear.value() for d in shares])}
    columns |= _distances(days[order], inputs, other_inputs) | _per_date(dates)
    return SensorScores(
        days=days[order],
        clear=clear[order],
        dates=tuple(dates),
        columns=columns | {"frr": torch.stack([r.frr for r in restorations])},
        prediction_profiles=torch.stack([r.prediction for r in restorations]),
        target_profiles=torch.stack([r.target for r in restorations]),
        frequencies=restorations[0].frequencies,
    )


def _per_date(dates: Sequence[DateScores]) -> dict[str, Tensor]:
    columns = [_columns(date) for date in dates]
    return {name: torch.stack([one[name].double() for one in columns]) for name in columns[0]}


def _columns(date: DateScores) -> dict[str, Tensor]:
    errors = date.errors
    return {
        "pred_pixel_rate": torch.ones((), dtype=torch.float64),
        "missing_pixel_rate": date.missing.value(),
        "sam": date.sam.value(),
        "rmse": errors.rmse(),
        "nrmse": date.nrmse,
        "brisque": date.brisque,
        "target_brisque": date.target_brisque,
        "count": errors.count,
        "coverage": errors.count.double() / date.possible,
        "bias": errors.bias(),
        "mae": errors.mae(),
        "r2": errors.r2(),
        "correlation": errors.correlation(),
        **(date.further.columns() if date.further else {}),
    }


def _distances(days: Tensor, inputs: Tensor | None, other_inputs: Tensor | None) -> dict[str, Tensor]:
    """Days to the closest inputs and densities; all NaN where the sensor had no input series, as published."""
    own = days.new_empty(0) if inputs is None else inputs
    both = own if inputs is None or other_inputs is None else torch.cat([own.double(), other_inputs.double()])
    closest, joint = closest_distance(days, own), closest_distance(days, both)
    return {
        "closest_doy": closest,
        "closest_joint_doy": joint,
        "local_density": density(closest),
        "local_joint_density": density(joint),
    }


def _rolled(clear: int, count: int) -> list[int]:
    """Row i of a group of n shows image (i - n // 2) mod n of the group."""
    masked = count - clear
    return [
        *((i - clear // 2) % clear for i in range(clear)),
        *(clear + (i - masked // 2) % masked for i in range(masked)),
    ]


def _thermal_range(target: Tensor, thermal: int | None) -> tuple[Tensor, Tensor]:
    """What is brought to 0 and to 1 before BRISQUE: `[c 1 1]` each; 0 and 1 for reflectances."""
    lowest, highest = target.new_zeros(len(target), 1, 1), target.new_ones(len(target), 1, 1)
    if thermal is not None:
        known = target[thermal][~target[thermal].isnan()]
        if known.numel():
            lowest[thermal], highest[thermal] = known.min(), known.max()
    return lowest, highest


def _cropped(x: Tensor, margin: int) -> Tensor:
    h, w = x.shape[-2:]
    if margin < 0 or 2 * margin >= min(h, w):
        raise InputError(f"a margin of {margin} pixels on each side leaves nothing of an image of {h} x {w} pixels")
    return x[..., margin : h - margin, margin : w - margin]


def _check(prediction: Tensor, target: Tensor, scoring: SensorScoring) -> None:
    if target.ndim != 3 or len(target) != len(scoring.mtf):
        raise InputError(f"a target must be [c h w] of {len(scoring.mtf)} bands, found {tuple(target.shape)}")
    bands, h, w = target.shape
    if prediction.shape != (bands, h * scoring.factor, w * scoring.factor):
        raise InputError(
            f"prediction {tuple(prediction.shape)} is not {scoring.factor} times as fine as the target "
            f"{tuple(target.shape)}"
        )
    if scoring.thermal is not None and not 0 <= scoring.thermal < bands:
        raise InputError(f"thermal band {scoring.thermal} must be a position among {bands} bands")
