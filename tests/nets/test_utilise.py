"""L-TAE, U-TAE and U-TILISE beyond their goldens: sizes, padded frames, errors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.nets.ltae import LTAE, LTAE2d
from sitsfusion.nets.utae import UTAE
from sitsfusion.nets.utae_blocks import ConvOptions, aggregate, constant_frames, make_activation, norm_layer
from sitsfusion.nets.utilise import UTILISE
from sitsfusion.nets.utilise_config import PUBLISHED, UtiliseConfig
from tests.fake.utilise import small_net


@settings(max_examples=8, deadline=None)
@given(t=st.integers(1, 5), h=st.integers(2, 4), w=st.integers(2, 4), first=st.floats(-400, 400))
@torch.no_grad()
def test_any_length_size_and_day(t: int, h: int, w: int, first: float) -> None:
    net = small_net()
    x, days = torch.rand(2, t, 4, 2 * h, 2 * w), first + 7.5 * torch.arange(t)[None].expand(2, -1)
    found = net(x, days)
    assert found.images.shape == x.shape
    assert found.attention is not None
    assert found.attention.shape == (2, 2, t, t, h, w)
    torch.testing.assert_close(found.attention.sum(3), torch.ones(2, 2, t, h, w))
    assert bool(((found.images > 0) & (found.images < 1)).all())


@torch.no_grad()
def test_a_batch_is_its_samples_whatever_fills_it_up() -> None:
    """Padded frames change nothing for the real ones, and frames painted a few at a time are the same frames."""
    net = small_net()
    x, days = torch.rand(2, 5, 4, 8, 12), 10.0 * torch.arange(1, 6)[None].repeat(2, 1)
    x[1, 3:], days[1, 3:] = 0, 0
    both = net(x, days).images
    torch.testing.assert_close(both[:1], net(x[:1], days[:1]).images)
    torch.testing.assert_close(both[1:, :3], net(x[1:, :3], days[1:, :3]).images)
    assert not both[1, 3:].any()
    padded = net.padded(x, days)
    assert padded.tolist() == [[False] * 5, [False] * 3 + [True] * 2]
    for chunk in (1, 2, 9):
        again = net.decode(net.encode(x, padded), days, padded, chunk=chunk).images
        torch.testing.assert_close(again, both)


@torch.no_grad()
def test_without_a_pad_value_black_frames_are_frames() -> None:
    net = small_net(pad_value=None)
    assert bool(net(torch.zeros(1, 3, 4, 8, 8), torch.zeros(1, 3)).images.all())


@torch.no_grad()
def test_days_decide_and_can_be_left_out() -> None:
    net, x = small_net(), torch.rand(1, 4, 4, 8, 8)
    one, other = (net(x, days[None]).images for days in (torch.arange(4.0), 30 * torch.arange(4.0)))
    assert not torch.allclose(one, other)
    shuffled = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(net(x).images[:, shuffled], net(x[:, shuffled]).images)


def test_a_gradient_reaches_every_weight() -> None:
    net = small_net()
    net(torch.rand(1, 3, 4, 8, 8), torch.arange(3.0)[None]).images.sum().backward()
    assert all(
        p.grad is not None and bool(p.grad.abs().sum() > 0) for n, p in net.named_parameters() if "fc_k" not in n
    )


def test_published_sizes_and_first_weights() -> None:
    counts = {name: sum(p.numel() for p in UTILISE(config).parameters()) for name, config in PUBLISHED.items()}
    assert list(counts.values()) == [1_075_972, 1_357_133, 1_358_285]
    net = UTILISE(PUBLISHED["utilise_earthnet2021"])
    kernel = net.in_conv.conv.conv[2]
    assert float(kernel.bias.detach().std()) == pytest.approx(1, abs=0.4)
    assert float(kernel.weight.detach().std()) == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    ("images", "days", "message"),
    [
        ((1, 2, 3, 8, 8), None, r"\[b, t, 4, h, w\]"),
        ((1, 2, 4, 9, 8), None, "multiples of 2"),
        ((1, 2, 4, 2, 8), None, "4 or more"),
        ((1, 2, 4, 8, 8), (1, 3), r"days have shape \(1, 3\)"),
    ],
)
def test_wrong_shapes_are_named(images: tuple[int, ...], days: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        small_net()(torch.rand(images), None if days is None else torch.zeros(days))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_head": 3}, "multiples of n_head 3"),
        ({"decoder_widths": [4, 4]}, "equally long and end alike"),
        ({"heads": 3}, "heads"),
        ({"encoder_norm": "other"}, "encoder_norm"),
    ],
)
def test_options_that_do_not_fit(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        UtiliseConfig.from_dict(
            {"input_dim": 4, "encoder_widths": [4, 8], "decoder_widths": [4, 8], "n_head": 2} | options
        )


def test_config_survives_a_dictionary_and_reads_published_words() -> None:
    config = UtiliseConfig.from_dict({"input_dim": 4, "encoder_norm": "none", "agg_mode": "None"})
    assert config.encoder_norm is None
    assert config.agg_mode is None
    assert UtiliseConfig.from_dict(config.to_dict()) == config


def test_blocks_refuse_unknown_names() -> None:
    with pytest.raises(InputError, match="unknown activation 'swish'"):
        make_activation("swish")
    assert make_activation("lrelu").negative_slope == 0.01
    assert make_activation("lrelu,0.3").negative_slope == 0.3
    with pytest.raises(InputError, match="give one of them"):
        norm_layer(8, ConvOptions("group", n_groups=4, dim_per_group=2))


def test_a_frame_is_constant_only_if_all_of_it_is() -> None:
    x = torch.zeros(1, 3, 2, 4, 4)
    x[0, 1, 1, 3, 3], x[0, 2, 0, 0, 0] = 1, 1
    assert constant_frames(x, 0.0).tolist() == [[True, False, False]]
    assert not constant_frames(x, None).any()


def test_plain_means_leave_padded_frames_out() -> None:
    features, attention = torch.rand(1, 3, 4, 2, 2), torch.rand(2, 1, 1, 3, 2, 2)
    padded = torch.tensor([[False, False, True]])
    torch.testing.assert_close(aggregate(features, attention, "mean", padded)[:, 0], features[:, :2].mean(1))


@torch.no_grad()
def test_ltae_takes_any_length_and_non_square_images() -> None:
    net = LTAE2d(8, n_head=2, d_k=3, mlp=(8, 6), d_model=8).eval()
    x = torch.rand(2, 4, 8, 3, 5)
    out, attention = net(x, torch.tensor([[-90.0, -1.5, 0, 400]]).expand(2, -1))
    assert out.shape == (2, 6, 3, 5)
    turned, _ = net(x.transpose(-1, -2), torch.tensor([[-90.0, -1.5, 0, 400]]).expand(2, -1))
    torch.testing.assert_close(turned.transpose(-1, -2), out)
    torch.testing.assert_close(attention.sum(2), torch.ones(2, 2, 3, 5))
    with pytest.raises(InputError, match="give `days`"):
        net(x)
    with pytest.raises(InputError, match="give a multiple"):
        LTAE2d(8, n_head=2, mlp=(8, 5), d_model=8)
    fixed = LTAE(8, n_head=2, d_k=3, n_neurons=(8, 6), d_model=8, len_max_seq=4)
    with pytest.raises(InputError, match="sequences of 5 dates"):
        fixed(torch.rand(2, 5, 8))


@torch.no_grad()
def test_utae_ignores_padded_frames() -> None:
    net = UTAE(3, (8, 8), (8, 8), (4, 2), n_head=2, d_model=8, d_k=2, encoder_norm="instance").eval()
    x, days = torch.rand(1, 4, 3, 8, 12), torch.arange(4.0)[None]
    plain = net(x, days)
    assert plain.scores.shape == (1, 2, 8, 12)
    more = torch.cat([x, torch.zeros(1, 2, 3, 8, 12)], 1)
    found = net(more, torch.tensor([[0.0, 1, 2, 3, 0, 0]]), maps=True)
    assert found.attention.shape[2] == 6
    assert float(found.attention[:, :, 4:].max()) == 0
    assert len(found.maps) == 2
    with pytest.raises(InputError, match="end alike"):
        UTAE(3, (8, 8), (8, 4))
