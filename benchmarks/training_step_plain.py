"""The textbook way to compute the published training loss of TAMRFSITS: every formula as it is written.

One place at a time: both sensors decoded at their own days with a query vector for every pixel, the optics as a dense
convolution of every fine pixel followed by bicubic resampling, the triplet loss from a table `[t, t, h, w]` of time
differences, the regression by matrix rank and least squares, and LPIPS on images of three equal channels through the
whole of VGG16, once with a gradient (the prediction) and once without (the fit, whose unknown pixels are NaN).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference_plain import PlainTamrfsits
from sitsfusion.losses.tamrfsits import ObjectiveConfig, RegressionTerm
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.ops.mtf import convolve, psf_kernel
from sitsfusion.ops.resample import bicubic
from sitsfusion.series import Series
from sitsfusion.strategies import Dates, Split
from sitsfusion.weights.config import SensorInput

VGG = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)  # 0: pooling
SEEN_AFTER = (3, 8, 15, 22, 29)  # layers of VGG16


class PlainLpips(nn.Module):
    """Masked LPIPS: unknown pixels of the reference are NaN, and so are the features that they reach."""

    def __init__(self, vgg: Mapping[str, Tensor], linear: Sequence[Tensor]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in VGG:
            if width:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.vgg = nn.Sequential(*layers)
        self.vgg.load_state_dict({name.removeprefix("features."): weight for name, weight in vgg.items()})
        self.vgg.requires_grad_(False)
        self.linear = list(linear)

    def features(self, x: Tensor) -> list[Tensor]:
        found = []
        for i, layer in enumerate(self.vgg):
            x = layer(x)
            if i in SEEN_AFTER:
                found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    def forward(self, prediction: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
        """`[n 3 h w]` twice, bool `[n h w]` -> a scalar."""
        ours = self.features(prediction)
        with torch.no_grad():
            theirs = self.features(reference.masked_fill(~valid[:, None], torch.nan))
        known = [x.isfinite() for x in theirs]
        per_image = sum(
            (weight * (a - b.nan_to_num()).square() * v).sum((2, 3)).div(v.sum((2, 3)).clamp(min=1e-6)).sum(1)
            for a, b, v, weight in zip(ours, theirs, known, self.linear, strict=True)
        )
        share = sum(int(v.sum()) for v in known) / sum(v.numel() for v in known)
        assert isinstance(per_image, Tensor)
        return per_image.mean() / share


class PlainStep(nn.Module):
    """The loss of one place; its gradient reaches the network's own encoders, tokens and spatial decoder.

    The transformer and the cross attention are PyTorch's layers with copies of the network's weights.
    """

    def __init__(
        self, net: TamrfsitsNet, config: ObjectiveConfig, lr: SensorInput, hr: SensorInput, lpips: PlainLpips
    ) -> None:
        super().__init__()
        self.network, self.config, self.lr, self.hr, self.lpips = PlainTamrfsits(net), config, lr, hr, lpips
        self.kernels = {
            role: psf_kernel(config.pixel_size, [b.resolution for b in s.bands], [b.mtf for b in s.bands])
            for role, s in (("lr", lr), ("hr", hr))
        }

    def forward(self, lr: Series, hr: Series, split: Split) -> Tensor:
        """Whole series `[1 t c h w]` with masks, standardised; all dates are targets -> the total loss."""
        given = [_positions(dates) for dates in (split.lr_input, split.hr_input)]
        inputs = [
            (s.values[:, i], s.days[0, i], role) for s, i, role in zip((lr, hr), given, ("lr", "hr"), strict=True)
        ]
        tokens = torch.cat([self.network.tokens(*one) for one in inputs], dim=1)
        b, t, d, h, w = tokens.shape
        encoded = self.network.transformer(tokens.permute(0, 3, 4, 1, 2).reshape(b * h * w, t, d))
        bands = len(self.lr.bands)
        at_lr = self.network.decode(encoded, lr.days[0], (b, h, w))[0, :, :bands]
        at_hr = self.network.decode(encoded, hr.days[0], (b, h, w))[0]
        total = at_lr.new_zeros(())
        for task, scale in (("mae", self.config.mae_scale or 1.0), ("clr", 1.0)):
            chosen = [
                sorted(set(range(s.days.shape[1])) - set(i)) if task == "mae" else i
                for s, i in zip((lr, hr), given, strict=True)
            ]
            total = total + scale * self.task(task, at_lr, at_hr, lr, hr, chosen)
        return total

    def task(self, task: str, at_lr: Tensor, at_hr: Tensor, lr: Series, hr: Series, chosen: list[list[int]]) -> Tensor:
        """One task's weighted sum at the chosen positions of either sensor."""
        count, bands = lr.days.shape[1] + hr.days.shape[1], len(self.lr.bands)
        total = at_lr.new_zeros(())
        for role, series, prediction, i in (("lr", lr, at_lr, chosen[0]), ("hr", hr, at_hr[:, bands:], chosen[1])):
            if not i:
                continue
            value = self.sensor(
                task, role, prediction[i], series.values[0, i], series.usable()[0, i], series.days[0, i]
            )
            if role == "hr":
                value = value + self.config.regression_weight * self.regression(
                    _inside(at_hr[i], self.config.margin),
                    _inside(series.values[0, i], self.config.margin),
                    _inside(series.usable()[0, i], self.config.margin),
                )
            total = total + len(i) / count * value
        return total

    def sensor(self, task: str, role: str, prediction: Tensor, target: Tensor, valid: Tensor, days: Tensor) -> Tensor:
        """Fidelity and triplet loss of one sensor: `[t c H W]`, `[t c h w]`, `[t h w]`, `[t]`."""
        factor = prediction.shape[-1] // target.shape[-1]
        prediction = bicubic(convolve(prediction, self.kernels[role]), factor)
        prediction, target, valid = (_inside(x, self.config.margin // factor) for x in (prediction, target, valid))
        bands = self.hr.bands if role == "hr" else self.lr.bands
        fine = [i for i, band in enumerate(bands) if role == "hr" or band.resolution <= self.lr.bands[0].resolution]
        judged = fine if task == "mae" else list(range(len(bands)))
        value = self.triplet(prediction[:, fine], target[:, fine], valid, days)
        used = valid & (valid.float().mean((1, 2), keepdim=True) >= self.config.min_valid_rate)
        samples = used[:, None].expand_as(target[:, judged])
        if samples.any():
            value = value + F.smooth_l1_loss(prediction[:, judged][samples], target[:, judged][samples], beta=0.1)
        return value

    def triplet(self, prediction: Tensor, target: Tensor, valid: Tensor, days: Tensor) -> Tensor:
        """Of all masked pixels at once, from the time between every two dates at every pixel."""
        clear_days = days[:, None, None].expand(valid.shape).masked_fill(~valid, -10000)  # [t h w]
        table = (days[:, None, None, None] - clear_days[None]).abs()  # [t t h w]
        distance, nearest = table.min(1)  # [t h w]
        kept = (~valid & (distance < self.config.triplet_days))[:, None].expand_as(target)
        if not kept.any():
            return prediction.new_zeros(())
        positive = target.gather(0, nearest[:, None].expand_as(target))
        to_positive = (prediction - positive + 1e-6).abs()
        to_negative = torch.minimum((prediction - target + 1e-6).abs(), (positive - target + 1e-6).abs())
        return (to_positive - to_negative + self.config.triplet_margin).clamp(min=0)[kept].mean()

    def regression(self, output: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
        """Mean over the terms that can be computed: `[t c H W]` of all bands, `[t c H W]` of HR, `[t H W]`."""
        clear = valid.float().mean((1, 2)) >= 1 - self.config.regression.max_masked_rate
        pairs = [(term, self.term(term, output[clear], reference[clear], valid[clear])) for term in
                 self.config.regression_terms]  # fmt: skip
        values = [term.scale * value for term, value in pairs if value is not None]
        return torch.stack(values).mean() if values else output.new_zeros(())

    def term(self, term: RegressionTerm, output: Tensor, reference: Tensor, valid: Tensor) -> Tensor | None:
        own = [i for i, band in enumerate(self.hr.bands) if band.resolution <= term.ref_resolution]
        pred = [i for i, b in enumerate((*self.lr.bands, *self.hr.bands)) if b.resolution == term.pred_resolution]
        reference, prediction = reference[:, own], output[:, pred]
        if term.ndvi:
            red, nir = (self._physical(reference, own, key) for key in self.config.ndvi_bands)
            reference = torch.cat([reference, ((nir - red) / (red + nir + 1e-6))[:, None]], 1)
        if not len(valid) or valid.sum((1, 2)).max() <= 10 * prediction.shape[1] * reference.shape[1]:
            return None
        dates = zip(prediction, reference, valid, strict=True)
        with torch.no_grad():
            fit = torch.stack([self.fit(*one) for one in dates])
        images = fit.isfinite().flatten(2).all(2)  # [t c]
        masks = valid[:, None].expand(fit.shape)[images]
        value: Tensor = self.lpips(
            prediction[images][:, None].repeat(1, 3, 1, 1), fit[images][:, None].repeat(1, 3, 1, 1), masks
        )
        return value if float(value.detach()) <= 10 else None

    def fit(self, prediction: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
        """Ridge regression of one date: `[c h w]`, `[k h w]`, `[h w]` -> `[c h w]`."""
        mask = valid.flatten()[:, None].double()  # [n 1]
        y, mean_y, std_y = _centred(prediction.flatten(1).T.double(), mask)
        x, _, _ = _centred(reference.flatten(1).T.double(), mask)
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        gram = (x * mask).T @ x + 1e-3 * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        if not gram.isfinite().all() or torch.linalg.matrix_rank(gram, hermitian=True) < len(gram):
            return torch.full_like(prediction, torch.nan)
        found = x @ torch.linalg.lstsq(gram, (x * mask).T @ y).solution
        return (found * std_y + mean_y).T.reshape(prediction.shape).to(prediction.dtype)

    def _physical(self, reference: Tensor, own: list[int], key: str) -> Tensor:
        i = own.index(self.hr.keys.index(key))
        band = self.hr.bands[i if self.config.published_ndvi else own[i]]
        return reference[:, i] * band.std + band.mean


def _centred(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    n = mask.sum()
    mean = (x * mask).sum(0) / n
    std = ((x * mask).square().sum(0) / (n - 1) - mean.square()).sqrt()
    return (x - mean) / std, mean, std


def _positions(dates: Dates | None) -> list[int]:
    return [i for i in (dates.positions if dates else ()) if i is not None]


def _inside(x: Tensor, margin: int) -> Tensor:
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]
