"""TAMRFSITS weights: our own format, and the authors' checkpoints of both generations.

A published checkpoint is a Lightning dictionary. Its `state_dict` holds the network (under
`the_modules.`; in version 1 with `._orig_mod` inserted by the compiler), buffers with the
standardisation, and the weights of a perceptual loss, which are skipped. Beside it lies
`hydra_config/config.yaml`, the training configuration: it gives what the tensors cannot (heads,
day encoding, day origin) and is checked against what they do.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError
from torch import Tensor

from sitsfusion.errors import CheckpointError, InputError
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.nets.tamrfsits_config import TamrfsitsConfig
from sitsfusion.weights.config import (
    DayOrigin,
    PublishedRecord,
    SensorInput,
    TamrfsitsWeights,
    catalogue,
    sensor_input,
    standardised_inputs,
)

from .common import load_into, load_weights, read_torch, save_weights
from .hydra_config import leaves, lookup, read_hydra_config
from .tamrfsits_infer import infer_architecture
from .tamrfsits_names import from_published, published_names, to_published

__all__ = [
    "convert_published",
    "infer_architecture",
    "load_tamrfsits",
    "published_names",
    "read_published",
    "save_tamrfsits",
    "to_published",
]

_ROOT = "training_module.training_module"
_BUFFERS = tuple(f"{role}_{what}" for role in ("hr", "lr") for what in ("mean", "std", "mtf", "resolution"))
# Where the training configuration says what the shapes say too, or what they cannot say.
_OPTIONS = {
    "heads": "encoder.nb_heads",
    "layers": "encoder.nb_layers",
    "feedforward": "encoder.dim_feedforward",
    "sensor_token": "encoder.sensor_token_size",
    "decoder_heads": "decoder.nb_heads",
    "decoder_feedforward": "decoder.dim_feedforward",
}
_NOT_IN_SHAPES = ("heads", "decoder_heads")


def save_tamrfsits(folder: Path, net: TamrfsitsNet, config: TamrfsitsWeights) -> str:
    """Write weights and config into a folder (see `common`); returns the SHA-256 of the weights."""
    if config.architecture != net.config:
        raise InputError(
            "the config describes another architecture than the network's: set config.architecture = net.config"
        )
    return save_weights(folder, net.state_dict(), config)


def load_tamrfsits(path: Path) -> tuple[TamrfsitsNet, TamrfsitsWeights]:
    """The network, in evaluation mode, and its config.

    `path` is a folder written by `save_tamrfsits`, its .safetensors file, or a published .ckpt
    file (as `read_published` with no further argument).
    """
    if path.suffix in (".ckpt", ".pt", ".pth"):
        return read_published(path)
    state, config = load_weights(path, TamrfsitsWeights)
    net = TamrfsitsNet(config.architecture)
    load_into(net, state, config.architecture.describe(), str(path))
    return net.eval(), config


def convert_published(path: Path, folder: Path, **options: Any) -> str:
    """Rewrite a published checkpoint in our format; `options` are those of `read_published`."""
    return save_tamrfsits(folder, *read_published(path, **options))


def read_published(
    path: Path,
    *,
    hydra_config: Path | None = None,
    day_origin: DayOrigin | None = None,
    architecture: TamrfsitsConfig | None = None,
) -> tuple[TamrfsitsNet, TamrfsitsWeights]:
    """Read a checkpoint of the authors' layout, strictly; the network is in evaluation mode.

    Args:
        path: the .ckpt file.
        hydra_config: its training configuration; by default `hydra_config/config.yaml` or
            `config.yaml` beside the file, if there is one.
        day_origin: overrides the configuration's `dt_orig`.
        architecture: overrides what configuration and shapes say.

    Raises:
        CheckpointError: unsafe content; missing, extra or misshapen entries; a configuration that
            contradicts the tensors; no way to know the day origin or the standardisation.
    """
    entries, buffers = split_published(read_torch(path), str(path))
    training = _training_config(path, hydra_config)
    record = next((r for r in catalogue().published.values() if r.file == path.name), None)
    config = architecture or _architecture(entries, training)
    net = TamrfsitsNet(config)
    net.load_state_dict(from_published(entries, config, str(path)))
    try:
        lr, hr = _inputs(buffers, training, record, path)
        weights = TamrfsitsWeights(
            name=path.stem,
            architecture=config,
            lr=lr,
            hr=hr,
            day_origin=day_origin or _day_origin(training, record, path),
            licence=record.licence if record else "not stated",
            source=f"doi:{record.doi}" if record else path.name,
        )
    except ValidationError as error:
        raise CheckpointError(f"the statistics or bands of {path} do not fit its network: {error}") from error
    return net.eval(), weights


def split_published(checkpoint: Mapping[str, Any], source: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The network's entries by clean published names, and the buffers; perceptual-loss entries are dropped.

    `checkpoint` is the Lightning dictionary or its state dict alone. Entries of unknown purpose
    stay among the network's, so that the strict comparison reports them.
    """
    state = checkpoint.get("state_dict", checkpoint)
    entries: dict[str, Tensor] = {}
    buffers: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{source}: {name} is a {type(tensor).__name__}, expected a dictionary of tensors")
        clean = re.sub(r"(^|\.)_orig_mod(?=\.)", "", name).strip(".").removeprefix("the_modules.")
        if clean.startswith("cca_loss_instance."):
            continue
        group = buffers if clean in _BUFFERS else entries
        if clean in group:
            raise CheckpointError(f"{source} holds the entry {clean} twice, once as {name}")
        group[clean] = tensor
    return entries, buffers


def _training_config(path: Path, given: Path | None) -> dict[str, Any] | None:
    """The training configuration: the given file, else the one beside the checkpoint, else None."""
    beside = (path.parent / "hydra_config" / "config.yaml", path.parent / "config.yaml")
    file = given or next((file for file in beside if file.is_file()), None)
    if file is None:
        return None
    training = read_hydra_config(file)
    if _get(training, _ROOT) is None:
        raise CheckpointError(
            f"{file} has no section {_ROOT}: expected the config.yaml of the training run of {path.name}"
        )
    return training


def _get(training: dict[str, Any] | None, path: str, default: Any = None) -> Any:
    try:
        return lookup(training, path)
    except KeyError:
        return default


def _architecture(entries: Mapping[str, Tensor], training: dict[str, Any] | None) -> TamrfsitsConfig:
    """The architecture by shapes, completed by the configuration; CheckpointError where they disagree."""
    if training is None:
        return infer_architecture(entries)
    said = {field: _get(training, f"{_ROOT}.{path}") for field, path in _OPTIONS.items()}
    said = {field: value for field, value in said.items() if value is not None}
    known = {field: value for field, value in said.items() if field in _NOT_IN_SHAPES}
    config = infer_architecture(entries, **known, **_day_encoding(training))
    wrong = [
        f"{f}: configuration {v}, weights {getattr(config, f)}" for f, v in said.items() if getattr(config, f) != v
    ]
    if wrong:
        raise CheckpointError("the training configuration is not that of these weights: " + "; ".join(wrong))
    return config


def _day_encoding(training: dict[str, Any]) -> dict[str, float]:
    """The base of the day encoding, which no shape shows."""
    section = _get(training, f"{_ROOT}.encoder.temporal_positional_encoder", {})
    found = [value for where, value in leaves(section).items() if where.rsplit(".", 1)[-1] == "div"]
    if not found:
        warnings.warn(
            "the training configuration does not say the base `div` of the day encoding; 365 is used", stacklevel=4
        )
        return {}
    return {"encoding_div": found[0]}


def _inputs(
    buffers: Mapping[str, Tensor], training: dict[str, Any] | None, record: PublishedRecord | None, path: Path
) -> tuple[SensorInput, SensorInput]:
    """Both sensors, with the standardisation of the buffers, else of the configuration, else of the record."""
    stored = {name: [float(str(v)) for v in tensor.flatten().float().numpy()] for name, tensor in buffers.items()}
    said = _statistics(training)
    for name in set(stored) & set(said):
        if len(stored[name]) != len(said[name]) or not np.allclose(stored[name], said[name], rtol=1e-4, atol=1e-6):
            raise CheckpointError(
                f"{path} has {name} {stored[name]}, its training configuration {said[name]}: "
                "they belong to different runs; give the configuration of these weights"
            )
    values = said | stored
    if not all(f"{role}_{what}" in values for role in ("lr", "hr") for what in ("mean", "std")):
        if record is None:
            raise CheckpointError(
                f"{path} holds no standardisation (hr_mean, hr_std, lr_mean, lr_std) and no configuration tells it"
            )
        return standardised_inputs(record.standardisation)
    roles: tuple[Literal["lr", "hr"], ...] = ("lr", "hr")
    lr, hr = (
        sensor_input(role, **{name.split("_")[1]: v for name, v in values.items() if name.startswith(role)})
        for role in roles
    )
    return lr, hr


def _statistics(training: dict[str, Any] | None) -> dict[str, list[float]]:
    """The lists of the configuration under the buffers' names, however they are nested there."""
    if training is None:
        return {}
    found: dict[str, list[float]] = {}
    for where, value in leaves(_get(training, f"{_ROOT}.config", {})).items():
        words = re.split(r"[._]", where)
        if _is_numbers(value) and (role := _word(words, "hr", "lr")):
            kind = _word(words, "mean", "std") if words[0] == "standardization" else None
            if words[0] == "mtfs" and max(value) <= 1:  # resolutions, in metres, may be listed there too
                kind = "mtf"
            found |= {f"{role}_{kind}": value} if kind else {}
    if "hr_mean" not in found:
        warnings.warn(
            "no standardisation was found in the training configuration to check the weights with", stacklevel=4
        )
    return found


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, int | float) for v in value)


def _word(words: list[str], *wanted: str) -> str | None:
    return next((word for word in wanted if word in words), None)


def _day_origin(training: dict[str, Any] | None, record: PublishedRecord | None, path: Path) -> DayOrigin:
    """The configuration's `dt_orig` (null: the first valid HR date), else that of the published record."""
    missing = object()
    said = _get(training, "datamodule.config.dt_orig", missing)
    if said is missing:
        if record is None:
            raise CheckpointError(
                f"nothing tells the day origin of {path}: give its training configuration (hydra_config), or day_origin"
            )
        return record.day_origin
    if said is None:
        return "first_valid_hr"
    if isinstance(said, date):  # YAML reads 2022-01-01 as a date, perhaps with a time
        return date(said.year, said.month, said.day)
    return _parse_date(str(said))


def _parse_date(text: str) -> date:
    """`2022.01.01` or `2022-01-01`."""
    try:
        return datetime.strptime(text.replace(".", "-"), "%Y-%m-%d").date()
    except ValueError as error:
        raise CheckpointError(
            f"the training configuration has dt_orig {text!r}, expected a date like 2022.01.01"
        ) from error
