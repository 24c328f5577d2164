"""Training against the truth of simulated scenes: what was observed and what is asked for, both known everywhere.

The network sees some of the images; the loss compares its output, with the residual compensation in time that the
weights are used with (`ops.residuals`), to the noise-free surface at the days asked for, all bands on the fine grid.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from sitsfusion.errors import InputError
from sitsfusion.methods.tamrfsits.compensation import cloud_look, corrections, left_over, of_bands, optics
from sitsfusion.methods.tamrfsits.radiometry import standardise
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.series import Series
from sitsfusion.weights.config import SensorInput, TamrfsitsWeights


class SupervisedConfig(BaseModel):
    """Options of the loss.

    Attributes:
        beta: standardised difference at which SmoothL1 turns from squared to absolute.
        network_weight: of the same loss on the network's output before compensation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    beta: float = Field(0.3, gt=0)
    network_weight: float = Field(0.3, ge=0)


class SupervisedObjective(nn.Module):
    """SmoothL1 between prediction and truth, both standardised.

    The compensation is that of `methods.tamrfsits`: training and use agree.

    Args:
        config: options.
        weights: bands, optics and compensation of the weights in training.
    """

    lr_taps: Tensor
    hr_taps: Tensor
    lr_fill: Tensor
    hr_fill: Tensor

    def __init__(self, config: SupervisedConfig, weights: TamrfsitsWeights) -> None:
        super().__init__()
        self.config, self.compensation, self.inputs = config, weights.compensation, (weights.lr, weights.hr)
        self.ratio = weights.architecture.ratio
        self.looks = [cloud_look(bands, bands.keys, weights.missed_clouds) for bands in self.inputs]
        for name, bands in (("lr", weights.lr), ("hr", weights.hr)):
            self.register_buffer(f"{name}_taps", optics(bands), persistent=False)
            self.register_buffer(f"{name}_fill", _fill(bands), persistent=False)

    def forward(self, net: TamrfsitsNet, lr: Series, hr: Series, truth: tuple[Series, Series]) -> dict[str, Tensor]:
        """Terms of the loss, means over the batch.

        Args:
            net: in training or not.
            lr: coarse input images, standardised, b places; `valid` says what may be trusted.
            hr: fine input images.
            truth: LR and HR bands on the fine grid at the same days, standardised.

        Returns:
            `total_loss`, `compensated_loss`, `network_loss`.

        Raises:
            InputError: the two truths differ in their days.
        """
        if not torch.equal(truth[0].days, truth[1].days):
            raise InputError("the truths of the two sensors are at different days: give both at the same")
        found = [self._one(net, lr, hr, truth, b) for b in range(len(lr.values))]
        compensated, plain = (torch.stack(terms).mean() for terms in zip(*found, strict=True))
        total = compensated + self.config.network_weight * plain
        return {"total_loss": total, "compensated_loss": compensated, "network_loss": plain}

    def _one(
        self, net: TamrfsitsNet, lr: Series, hr: Series, truth: tuple[Series, Series], b: int
    ) -> tuple[Tensor, Tensor]:
        """Both terms of one place."""
        wanted = torch.cat([one.values[b] for one in truth], 1)  # [q c H W]
        plain, compensated = self.predict(net, _place(lr, b), _place(hr, b), truth[0].days[b])
        return self._difference(compensated, wanted), self._difference(plain, wanted)

    def _difference(self, found: Tensor, wanted: Tensor) -> Tensor:
        return F.smooth_l1_loss(found, wanted, beta=self.config.beta)

    def predict(self, net: TamrfsitsNet, lr: Series, hr: Series, days: Tensor) -> tuple[Tensor, Tensor]:
        """The network's output and the compensated one for one place (b = 1): two `[q, bands, H, W]`, standardised.

        Dates without any clear pixel count as absent (so is what collation pads).
        """
        lr, hr = present(lr), present(hr)
        if self.compensation is None:
            out = net(lr.values, lr.days, hr.values, hr.days, days)[0]
            return out, out
        plain, residuals = self.residuals(net, lr, hr, days)
        more = [
            corrections(left, clear, at, days, ratio, of_bands(bands, self.compensation), look)
            for (left, clear, at), bands, ratio, look in zip(
                residuals, self.inputs, (self.ratio, 1), self.looks, strict=True
            )
        ]
        return plain, plain + torch.cat(more, 1)

    def residuals(
        self, net: TamrfsitsNet, lr: Series, hr: Series, days: Tensor
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
        """The network's output at `days` and, of each sensor, what its images say beyond it: residuals `[t c h w]`,
        where they are known, and days `[t]`; one place (b = 1).
        """
        counts = (lr.days.shape[1], hr.days.shape[1])
        out = net(lr.values, lr.days, hr.values, hr.days, torch.cat([lr.days[0], hr.days[0], days]))[0]  # [n c H W]
        at_lr, at_hr, plain = out.split([*counts, len(days)])
        bands = lr.values.shape[2]
        found = []
        for series, at, taps, fill, ratio in (
            (lr, at_lr[:, :bands], self.lr_taps, self.lr_fill, self.ratio),
            (hr, at_hr[:, bands:], self.hr_taps, self.hr_fill, 1),
        ):
            left = left_over(series.values[0], at, taps, ratio)
            found.append((left, self._clear(series, fill), series.days[0]))
        return plain, found

    @staticmethod
    def _clear(series: Series, fill: Tensor) -> Tensor:
        """What was observed and is clear: `[t c h w]`. A band that was not observed holds exactly its fill."""
        return series.usable()[0][:, None] & (series.values[0] != fill)


def _place(series: Series, b: int) -> Series:
    one = slice(b, b + 1)
    return Series(series.values[one], series.days[one], series.usable()[one])


def present(series: Series) -> Series:
    """The dates of one place (b = 1) that have a clear pixel."""
    seen = series.usable()[0].flatten(1).any(1)
    return Series(series.values[:, seen], series.days[:, seen], series.usable()[:, seen])


def _fill(bands: SensorInput) -> Tensor:
    """What `standardise` gives for what was never observed, [c, 1, 1]."""
    return standardise(torch.full((len(bands.bands), 1, 1), torch.nan), bands)
