"""From a training checkpoint to weights that others load: safetensors with their config, or ONNX. Without lightning."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import nn

from sitsfusion.checkpoints.common import load_into, read_torch, save_weights
from sitsfusion.errors import CheckpointError, InputError, MissingExtraError, ReadError
from sitsfusion.training import families

FAMILY_ENTRY = "sitsfusion_family"  # of a checkpoint: what was trained
WEIGHTS_ENTRY = "sitsfusion_weights"  # of a checkpoint: the weights' config, as JSON
LAST = Path("checkpoints") / "last.ckpt"
_NET = "net."


def read_trained(path: Path) -> tuple[nn.Module, Any]:
    """The network of a run folder (its last checkpoint) or of one of its checkpoints, and its family's weights config.

    Where training averaged the weights, the network has the average.

    Raises:
        ReadError: no checkpoint there. CheckpointError: not one of `sitsfusion train`.
    """
    file, content = _content(path)
    family = families.exports(content[FAMILY_ENTRY])
    try:
        weights = family.Weights.model_validate_json(content[WEIGHTS_ENTRY])
    except ValidationError as error:
        raise CheckpointError(f"the config in {file} cannot be read: {error}") from error
    net = family.network(weights)
    state = {name.removeprefix(_NET): value for name, value in content["state_dict"].items() if name.startswith(_NET)}
    load_into(net, state, f"family {content[FAMILY_ENTRY]}", str(file))
    return net.eval(), weights


def is_run_checkpoint(path: Path) -> bool:
    """Whether `path` is a run folder, or a checkpoint of `sitsfusion train`."""
    if path.is_dir():
        return (path / LAST).is_file()
    return path.suffix == ".ckpt" and WEIGHTS_ENTRY in read_torch(path)


def _content(path: Path) -> tuple[Path, dict[str, Any]]:
    file = path / LAST if path.is_dir() else path
    if not file.is_file():
        raise ReadError(f"no checkpoint at {file}: give the folder of a run, or a .ckpt file of one")
    content = read_torch(file)
    if WEIGHTS_ENTRY not in content or content.get(FAMILY_ENTRY) not in families.names():
        raise CheckpointError(
            f"{file} was not written by `sitsfusion train`; checkpoints of the authors are read where weights are "
            "asked for (--set weights=FILE)"
        )
    return file, content


def export_safetensors(net: nn.Module, weights: BaseModel, folder: Path, *, half: bool = False) -> str:
    """Write a weights folder, its tensors in float16 if `half` (loaders give float32); returns the SHA-256."""
    state = {
        name: value.half() if half and value.is_floating_point() else value for name, value in net.state_dict().items()
    }
    return save_weights(folder, state, weights)


def export_onnx(net: nn.Module, weights: BaseModel, file: Path) -> None:
    """Write the network as an ONNX file, and the weights' config beside it with the suffix .json.

    Its inputs and outputs are those that `onnx_form` of the family (`training.<family>.exports`) says.

    Raises:
        InputError: the file's name does not end in .onnx, or the family's networks cannot be written as ONNX.
        MissingExtraError: onnx or onnxscript is not installed.
    """
    family = families.of_weights(weights)
    if not hasattr(family, "onnx_form"):
        raise InputError(f"{type(weights).__name__}: such networks cannot be written as ONNX: use --format safetensors")
    form: families.OnnxForm = family.onnx_form(net)
    if file.suffix != ".onnx":
        raise InputError(f"{file} should end in .onnx: it is one file, with its config beside it")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".part")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter, about itself
            program = torch.onnx.export(
                net.eval(), tuple(form.inputs.values()), input_names=list(form.inputs),
                output_names=list(form.outputs), dynamic_shapes={k: dict(v) for k, v in form.free_sizes.items()},
                dynamo=True, verbose=False,
            )  # fmt: skip
    except ModuleNotFoundError as error:
        raise MissingExtraError("ONNX export", "onnx") from error
    assert program is not None  # noqa: S101  for type checkers: it is None only without dynamo
    program.save(partial, external_data=False)
    partial.replace(file)
    file.with_suffix(".json").write_text(weights.model_dump_json(indent=2) + "\n")
