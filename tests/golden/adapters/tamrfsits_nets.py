"""TAMRFSITS networks: the model, its blocks, its day encodings and its other encoders and decoders."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from sitsfusion.checkpoints.tamrfsits_infer import infer_architecture
from sitsfusion.checkpoints.tamrfsits_names import from_published, published_network_names
from sitsfusion.nets.positional import FixedTemporalEncoding, LearnableTemporalEncoding, combine
from sitsfusion.nets.rrdb import EsrEncoder
from sitsfusion.nets.tamrfsits import SpatialEncoder, TamrfsitsConfig, TamrfsitsNet, spatial_decoder
from sitsfusion.nets.tamrfsits_config import DECODERS, HR_ENCODERS, LR_ENCODERS, EncoderConfig, EsrEncConfig, UNetConfig
from sitsfusion.nets.temporal import without_key
from sitsfusion.nets.unet import UNet
from tests.golden import recipe
from tests.golden.adapters.series_ops import assigned, limited
from tests.golden.goldens import Golden, adapter, captured

Arrays = dict[str, np.ndarray]


def config_of(meta: dict) -> TamrfsitsConfig:
    """The network described by `meta["config"]`."""
    c = meta["config"]
    encoder = {"name": "esrenc", "rrdb": c["rrdb"], "growth": c["growth"], "base": c["ratio"]}
    same = ("hr_bands", "lr_bands", "out_bands", "ratio", "latent", "sensor_token", "heads", "layers")
    config = TamrfsitsConfig.from_dict(
        {name: c[name] for name in same}
        | {"hr_encoder": encoder, "lr_encoder": encoder}
        | {"encoding_features": c["pe_features"], "encoding_div": c["pe_div"], "encoding_mode": c["pe_mode"].lower()}
        | {"feedforward": c["ffn"], "decoder_feedforward": c["decoder_ffn"], "decoder_heads": c["heads"]}
    )
    assert config.width == c["d_model"]
    return config


def tensors(entries: dict[str, tuple], seed: int) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(w)) for name, w in recipe.state_dict(entries, seed).items()}


def network(golden: Golden) -> TamrfsitsNet:
    state = tensors(golden.keys("tamrfsits-model"), golden.seed)
    config = config_of(golden.meta)
    assert infer_architecture(state) == config
    net = TamrfsitsNet(config)
    net.load_state_dict(from_published(state, config, golden.stem))
    return net.eval()


def drawn(golden: Golden, name: str) -> Tensor:
    return torch.from_numpy(golden.draw(name))


def numpy(**outputs: Tensor) -> Arrays:
    return {name: out.detach().numpy() for name, out in outputs.items()}


def days(golden: Golden, name: str) -> Tensor:
    return torch.tensor(golden.meta[name])


def pixels(text: str) -> int:
    """n of `every nth pixel` or `pixels [::n, ::n]`."""
    return int(captured(r"(?:every |pixels \[::)(\d+)", text))


@adapter("tamrfsits-model")
@torch.no_grad()
def model(golden: Golden) -> Arrays:
    net, lr, hr = network(golden), drawn(golden, "lr"), drawn(golden, "hr")
    lr_days, hr_days, query = (days(golden, f"{k}_doy") for k in ("lr", "hr", "query"))
    coarse, fine = (pixels(golden.meta["outputs"][name]) for name in ("lr_only", "hr_only"))
    return numpy(
        both=net(lr, lr_days, hr, hr_days, query),
        lr_only=net(lr, lr_days, None, None, query)[..., ::coarse, ::coarse],
        hr_only=net(None, None, hr, hr_days, query)[..., ::fine, ::fine],
    )


def to_pixels(x: Tensor) -> Tensor:
    return rearrange(x, "b t d h w -> b (h w) t d")


def to_images(x: Tensor, height: int) -> Tensor:
    return rearrange(x, "b (h w) t d -> b t d h w", h=height)


def per_date(net: nn.Module, x: Tensor) -> Tensor:
    return net(x.flatten(0, 1)).unflatten(0, x.shape[:2])


@torch.no_grad()
def masked_cases(golden: Golden, net: TamrfsitsNet) -> Arrays:
    """Transformer and cross attention alone, with and without the key mask of `meta`."""
    tokens, queries = drawn(golden, "tokens"), drawn(golden, "queries")
    height = tokens.shape[-2]
    how = golden.meta["inputs"]["keymask"]["how"]
    cross_mask = torch.from_numpy(assigned(limited(golden.draw("keymask"), how), how))  # [b, t, h, w]
    mask = cross_mask.clone()
    mask[:, int(captured(r"date (\d+) is set unmasked", how))] = False
    mask, cross_mask = (rearrange(m, "b t h w -> b (h w) t") for m in (mask, cross_mask))
    tokens, queries = to_pixels(tokens), to_pixels(queries)
    cross, temporal = net.decoder.cross, net.encoder.temporal
    flag = rearrange(without_key(cross_mask), "b (h w) -> b 1 h w", h=height).expand(-1, queries.shape[2], -1, -1)
    return numpy(
        transformer=to_images(temporal(tokens), height),
        transformer_masked=to_images(temporal(tokens, mask), height),
        cross_attention=to_images(cross(queries, tokens), height),
        cross_attention_masked=to_images(cross(queries, tokens, cross_mask), height),
        cross_attention_mask=flag,
    )


@adapter("tamrfsits-blocks")
@torch.no_grad()
def blocks(golden: Golden) -> Arrays:
    net, lr, hr = network(golden), drawn(golden, "lr"), drawn(golden, "hr")
    encoder, decoder = net.encoder, net.decoder
    height, every = hr.shape[-2], golden.meta["spatial_stride"]
    query = days(golden, "query_doy").expand(hr.shape[0], -1)
    lr_sequence = encoder.sequence(lr, days(golden, "lr_doy"), "lr")
    hr_sequence = encoder.sequence(hr, days(golden, "hr_doy"), "hr")
    tokens = torch.cat([lr_sequence, hr_sequence], dim=2)
    encoded = encoder.temporal(tokens)
    images = {
        "lr_features": per_date(encoder.lr, lr),
        "hr_features": per_date(
            encoder.hr, hr[:, : int(captured(r"first (\d+) dates", golden.meta["outputs"]["hr_features"]))]
        ),
        "input_tokens": to_images(tokens, height),
        "encoded": to_images(encoded, height),
        "attended": to_images(decoder.attend(encoded, query), height),
    }
    return masked_cases(golden, net) | numpy(
        hr_encoder=per_date(encoder.hr, drawn(golden, "hr_small")),
        lr_encoder=per_date(encoder.lr, drawn(golden, "lr_small")),
        spatial_decoder=per_date(decoder.spatial, drawn(golden, "decoder_in")),
        query_tokens=decoder.queries(query),
        **{name: image[..., ::every, ::every] for name, image in images.items()},
    )


@adapter("tamrfsits-positional")
@torch.no_grad()
def positional(golden: Golden) -> Arrays:
    doy = days(golden, "doy")
    x = rearrange(drawn(golden, "x"), "b t c h w -> b h w t c")

    def encoded(encoding: nn.Module, mode: str, at: Tensor) -> Tensor:
        return rearrange(combine(x, encoding(at)[:, None, None], mode), "b h w t c -> b t c h w")

    learnable = LearnableTemporalEncoding(x.shape[-1])
    state = {n: recipe.weight(published(n), tuple(p.shape), golden.seed) for n, p in learnable.state_dict().items()}
    learnable.load_state_dict({n: torch.from_numpy(w) for n, w in state.items()})
    out: dict[str, Tensor] = {}
    for name in golden.outputs:
        text = golden.meta["outputs"][name]
        if name.startswith("learnable"):
            out[name] = encoded(learnable, "add", doy / float(captured(r"doy/([\d.]*\d)", text)))
            continue
        offset = int(captured(r"offset (-?\d+)", text)) if "offset" in text else 0
        features, div = (int(captured(p, text)) for p in (r"(\d+) features", r"div (\d+)"))
        modes = [mode for mode in ("add", "concat") if name.startswith(mode)]
        fixed = FixedTemporalEncoding(x.shape[-1] if modes == ["add"] else features, div, offset)
        out[name] = encoded(fixed, modes[0], doy) if modes else fixed(doy)
    return numpy(**out)


def published(name: str) -> str:
    """Name of an entry of the learnable encoding: linear.weight -> learnable_pe.linear_time_layer.weight."""
    layer, entry = name.split(".")
    return f"learnable_pe.{layer}_time_layer.{entry}"


def load_network(net: nn.Module, config: EncoderConfig, entries: dict, prefix: str, seed: int) -> nn.Module:
    """Load the entries of the listing into a network by their published names, every one being used."""
    state = tensors(entries, seed)
    names = {ours: tuple(prefix + n for n in published_network_names(config, ours)) for ours in net.state_dict()}
    assert {n for several in names.values() for n in several} == set(state)
    net.load_state_dict({ours: state[several[-1]] for ours, several in names.items()})
    return net.eval()


def encoder_variant(golden: Golden, case: str, entries: dict) -> Tensor:
    role, name = case.split("_")
    x = drawn(golden, f"{role}_var")
    coarse = role == "lr"
    config = (LR_ENCODERS if coarse else HR_ENCODERS)[name]
    net = SpatialEncoder(config, x.shape[2], 64, 3 if coarse else 1)
    load_network(net.network, config, entries, f"{case}.model.", golden.seed)
    text = golden.meta["outputs"][f"{role}_*"]
    channels, step = int(captured(r"channels \[::(\d+)\]", text)), pixels(text)
    return per_date(net.eval(), x)[:, :, ::channels, ::step, ::step]


def decoder_variant(golden: Golden, case: str, entries: dict) -> Tensor:
    name = case.removeprefix("decoder_")
    x = drawn(golden, "dec_var")
    net = spatial_decoder(DECODERS[name], x.shape[2], golden.outputs[case].shape[2])
    prefix = f"{case}.model.{'decoder' if name == 'esrdec' else 'layers'}."
    net.load_state_dict({n.removeprefix(prefix): w for n, w in tensors(entries, golden.seed).items()})
    return per_date(net.eval(), x)


@adapter("tamrfsits-variants")
@torch.no_grad()
def variants(golden: Golden) -> Arrays:
    out: dict[str, Tensor] = {}
    listing = golden.keys()
    for case in golden.outputs:
        entries = listing[case]["entries"]
        if case == "esr_pixelshuffle":
            text = golden.meta["outputs"][case]
            bands, features, rrdb, growth, factor, base = (
                int(captured(p, text))
                for p in (
                    r"(\d+) bands",
                    r"latent (\d+)",
                    r"(\d+) RRDB",
                    r"growth (\d+)",
                    r"factor (\d+)",
                    r"base (\d+)",
                )
            )
            net = EsrEncoder(bands, features, rrdb, growth, factor=factor, base=base, upsampling="pixel_shuffle")
            load_network(net, EsrEncConfig(rrdb=rrdb), entries, f"{case}.", golden.seed)
            every = int(captured(r"channels \[::(\d+)\]", text))
            out[case] = net(drawn(golden, captured(r" on (\w+)", text)))[:, ::every]
        elif case == "srunet_x3":
            text = golden.meta["outputs"][case]
            sizes = (r"(\d+)->", r"->(\d+)", r"depth (\d+)", r"growth (\d+)", r"factor (\d+)")
            given, made, depth, growth, factor = (int(captured(p, text)) for p in sizes)
            unet: nn.Module = UNet(given, made, depth=depth, growth=growth, factor=factor)
            unet = load_network(unet, UNetConfig(), entries, f"{case}.", golden.seed)
            step = pixels(text)
            out[case] = unet(drawn(golden, captured(r" on (\w+)", text)))[..., ::step, ::step]
        else:
            run = decoder_variant if case.startswith("decoder_") else encoder_variant
            out[case] = run(golden, case, entries)
    return numpy(**out)
