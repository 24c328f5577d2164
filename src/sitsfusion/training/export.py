"""From a training checkpoint to weights that others load: safetensors with their config, or ONNX. Without lightning."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch.export import Dim

from sitsfusion.checkpoints.common import load_into, read_torch, save_weights
from sitsfusion.errors import CheckpointError, InputError, MissingExtraError, ReadError
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.weights.config import TamrfsitsWeights

WEIGHTS_ENTRY = "sitsfusion_weights"  # of a checkpoint: the weights' config, as JSON
LAST = Path("checkpoints") / "last.ckpt"
_NET = "net."


def read_trained(path: Path) -> tuple[TamrfsitsNet, TamrfsitsWeights]:
    """The network of a run folder (its last checkpoint) or of one of its checkpoints, and its config.

    Where training averaged the weights, the network has the average.

    Raises:
        ReadError: no checkpoint there. CheckpointError: not one of `sitsfusion train`.
    """
    file = path / LAST if path.is_dir() else path
    if not file.is_file():
        raise ReadError(f"no checkpoint at {file}: give the folder of a run, or a .ckpt file of one")
    content = read_torch(file)
    if WEIGHTS_ENTRY not in content:
        raise CheckpointError(
            f"{file} was not written by `sitsfusion train`; checkpoints of the authors are converted by "
            "checkpoints.tamrfsits.convert_published"
        )
    try:
        weights = TamrfsitsWeights.model_validate_json(content[WEIGHTS_ENTRY])
    except ValidationError as error:
        raise CheckpointError(f"the config in {file} cannot be read: {error}") from error
    net = TamrfsitsNet(weights.architecture)
    state = {name.removeprefix(_NET): value for name, value in content["state_dict"].items() if name.startswith(_NET)}
    load_into(net, state, weights.architecture.describe(), str(file))
    return net.eval(), weights


def is_run_checkpoint(path: Path) -> bool:
    """Whether `path` is a run folder, or a checkpoint of `sitsfusion train`."""
    if path.is_dir():
        return (path / LAST).is_file()
    return path.suffix == ".ckpt" and WEIGHTS_ENTRY in read_torch(path)


def export_safetensors(net: TamrfsitsNet, weights: TamrfsitsWeights, folder: Path, *, half: bool = False) -> str:
    """Write a weights folder, its tensors in float16 if `half` (loaders give float32); returns the SHA-256."""
    state = {
        name: value.half() if half and value.is_floating_point() else value for name, value in net.state_dict().items()
    }
    return save_weights(folder, state, weights)


def export_onnx(net: TamrfsitsNet, weights: TamrfsitsWeights, file: Path) -> None:
    """Write the network as an ONNX file, and the weights' config beside it with the suffix .json.

    Inputs, float32: `lr [b, t, bands, h, w]`, `lr_days [b, t]`, `hr`, `hr_days`, `query_days [b, q]`; output: `images
    [b, q, bands, H, W]`, LR bands first. All sizes but the bands are free, H = ratio * h; every series has a date at
    least. Values are standardised: the config says how, and which day is day 0.

    Raises:
        InputError: the file's name does not end in .onnx. MissingExtraError: onnx or onnxscript is not installed.
    """
    if file.suffix != ".onnx":
        raise InputError(f"{file} should end in .onnx: it is one file, with its config beside it")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".part")
    inputs, shapes = _example(net), _free_sizes(net.config.ratio)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter, about itself
            program = torch.onnx.export(
                net.eval(), tuple(inputs.values()), input_names=list(inputs), output_names=["images"],
                dynamic_shapes=shapes, dynamo=True, verbose=False,
            )  # fmt: skip
    except ModuleNotFoundError as error:
        raise MissingExtraError("ONNX export", "onnx") from error
    assert program is not None  # noqa: S101  for type checkers: it is None only without dynamo
    program.save(partial, external_data=False)
    partial.replace(file)
    file.with_suffix(".json").write_text(weights.model_dump_json(indent=2) + "\n")


def _example(net: TamrfsitsNet) -> dict[str, torch.Tensor]:
    """Small inputs; sizes that are free must differ from 1 and from each other."""
    b, t_lr, t_hr, q, h, w = 2, 3, 4, 5, 6, 7
    config = net.config
    return {
        "lr": torch.zeros(b, t_lr, config.lr_bands, h, w),
        "lr_days": torch.zeros(b, t_lr),
        "hr": torch.zeros(b, t_hr, config.hr_bands, config.ratio * h, config.ratio * w),
        "hr_days": torch.zeros(b, t_hr),
        "query_days": torch.zeros(b, q),
    }


def _free_sizes(ratio: int) -> dict[str, dict[int, Any]]:
    b, t_lr, t_hr, q = (Dim(name, min=1, max=4096) for name in ("batch", "lr_dates", "hr_dates", "queries"))
    h, w = (Dim(name, min=2, max=1 << 16) for name in ("height", "width"))
    return {
        "lr": {0: b, 1: t_lr, 3: h, 4: w},
        "lr_days": {0: b, 1: t_lr},
        "hr": {0: b, 1: t_hr, 3: ratio * h, 4: ratio * w},
        "hr_days": {0: b, 1: t_hr},
        "query_days": {0: b, 1: q},
    }
