from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.nets.tamrfsits import VARIANTS, SpatialEncoder, TamrfsitsConfig, TamrfsitsNet, spatial_decoder
from sitsfusion.nets.tamrfsits_config import DECODERS, HR_ENCODERS, LR_ENCODERS
from tests.nets.small import SMALL_DECODERS, SMALL_ENCODERS, images, small_config, small_net

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
QUERY = torch.tensor([0.0, -3.0, 17.5, 400.0])


def count(net: torch.nn.Module) -> int:
    return sum(tensor.numel() for tensor in net.state_dict().values())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("s1t3", 2_329_258),
        ("s2t3", 3_768_114),
        ("s3t3", 5_206_970),
        ("s1t2", 2_184_162),
        ("s1t1", 2_039_066),
        ("no_sensor_tokens", 2_258_458),
    ],
)
def test_size_variants_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        assert count(TamrfsitsNet(VARIANTS[name])) == parameters


def test_residual_scales_are_stored_but_not_trained() -> None:
    with torch.device("meta"):
        net = TamrfsitsNet()
    assert sum(p.numel() for p in net.parameters()) == 2_329_250
    assert count(net.encoder) == 1_995_440
    assert count(net.decoder) == 333_818
    assert sum(name.endswith("scale") for name in net.state_dict()) == 8


@pytest.mark.parametrize(
    ("role", "name", "parameters"),
    [
        ("hr", "esrenc", 762_180),
        ("hr", "esrgan", 872_964),
        ("hr", "carn", 4_448_832),
        ("hr", "unet", 1_870_986),
        ("hr", "mlp", 42_688),
        ("hr", "linear", 704),
        ("lr", "esrenc", 797_956),
        ("lr", "esrgan", 2_310_668),
        ("lr", "carn", 8_321_600),
        ("lr", "unet", 1_869_834),
        ("lr", "mlp", 25_920),
        ("lr", "linear", 576),
    ],
)
def test_encoder_groups_have_the_published_number_of_parameters(role: str, name: str, parameters: int) -> None:
    group = (HR_ENCODERS if role == "hr" else LR_ENCODERS)[name]
    with torch.device("meta"):
        assert count(SpatialEncoder(group, 10 if role == "hr" else 8, 64, 1 if role == "hr" else 3)) == parameters


@pytest.mark.parametrize(("name", "parameters"), [("esrdec", 188_650), ("mlp", 52_882)])
def test_decoder_groups_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    assert count(spatial_decoder(DECODERS[name], 136, 18)) == parameters


class TestProperties:
    """Section 14: what must hold whatever the weights."""

    net = small_net()
    lr, lr_days = images(1, 1, 3, 2, 3, 4), torch.tensor([[3, 100, 250]])
    hr, hr_days = images(2, 1, 4, 3, 9, 12), torch.tensor([[0, 51, 100, 301]])

    def run(self, query: Tensor = QUERY) -> Tensor:
        with torch.no_grad():
            return self.net(self.lr, self.lr_days, self.hr, self.hr_days, query)

    def test_shape(self) -> None:
        assert self.run().shape == (1, 4, 5, 9, 12)

    @given(order=st.permutations(range(4)), lr_order=st.permutations(range(3)))
    @settings(max_examples=8, deadline=None)
    def test_order_of_dates_has_no_effect(self, order: list[int], lr_order: list[int]) -> None:
        with torch.no_grad():
            permuted = self.net(
                self.lr[:, lr_order], self.lr_days[:, lr_order], self.hr[:, order], self.hr_days[:, order], QUERY
            )
        torch.testing.assert_close(permuted, self.run(), **CLOSE)

    def test_queries_together_one_by_one_or_repeated(self) -> None:
        together = self.run()
        alone = torch.cat([self.run(day[None]) for day in QUERY], dim=1)
        torch.testing.assert_close(alone, together, **CLOSE)
        twice = self.run(QUERY[[2, 2, 0]])
        torch.testing.assert_close(twice, together[:, [2, 2, 0]], **CLOSE)
        assert not torch.allclose(together[:, 0], together[:, 2], atol=1e-3)

    def test_a_batch_of_two_equals_two_calls_with_different_days(self) -> None:
        lr, hr = images(3, 2, 3, 2, 3, 4), images(4, 2, 4, 3, 9, 12)
        lr_days = torch.tensor([[0.0, 10, 20], [-5, 7.5, 800]])
        hr_days = torch.tensor([[1, 2, 3, 4], [5, 60, 700, -8]])
        query = torch.tensor([[0.0, 9], [30, 366]])
        with torch.no_grad():
            both = self.net(lr, lr_days, hr, hr_days, query)
            singles = [self.net(*(x[i : i + 1] for x in (lr, lr_days, hr, hr_days, query))) for i in range(2)]
        torch.testing.assert_close(both, torch.cat(singles), **CLOSE)

    def test_days_may_be_of_any_number_type(self) -> None:
        query = torch.tensor([5, 77])
        torch.testing.assert_close(self.run(query), self.run(query.double()), rtol=0, atol=0)

    def test_a_series_of_no_date_equals_no_series(self) -> None:
        with torch.no_grad():
            none = self.net(self.lr, self.lr_days, None, None, QUERY)
            empty = self.net(self.lr, self.lr_days, self.hr[:, :0], self.hr_days[:, :0], QUERY)
        torch.testing.assert_close(none, empty, rtol=0, atol=0)
        assert not torch.allclose(none, self.run(), atol=1e-3)

    def test_hr_alone(self) -> None:
        with torch.no_grad():
            out = self.net(None, None, self.hr, self.hr_days, QUERY)
        assert out.shape == (1, 4, 5, 9, 12)
        assert out.isfinite().all()

    @pytest.mark.parametrize("role", ["both", "lr", "hr"])
    def test_no_date_at_all_gives_the_same_value_everywhere_but_at_borders(self, role: str) -> None:
        lr, hr = self.lr[:, :0], self.hr[:, :0]
        with torch.no_grad():
            out = self.net(
                lr if role != "hr" else None,
                torch.zeros(0),
                hr if role != "lr" else None,
                torch.zeros(0),
                QUERY,
            )
        inside = out[..., 2:-2, 2:-2]
        assert out.shape == (1, 4, 5, 9, 12)
        assert inside.isfinite().all()
        torch.testing.assert_close(inside, inside[..., :1, :1].expand_as(inside), **CLOSE)

    def test_gradients_reach_every_parameter(self) -> None:
        net = small_net().train()
        net(self.lr, self.lr_days, self.hr, self.hr_days, QUERY).square().mean().backward()
        untouched = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert untouched == []

    def test_pieces_called_one_by_one_give_the_whole(self) -> None:
        """The way streaming inference goes: frame by frame, then pixel chunks, then day by day."""
        encoder, decoder = self.net.encoder, self.net.decoder
        with torch.no_grad():
            frames = [encoder.features(self.lr[:, i], "lr") for i in range(3)]
            frames += [encoder.features(self.hr[:, i], "hr") for i in range(4)]
            pixels = torch.stack(frames, dim=1).flatten(3).permute(0, 3, 1, 2)  # [1, p, t, latent]
            lr = encoder.tokens(pixels[:, :, :3], self.lr_days, "lr")
            hr = encoder.tokens(pixels[:, :, 3:], self.hr_days, "hr")
            attended = []
            for chunk in torch.cat([lr, hr], dim=2).split(50, dim=1):
                k, v = decoder.cross.attention.key_value(encoder.temporal(chunk))
                queries = decoder.queries(QUERY)[None, None]  # [1, 1, tq, d]
                found = decoder.cross.attention.attend(decoder.cross.attention.query(queries), k, v)
                attended.append(decoder.cross.finish(queries, decoder.cross.attention.out_proj(found)))
            maps = torch.cat(attended, dim=1)[0].permute(1, 2, 0).unflatten(2, (9, 12))  # [tq, d, H, W]
            torch.testing.assert_close(decoder.spatial(maps)[None], self.run(), **CLOSE)


class TestInput:
    net = small_net()
    lr, hr = images(1, 1, 2, 2, 3, 4), images(2, 1, 2, 3, 9, 12)
    days = torch.tensor([0, 5])

    def test_both_none(self) -> None:
        with pytest.raises(InputError, match="both series are None"):
            self.net(None, None, None, None, QUERY)

    def test_no_days(self) -> None:
        with pytest.raises(InputError, match="lr_days is None"):
            self.net(self.lr, None, None, None, QUERY)

    def test_bands(self) -> None:
        with pytest.raises(InputError, match=r"hr has shape \(1, 2, 2, 9, 12\), expected \[b, t, 3, h, w\]"):
            self.net(None, None, self.hr[:, :, :2], self.days, QUERY)

    def test_number_of_days(self) -> None:
        with pytest.raises(InputError, match="lr has 2 dates but lr_days has 1"):
            self.net(self.lr, self.days[:1], None, None, QUERY)

    def test_sizes(self) -> None:
        with pytest.raises(InputError, match="exactly 3 times larger"):
            self.net(self.lr, self.days, self.hr[..., :11], self.days, QUERY)

    def test_query_batch(self) -> None:
        with pytest.raises(InputError, match=r"query_days has shape \(2, 4\)"):
            self.net(self.lr, self.days, None, None, QUERY.expand(2, -1))


class TestConfig:
    @pytest.mark.parametrize("name", [*HR_ENCODERS])
    def test_a_group_by_name_has_the_defaults_of_its_sensor(self, name: str) -> None:
        config = TamrfsitsConfig.from_dict({"hr_encoder": name, "lr_encoder": name})
        assert config.hr_encoder == HR_ENCODERS[name]
        assert config.lr_encoder == LR_ENCODERS[name]

    def test_options_left_out_are_those_of_the_group(self) -> None:
        config = TamrfsitsConfig.from_dict({"lr_encoder": {"name": "carn", "blocks": 2}})
        assert (config.lr_encoder.features, config.lr_encoder.blocks) == (32, 2)  # type: ignore[union-attr]

    @pytest.mark.parametrize("name", [*VARIANTS])
    def test_round_trip_through_json(self, name: str) -> None:
        text = json.dumps(VARIANTS[name].to_dict())
        assert TamrfsitsConfig.from_dict(json.loads(text)) == VARIANTS[name]

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"nope": 1}, "nope"),
            ({"layers": "many"}, "layers"),
            ({"hr_encoder": "resnet"}, "no group is named resnet"),
            ({"lr_encoder": {"name": "carn", "slope": 1}}, "slope"),
            ({"lr_encoder": 3}, "lr_encoder"),
            ({"heads": 5}, "136 cannot be split into 5 heads"),
            ({"encoding_mode": "add", "encoding_features": 32}, "found 32"),
        ],
    )
    def test_unfit_values_are_named(self, values: dict, message: str) -> None:
        with pytest.raises(InputError, match=message):
            TamrfsitsConfig.from_dict(values)


@pytest.mark.parametrize("decoder", [*SMALL_DECODERS])
@pytest.mark.parametrize("encoder", [*SMALL_ENCODERS])
def test_every_group_builds_runs_and_is_restored(encoder: str, decoder: str) -> None:
    options = {"hr_encoder": SMALL_ENCODERS[encoder], "lr_encoder": SMALL_ENCODERS[encoder]}
    net = small_net(**options, decoder=SMALL_DECODERS[decoder])
    again = TamrfsitsNet.from_dict(json.loads(json.dumps(net.config.to_dict()))).eval()
    again.load_state_dict(net.state_dict())
    lr, hr = images(1, 1, 2, 2, 5, 3), images(2, 1, 1, 3, 15, 9)
    with torch.no_grad():
        out = net(lr, torch.tensor([0, 9]), hr, torch.tensor([4]), QUERY)
        restored = again(lr, torch.tensor([0, 9]), hr, torch.tensor([4]), QUERY)
        empty = net(lr[:, :0], torch.zeros(0), hr[:, :0], torch.zeros(0), QUERY)
    assert out.shape == empty.shape == (1, 4, 5, 15, 9)
    assert out.isfinite().all()
    torch.testing.assert_close(out, restored, rtol=0, atol=0)


@pytest.mark.parametrize(
    "options",
    [
        {"encoding_mode": "add", "encoding_features": 8},
        {"encoding_mode": "yield"},
        {"encoding": "learnable"},
        {"sensor_token": 0},
        {"layers": 0},
        {"ratio": 2, "lr_encoder": {"name": "esrenc", "growth": 2, "base": 2}},
        {"ratio": 1},
        {"ratio": 2, "lr_encoder": {"name": "carn", "features": 2, "groups": 2}},
        {"ratio": 4, "lr_encoder": {"name": "esrgan", "growth": 2, "base": 2}},
    ],
)
def test_other_options_run(options: dict) -> None:
    net = small_net(**options)
    lr, hr = images(1, 1, 2, 2, 4, 3), images(2, 1, 1, 3, 4 * net.config.ratio, 3 * net.config.ratio)
    with torch.no_grad():
        out = net(lr, torch.tensor([0, 9]), hr, torch.tensor([4]), QUERY)
    assert out.shape == (1, 4, 5, *hr.shape[-2:])
    assert out.isfinite().all()


def test_a_ratio_that_the_encoder_cannot_reach() -> None:
    with pytest.raises(InputError, match="cannot enlarge by 4"):
        TamrfsitsNet(small_config(ratio=4))
    with pytest.raises(InputError, match="no power of 2"):
        TamrfsitsNet(small_config(ratio=6, lr_encoder={"name": "esrgan", "growth": 2, "base": 2}))
