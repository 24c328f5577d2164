"""Weights of cross-sensor super-resolution: our own format, and checkpoints trained with the MISR-S2 code.

Such a checkpoint is `checkpoints/<experiment>/model_ckpt_steps_<N>.ckpt`, a dictionary whose `state_dict` holds the
network under `model`, or flat under names that start with `model.`. Shapes tell the architecture; the schedule of a
diffusion is told by its stored betas, the reference image of HighRes-net + L-TAE by nothing (see `read_published`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from sitsfusion.checkpoints.common import load_into, load_weights, read_torch, require_same, save_weights, shapes
from sitsfusion.checkpoints.misr_names import published_backbone_name, published_name
from sitsfusion.errors import CheckpointError, InputError, ReadError
from sitsfusion.nets.diffusion import betas_of, schedule_numbers
from sitsfusion.nets.misr import Backbone
from sitsfusion.nets.misr_config import (
    BackboneConfig,
    DiffusionConfig,
    HighResConfig,
    HighResLtaeConfig,
    MisrConfig,
    Reference,
    RrdbConfig,
    RrdbHighResConfig,
    RrdbLtaeConfig,
    Schedule,
)
from sitsfusion.nets.srdiff import SrDiff, build_misr
from sitsfusion.weights.misr import MisrWeights

MisrNet = Backbone | SrDiff
PUBLISHED_VIEWS = 8
PUBLISHED_SUFFIXES = (".ckpt", ".pt", ".pth")
# Experiments of the published code whose reference image is known.
_REFERENCES: dict[str, Reference] = {
    "misr_pretrain": "closest",
    "median_misr_pretrain": "median",
    "diffsr_hr_ltae": "median",
}


def save_misr(folder: Path, net: MisrNet, config: MisrWeights) -> str:
    """Write weights and config into a folder (see `common`); returns the SHA-256 of the weights."""
    require_same(
        shapes(build_misr(config.architecture).state_dict()),
        shapes(net.state_dict()),
        config.architecture.describe(),
        "the network to be saved",
    )
    return save_weights(folder, net.state_dict(), config)


def load_misr(path: Path) -> tuple[MisrNet, MisrWeights]:
    """The network, in evaluation mode, and its config.

    `path` is a folder written by `save_misr`, its .safetensors file, or a published .ckpt file (as `read_published`
    with no further argument).
    """
    if path.suffix in PUBLISHED_SUFFIXES:
        return read_published(path)
    state, config = load_weights(path, MisrWeights)
    net = build_misr(config.architecture)
    load_into(net, state, config.architecture.describe(), str(path))
    return net.eval(), config


def newest_checkpoint(folder: Path) -> Path:
    """The checkpoint of an experiment's folder with the most training steps.

    Raises:
        ReadError: there is none.
    """
    found = {int(m[1]): p for p in folder.glob("*.ckpt") if (m := re.fullmatch(r"model_ckpt_steps_(\d+)", p.stem))}
    if not found:
        raise ReadError(f"{folder} holds no checkpoint model_ckpt_steps_<N>.ckpt; give the experiment's folder")
    return found[max(found)]


def convert_published(path: Path, folder: Path, **options: Any) -> str:
    """Rewrite a published checkpoint in our format; `options` are those of `read_published`."""
    return save_misr(folder, *read_published(path, **options))


def read_published(
    path: Path, *, reference: Reference | None = None, views: int = PUBLISHED_VIEWS
) -> tuple[MisrNet, MisrWeights]:
    """Read a checkpoint of the published layout, strictly; the network is in evaluation mode.

    Args:
        path: the .ckpt file, or the experiment's folder, whose newest checkpoint is taken.
        reference: image that HighRes-net + L-TAE looks at beside each view; by default told by the experiment's name
            where that is one of the published ones.
        views: of a network that takes several.

    Raises:
        CheckpointError: unsafe content; missing, extra or misshapen entries; an unknown schedule; no way to know
            the reference image.
    """
    file = newest_checkpoint(path) if path.is_dir() else path
    entries = entries_of(read_torch(file), str(file))
    config = infer_architecture(entries, reference or _REFERENCES.get(file.parent.name), views, str(file))
    net = build_misr(config)
    net.load_state_dict(from_published(entries, config, net, str(file)))
    name = f"{file.parent.name} {file.stem}"
    return net.eval(), MisrWeights(name=name, architecture=config, licence="not stated", source=file.name)


def entries_of(checkpoint: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """The network's entries by their published names.

    Raises:
        CheckpointError: something else than tensors.
    """
    state = checkpoint.get("state_dict", checkpoint)
    nested = state.get("model", state)
    entries = {str(name).removeprefix("model."): tensor for name, tensor in nested.items()}
    wrong = next((name for name, tensor in entries.items() if not isinstance(tensor, Tensor)), None)
    if wrong is not None:
        raise CheckpointError(f"{source}: {wrong} is a {type(entries[wrong]).__name__}, expected tensors")
    return entries


def from_published(entries: Mapping[str, Tensor], config: MisrConfig, net: MisrNet, source: str) -> dict[str, Tensor]:
    """Our state dict from published entries; the buffers of the schedule, once checked, are left out.

    Raises:
        CheckpointError: missing, extra or misshapen entries.
    """
    ours = shapes(net.state_dict())
    names = {name: _published(config, name) for name in ours}
    buffers = set() if config.diffusion is None else set(schedule_numbers(torch.zeros(2)))
    found = {name: tensor for name, tensor in entries.items() if name not in buffers}
    require_same({names[n]: s for n, s in ours.items()}, shapes(found), config.describe(), source)
    return {name: found[published] for name, published in names.items()}


def _published(config: MisrConfig, name: str) -> str:
    if config.diffusion is not None:
        return published_name(config.backbone, name)
    if config.backbone is None:
        raise InputError("a network without diffusion has a backbone")
    return published_backbone_name(config.backbone, name)


def infer_architecture(
    entries: Mapping[str, Tensor], reference: Reference | None, views: int, source: str
) -> MisrConfig:
    """The network that published entries belong to.

    Raises:
        CheckpointError: names of no known network, an unknown schedule, a reference image that cannot be known.
    """
    if not any(name.startswith("denoise_fn.") for name in entries):
        backbone = _backbone(entries, reference, source)
        return MisrConfig(backbone=backbone, views=1 if backbone.name == "rrdb" else views)
    inner = {name.removeprefix("rrdb."): w for name, w in entries.items() if name.startswith("rrdb.")}
    conditioned = _backbone(inner, reference, source) if inner else None
    single = conditioned is None or conditioned.name == "rrdb"
    return MisrConfig(backbone=conditioned, diffusion=_diffusion(entries, source), views=1 if single else views)


def _backbone(entries: Mapping[str, Tensor], reference: Reference | None, source: str) -> BackboneConfig:
    temporal, recursive = (any(n.startswith(p) for n in entries) for p in ("temporal_encoder.", "fuse."))
    if "conv_first.weight" in entries:
        return RrdbConfig(**_rrdb(entries, ""))
    if "encoder.conv_first.weight" in entries and temporal:
        return RrdbLtaeConfig(**_rrdb(entries, "encoder."), **_attention(entries))
    if "encoder.conv_first.weight" in entries and recursive:
        return RrdbHighResConfig(**_rrdb(entries, "encoder."), published_range=True)
    if "encode.init_layer.0.weight" in entries:
        return HighResConfig(**_highres(entries, "encode."))
    if "encoder.init_layer.0.weight" in entries and temporal:
        if reference is None:
            raise CheckpointError(
                f"{source} is HighRes-net + L-TAE, which was trained with the closest view or with the median as its "
                "reference image; nothing in the file tells. Convert it with read_published(path, reference='closest') "
                "or 'median', or keep it in a folder named as the published experiment "
                f"({', '.join(_REFERENCES)})"
            )
        return HighResLtaeConfig(**_highres(entries, "encoder."), reference=reference, **_attention(entries))
    shown = ", ".join(list(entries)[:3])
    raise CheckpointError(f"{source} is no network of MISR-S2: its first entries are {shown or 'none'}")


def _rrdb(entries: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    dense = re.compile(re.escape(prefix) + r"RRDB_trunk\.(\d+)\.RDB1\.conv1\.weight")
    blocks = [(int(m[1]), w) for name, w in entries.items() if (m := dense.fullmatch(name))]
    if not blocks:
        raise CheckpointError(f"an RRDB network without RRDB blocks: no entry {prefix}RRDB_trunk.0...")
    growth, features = blocks[0][1].shape[:2]
    return {"features": features, "growth": growth, "blocks": 1 + max(i for i, _ in blocks)}


def _highres(entries: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    blocks = {m[1] for name in entries if (m := re.match(re.escape(prefix) + r"res_layers\.(\d+)\.", name))}
    return {"features": len(entries[prefix + "init_layer.0.weight"]), "blocks": len(blocks)}


def _attention(entries: Mapping[str, Tensor]) -> dict[str, Any]:
    query, projection = (entries.get(f"temporal_encoder.{n}") for n in ("attention_heads.Q", "inconv.weight"))
    if query is None or projection is None:
        raise CheckpointError("an L-TAE without attention_heads.Q or inconv.weight")
    return {"heads": len(query), "width": len(projection)}


def _diffusion(entries: Mapping[str, Tensor], source: str) -> DiffusionConfig:
    if "betas" not in entries or "denoise_fn.mlp.0.weight" not in entries:
        raise CheckpointError(f"{source} holds a denoiser without betas or without its step embedding (mlp.0)")
    betas = entries["betas"].double()
    width = entries["denoise_fn.mlp.0.weight"].shape[1]
    levels = {
        int(m[1]): len(w)
        for name, w in entries.items()
        if (m := re.fullmatch(r"denoise_fn\.downs\.(\d+)\.0\.block1\.block\.1\.weight", name))
    }
    known: tuple[Schedule, ...] = get_args(Schedule)
    for schedule in known:
        if torch.allclose(betas_of(schedule, len(betas)), betas, rtol=1e-4, atol=1e-8):
            multipliers = tuple(levels[i] // width for i in sorted(levels))
            return DiffusionConfig(steps=len(betas), schedule=schedule, width=width, multipliers=multipliers)
    raise CheckpointError(
        f"the noise schedule of {source} ({len(betas)} steps, betas {betas[0]:.3g} to {betas[-1]:.3g}) is none of "
        f"{', '.join(known)}"
    )
