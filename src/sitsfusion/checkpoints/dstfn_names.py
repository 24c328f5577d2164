"""Published names of the DSTFN networks, and what names and shapes say about the architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from sitsfusion.checkpoints.renaming import Renaming
from sitsfusion.errors import CheckpointError
from sitsfusion.nets.dstfn_config import DstfnConfig

_ATTENTION = (
    ("csa_cal.cal_fc1.0", "channel.mean1"),
    ("csa_cal.cal_fc2.0", "channel.mean2"),
    ("csa_cal.cal_fc3.0", "channel.max1"),
    ("csa_cal.cal_fc4.0", "channel.max2"),
    ("csa_cal.cal_conv1.0", "channel.mix"),
    ("csa_sal.sal_conv1.0", "spatial.neighbours"),
    ("csa_sal.sal_conv1x1.0", "spatial.score"),
    ("csa_sal.sal_conv2.0", "spatial.mix"),
    ("csa_conv1.0", "join"),
)


def renaming(kind: str) -> Renaming:
    """The names of one of the three networks."""
    out, stages = (4 if kind == "net2" else 3), []
    for k in range(4):
        stages += [(f"CSA{k + 1}_{kind}.{a}.weight", f"stages.{k}.{b}.weight") for a, b in _ATTENTION]
        group = f"stages.{k}.group"
        stages.append((f"RDB{k + 1}_{kind}.dense_layers.{{}}.conv_dense.0.weight", f"{group}.dense.{{}}.weight"))
        stages.append((f"RDB{k + 1}_{kind}.conv_1x1.weight", f"{group}.fuse.weight"))
    pan = [(f"conv3_{kind}.0.{{}}", "pan.{}")] if kind == "net2" else []
    return Renaming(
        (
            (f"conv1_{kind}.0.{{}}", "fine.{}"),
            (f"conv2_{kind}.0.{{}}", "coarse.{}"),
            *pan,
            (f"conv{out}_{kind}.0.{{}}", "out.{}"),
            (f"conv1_1x1_{kind}.{{}}", "merge.{}"),
            (f"conv2_1x1_{kind}.{{}}", "collect.{}"),
            *stages,
        )
    )


def infer_config(state: Mapping[str, Tensor], source: str) -> DstfnConfig:
    """The architecture that published names and shapes tell.

    Raises:
        CheckpointError: these are not the entries of such a network.
    """
    kinds = {m[1] for name in state if (m := re.match(r"conv1_(net1|net2|slfnt1)\.0\.weight", name))}
    if len(kinds) != 1:
        raise CheckpointError(
            f"{source} does not hold a DSTFN network: expected conv1_net2.0.weight (or net1, slfnt1), "
            f"found {', '.join(list(state)[:3]) or 'nothing'} ..."
        )
    kind = kinds.pop()
    dense = [name for name in state if re.match(rf"RDB1_{kind}\.dense_layers\.\d+\.conv_dense\.0\.weight", name)]
    wanted = [f"CSA1_{kind}.csa_cal.cal_fc1.0.weight", f"conv2_{kind}.0.weight"]
    if not dense or any(name not in state for name in wanted):
        raise CheckpointError(f"{source} lacks entries of a DSTFN {kind}: {', '.join(wanted)}, dense layers")
    first, middle, coarse = state[f"conv1_{kind}.0.weight"], state[wanted[0]], state[wanted[1]]
    pan = state.get(f"conv3_{kind}.0.weight")
    return DstfnConfig(
        kind=kind,
        fine_bands=first.shape[1],
        coarse_bands=coarse.shape[1],
        pan_bands=1 if kind != "net2" or pan is None else pan.shape[1],
        features=first.shape[0],
        layers=len(dense),
        growth=state[dense[0]].shape[0],
        ratio=first.shape[0] // middle.shape[0],
    )
