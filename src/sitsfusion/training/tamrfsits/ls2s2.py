"""The options of LS2S2 data in a training configuration: a published preset below a root folder, or listed sites."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sitsfusion.datasets import ls2s2_module
from sitsfusion.datasets.ls2s2_module import DataSets, Ls2s2DataConfig
from sitsfusion.errors import InputError
from sitsfusion.training.config import checked

PATH = "datamodule.config"


class Ls2s2Options(BaseModel):
    """Options of `datamodule.config` with kind ls2s2.

    Attributes:
        preset: a published configuration, whose sites are searched below `root`; None: `training_sites` are listed.
        root: folder of the sites.
        reference: choose dates as the published training did; see `ls2s2_module.preset`.
        changes: fields of `Ls2s2DataConfig`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str | None
    root: Path
    reference: bool = False
    changes: dict[str, Any]


def configure(options: Mapping[str, Any]) -> Ls2s2Options:
    """Check options without opening anything. Raises InputError with the full path of what does not fit."""
    own = {key: value for key, value in options.items() if key in Ls2s2Options.model_fields and key != "changes"}
    changes = {key: value for key, value in options.items() if key not in own}
    # Values are checked with a stand-in for the sites, which are searched for only when training starts.
    checked(Ls2s2DataConfig, {"training_sites": ["."], **changes}, PATH)
    if own.get("preset") is None and "training_sites" not in changes:
        raise InputError(f"{PATH}.training_sites is missing: list the folders of the sites, or name a {PATH}.preset")
    return checked(Ls2s2Options, own | {"changes": changes}, PATH)


def datasets(options: Ls2s2Options) -> DataSets:
    """Training, validation and test samples; errors as `ls2s2_module.datasets`."""
    if options.preset is None:
        return ls2s2_module.datasets(checked(Ls2s2DataConfig, options.changes, PATH))
    try:
        config = ls2s2_module.preset(options.preset, options.root, reference=options.reference, **options.changes)
    except ValidationError as error:
        raise InputError(f"{PATH} does not fit the preset {options.preset}: {error}") from error
    return ls2s2_module.datasets(config)
