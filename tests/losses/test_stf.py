"""Losses of the fusion models. (Values: the goldens.)"""

from __future__ import annotations

import pytest
import torch

from sitsfusion.datasets.stf_batch import StfBatch, only_valid, stacked
from sitsfusion.errors import InputError
from sitsfusion.losses import stf
from sitsfusion.losses.msssim import ms_ssim


def pair(side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    target = torch.rand(2, 3, side, side)
    return (0.7 * target + 0.3 * torch.rand_like(target)).requires_grad_(), target


@pytest.mark.parametrize("published", [False, True])
def test_equal_images_have_no_loss_and_others_do(published: bool) -> None:
    prediction, target = pair()

    def encode(x: torch.Tensor) -> torch.Tensor:
        return x[:, :, ::2, ::2] * 2

    losses = [
        lambda p: stf.edc_auto_encoder_loss(p, target, published),
        lambda p: stf.edc_loss(p, target, encode, published),
        lambda p: stf.ecpw_auto_encoder_loss(p, target, published),
        lambda p: stf.ecpw_loss(p, target, encode, published),
        lambda p: stf.gan_stfm_loss(p, target, encode, published),
        lambda p: stf.mlff_loss(p, target, published=published),
        lambda p: stf.srsf_loss(p, p, target, published),
        lambda p: stf.swin_loss(p, target, published),
    ]
    for loss in losses:
        assert abs(float(loss(target))) < 2e-3
        value = loss(prediction)
        [gradient] = torch.autograd.grad(value, prediction)
        assert float(value.detach()) > 0.01
        assert bool(gradient.any())


def test_the_published_similarity_of_swinstfm_saturates() -> None:
    prediction, target = pair()
    near = (target + 0.01 * (prediction - target)).detach().requires_grad_()
    similarity = stf.swin_similarity(near, target)
    assert float(similarity.detach()) == 1
    [gradient] = torch.autograd.grad(similarity, near)
    assert not bool(gradient.any())
    [gradient] = torch.autograd.grad(stf.swin_loss(near, target) - stf.charbonnier(near, target), near)
    assert bool(gradient.any())


def test_the_last_level_counts_four_times_as_published() -> None:
    prediction, target = pair()
    proper, published = (ms_ssim(prediction, target, data_range=1.0, published_exponent=flag) for flag in (False, True))
    assert float(published.detach()) < float(proper.detach()) < 1


def test_images_that_do_not_fit_are_refused() -> None:
    prediction, target = pair()
    with pytest.raises(InputError, match="one shape"):
        ms_ssim(prediction, target[:1], data_range=1.0)
    with pytest.raises(InputError, match="32 pixels"):
        ms_ssim(*pair(31), data_range=1.0)


def test_what_is_not_valid_has_no_error_and_no_gradient() -> None:
    prediction, target = pair()
    valid = torch.rand(2, 48, 48) > 0.5
    hidden = torch.where(valid[:, None], target, torch.nan)
    loss = stf.mlff_loss(*only_valid(prediction, hidden, valid))
    [gradient] = torch.autograd.grad(loss, prediction)
    assert not bool(gradient.isnan().any())
    assert not bool(gradient.transpose(0, 1)[:, ~valid].any())


def test_batches_of_samples_with_and_without_masks() -> None:
    image = torch.zeros(1, 3, 4, 4)
    seen = torch.zeros(1, 4, 4, dtype=torch.bool)
    whole, part = StfBatch(image, image, image, image), StfBatch(image, image, image, image, seen)
    assert stacked([whole, whole]).valid is None
    joined = stacked([whole, part])
    assert joined.valid is not None
    assert joined.valid.flatten(1).all(1).tolist() == [True, False]
    assert len(joined.to("cpu")) == 2
