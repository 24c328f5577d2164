"""L-TAE, U-TAE and U-TILISE: the networks and their blocks."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor, nn

from sitsfusion.nets.ltae import LTAE, LTAE2d
from sitsfusion.nets.utae import UTAE
from sitsfusion.nets.utae_blocks import Aggregation, aggregate
from sitsfusion.nets.utilise import UTILISE, UtiliseOutput
from sitsfusion.nets.utilise_config import PUBLISHED, UtiliseConfig
from sitsfusion.nets.utilise_temporal import TemporalEncoderLayer
from tests.golden import recipe
from tests.golden.goldens import DATA, Golden, adapter, captured, load

Arrays = dict[str, np.ndarray]


def load_drawn(net: nn.Module, seed: int, keep: tuple[str, ...] = ()) -> nn.Module:
    """The network with every weight drawn by its name (but `keep`), in eval mode."""
    own = net.state_dict()
    shapes = {n: (tuple(w.shape), str(w.dtype).removeprefix("torch.")) for n, w in own.items()}
    drawn = {n: torch.from_numpy(np.array(w)) for n, w in recipe.state_dict(shapes, seed).items()}
    net.load_state_dict(drawn | {n: own[n] for n in keep})
    return net.eval()


def drawn(name: str, shape: list[int], seed: int, low: float = -1, high: float = 1) -> Tensor:
    return torch.from_numpy(recipe.array(name, tuple(shape), seed, low, high))


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@adapter("ltae")
@torch.no_grad()
def ltae(golden: Golden) -> Arrays:
    out: Arrays = {}
    for name, case in golden.meta["cases"].items():
        options = {k: v for k, v in case["config"].items() if k != "return_att"}
        x = drawn(name.replace("/", ".") + ".x", case["x_shape"], golden.seed)
        net: nn.Module
        if name.startswith("ltae2d/"):
            net = load_drawn(LTAE2d(**options), golden.seed)
            y, att = net(x, torch.tensor(case["positions"]), torch.tensor(case["pad_mask"]))
        else:
            net = load_drawn(LTAE(**options), golden.seed, keep=("position_enc.weight",))
            y, att = net(x)
        assert count(net) == case["n_parameters"], name
        out |= {f"{name}/out": y.numpy(), f"{name}/att": att.numpy()}
    return out


@adapter("utilise_ltae_transformer")
@torch.no_grad()
def temporal_layer(golden: Golden) -> Arrays:
    out: Arrays = {}
    for name, case in golden.meta["cases"].items():
        # the norms have as many groups as there are heads, whatever the two last options say
        unused = ("return_att", "num_groups", "dim_per_group")
        options = {k: v for k, v in case["config"].items() if k not in unused}
        net = load_drawn(TemporalEncoderLayer(**options), golden.seed)
        x = drawn(f"ltae_transformer.{name}.x", case["x_shape"], golden.seed)
        y, att = net(x, torch.tensor(case["positions"]), torch.tensor(case["pad_mask"]))
        plain, plain_att = net(x)
        found = {"out": y, "att": att, "out_plain": plain, "att_plain": plain_att}
        out |= {f"{name}/{k}": v.numpy() for k, v in found.items()}
    return out


@adapter("utilise_aggregator")
def aggregator(golden: Golden) -> Arrays:
    shapes = golden.meta["shapes"]
    att = drawn("aggregator.att", shapes["att"], golden.seed, 0, 1)
    att = att / att.sum(int(captured(r"axis (\d+)", golden.meta["inputs"])), keepdim=True)
    x, x_low = (drawn(f"aggregator.{k}", shapes[k], golden.seed) for k in ("x", "x_low"))
    padded = torch.tensor(golden.meta["pad_mask"])
    out: Arrays = {}
    for mode in {name.split("/")[0] for name in golden.outputs}:
        kind: Aggregation = mode  # type: ignore[assignment]
        found = {"out": aggregate(x, att, kind), "out_padded": aggregate(x, att, kind, padded)}
        found["out_low"] = aggregate(x_low, att, kind)
        out |= {f"{mode}/{name}": y.numpy() for name, y in found.items()}
    return out


def hidden_share(golden: Golden) -> float:
    """The x of `< x`; of the file that `as in` names where this one does not say."""
    other = re.search(r"as in (\w+)", golden.meta["inputs"])
    if other is not None:
        beside = golden.path.with_name(f"{other[1]}.npz")
        golden = load(beside if beside.exists() else DATA / beside.name)
    return float(captured(r"< ([\d.]*\d)", golden.meta["inputs"]))


def masked_images(name: str, shape: list[int], seed: int, share: float) -> Tensor:
    """Images in [0, 1) with 1 in that share of the pixels."""
    hidden = drawn(f"{name}.mask", [*shape[:2], 1, *shape[3:]], seed, 0, 1) < share
    return drawn(f"{name}.x", shape, seed, 0, 1).masked_fill(hidden, 1.0)


NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4}


def emptied(x: Tensor, note: str) -> Tensor:
    """Images after `last ... sample: ... last two frames set to 0` or `x[0,1] set to 0`; an empty note changes none."""
    last, one = re.search(r"last (\w+) frames", note), re.search(r"x\[(\d+),(\d+)\] set to 0", note)
    assert last or one or not note, note
    if last:
        x[-1, -NUMBERS[last[1]] :] = 0
    if one:
        x[int(one[1]), int(one[2])] = 0
    return x


@torch.no_grad()
def utilise_case(golden: Golden, name: str, case: dict) -> UtiliseOutput:
    net = load_drawn(UTILISE(UtiliseConfig.from_dict(case["config"])), golden.seed)
    assert count(net) == case["n_parameters"], name
    x = emptied(masked_images(name, case["x_shape"], golden.seed, hidden_share(golden)), case["note"])
    days = None if case["positions"] is None else torch.tensor(case["positions"])
    return net(x, days, maps=True)


@adapter("utilise_small")
def utilise_small(golden: Golden) -> Arrays:
    text, out = golden.meta["outputs"], Arrays()
    wholes = captured(r"cases? (.*?) (?:is|are) whole", text).replace(",", " ").replace(" and ", " ").split()
    steps = [int(captured(rf"{words} 0,(\d+),", text)) for words in ("rows and columns", "map0 holds channels")]
    for name, case in golden.meta["cases"].items():
        found = utilise_case(golden, name, case)
        whole = name in wholes
        every = slice(None, None, 1 if whole else steps[0])
        out[f"{name}/out"] = found.images[..., every, every].numpy()
        if found.attention is not None:
            out[f"{name}/att"] = found.attention[..., every, every].numpy()
        for i, features in enumerate(found.maps):
            out[f"{name}/map{i}"] = features[:, :, :: 1 if whole else steps[1]].numpy()
    return out


@adapter("utilise_earthnet2021", "utilise_sen12mscrts_wo_s1", "utilise_sen12mscrts_w_s1")
def utilise_published(golden: Golden) -> Arrays:
    config = UtiliseConfig.from_dict(golden.meta["config"])
    assert config == PUBLISHED[golden.stem]
    entries = golden.keys()
    state = UTILISE(config).state_dict()
    assert {n: tuple(w.shape) for n, w in state.items()} == {n: tuple(shape) for n, (shape, _) in entries.items()}
    found = utilise_case(golden, golden.stem, golden.meta)
    text = golden.meta["outputs"]  # "rows and columns 0,1,2..." or "0,2,4..."
    every, first, second = (
        int(captured(rf"{words}\D* 0,(\d+),", text)) for words in ("rows and columns", "map0: ", "map1: ")
    )
    return {
        "out": found.images[..., ::every, ::every].numpy(),
        "att": found.attention.numpy(),
        "map0": found.maps[0][:, :, ::first].numpy(),
        "map1": found.maps[1][:, :, ::second].numpy(),
    }


@adapter("utae")
@torch.no_grad()
def utae(golden: Golden) -> Arrays:
    out: Arrays = {}
    text, kept = golden.meta["inputs"], golden.meta["outputs"]
    padded, thinned = captured(r"case (\w+): last", text), captured(r"/out \((\w+): rows", kept)
    step, channels = (int(captured(rf"{words} 0,(\d+),", kept)) for words in ("rows and columns", "channels"))
    for name, case in golden.meta["cases"].items():
        options = {k: v for k, v in case["config"].items() if k != "return_maps"}
        net = load_drawn(UTAE(**options), golden.seed)
        assert count(net) == case["n_parameters"], name
        x = drawn(f"utae.{name}.x", case["x_shape"], golden.seed)
        if name == padded:
            x = emptied(x, text)
        found = net(x, torch.tensor(case["positions"]), maps=True)
        every = step if name == thinned else 1
        out |= {f"{name}/out": found.scores[..., ::every, ::every].numpy(), f"{name}/att": found.attention.numpy()}
        out |= {f"{name}/map{i}": features[:, ::channels].numpy() for i, features in enumerate(found.maps)}
    listing = {n: list(shape) for n, (shape, _) in golden.keys().items()}
    bands = next(iter(listing.values()))[1]
    assert {n: list(w.shape) for n, w in UTAE(bands).state_dict().items()} == listing
    return out
