"""Families of networks that can be trained. A family is a package of this one:

    training/<family>/config/       Hydra: `config.yaml` (the root), `experiments/*.yaml`, the family's own groups;
                                    the groups location, callbacks, loggers and trainer are found in training/config/
    training/<family>/family.py     `Config`, `module`, `data`, `callbacks`: see `Family`
    training/<family>/exports.py    `Weights`, `network` and, where it can be written as ONNX, `onnx_form`: see
                                    `Exports`; imports no lightning

and a line in the table below. `sitsfusion train experiment=NAME` finds the family that has the experiment; names of
experiments are unique. Without an experiment, the first family is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from pydantic import BaseModel

from sitsfusion.errors import InputError

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningDataModule
    from torch import Tensor, nn

    from sitsfusion.training.config import RunConfig
    from sitsfusion.training.module import TrainedModule

HERE = Path(__file__).parent
SHARED_GROUPS = HERE / "config"
_TABLE = ("tamrfsits", "utilise", "misr", "dsen2", "dstfn", "deepharmo", "stf")


class Family(Protocol):
    """What `family.py` of a family offers."""

    Config: type[RunConfig]

    def module(self, config: Any, folder: Path, /) -> TrainedModule:
        """The module of a configuration, its network drawn from the seed or read from given weights."""
        ...

    def data(self, config: Any, /) -> LightningDataModule:
        """The data of a configuration; opens them. `training.data.SampleModule` serves most families."""
        ...

    def callbacks(self, config: Any, folder: Path, /) -> list[Callback]:
        """Callbacks beside those that all runs have."""
        ...


@dataclass(frozen=True)
class OnnxForm:
    """A network as ONNX.

    Attributes:
        inputs: example inputs by name, in call order; sizes that are free differ from 1 and from each other.
        outputs: names.
        free_sizes: for each input, `torch.export.Dim` by axis.
    """

    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    free_sizes: Mapping[str, Mapping[int, Any]]


class Exports(Protocol):
    """What `exports.py` of a family offers; `onnx_form(net) -> OnnxForm` besides, where ONNX can hold the network."""

    Weights: type[BaseModel]

    def network(self, weights: Any, /) -> nn.Module:
        """The network that the weights' config describes, untrained."""
        ...


def names() -> tuple[str, ...]:
    """The families, the default first."""
    return _TABLE


def get(name: str) -> Family:
    """A family by name; imports it, and with it lightning."""
    return cast(Family, import_module(f"sitsfusion.training.{name}.family"))


def exports(name: str) -> Exports:
    """How a family's networks are written; imports no lightning."""
    return cast(Exports, import_module(f"sitsfusion.training.{name}.exports"))


def of_weights(weights: BaseModel) -> Exports:
    """The family that a weights config belongs to; InputError if it is of none."""
    for name in _TABLE:
        if isinstance(weights, (found := exports(name)).Weights):
            return found
    raise InputError(f"{type(weights).__name__} belongs to none of the families {', '.join(_TABLE)}")


def groups_folder(name: str) -> Path:
    """The folder of a family's own groups."""
    return HERE / name / "config"


def experiments(name: str) -> list[str]:
    """The experiments of a family."""
    return sorted(file.stem for file in (groups_folder(name) / "experiments").glob("*.yaml"))


def of_experiment(experiment: str | None) -> str:
    """The family that has an experiment; the default one for None. InputError lists all if there is none."""
    if experiment is None:
        return _TABLE[0]
    for name in _TABLE:
        if experiment in experiments(name):
            return name
    known = "; ".join(f"{name}: {', '.join(experiments(name))}" for name in _TABLE)
    raise InputError(f"there is no experiments/{experiment}; those of the families are: {known}")
