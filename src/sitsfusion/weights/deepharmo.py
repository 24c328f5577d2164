"""What Deep-Harmonization weights say about themselves, and the published sets. Importing this imports no torch."""

from __future__ import annotations

from functools import cache
from importlib.resources import files as package_files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from sitsfusion.errors import InputError
from sitsfusion.nets.deepharmo_config import DeepHarmoConfig


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SensorBands(_Frozen):
    """Bands of a sensor in channel order."""

    sensor: str
    bands: tuple[str, ...]


class DeepHarmoWeights(_Frozen):
    """The config beside Deep-Harmonization weights; values are reflectance, neither scaled nor clipped.

    Attributes:
        name: what the weights are called in reports and provenance.
        architecture: the network.
        coarse: multispectral input, interpolated to the output grid.
        pan: panchromatic input, the network's last channel; None for weights without.
        fine: what comes out.
        ratio: output pixels along the side of a multispectral one.
        licence: as the authors state it.
        source: where the weights come from.
    """

    family: Literal["deepharmo"] = "deepharmo"
    name: str
    architecture: DeepHarmoConfig
    coarse: SensorBands = SensorBands(sensor="landsat-8-9-c2-l2", bands=("B02", "B03", "B04", "B05", "B06", "B07"))
    pan: SensorBands | None = SensorBands(sensor="landsat-8-9-c2-l1", bands=("B08",))
    fine: SensorBands = SensorBands(sensor="sentinel-2-l2a", bands=("B02", "B03", "B04", "B8A", "B11", "B12"))
    ratio: int = 3
    licence: str
    source: str

    @model_validator(mode="after")
    def _bands_fit(self) -> DeepHarmoWeights:
        inputs = len(self.coarse.bands) + (len(self.pan.bands) if self.pan else 0)
        net = self.architecture
        if (net.in_channels, net.out_channels) != (inputs, len(self.fine.bands)):
            raise ValueError(
                f"the network takes {net.in_channels} channels and gives {net.out_channels}; "
                f"{inputs} and {len(self.fine.bands)} bands are described"
            )
        return self


class PublishedSet(_Frozen):
    """Weights published on the Hugging Face hub; `gated`: conditions must be accepted there, logged in."""

    repository: str
    parameters: int
    gated: bool
    licence: str
    architecture: DeepHarmoConfig


@cache
def published() -> dict[str, PublishedSet]:
    """The published sets by their short names, in the order of the publication's ensemble."""
    text = (package_files("sitsfusion") / "weights" / "deepharmo.yaml").read_text()
    return {name: PublishedSet.model_validate(entry) for name, entry in yaml.safe_load(text).items()}


def find_published(name: str) -> tuple[str, PublishedSet]:
    """Short name and entry of a published set, by its short name or its repository.

    Raises:
        InputError: no such set.
    """
    for short, entry in published().items():
        if name in (short, entry.repository):
            return short, entry
    known = ", ".join(f"{short} ({entry.repository})" for short, entry in published().items())
    raise InputError(
        f"no published Deep-Harmonization weights are called {name!r}; expected a folder, or one of {known}"
    )
