"""DSen2, DSTFN and Deep-Harmonization networks: sizes, options, reach, bad input."""

from __future__ import annotations

import pytest
import torch

from sitsfusion.errors import InputError
from sitsfusion.nets.deepharmo import DeepHarmoNet
from sitsfusion.nets.deepharmo_config import DeepHarmoConfig
from sitsfusion.nets.deepharmo_ensemble import mean_and_variance
from sitsfusion.nets.dsen2 import Dsen2Net
from sitsfusion.nets.dstfn import DstfnNet
from sitsfusion.nets.dstfn_config import DstfnConfig
from sitsfusion.nets.keyed_dropout import KeyedDropout, uniform
from sitsfusion.nets.unet import UNet
from sitsfusion.weights.deepharmo import published

# Measured on the published networks: farthest distance at which an input pixel can influence an output pixel.
MEASURED = {"5depth-upsample": 121, "5depth-shuffle": 152, "6depth-upsample": 248, "6depth-shuffle": 312}


@pytest.mark.parametrize("name", MEASURED)
def test_published_networks_have_their_size_and_reach(name: str) -> None:
    entry = published()[name]
    with torch.device("meta"):
        net = DeepHarmoNet(entry.architecture)
    assert sum(p.numel() for p in net.parameters()) == entry.parameters
    assert MEASURED[name] <= net.config.reach <= MEASURED[name] + 2


@pytest.mark.parametrize("mode", ["upsample", "upconv", "shuffle"])
@torch.inference_mode()
def test_nothing_beyond_the_reach_matters(mode: str) -> None:
    torch.manual_seed(0)
    net = DeepHarmoNet(DeepHarmoConfig(depth=3, growth_factor=2, up_mode=mode)).eval()
    reach = net.config.reach
    side = -(-(2 * reach + 2) // net.config.multiple) * net.config.multiple
    ms, pan = torch.rand(1, 6, 4, side), torch.rand(1, 1, 4, side)
    at = side // 2
    changed = ms.clone()
    changed[..., : at - reach] += 1
    changed[..., at + reach + 1 :] += 1
    np_ = net(ms, pan)[..., at]
    torch.testing.assert_close(np_, net(changed, pan)[..., at], rtol=0, atol=1e-6)
    changed[..., at] += 1
    assert not torch.allclose(np_, net(changed, pan)[..., at])


def test_upconv_without_attention_is_the_shared_unet() -> None:
    torch.manual_seed(0)
    shared, ours = (
        UNet(7, 6, depth=3, growth=2),
        DeepHarmoNet(DeepHarmoConfig(depth=3, growth_factor=2, up_mode="upconv")),
    )
    ours.load_state_dict(shared.state_dict())
    x = torch.rand(2, 7, 13, 18)
    torch.testing.assert_close(ours(x), shared(x))


def test_sizes_that_cannot_be_are_refused() -> None:
    net = DeepHarmoNet(DeepHarmoConfig(depth=3, growth_factor=2))
    with pytest.raises(InputError, match="at least 4 pixels"):
        net(torch.rand(1, 6, 3, 8), torch.rand(1, 1, 3, 8))
    with pytest.raises(InputError, match="one size"):
        net(torch.rand(1, 6, 8, 8), torch.rand(1, 1, 9, 8))
    with pytest.raises(InputError, match="8 channels"):
        net(torch.rand(1, 7, 8, 8), torch.rand(1, 1, 8, 8))
    with pytest.raises(InputError, match="bands"):
        Dsen2Net((4, 6), 1, 4)(torch.rand(1, 4, 8, 8), torch.rand(1, 2, 8, 8))
    dstfn = DstfnNet(DstfnConfig(features=16, layers=1, growth=4))
    with pytest.raises(InputError, match="panchromatic"):
        dstfn(torch.rand(1, 6, 6, 6), torch.rand(1, 6, 2, 2))
    with pytest.raises(InputError, match="do not fit"):
        dstfn(torch.rand(1, 6, 7, 6), torch.rand(1, 6, 2, 2), torch.rand(1, 1, 4, 4))


def test_dropout_by_place_does_not_depend_on_windows() -> None:
    torch.manual_seed(0)
    net = DeepHarmoNet(DeepHarmoConfig(depth=2, growth_factor=2, dropout=0.3)).eval()
    x = torch.rand(1, 7, 48, 40)
    plain = net(x)
    net.draw_at(5, 0, 0)
    whole = net(x)
    assert not torch.allclose(plain, whole)
    torch.testing.assert_close(net(x), whole)
    net.draw_at(5, 24, 0)
    reach = net.config.reach
    torch.testing.assert_close(net(x[..., 24:, :])[..., reach:, :], whole[..., 24 + reach :, :], rtol=0, atol=1e-6)
    net.draw_at(6, 0, 0)
    assert not torch.allclose(net(x), whole)


def test_keyed_draws_are_uniform_and_independent() -> None:
    rows = torch.arange(200)
    draws = [uniform(key, channel, rows, rows) for key, channel in ((0, 0), (0, 1), (1, 0))]
    for one in draws:
        assert one.mean() == pytest.approx(0.5, abs=0.01)
        assert one.std() == pytest.approx(12**-0.5, abs=0.01)
    together = torch.corrcoef(torch.stack([one.flatten() for one in draws]))
    assert (together - torch.eye(3)).abs().max() < 0.03
    shifted = torch.corrcoef(torch.stack([draws[0][:-1].flatten(), draws[0][1:].flatten()]))
    assert abs(shifted[0, 1]) < 0.03
    drop = KeyedDropout(0.25).eval()
    assert torch.equal(drop(draws[0][None, None]), draws[0][None, None])


def test_mean_and_variance_equal_those_of_torch() -> None:
    torch.manual_seed(0)
    members = torch.rand(4, 2, 3, 5)
    mean, variance = mean_and_variance(iter(members))
    torch.testing.assert_close(mean, members.mean(0))
    torch.testing.assert_close(variance, members.var(0))
    repeated, spread = mean_and_variance(members[:3], [1, 2, 1])
    twice = torch.stack([members[0], members[1], members[1], members[2]])
    torch.testing.assert_close(repeated, twice.mean(0))
    torch.testing.assert_close(spread, twice.var(0))
    assert float(mean_and_variance([members[0]])[1].abs().max()) == 0
    with pytest.raises(InputError, match="at least one"):
        mean_and_variance([])
