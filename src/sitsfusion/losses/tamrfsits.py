"""The training objective of TAMRFSITS: from a network and two series with hidden dates to one loss.

Some dates are given to the network, others are hidden (a `Split`); the network predicts all of them. Two tasks are
judged: "clr", the dates that were given, and "mae", those that were hidden (as a masked auto-encoder). Each has three
terms: fidelity to the images, the triplet loss under clouds, and the regression loss for detail at 10 m.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat
from torch import Tensor, nn

from sitsfusion.errors import InputError
from sitsfusion.losses.chunked import decoded, features
from sitsfusion.losses.decorrelation import decorrelation
from sitsfusion.losses.fidelity import as_observed, crop, fidelity, smooth_l1
from sitsfusion.losses.lpips import MaskedLpips
from sitsfusion.losses.regression import RegressionOptions, regression_loss
from sitsfusion.losses.triplet import triplet
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.ops import resample
from sitsfusion.ops.mtf import generic_downscale, psf_taps
from sitsfusion.ops.series_ops import append_ndvi, union_days
from sitsfusion.series import Series
from sitsfusion.strategies import Dates, Split, select_dates
from sitsfusion.weights.config import SensorInput

REFERENCE_MTF = 0.4  # of the blur before a regression on coarser pixels than the network's

DECODER_REACH = 2  # pixels around an output that its spatial decoder looks at
RESAMPLING_REACH = 1  # pixels around a coarse pixel that bicubic resampling looks at

Task = Literal["mae", "clr"]
TASKS: tuple[Task, ...] = ("mae", "clr")
Terms = dict[str, Tensor]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RegressionTerm(_Frozen):
    """One regression: which bands are predicted from which.

    Attributes:
        pred_resolution: native resolution of the predicted bands, of both sensors (m).
        ref_resolution: the reference are the HR bands of this native resolution or finer (m).
        ndvi: append the vegetation index to the reference.
        scale: factor of the value.
    """

    pred_resolution: PositiveFloat
    ref_resolution: PositiveFloat = 10.0
    ndvi: bool = False
    scale: float = 1.0

    @property
    def name(self) -> str:
        """As logged: 10.0_20.0."""
        return f"{float(self.ref_resolution)}_{float(self.pred_resolution)}"


PUBLISHED_TERMS = (
    RegressionTerm(pred_resolution=20.0),
    RegressionTerm(pred_resolution=30.0),
    RegressionTerm(pred_resolution=90.0, ndvi=True, scale=0.1),
)


class ObjectiveConfig(_Frozen):
    """All options; the defaults are the published spatio-temporal fusion. A weight of 0 switches a term off.

    Attributes:
        margin: fine pixels on each side that are not judged.
        pixel_size: of the network's output, in metres.
        mae_scale: factor of the task "mae"; None is 1.
        min_valid_rate, max_difference: of `fidelity.fidelity`.
        triplet_weight, triplet_days, triplet_margin: of `triplet.triplet`.
        regression_weight: of the regression loss, the mean over `regression_terms`.
        regression: its options.
        lpips: the regression compares by masked LPIPS, whose weights must then be given; if False ("off"), by the
            Smooth L1 loss.
        regression_on_predictions: one regression at all dates whose reference is the network's own HR output (no
            gradient), instead of one per task whose reference are the images.
        ndvi_bands: keys of the red and the near infrared HR band.
        published_ndvi: undo the standardisation of the reference's n-th band with the statistics of the sensor's n-th
            band, as the published training did (near infrared B08 with those of B05); False uses its own.
        decorrelation_weight: of `decorrelation.decorrelation`.
    """

    margin: Annotated[int, Field(ge=0)] = 27
    pixel_size: PositiveFloat = 10.0
    mae_scale: float | None = 0.5
    min_valid_rate: Annotated[float, Field(ge=0, le=1)] = 0.5
    max_difference: PositiveFloat | None = None
    triplet_weight: Annotated[float, Field(ge=0)] = 1.0
    triplet_days: PositiveFloat = 20.0
    triplet_margin: Annotated[float, Field(ge=0)] = 1e-5
    regression_weight: Annotated[float, Field(ge=0)] = 1.0
    regression: RegressionOptions = RegressionOptions()
    regression_terms: tuple[RegressionTerm, ...] = PUBLISHED_TERMS
    lpips: bool = True
    regression_on_predictions: bool = False
    ndvi_bands: tuple[str, str] = ("B04", "B08")
    published_ndvi: bool = False
    decorrelation_weight: Annotated[float, Field(ge=0)] = 0.0

    @property
    def needs_lpips(self) -> bool:
        """Whether the objective compares by LPIPS at all."""
        return self.lpips and self.regression_weight > 0 and bool(self.regression_terms)


PRESETS: dict[str, ObjectiveConfig] = {
    "spatiotemporal_fusion": ObjectiveConfig(),
    "temporal_interpolation": ObjectiveConfig(
        margin=5, max_difference=2.0, triplet_weight=0.0, regression_weight=0.0, decorrelation_weight=1.0
    ),
}


@dataclass(frozen=True)
class Judged:
    """One sensor at its target dates, on its grid, without the border."""

    prediction: Tensor  # [t c h w], as the sensor would see it
    target: Tensor  # [t c h w]
    valid: Tensor  # [t h w]
    days: Tensor  # [t]
    given: Tensor  # bool [t]: the network was given this date

    def of(self, task: Task) -> Judged:
        keep = self.given if task == "clr" else ~self.given
        return Judged(self.prediction[keep], self.target[keep], self.valid[keep], self.days[keep], self.given[keep])


@dataclass(frozen=True)
class _Outputs:
    """What the terms of one batch element look at."""

    lr: Judged | None
    hr: Judged | None
    decoded: Tensor  # [q c H W]: all bands at all query days, without the border
    at_hr: Tensor  # [t c H W]: the same at the HR target days
    dates: int  # target dates of both sensors


class Objective(nn.Module):
    """The loss of TAMRFSITS for one configuration and two sensors. It has no parameter and no state.

    Args:
        config: options.
        lr: the coarse sensor; bands coarser than its grid (temperature) are judged by fidelity only where the image
            was given, and by no triplet loss, as published.
        hr: the fine sensor, on the network's output grid.
        lpips: needed unless the config switches it off.

    Raises:
        InputError: LPIPS asked for and not given, a regression without bands, an MTF of 0.
    """

    def __init__(
        self, config: ObjectiveConfig, lr: SensorInput, hr: SensorInput, lpips: MaskedLpips | None = None
    ) -> None:
        super().__init__()
        if config.needs_lpips and lpips is None:
            raise InputError(
                "the regression loss compares by LPIPS, whose weights were not given: pass lpips=load_lpips(vgg_file, "
                "linear_file), or ask for the plain loss with lpips='off' in the config"
            )
        self.config, self.lr, self.hr = config, lr, hr
        self.lpips = lpips if config.needs_lpips else None
        for role, sensor in (("lr", lr), ("hr", hr)):
            optics = [band.resolution for band in sensor.bands], [band.mtf for band in sensor.bands]
            self.register_buffer(f"{role}_taps", psf_taps(config.pixel_size, *optics), persistent=False)
        if config.regression_weight:
            for term in config.regression_terms:
                _check_term(term, config, lr, hr)

    def forward(self, net: TamrfsitsNet, lr: Series, hr: Series, splits: Sequence[Split]) -> Terms | None:
        """Run the network on the input dates, and judge it at the target dates.

        Args:
            net: in training or evaluation mode.
            lr: whole coarse series `[b t c h w]`, standardised. Masks are not shown to the network, so what it is
                given must hold no NaN (fill what was never observed, as `SensorInput.fill` says).
            hr: whole fine series `[b t c H W]`.
            splits: one per batch element; padded dates belong in none of them.

        Returns:
            Scalars by their logged names: `total_loss`, with a gradient, and its parts without. Elements are computed
            one by one; each term is the mean over the elements that have it. None if no element has any term. Under
            autocast the network and LPIPS run in reduced precision, the rest in float32.

        Raises:
            InputError: sizes that do not match, no split per element, a split without any input.
        """
        if not len(splits) == len(lr.days) == len(hr.days):
            raise InputError(f"{len(splits)} splits for batches of {len(lr.days)} and {len(hr.days)}: one per element")
        found = [self._element(net, _only(lr, i), _only(hr, i), split) for i, split in enumerate(splits)]
        terms = [one for one in found if one]
        names = dict.fromkeys(name for one in terms for name in one)
        return {name: torch.stack([one[name] for one in terms if name in one]).mean() for name in names} or None

    def judged(
        self, net: TamrfsitsNet, lr: Series, hr: Series, splits: Sequence[Split]
    ) -> list[dict[Literal["lr", "hr"], Judged]]:
        """Per element: predictions as each sensor that is asked for would see them, beside its images.

        Arguments and errors of `forward`.
        """
        found = [self._predicted(net, _only(lr, i), _only(hr, i), split) for i, split in enumerate(splits)]
        return [_by_role(one[1]) if one else {} for one in found]

    def _element(self, net: TamrfsitsNet, lr: Series, hr: Series, split: Split) -> Terms:
        """All terms of one place; empty if there is none."""
        predicted = self._predicted(net, lr, hr, split)
        if predicted is None:
            return {}
        tokens, outputs = predicted
        terms: Terms = {}
        totals = self._regression_on_predictions(outputs, terms)
        if tokens is not None:
            totals += _add(terms, "decorrelation_loss", decorrelation(tokens), self.config.decorrelation_weight)
        mae_scale = 1.0 if self.config.mae_scale is None else self.config.mae_scale
        totals += self._task("mae", outputs, mae_scale, terms) + self._task("clr", outputs, 1.0, terms)
        if not totals:
            return {}
        logged = {name: value.detach() for name, value in terms.items()}
        return logged | {"total_loss": torch.stack(totals).sum()}

    def _predicted(
        self, net: TamrfsitsNet, lr: Series, hr: Series, split: Split
    ) -> tuple[Tensor | None, _Outputs] | None:
        """The encoded tokens of one place, if a term looks at them, and its outputs; None if no date is asked for."""
        targets = select_dates(lr, [split.lr_target]), select_dates(hr, [split.hr_target])
        query = union_days(*(target.days for target in targets if target is not None), lr.days[:, :0])  # [q]
        if len(query) == 0:
            return None
        crop(hr.values, self.config.margin)  # refuses a margin that leaves nothing
        border = self._border(net.config.ratio)
        inputs = features(net, select_dates(lr, [split.lr_input]), select_dates(hr, [split.hr_input]), border)
        keep_tokens = self.config.decorrelation_weight > 0
        tokens, images = decoded(net, inputs, query, hr.values.shape[-2] - 2 * border, keep_tokens)
        with torch.autocast(images.device.type, enabled=False):
            return tokens, self._outputs(net, images.float(), query, targets, split, self.config.margin - border)

    def _border(self, ratio: int) -> int:
        """Fine pixels on each side that no judged pixel depends on, once images are features; whole LR pixels."""
        if self.config.decorrelation_weight:
            return 0  # looks at every token
        optics = max(self.get_buffer(f"{role}_taps").shape[1] // 2 for role in ("lr", "hr"))
        free = self.config.margin // ratio * ratio - optics - DECODER_REACH - RESAMPLING_REACH
        return max(free // ratio * ratio, 0)

    def _outputs(
        self,
        net: TamrfsitsNet,
        decoded: Tensor,
        query: Tensor,
        targets: tuple[Series | None, Series | None],
        split: Split,
        margin: int,
    ) -> _Outputs:
        """`margin`: fine pixels of `decoded` that are not judged; those of the targets are still there."""
        lr, hr = targets
        bands = net.config.lr_bands
        coarse, fine = decoded[:, :bands], decoded[:, bands:]
        inner = crop(decoded, margin)
        return _Outputs(
            None if lr is None else self._judged("lr", coarse[_index(lr, query)], lr, split, net.config.ratio, margin),
            None if hr is None else self._judged("hr", fine[_index(hr, query)], hr, split, 1, margin),
            inner,
            inner[:0] if hr is None else inner[_index(hr, query)],
            sum(target.days.shape[1] for target in targets if target is not None),
        )

    def _judged(
        self, role: Literal["lr", "hr"], prediction: Tensor, target: Series, split: Split, factor: int, margin: int
    ) -> Judged:
        seen = as_observed(prediction, self.get_buffer(f"{role}_taps"), factor, margin)
        inner = target.crop(self.config.margin // factor)
        dates, given = (split.lr_target, split.lr_input) if role == "lr" else (split.hr_target, split.hr_input)
        return Judged(seen, inner.values[0], inner.usable()[0], inner.days[0], _given(dates, given, target))

    # --- terms ---------------------------------------------------------------------------------------------------

    def _task(self, task: Task, outputs: _Outputs, scale: float, terms: Terms) -> list[Tensor]:
        """The scaled loss of one task, or nothing; its parts are added to `terms`."""
        parts: list[Tensor] = []
        for role, judged in (("lr", outputs.lr), ("hr", outputs.hr)):
            if judged is None:
                continue
            chosen = judged.of(task)
            weight = len(chosen.days) / outputs.dates
            if role == "hr" and not self.config.regression_on_predictions and len(chosen.days):
                at = outputs.at_hr[judged.given if task == "clr" else ~judged.given]
                value = self._regression(f"{task}_cca", chosen.target, at, chosen.valid, terms)
                parts += _add(terms, f"{task}_cca_loss", value, weight * self.config.regression_weight)
            fine = self._finely_sampled(role)
            judged_bands = fine if task == "mae" else list(range(chosen.target.shape[1]))
            parts += _add(terms, f"{role}_{task}_loss", self._fidelity(chosen, judged_bands), weight)
            if self.config.triplet_weight:
                value = self._triplet(chosen, fine)
                parts += _add(terms, f"{role}_{task}_triplet_loss", value, weight * self.config.triplet_weight)
        if not parts:
            return []
        loss = scale * torch.stack(parts).sum()
        terms[f"weighted_{task}_loss"] = loss
        return [loss]

    def _finely_sampled(self, role: str) -> list[int]:
        """Bands that are not coarser than the grid of their sensor; all of the fine sensor."""
        if role == "hr":
            return list(range(len(self.hr.bands)))
        pixel = min(band.resolution for band in self.lr.bands)
        return [i for i, band in enumerate(self.lr.bands) if band.resolution <= pixel]

    def _fidelity(self, judged: Judged, bands: list[int]) -> Tensor | None:
        return fidelity(
            judged.prediction[:, bands],
            judged.target[:, bands],
            judged.valid,
            self.config.min_valid_rate,
            self.config.max_difference,
        )

    def _triplet(self, judged: Judged, bands: list[int]) -> Tensor | None:
        pair = judged.prediction[:, bands], judged.target[:, bands]
        return triplet(*pair, judged.valid, judged.days, self.config.triplet_days, self.config.triplet_margin)

    def _regression_on_predictions(self, outputs: _Outputs, terms: Terms) -> list[Tensor]:
        if not self.config.regression_on_predictions:
            return []
        own = outputs.decoded[:, len(self.lr.bands) :].detach()
        everywhere = torch.ones_like(own[:, 0], dtype=torch.bool)
        value = self._regression("pred_cca", own, outputs.decoded, everywhere, terms)
        return _add(terms, "pred_cca_loss", value, self.config.regression_weight)

    def _regression(self, name: str, hr: Tensor, output: Tensor, valid: Tensor, terms: Terms) -> Tensor | None:
        """Mean over the regression terms that can be computed: HR images `[t c H W]`, all output bands `[t c H W]`."""
        if not self.config.regression_weight:
            return None
        values = []
        for term in self.config.regression_terms:
            value = self._regression_term(term, hr, output, valid)
            if value is not None:
                values.append(term.scale * value)
                terms[f"{name}_{term.name}_loss"] = values[-1]
        return torch.stack(values).mean() if values else None

    def _regression_term(self, term: RegressionTerm, hr: Tensor, output: Tensor, valid: Tensor) -> Tensor | None:
        reference = hr[:, _reference_bands(term, self.hr)]
        if term.ndvi:
            reference = self._with_ndvi(reference, term)
        prediction = output[:, _predicted_bands(term, self.lr, self.hr)]
        factor = term.ref_resolution / self.config.pixel_size
        if factor != 1:
            known = torch.where(valid[:, None] | reference.isfinite(), reference, 0)
            with torch.autocast(known.device.type, enabled=False):
                reference, prediction = (generic_downscale(x, factor, REFERENCE_MTF) for x in (known, prediction))
            valid = resample.nearest(valid, factor)
        return regression_loss(prediction, reference, valid, self.config.regression, self.lpips or smooth_l1)

    def _with_ndvi(self, reference: Tensor, term: RegressionTerm) -> Tensor:
        own = _reference_bands(term, self.hr)
        red, nir = (own.index(self.hr.keys.index(key)) for key in self.config.ndvi_bands)
        bands = [self.hr.bands[i] for i in (range(len(own)) if self.config.published_ndvi else own)]
        mean, std = (torch.tensor([getattr(band, name) for band in bands]) for name in ("mean", "std"))
        days = torch.zeros(1, len(reference), device=reference.device)
        return append_ndvi(Series(reference[None], days), mean, std, red, nir).values[0]


def _by_role(outputs: _Outputs) -> dict[Literal["lr", "hr"], Judged]:
    """What is judged of each sensor that is asked for."""
    pairs: tuple[tuple[Literal["lr", "hr"], Judged | None], ...] = (("lr", outputs.lr), ("hr", outputs.hr))
    return {role: one for role, one in pairs if one is not None}


def _add(terms: Terms, name: str, value: Tensor | None, weight: float) -> list[Tensor]:
    """Note a value and its weighted value; the latter is returned, or nothing where there is no value."""
    if value is None:
        return []
    terms[name], terms[f"weighted_{name}"] = value, weight * value
    return [terms[f"weighted_{name}"]]


def _only(series: Series, i: int) -> Series:
    """Element i as a batch of one."""
    return Series(
        series.values[i : i + 1], series.days[i : i + 1], None if series.valid is None else series.valid[i : i + 1]
    )


def _index(target: Series, query: Tensor) -> Tensor:
    """Position of each target day among the query days: `[t]`."""
    return (target.days[0][:, None] == query).to(torch.uint8).argmax(1)


def _given(dates: Dates | None, inputs: Dates | None, target: Series) -> Tensor:
    known = set(inputs.days) if inputs else set()
    return torch.tensor([day in known for day in (dates.days if dates else ())], device=target.device).bool()


def _reference_bands(term: RegressionTerm, hr: SensorInput) -> list[int]:
    return [i for i, band in enumerate(hr.bands) if band.resolution <= term.ref_resolution]


def _predicted_bands(term: RegressionTerm, lr: SensorInput, hr: SensorInput) -> list[int]:
    """Positions among the output bands, LR first."""
    return [i for i, band in enumerate((*lr.bands, *hr.bands)) if band.resolution == term.pred_resolution]


def _check_term(term: RegressionTerm, config: ObjectiveConfig, lr: SensorInput, hr: SensorInput) -> None:
    reference = [hr.keys[i] for i in _reference_bands(term, hr)]
    if not reference or not _predicted_bands(term, lr, hr):
        raise InputError(
            f"regression {term.name} needs HR bands of {term.ref_resolution} m or finer, and bands of "
            f"{term.pred_resolution} m to predict; the sensors have HR {[b.resolution for b in hr.bands]} and LR "
            f"{[b.resolution for b in lr.bands]}"
        )
    absent = [key for key in config.ndvi_bands if key not in reference]
    if term.ndvi and absent:
        raise InputError(f"regression {term.name} needs ndvi_bands {absent}, which are not among {reference}")
