"""Metrics and losses by set of pixels."""

from __future__ import annotations

import math

import pytest
import torch

from sitsfusion.errors import InputError
from sitsfusion.losses.utilise import UtiliseLossConfig, utilise_loss
from sitsfusion.metrics.utilise import EVALUATION, MetricOptions, as_text, dssim, mean_of_samples, sequence_metrics


def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    y, masks = torch.rand(1, 4, 3, 6, 7, generator=rng), (torch.rand(1, 4, 1, 6, 7, generator=rng) < 0.4).float()
    return y + 0.1 * masks, y, masks


def test_only_hidden_pixels_are_wrong() -> None:
    found = sequence_metrics(*case())
    assert found["mae_occluded_input_pixels"] == pytest.approx(0.1, rel=1e-5)
    assert found["psnr_occluded_input_pixels"] == pytest.approx(20, rel=1e-4)
    assert found["mae_observed_input_pixels"] == 0
    assert math.isinf(found["psnr_observed_input_pixels"])
    assert "mse" not in found


def test_sets_without_pixels_have_no_entry_and_nan_is_seen() -> None:
    predicted, y, masks = case()
    clear = sequence_metrics(predicted, y, torch.zeros_like(masks))
    assert not [name for name in clear if "occluded" in name]
    assert "ssim_images_observed_input_pixels" in clear
    predicted[0, 1, 0, 2, 2] = torch.nan
    broken = sequence_metrics(predicted, y, masks)
    assert math.isnan(broken["mae"])
    assert math.isnan(mean_of_samples([broken, clear])["mae"])
    assert mean_of_samples([broken, clear], ignore_nan=True)["mae"] == clear["mae"]


def test_clouds_of_the_target_are_left_out_only_where_asked() -> None:
    predicted, y, masks = case()
    masked = sequence_metrics(predicted, y, masks, cloud_mask=masks)
    assert masked["masked_mae"] == 0
    plain = sequence_metrics(predicted, y, masks, cloud_mask=masks, options=MetricOptions(masked_metrics=False))
    assert plain["mae"] > 0
    assert "masked_mae" not in plain
    assert "all pixels" in as_text(masked)
    assert "observed input pixels" in as_text(masked)
    with pytest.raises(InputError, match="rad or deg"):
        MetricOptions(sam_units="grad")
    assert EVALUATION.sam_units == "deg"


def test_dssim_is_differentiable_and_zero_for_equal_images() -> None:
    a = torch.rand(1, 2, 6, 6, requires_grad=True)
    assert float(dssim(a, a).detach().max()) == 0
    dssim(a, torch.rand(1, 2, 6, 6)).sum().backward()
    assert a.grad is not None
    assert bool(a.grad.isfinite().all())


def test_losses_name_what_they_lack_and_leave_out_empty_sets() -> None:
    predicted, y, masks = case()
    with pytest.raises(InputError, match="no loss is switched on"):
        utilise_loss(UtiliseLossConfig(l1_loss=False), predicted, y, masks)
    with pytest.raises(InputError, match="no cloud_mask"):
        utilise_loss(UtiliseLossConfig(masked_l1_loss=True), predicted, y, masks)
    hidden = UtiliseLossConfig(l1_loss=False, l1_loss_occluded_input_pixels=True, l1_loss_occluded_input_pixels_w=2)
    assert float(utilise_loss(hidden, predicted, y, masks)["total_loss"]) == pytest.approx(0.2, rel=1e-5)
    nothing = utilise_loss(hidden, predicted.requires_grad_(), y, torch.zeros_like(masks))
    assert set(nothing) == {"total_loss"}
    nothing["total_loss"].backward()
