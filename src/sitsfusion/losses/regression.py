"""Spatial detail without a target: what a prediction shows must be explained by another image of the same day.

A sharp reference (the 10 m bands of a fine image) is fitted to the prediction by a linear regression of each date.
The fit has the reference's detail and the prediction's colours; the prediction is drawn towards it (Michel and
Inglada, TAMRFSITS, there called CCA loss).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from einops import rearrange, repeat
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.losses.lpips import MaskedLpips
from sitsfusion.ops import mtf

RIDGE = 1e-3
PIXELS_PER_COEFFICIENT = 10
LARGEST = 10.0  # a larger value is a failed fit

Distance = MaskedLpips | Callable[[Tensor, Tensor], Tensor]


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class RegressionOptions(BaseModel):
    """How the regression is done; the defaults are published.

    Attributes:
        max_masked_rate: dates with a larger share of pixels that are not valid are left out.
        per_date: one regression per date; otherwise one over all dates together.
        high_pass: compare only fine detail: PRE filters both series before the regression, POST the prediction and
            the fit after it, NO neither.
        high_pass_mtf: response of the blur that the filter takes away, at the frequency of 2 pixels; None takes the
            squared gradient instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_masked_rate: Annotated[float, Field(ge=0, le=1)] = 0.25
    per_date: bool = True
    high_pass: Annotated[Literal["NO", "PRE", "POST"], BeforeValidator(_upper)] = "NO"  # noqa: S105
    high_pass_mtf: Annotated[float, Field(gt=0, le=1)] | None = 0.3


def regression_loss(
    prediction: Tensor, reference: Tensor, valid: Tensor, options: RegressionOptions, distance: Distance
) -> Tensor | None:
    """Distance between a prediction and its regression from a reference.

    Args:
        prediction: `[t c h w]`, standardised.
        reference: `[t k h w]` of the same dates and pixels; it takes no gradient.
        valid: bool `[t h w]`: where the reference is usable.
        options: see there.
        distance: masked LPIPS, each date and band being one image; the fit then takes no gradient. Or a plain loss
            of `(prediction, fit)` over the valid samples, such as `fidelity.smooth_l1`; a gradient then also
            flows through the mean and standard deviation of the prediction that the fit was given.

    Returns:
        A scalar. None if no date is clear enough, none has more than 10 c k valid pixels, none can be fitted, or the
        value is not a number or more than 10.

    Raises:
        InputError: shapes that do not match; as `MaskedLpips`.
    """
    _check(prediction, reference, valid)
    clear = valid.float().mean((1, 2)) >= 1 - options.max_masked_rate  # [t]
    prediction, reference, valid = prediction[clear], reference[clear].detach(), valid[clear]
    enough = PIXELS_PER_COEFFICIENT * prediction.shape[1] * reference.shape[1]
    if len(valid) == 0 or int(valid.sum((1, 2)).max()) <= enough:
        return None
    prediction, reference = (_without_nan(x, valid) for x in (prediction, reference))
    if options.high_pass == "PRE":  # noqa: S105
        prediction, reference = (_high_pass(x, options.high_pass_mtf) for x in (prediction, reference))
    with torch.set_grad_enabled(torch.is_grad_enabled() and not isinstance(distance, MaskedLpips)):
        fit = ridge_fit(prediction, reference, valid, options.per_date)
    if options.high_pass == "POST":  # noqa: S105
        prediction, fit = (_high_pass(x, options.high_pass_mtf) for x in (prediction, fit))
    value = _distance(prediction, fit, valid, distance)
    return None if value is None or not float(value.detach()) <= LARGEST else value


def ridge_fit(prediction: Tensor, reference: Tensor, valid: Tensor, per_date: bool = True) -> Tensor:
    """Linear regression of each channel of `prediction` from all channels of `reference`, over valid pixels.

    Both are centred by their mean and divided by sqrt(sum(x^2) / (n - 1) - mean^2); the coefficients solve
    (X'X + 0.001 I) C = X'Y by Cholesky in float64. (A column of ones, as published, gets coefficient 0 because both
    sides are centred.)

    Args:
        prediction: `[t c h w]`.
        reference: `[t k h w]`.
        valid: bool `[t h w]`; values elsewhere must be finite.
        per_date: else one regression over all dates.

    Returns:
        The fit at all pixels, `[t c h w]`; NaN for a date that cannot be fitted (a reference channel that is 0
        everywhere, or fewer than two pixels). Its gradient flows through mean and deviation of `prediction` only.
    """
    t, _, h, _ = prediction.shape
    pattern = "t c h w -> t (h w) c" if per_date else "t c h w -> 1 (t h w) c"
    used = rearrange(valid.double()[:, None], pattern)  # [g n 1]
    with torch.autocast(prediction.device.type, enabled=False):
        x, mean_x, std_x = _moments(rearrange(reference.double(), pattern), used)
        y, mean_y, std_y = _moments(rearrange(prediction.double(), pattern), used)
        x = (x - mean_x) / std_x  # [g n k]
        with torch.no_grad():
            coefficients = _solve(x, (y - mean_y) / std_y, used)  # [g k c]
        scaled = x @ coefficients  # [g n c]
        fitted = scaled.isfinite().all(1, keepdim=True) & std_y.isfinite()  # [g 1 c]
        # NaN comes in last: 0 times NaN would give the deviation a gradient of NaN.
        fit = (torch.where(fitted, scaled, 0) * std_y + mean_y).masked_fill(~fitted, torch.nan)
    undo = "t (h w) c -> t c h w" if per_date else "1 (t h w) c -> t c h w"
    return rearrange(fit, undo, h=h, **({} if per_date else {"t": t})).to(prediction.dtype)


def _moments(x: Tensor, used: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`[g n c]`, its mean and deviation over the used samples `[g 1 c]`; deviation 0 becomes NaN."""
    count = used.sum(1, keepdim=True)
    mean = (x * used).sum(1, keepdim=True) / count
    variance = (x * used).square().sum(1, keepdim=True) / (count - 1) - mean.square()
    # NaN before the root: the root of 0 has an infinite gradient.
    return x, mean, torch.where(variance > 0, variance, torch.nan).sqrt()


def _solve(x: Tensor, y: Tensor, used: Tensor) -> Tensor:
    """Ridge coefficients `[g k c]`, NaN where the system cannot be solved."""
    weighted = (x * used).mT
    gram = weighted @ x + RIDGE * torch.eye(x.shape[2], dtype=x.dtype, device=x.device)
    factor, failed = torch.linalg.cholesky_ex(gram)
    return torch.cholesky_solve(weighted @ y, factor).masked_fill((failed > 0)[:, None, None], torch.nan)


def _distance(prediction: Tensor, fit: Tensor, valid: Tensor, distance: Distance) -> Tensor | None:
    fitted = fit.isfinite().flatten(2).all(2)  # [t c]
    bands = prediction.shape[1]
    if isinstance(distance, MaskedLpips):
        masks = repeat(valid, "t h w -> t c h w", c=bands)[fitted]  # [n h w]
        return distance(prediction[fitted][:, None], fit[fitted][:, None], masks)  # type: ignore[no-any-return]
    samples = valid[:, None] & fitted[:, :, None, None]
    if not bool(samples.any()):
        return None
    return distance(torch.masked_select(prediction, samples), torch.masked_select(fit, samples))


def _without_nan(x: Tensor, valid: Tensor) -> Tensor:
    """Filters and fits run over pixels that are not valid, too: NaN there becomes 0."""
    return torch.where(valid[:, None] | x.isfinite(), x, 0)


def _high_pass(x: Tensor, response: float | None) -> Tensor:
    if response is None:
        return mtf.gradient_magnitude_squared(x)
    taps = mtf.psf_taps(1.0, [1.0], [response]).expand(x.shape[1], -1)
    with torch.autocast(x.device.type, enabled=False):
        return mtf.high_pass(x, taps)


def _check(prediction: Tensor, reference: Tensor, valid: Tensor) -> None:
    if (
        prediction.ndim != 4
        or reference.ndim != 4
        or len({x.shape[:1] + x.shape[-2:] for x in (prediction, reference, valid)}) > 1
    ):
        raise InputError(
            f"prediction {tuple(prediction.shape)}, reference {tuple(reference.shape)} and validity "
            f"{tuple(valid.shape)} must be [t c h w], [t k h w] and [t h w]"
        )
