"""Views, reference images and recursive fusion; the backbones on images that are not square."""

from __future__ import annotations

import pytest
import torch

from sitsfusion.errors import InputError
from sitsfusion.nets.highresnet import RecursiveFusion, closest_view, median_image, pick_view
from sitsfusion.nets.misr import build_backbone
from sitsfusion.nets.rrdb import DenseBlock
from tests.fake.misr import BACKBONES


def test_median_of_an_even_number_of_views_is_the_lower_one() -> None:
    views = torch.tensor([3.0, 1.0, 2.0, 9.0, 0.0]).reshape(1, 5, 1, 1, 1)
    assert median_image(views, 4).item() == 2.0
    assert median_image(views, 9).item() == 2.0
    assert median_image(views, 2).item() == 1.0


def test_the_closest_view_is_that_of_its_own_sample() -> None:
    days = torch.tensor([[-4.0, 4.0, 9.0], [30.0, -20.0, 1.0]])
    at = closest_view(days)
    assert at.tolist() == [0, 2]
    views = torch.arange(6.0).reshape(2, 3, 1)
    assert pick_view(views, at).flatten().tolist() == [0.0, 5.0]


def test_repetitions_add_nothing_to_the_fusion() -> None:
    fusion = RecursiveFusion(3)
    states = torch.randn(2, 4, 3, 5, 6)
    present = torch.tensor([[1.0, 1.0, 0.0, 0.0]]).expand(2, -1)
    changed = states.clone()
    changed[:, 2:] = torch.randn(2, 2, 3, 5, 6)
    torch.testing.assert_close(fusion(states, present), fusion(changed, present))
    everything = fusion(states, torch.ones(2, 4))
    assert not torch.allclose(everything, fusion(changed, torch.ones(2, 4)))


def test_without_residual_the_pair_replaces_its_first_view() -> None:
    fusion = RecursiveFusion(2, residual=False)
    states = torch.randn(1, 2, 2, 4, 4)
    pair = torch.cat([states[:, 0], states[:, 1]], dim=1)
    torch.testing.assert_close(fusion(states, torch.zeros(1, 2)), fusion.fuse(pair))


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_backbones_take_images_that_are_not_square(name: str) -> None:
    """Mirroring an image mirrors nothing else: a network that mixed up rows and columns would not keep that."""
    torch.manual_seed(0)
    net = build_backbone(BACKBONES[name]).eval()
    views, days, present = torch.rand(2, 3, 3, 5, 9) * 2 - 1, torch.tensor([[-3.0, 1.0, 8.0]] * 2), torch.ones(2, 3)
    made = net(views, days, present)
    assert made.shape == (2, 3, 20, 36)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.weight.copy_(module.weight.transpose(-1, -2).clone())
    turned = net(views.transpose(-1, -2), days, present)
    torch.testing.assert_close(turned.transpose(-1, -2), made, rtol=1e-3, atol=1e-3)
    assert net.condition(views, days, present).shape == (2, BACKBONES[name].condition_channels, 5, 9)


@torch.no_grad()
def test_another_day_is_another_image() -> None:
    net = build_backbone(BACKBONES["highresnet_ltae"]).eval()
    views, days = torch.rand(1, 3, 3, 6, 6), torch.tensor([[-40.0, -20.0, 5.0]])
    assert not torch.allclose(net(views, days, torch.ones(1, 3)), net(views, days - 200, torch.ones(1, 3)))


def test_views_without_days_are_refused() -> None:
    net = build_backbone(BACKBONES["highresnet"])
    with pytest.raises(InputError, match=r"\[b l c h w\]"):
        net(torch.zeros(1, 2, 3, 4, 4), torch.zeros(1, 3), torch.zeros(1, 2))


def test_plain_blocks_store_no_scale_and_end_without_activation() -> None:
    block = DenseBlock(2, 2, plain=True)
    assert "scale" not in block.state_dict()
    for conv in block.convs:
        torch.nn.init.zeros_(conv.weight)
        torch.nn.init.constant_(conv.bias, -1.0)
    torch.testing.assert_close(block(torch.zeros(1, 2, 4, 4)), torch.full((1, 2, 4, 4), -0.2))
