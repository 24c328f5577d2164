"""The metrics of U-TILISE by set of pixels: all, hidden in the input ("occluded"), shown ("observed").

Each number belongs to one batch of sequences (in evaluation: one sequence); a table holds the plain mean of the
numbers of its samples, which is not the number of all pixels together. Names are the published ones.
Stucker, Sainte Fare Garnot and Schindler 2023, section IV.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.metrics.spectral import sam
from sitsfusion.metrics.structure import K1, K2, gaussian_window, local_moments
from sitsfusion.metrics.sums import BandSums, band_sums

_WINDOW = gaussian_window(5, 1.5)


@dataclass(frozen=True)
class MetricOptions:
    """What is measured, with the names and defaults of the published configuration files.

    Attributes:
        mae, mse, rmse, psnr, sam, ssim: which metrics.
        masked_metrics: leave out pixels that are cloudy in the target (all but `ssim`), where `cloud_mask` is given.
        eval_occluded_observed: measure hidden and shown pixels apart too.
        sam_units: "rad" (training) or "deg" (evaluation).
    """

    mae: bool = True
    mse: bool = True
    rmse: bool = True
    psnr: bool = True
    sam: bool = True
    ssim: bool = True
    masked_metrics: bool = True
    eval_occluded_observed: bool = False
    sam_units: str = "rad"

    def __post_init__(self) -> None:
        if self.sam_units not in ("rad", "deg"):
            raise InputError(f"sam_units {self.sam_units!r}; expected rad or deg")


# The published evaluation: degrees, pixel sets apart, no MSE.
EVALUATION = MetricOptions(mse=False, eval_occluded_observed=True, sam_units="deg")


def sequence_metrics(
    prediction: Tensor,
    target: Tensor,
    masks: Tensor,
    real: Tensor | None = None,
    cloud_mask: Tensor | None = None,
    options: MetricOptions = EVALUATION,
) -> dict[str, float]:
    """Metrics of a batch of sequences, all of its pixels taken together.

    Args:
        prediction: `[b, t, c, h, w]`, in [0, 1]; NaN where nothing could be predicted.
        target: same shape.
        masks: `[b, t, 1, h, w]`, 1 = hidden in the input.
        real: `[b, t]`, 0 = the frame only fills up the batch and is left out; None: all are real.
        cloud_mask: `[b, t, 1, h, w]`, 1 = the target itself is cloudy; None: it never is.
        options: which metrics, which pixels.

    Returns:
        `masked_mae`, `masked_mae_occluded_input_pixels`, ... (without `masked_` where clouds of the target are not
        left out), and `ssim`, `ssim_images_occluded_input_pixels`, `ssim_images_observed_input_pixels`: whole frames
        with and without hidden pixels. NaN where a prediction in the set is NaN; a set without pixels has no entries.
    """
    keep = torch.ones_like(target[:, :, 0, 0, 0], dtype=torch.bool) if real is None else real.bool()
    p, t, hidden = prediction[keep], target[keep], masks[keep][:, 0] > 0  # [n, c, h, w], [n, h, w]
    leave_out = options.masked_metrics and cloud_mask is not None
    clear = torch.ones_like(hidden)
    if leave_out and cloud_mask is not None:
        clear = cloud_mask[keep][:, 0] == 0
    sets = {"": clear}
    if options.eval_occluded_observed:
        sets |= {"_occluded_input_pixels": clear & hidden, "_observed_input_pixels": clear & ~hidden}
    found = _similarity(p, t, hidden, options) if options.ssim else {}
    for suffix, used in sets.items():
        values = _pixel_metrics(p, t, used, options)
        found |= {f"{'masked_' if leave_out else ''}{name}{suffix}": value for name, value in values.items()}
    return found


def mean_of_samples(samples: Iterable[Mapping[str, float]], ignore_nan: bool = False) -> dict[str, float]:
    """Plain means of the numbers of samples, by name; a sample without an entry does not count for it.

    One NaN (or infinite) number makes the mean NaN (infinite), as published, unless NaN are ignored.
    """
    lists: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in sample.items():
            if not (ignore_nan and math.isnan(value)):
                lists.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in lists.items()}


def as_text(metrics: Mapping[str, float]) -> str:
    """The published listing: three blocks of `NAME: value` lines, one per set of pixels."""
    blocks = {"all pixels": "", "masked input pixels": "_occluded_", "observed input pixels": "_observed_"}
    lines: list[str] = []
    for title, part in blocks.items():
        names = [n for n in metrics if (part in n if part else "_occluded_" not in n and "_observed_" not in n)]
        lines += [title, *(f"  {name}: {metrics[name]:.6g}" for name in names)] if names else []
    return "\n".join(lines)


def dssim(prediction: Tensor, target: Tensor) -> Tensor:
    """Structural dissimilarity of every pixel, clip(1 - SSIM, 0, 1) / 2, of values in [0, 1].

    5 x 5 Gaussian window (sigma 1.5), per channel; images continue as 0 beyond their border.
    `[..., c, h, w]` twice -> `[..., c, h, w]` in the dtype of the prediction.
    """
    p, t = (F.pad(x, (2, 2, 2, 2)) for x in (prediction, target))
    m = local_moments(p, t, None, _WINDOW)
    c1, c2 = K1**2, K2**2
    luminance = (2 * m.mean_p * m.mean_t + c1) / (m.mean_p.square() + m.mean_t.square() + c1)
    structure = (2 * m.covariance + c2) / (m.var_p + m.var_t + c2)
    return ((1 - luminance * structure).clamp(0, 1) / 2).to(prediction.dtype)


def _pixel_metrics(p: Tensor, t: Tensor, used: Tensor, options: MetricOptions) -> dict[str, float]:
    if not bool(used.any()):
        return {}
    undefined = bool((p.isnan() & used[:, None]).any())
    # A NaN of the prediction would be left out of the sums; here it must be seen.
    sums = band_sums(p, t, used).pooled(-1).pooled(-1)
    found: dict[str, Tensor] = {}
    measured: Sequence[tuple[str, Tensor]] = [
        ("mae", sums.mae()), ("mse", sums.rmse().square()), ("rmse", sums.rmse()), ("psnr", _psnr(sums)),
    ]  # fmt: skip
    found |= {name: value for name, value in measured if getattr(options, name)}
    if options.sam:
        angle = sam(p, t, used).pooled().value()
        if not bool(angle.isnan()):
            found["sam"] = angle.rad2deg() if options.sam_units == "deg" else angle
    return {name: math.nan if undefined else float(value) for name, value in found.items()}


def _psnr(sums: BandSums) -> Tensor:
    return 20 * torch.log10(1 / sums.rmse())


def _similarity(p: Tensor, t: Tensor, hidden: Tensor, options: MetricOptions) -> dict[str, float]:
    """Mean of the SSIM clipped to [0, 1] (1 - 2 DSSIM), over all frames, and over those with and without gaps."""
    similarity = 1 - 2 * dssim(p, t).double().mean((1, 2, 3))  # [n]
    with_gaps = hidden.flatten(1).any(1)
    sets = {"ssim": torch.ones_like(with_gaps)}
    if options.eval_occluded_observed:
        sets |= {"ssim_images_occluded_input_pixels": with_gaps, "ssim_images_observed_input_pixels": ~with_gaps}
    return {name: float(similarity[frames].mean()) for name, frames in sets.items() if bool(frames.any())}
