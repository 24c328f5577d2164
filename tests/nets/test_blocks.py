from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.nets import temporal
from sitsfusion.nets.carn import Carn
from sitsfusion.nets.positional import FixedTemporalEncoding, LearnableTemporalEncoding, combine
from sitsfusion.nets.rrdb import DenseBlock, EsrEncoder, Rrdb
from sitsfusion.nets.temporal import Attention, CrossAttention, TemporalTransformer
from sitsfusion.nets.unet import UNet
from tests.nets.small import images


@given(day=st.floats(-1000, 4000, width=32), features=st.integers(2, 9), offset=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_fixed_encoding_is_its_formula(day: float, features: int, offset: int) -> None:
    got = FixedTemporalEncoding(features, 365, offset)(torch.tensor([day]))[0]
    for i in range(features):
        angle = day / 365 ** (2 * math.floor((i + offset) / 2) / features)
        expected = math.sin(angle) if i % 2 == 0 else math.cos(angle)
        assert got[i].item() == pytest.approx(expected, abs=1e-6 * (1 + abs(day)))


def test_encoding_stays_float32_in_a_network_of_reduced_precision() -> None:
    encoding = FixedTemporalEncoding(4).to(torch.bfloat16)
    assert encoding(torch.tensor([301], dtype=torch.int64)).dtype == torch.float32
    joined = combine(torch.zeros(1, 2, dtype=torch.bfloat16), encoding(torch.tensor([301])), "concat")
    assert joined.dtype == torch.bfloat16


def test_combine_modes() -> None:
    features, encoding = torch.ones(2, 3, 4), torch.full((3, 4), 2.0)
    assert combine(features, encoding, "add").eq(3).all()
    assert combine(features, encoding, "yield").eq(2).all()
    concat = combine(features, encoding, "concat")
    assert concat[..., :4].eq(1).all()
    assert concat[..., 4:].eq(2).all()
    assert concat.shape == (2, 3, 8)


def test_learnable_encoding_is_linear_then_periodic() -> None:
    encoding = LearnableTemporalEncoding(3)
    a, b = encoding(torch.tensor([1.0])), encoding(torch.tensor([3.0]))
    slope = encoding.linear.weight.item()
    assert (b - a)[0, 0].item() == pytest.approx(2 * slope, abs=1e-5)
    assert a[0, 1:].abs().max() <= 1


def test_residual_scale_zero_makes_blocks_the_identity() -> None:
    x = images(0, 1, 4, 5, 5)
    torch.testing.assert_close(DenseBlock(4, 2, residual_scale=0.0)(x), x)
    block = Rrdb(4, 2, residual_scale=0.0)
    torch.testing.assert_close(block(x), x)
    block.load_state_dict(block.state_dict() | {"scale": torch.tensor(1.0)})
    torch.testing.assert_close(block(x), 2 * x)


def test_esr_encoder_sees_17_pixels() -> None:
    """Receptive field of one RRDB block: the margin that exact tiling needs."""
    encoder = EsrEncoder(1, features=4, growth=2).eval()
    dark, lit = torch.zeros(1, 1, 41, 41), torch.zeros(1, 1, 41, 41)
    lit[..., 20, 20] = 100.0
    with torch.no_grad():
        changed = (encoder(lit) - encoder(dark)).abs().amax(dim=(0, 1))  # [41, 41]
    rows = changed.amax(dim=1).nonzero()
    assert rows.min() >= 20 - 17
    assert rows.max() <= 20 + 17
    assert rows.max() > 20 + 8


@pytest.mark.parametrize(("height", "width"), [(4, 4), (7, 5), (9, 14)])
def test_unet_and_carn_keep_any_size(height: int, width: int) -> None:
    x = images(0, 2, 3, height, width)
    assert UNet(3, 2, depth=3, growth=2)(x).shape == (2, 2, height, width)
    assert UNet(3, 2, depth=2, growth=2, factor=2)(x).shape == (2, 2, 2 * height, 2 * width)
    assert Carn(3, 2, features=2, blocks=1, groups=2, factor=3)(x).shape == (2, 2, 3 * height, 3 * width)


class TestAttention:
    layer = CrossAttention(8, 2, 12).eval()
    tokens, queries = images(1, 2, 6, 5, 8), images(2, 2, 1, 3, 8)

    def test_is_the_formula_with_a_zero_key(self) -> None:
        attention = self.layer.attention
        with torch.no_grad():
            got = attention.attend(attention.query(self.queries), *attention.key_value(self.tokens))
            q = attention.query(self.queries).unflatten(-1, (2, 4))
            k, v = (x.unflatten(-1, (2, 4)) for x in attention.key_value(self.tokens))
            exp = (torch.einsum("bxqhe,bpkhe->bphqk", q, k) / 2).exp()
            weights = exp / (1 + exp.sum(dim=-1, keepdim=True))
            expected = torch.einsum("bphqk,bpkhe->bpqhe", weights, v).flatten(-2)
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)

    def test_equals_the_layer_of_pytorch(self) -> None:
        reference = torch.nn.MultiheadAttention(8, 2, add_zero_attn=True, batch_first=True).eval()
        attention = self.layer.attention
        names = {"in_proj_weight": "in_proj.weight", "in_proj_bias": "in_proj.bias"}
        state = attention.state_dict()
        reference.load_state_dict({n: state[names.get(n, n)] for n in reference.state_dict()})
        tokens, queries = self.tokens.flatten(0, 1), self.queries.expand(-1, 6, -1, -1).flatten(0, 1)
        with torch.no_grad():
            expected = reference(queries, tokens, tokens, need_weights=False)[0]
            got = attention(self.queries, self.tokens).flatten(0, 1)
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)

    def test_masked_keys_are_as_if_absent_and_no_key_gives_zero(self) -> None:
        mask = torch.zeros(2, 6, 5, dtype=torch.bool)
        mask[..., 3:] = True
        mask[0, 2] = True
        with torch.no_grad():
            masked = self.layer(self.queries, self.tokens, mask)
            without = self.layer(self.queries, self.tokens[:, :, :3])
        assert masked[0, 2].eq(0).all()
        torch.testing.assert_close(masked[1], without[1], rtol=1e-5, atol=1e-6)

    def test_without_any_date_the_attention_is_its_output_bias(self) -> None:
        attention = Attention(8, 2, zero_key=True)
        torch.nn.init.normal_(attention.out_proj.bias)
        out = attention(self.queries, self.tokens[:, :, :0])
        torch.testing.assert_close(out, attention.out_proj.bias.expand_as(out))

    def test_items_beyond_the_limit_of_gpu_kernels_go_in_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        mask = images(3, 2, 6, 5) > 0
        with torch.no_grad():
            whole = self.layer(self.queries, self.tokens, mask)
            monkeypatch.setattr(temporal, "MAX_BATCH", 5)
            parts = self.layer(self.queries, self.tokens, mask)
        torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-6)

    def test_transformer_equals_the_one_of_pytorch(self) -> None:
        ours = TemporalTransformer(8, 2, 12, layers=1).eval()
        reference = torch.nn.TransformerEncoderLayer(8, 2, 12, batch_first=True).eval()
        names = {
            "self_attn.in_proj_weight": "attention.in_proj.weight",
            "self_attn.in_proj_bias": "attention.in_proj.bias",
        }
        state = ours.layers[0].state_dict()
        reference.load_state_dict(
            {n: state[names.get(n, n.replace("self_attn", "attention"))] for n in reference.state_dict()}
        )
        with torch.no_grad():
            expected = reference(self.tokens.flatten(0, 1)).unflatten(0, (2, 6))
            torch.testing.assert_close(ours(self.tokens), expected, rtol=1e-5, atol=1e-6)

    def test_dropout_acts_in_training_only(self) -> None:
        layer = CrossAttention(8, 2, 12, dropout=0.5)
        torch.manual_seed(0)
        assert not torch.equal(layer.train()(self.queries, self.tokens), layer(self.queries, self.tokens))
        assert torch.equal(layer.eval()(self.queries, self.tokens), layer(self.queries, self.tokens))
