"""DSen2, DSTFN, and the three single-date methods as the TAMRFSITS comparison ran them."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor, nn

from sitsfusion.checkpoints import dstfn_names
from sitsfusion.checkpoints.deepharmo_names import renaming
from sitsfusion.methods.deepharmo.reference import PUBLISHED_WEIGHTS, harmonise_series
from sitsfusion.methods.dsen2.reference import sharpen_series
from sitsfusion.methods.dstfn.reference import coarse_of, fuse_series
from sitsfusion.nets.deepharmo import DeepHarmoNet
from sitsfusion.nets.deepharmo_config import DeepHarmoConfig
from sitsfusion.nets.dsen2 import Dsen2Net
from sitsfusion.nets.dstfn import DstfnNet
from sitsfusion.nets.dstfn_config import DstfnConfig
from sitsfusion.series import Series
from tests.golden import recipe
from tests.golden.goldens import Golden, adapter, captured

Arrays = dict[str, np.ndarray]


def draw(text: str, seed: int, **names: int) -> Tensor:
    """The array of "[round(]recipe.array('name',(shape),seed[,low,high])..."; `names` are sizes used in the shape."""
    found = re.search(r"recipe\.array\('([\w.]+)', ?\(([\w, ]+)\), ?seed(?:, ?([-\d.]+), ?([-\d.]+))?\)", text)
    assert found is not None, text
    name, shape, low, high = found.groups()
    sizes = tuple(names[s] if s in names else int(s) for s in shape.replace(" ", "").split(","))
    limits = (float(low), float(high)) if low else ()
    values = recipe.array(name, sizes, seed, *limits)
    return torch.from_numpy(np.round(values) if text.startswith("round") else values)


def fill(net: nn.Module, seed: int, names: dict[str, str] | None = None) -> nn.Module:
    """Every entry drawn by the recipe under its published name; `names` is {ours: published}."""
    state = net.state_dict()
    drawn = {n: recipe.weight((names or {}).get(n, n), tuple(t.shape), seed) for n, t in state.items()}
    net.load_state_dict({n: torch.from_numpy(np.array(w)) for n, w in drawn.items()})
    return net.eval()


def check_names(golden: Golden, listing: str, net: nn.Module, names: dict[str, str] | None = None) -> None:
    """The network's entries are those of a listing."""
    found = {(names or {}).get(n, n): [list(t.shape), "float32"] for n, t in net.state_dict().items()}
    assert found == golden.keys(listing)


@adapter("baseline_dsen2")
@torch.inference_mode()
def dsen2(golden: Golden) -> Arrays:
    inputs = golden.meta["inputs"]
    ten, twenty, sixty = (draw(inputs[n], golden.seed) for n in ("s2_10", "s2_20", "s2_60"))
    nets = {
        name: fill(Dsen2Net(c["inputs"], c["num_layers"], c["feature_size"]), golden.seed)
        for name, c in golden.meta["config"].items()
    }
    check_names(golden, "dsen2_20m", Dsen2Net((4, 6), 6, 128))
    check_names(golden, "dsen2_60m", Dsen2Net((4, 6, 2), 6, 128))
    check_names(golden, "dsen2_60m_small", Dsen2Net((4, 6, 2), 3, 24))
    with torch.device("meta"):
        check_names(golden, "vdsen2_20m", Dsen2Net((4, 6), 32, 256))
    hr = draw(inputs["dsen2.hr"], golden.seed)
    found = re.search(r"dates \[([\d, ]+)\]", golden.meta["outputs"]["series"])
    kept = [int(t) for t in found[1].split(",")] if found else list(range(hr.shape[1]))
    series = sharpen_series(nets["20m"], Series(hr, torch.arange(hr.shape[1])[None].expand(len(hr), -1)))
    return {
        "out20": nets["20m"](ten, twenty).numpy(),
        "out60": nets["60m"](ten, twenty, sixty).numpy(),
        "series": series.values[0, kept].numpy(),
    }


def dstfn_net(golden: Golden, kind: str) -> DstfnNet:
    c = golden.meta["config"]
    fine, coarse = ("ncha_s2_hr", "ncha_s2_lr") if kind == "net1" else ("ncha_s2", "ncha_l8")
    config = DstfnConfig(
        kind=kind, fine_bands=c[fine], coarse_bands=c[coarse], pan_bands=c["ncha_l8_pan"],
        features=c["nFeat"], layers=c["nDense"], growth=c["growthRate"], ratio=c["ratio"],
    )  # fmt: skip
    net = DstfnNet(config)
    names = dstfn_names.renaming(kind).to_published(net.state_dict())
    published = {names[n]: t for n, t in net.state_dict().items()}
    if (config.features, config.layers, config.growth) == (16, 2, 8):  # what the listings are of
        check_names(golden, f"dstfn_{kind}_small", net, names)
    # a network without panchromatic band does not say how many it would have
    assert dstfn_names.infer_config(published, golden.stem).model_copy(update={"pan_bands": 1}) == config
    fill(net, golden.seed, names)
    return net


@adapter("baseline_dstfn")
@torch.inference_mode()
def dstfn(golden: Golden) -> Arrays:
    x = {name: draw(text, golden.seed) for name, text in golden.meta["inputs"].items()}
    nets = {kind: dstfn_net(golden, kind) for kind in ("net2", "net1", "slfnt1")}
    return {
        "net2": nets["net2"](x["s2"], x["l8"], x["pan"]).numpy(),
        "net1": nets["net1"](x["s2_hr"], x["s2_lr"]).numpy(),
        "slfnt1": nets["slfnt1"](x["s2"], x["l8"]).numpy(),
    }


@adapter("baseline_dstfn_wrapper")
def dstfn_wrapper(golden: Golden) -> Arrays:
    lr, hr = (golden.meta[role] for role in ("lr", "hr"))
    lr_values, hr_values = draw(lr["data"], golden.seed), draw(hr["data"], golden.seed)
    share = float(lr["mask"].rpartition("<")[2])
    lr_mask = draw(lr["mask"], golden.seed) < share
    b, t, _, h, w = hr_values.shape
    name = re.search(r"recipe\.array\('([\w.]+)'", hr["mask"])
    assert name is not None
    drawn = torch.from_numpy(recipe.array(name[1], (b, t, h, w), golden.seed))
    hr_mask = drawn < torch.tensor(hr["cover"])[None, :, None, None]
    low = Series(lr_values, torch.tensor(lr["doy"]), ~lr_mask)
    high = Series(hr_values, torch.tensor(hr["doy"]), ~hr_mask)
    mtf = float(captured(r"mtf_for_downsampling=([\d.]*\d)", golden.meta["what"]))
    coarse = coarse_of(low, mtf)
    fused = fuse_series(dstfn_net(golden, "net2"), low, high, mtf)
    return {"hr": fused.values.numpy(), "lr30": coarse.values.numpy(), "lr30_mask": ~coarse.usable().numpy()}


@adapter("baseline_deepharmo_wrapper")
def deepharmo_wrapper(golden: Golden) -> Arrays:
    growth = int(re.search(r"growth (\d+)", golden.meta["members"])[1])  # type: ignore[index]
    said = re.findall(r"depth (\d) (\w+) \((?:weights seed )?(\d+)\*seed\+(\d+)\)", golden.meta["members"])
    assert len(said) == len(re.findall(r"\bdepth \d", golden.meta["members"]))
    members = []
    for depth, mode, times, plus in said:
        config = DeepHarmoConfig(depth=int(depth), up_mode=mode, growth_factor=growth)
        net = DeepHarmoNet(config)
        fill(net, int(times) * golden.seed + int(plus), renaming(config).to_published(net.state_dict()))
        members.append(net)
    values = draw(golden.meta["lr"], golden.seed)
    series = Series(values, torch.arange(values.shape[1])[None].expand(len(values), -1))
    return {
        "hr": harmonise_series(members, series, PUBLISHED_WEIGHTS[: len(members)]).values.numpy(),
        "hr_fixed": harmonise_series(members, series).values.numpy(),
    }
