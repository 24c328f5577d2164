"""Deep-Harmonization: networks, options, ensemble, losses, metrics and data pieces."""

from __future__ import annotations

import gc
import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sitsfusion.checkpoints.deepharmo_names import MB_RRDB, UNET, infer_config, renaming
from sitsfusion.datasets.s2l8h import prepare_patch, split_box
from sitsfusion.losses import deepharmo as losses
from sitsfusion.methods.deepharmo.images import network_images, onto
from sitsfusion.metrics import deepharmo as metrics
from sitsfusion.nets.deepharmo import DeepHarmoNet, MbRrdb
from sitsfusion.nets.deepharmo_config import DeepHarmoConfig
from sitsfusion.nets.deepharmo_ensemble import mean_and_variance
from sitsfusion.nets.unet import UNet
from sitsfusion.sensors import get
from sitsfusion.sensors.model import QualityRule
from tests.golden import recipe
from tests.golden.adapters.metrics import deep_harmonization
from tests.golden.goldens import Golden, adapter, captured

Arrays = dict[str, np.ndarray]


def drawn(golden: Golden, name: str) -> Tensor:
    spec = golden.meta["inputs"][name]
    return torch.from_numpy(recipe.array(name, tuple(spec["shape"]), golden.seed, spec["low"], spec["high"]))


def fill(net: nn.Module, names: dict[str, str], seed: int) -> nn.Module:
    """Every entry drawn by the recipe under its published name, one at a time; `names` is {ours: published}."""
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            dtype = str(tensor.dtype).removeprefix("torch.")
            tensor.copy_(torch.from_numpy(np.array(recipe.weight(names[name], tuple(tensor.shape), seed, dtype))))
    return net.eval()


def seeded(config: DeepHarmoConfig, seed: int) -> DeepHarmoNet:
    net = DeepHarmoNet(config)
    fill(net, renaming(config).to_published(net.state_dict()), seed)
    return net


def config_of(options: dict) -> DeepHarmoConfig:
    return DeepHarmoConfig(**{k: v for k, v in options.items() if k in DeepHarmoConfig.model_fields})


def stored_step(golden: Golden, words: str = "stored ") -> int:
    """n of `stored [:, :, ::n, ::n]`."""
    return int(captured(re.escape(words) + r"\[[:, ]*?::(\d+)", golden.meta["call"]))


def numpy(**outputs: Tensor) -> Arrays:
    return {name: out.detach().numpy() for name, out in outputs.items()}


@adapter(*(f"s2l8h_unet_{depth}depth_{mode}" for depth in (5, 6) for mode in ("upsample", "shuffle")))
@torch.inference_mode()
def published_unets(golden: Golden) -> Arrays:
    config = config_of(golden.meta["config"])
    with torch.device("meta"):
        empty = DeepHarmoNet(config)
    names = renaming(config).to_published(empty.state_dict())
    shapes = {names[name]: [list(t.shape), "float32"] for name, t in empty.state_dict().items()}
    assert shapes == golden.keys()
    assert sum(p.numel() for p in empty.parameters()) == golden.meta["n_parameters"]
    assert infer_config({n: torch.empty(s, device="meta") for n, (s, _) in shapes.items()}, golden.stem) == config
    net = fill(empty.to_empty(device="cpu"), names, golden.seed)
    every = stored_step(golden)
    count = len([name for name in golden.meta["inputs"] if name.startswith("ms")])
    found = numpy(
        **{
            f"out{i}": net(drawn(golden, f"ms{i}"), drawn(golden, f"pan{i}"))[:, :, ::every, ::every].contiguous()
            for i in range(count)
        }
    )
    del net, empty
    gc.collect()  # up to 905 MB
    return found


@adapter("s2l8h_aunet_options")
@torch.inference_mode()
def options(golden: Golden) -> Arrays:
    ms, pan, given = drawn(golden, "ms"), drawn(golden, "pan"), golden.meta["config"]
    every = stored_step(golden)
    found: dict[str, Tensor] = {}
    for name in golden.outputs:
        if name in ("gaussian_mean", "gaussian_variance"):
            continue
        mode, attention, eca, *rest = name.split(".")
        choice = {"up_mode": mode, "spatial_attention": attention, "ca_layer": eca == "eca"}
        assert (eca in ("eca", "noeca"), rest in ([], ["nopan"])) == (True, True), name
        no_pan = {"in_channels": ms.shape[1]} if rest else {}
        net = seeded(config_of({**given, **choice, **no_pan}), golden.seed)
        found[name] = (net(ms) if rest else net(ms, pan))[:, :, ::every, ::every]
    mode, attention = (captured(p, golden.meta["call"]) for p in (r"Gaussian\((\w+),", r"Gaussian\(\w+, (\w+),"))
    choice = {"up_mode": mode, "spatial_attention": attention, "head": "gaussian"}
    choice["ca_layer"] = "no eca" not in golden.meta["call"]
    gaussian = seeded(config_of({**given, **choice}), golden.seed)
    found["gaussian_mean"], found["gaussian_variance"] = gaussian(ms, pan)
    return numpy(**found)


@adapter("s2l8h_baselines")
@torch.inference_mode()
def benchmark_networks(golden: Golden) -> Arrays:
    ms, pan = drawn(golden, "ms"), drawn(golden, "pan")
    c = golden.meta["config"]["srunet"]
    unet = UNet(c["in"], c["out"], c["depth"], c["growth_factor"])
    names = UNET.to_published(unet.state_dict())
    assert {n: list(unet.state_dict()[o].shape) for o, n in names.items()} == {
        n: shape for n, (shape, _) in golden.keys("s2l8h_baseline_srunet").items()
    }
    fill(unet, names, golden.seed)
    c = golden.meta["config"]["mb_rrdb"]
    dense = MbRrdb(c["nChannels"], c["nInitFeat"], c["nDenseLayers"], c["GrowthRate"])
    names = MB_RRDB.to_published(dense.state_dict())
    assert set(names.values()) == set(golden.keys("s2l8h_baseline_mbrrdb"))
    fill(dense, names, golden.seed)
    return numpy(srunet=unet(torch.cat([ms, pan], 1)), mb_rrdb=dense(ms, pan))


@adapter("s2l8h_ensemble")
@torch.inference_mode()
def ensemble(golden: Golden) -> Arrays:
    given, s2 = golden.meta["config"], drawn(golden, "s2")
    ms, pan = network_images(drawn(golden, "l8"), drawn(golden, "pan"), tuple(s2.shape[-2:]))
    nets = []
    for member, seed in zip(given["members"], given["member seeds"], strict=True):
        depth, mode = member.split()
        nets.append(seeded(DeepHarmoConfig(depth=int(depth), up_mode=mode, growth_factor=given["growth_factor"]), seed))
    mean, variance = mean_and_variance(net(ms, pan) for net in nets)
    limits, scores = golden.tolerance(), metrics.uncertainty_scores(mean[0], variance[0], s2[0])
    assert scores == pytest.approx(golden.meta["uncertainty"], rel=limits["rtol"], abs=limits["atol"])
    every = stored_step(golden)
    return numpy(mean=mean, variance=variance, l8_resized=ms[:, :, ::every, ::every])


@adapter("s2l8h_losses")
def loss_values(golden: Golden) -> Arrays:
    pred, target, var = (drawn(golden, name) for name in ("pred", "target", "var"))
    nll = losses.gaussian_nll
    pixel, kernels = torch.nn.functional, losses.gradient_kernels()
    less = float(captured(r"short form with var - ([\d.]*\d)", golden.meta["call"]))
    channel = int(captured(r"stored channel (\d+) only", golden.meta["call"]))
    found = {
        "l1": pixel.l1_loss(pred, target),
        "ssim_value_win7": 1 - losses.ssim_loss(pred, target),
        "gnll_mae_short": nll(pred, var, target, form="mae"),
        "gnll_mae_full": nll(pred, var, target, form="mae", full=True),
        "gnll_mse_short": nll(pred, var, target),
        "gnll_mse_full": nll(pred, var, target, full=True),
        "gnll_mse_clamped": nll(pred, var - less, target),
        "torch_gnll": nll(pred, var, target),
        "torch_gnll_full": nll(pred, var, target, full=True),
        **{f"mge_{f}": losses.mixed_gradient(pred, target, form=f, mix_bands=True) for f in ("mse", "rmse", "mae")},
    }
    limits = golden.tolerance()
    assert {k: float(v) for k, v in found.items()} == pytest.approx(
        golden.meta["losses"], rel=limits["rtol"], abs=limits["atol"]
    )
    pan = drawn(golden, "pan")
    return numpy(
        edges=losses.gradient_magnitude(pred, mix_bands=True).expand_as(pred)[:, channel],
        kernel_x=kernels[0],
        kernel_y=kernels[1],
        highpass=losses.high_pass(pan),
        edge=losses.edges(pan),
    )


@adapter("s2l8h_metrics")
def metric_values(golden: Golden) -> Arrays:
    gt = drawn(golden, "gt")
    p = gt + drawn(golden, "err")
    limits = {"rel": golden.tolerance()["rtol"], "abs": golden.tolerance()["atol"]}
    found = metrics.image_scores(p, gt)
    assert found == pytest.approx(golden.meta["metrics"], **limits)
    assert metrics.band_scores(p, gt) == pytest.approx(golden.meta["bandwise"], **limits)
    for index, expected in golden.meta["derived"].items():
        assert metrics.index_scores(p, gt, index) == pytest.approx(expected, **limits)
    deep_harmonization(golden)
    return {"check": np.array([found[name] for name in golden.meta["metrics"]])}


# What the sentence says before the step at which each part of a sample is stored.
_STORED = {"s2": "stored ", "l8": "sample_l8 ", "pan": "sample_pan "}


@adapter("s2l8h_pipeline")
def pipeline(golden: Golden) -> Arrays:
    inputs = {name: _expression(text, golden.seed) for name, text in golden.meta["inputs"].items()}
    landsat = get("landsat-8-9-c2-l2").rule("QA_PIXEL")
    assert landsat is not None
    published = QualityRule(layer="SCL", source="the publication's default set", invalid_classes=(0, 3, 8, 9, 10))
    ms, pan = network_images(
        torch.from_numpy(inputs["ms_dn"] * np.float32(2.75e-5) + np.float32(-0.2))[None],
        torch.from_numpy(inputs["pan_dn"] * np.float32(2e-5) + np.float32(-0.1))[None],
    )
    patch = prepare_patch(inputs["s2_dn"], inputs["l8_dn"], inputs["pan_toa"])
    assert onto(torch.from_numpy(patch.l8)[None], patch.s2.shape[-2:]).shape[-2:] == patch.s2.shape[-2:]
    steps = {name: stored_step(golden, words) for name, words in _STORED.items()}
    s2, l8, pan_sample = (getattr(patch, n)[:, :: steps[n], :: steps[n]] for n in ("s2", "l8", "pan"))
    return {
        "l8_cloud": ~landsat.clear(inputs["qa"]),
        "s2_cloud": ~published.clear(inputs["scl"]),
        "ms_in": ms[0].numpy(),
        "pan_in": pan[0].numpy(),
        "boxes": split_box(*_box(golden)),
        "sample_s2": s2,
        "sample_l8": l8,
        "sample_pan": pan_sample,
    }


def _expression(text: str, seed: int) -> np.ndarray:
    """The array that the meta describes: sums of [2**]floor(recipe.array(...)) and plain draws."""
    draws = re.findall(r"recipe\.array\('(\w+)', ?\(([\d, ]+)\), ?seed, ?([-\d.]+), ?([-\d.]+)\)", text)
    arrays = [recipe.array(n, tuple(map(int, s.split(","))), seed, float(a), float(b)) for n, s, a, b in draws]
    if "2**floor" in text:
        return sum((2 ** np.floor(a).astype(np.int64) for a in arrays), np.zeros_like(arrays[0], dtype=np.int64))
    (values,) = arrays
    values = np.floor(values) if "floor" in text else values
    return values.astype(np.int64) if text.startswith("int") else values


def _box(golden: Golden) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Bounds, patch size and overlap, from the text; the patch size of other runs is read off the boxes."""
    call, boxes = golden.meta["call"], golden.outputs["boxes"]
    found = re.search(
        r"tiling of \(([\d., ]+)\) by (\d+) x (\d+) with overlap \(([\d., ]+)\)(?: \[held-out: (.*?)\])?", call
    )
    assert found is not None, call
    bounds, _, _, overlap, other = found.groups()
    first = boxes[0]
    size = (float(first[2] - first[0]), float(first[3] - first[1]))
    candidates = [tuple(float(v) for v in text.strip("()").split(",")) for text in (overlap, other) if text]
    box = tuple(float(v) for v in bounds.split(","))
    fitting = [c for c in candidates if np.array_equal(split_box(box, size, c), boxes)]
    return box, size, fitting[0] if fitting else candidates[0]
