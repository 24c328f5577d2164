"""What a set of TAMRFSITS weights must say about itself: architecture, bands, units, day origin, licence.

Radiometry at the network's border, per band:

    scaled = physical * scale          reflectance x 1, kelvin / 1000
    scaled = clip(scaled), if any      and `fill` where nothing was ever observed
    network value = (scaled - mean) / std

Importing this imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from importlib.resources import files as package_files
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from sitsfusion.errors import InputError
from sitsfusion.nets.tamrfsits_config import TamrfsitsConfig

# Day 0 of a scene: its first HR date that is usable; the first day of the year that this date is in, January 1st north
# of the equator and July 1st south of it, so that the network knows the season; or a date fixed by the training.
DayOrigin = Literal["first_valid_hr", "local_year"] | date


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BandSpec(_Frozen):
    """A band as the network sees it.

    Attributes:
        key: the sensor's key of the band.
        scale: factor from physical units (reflectance, kelvin) to the scaled value.
        resolution: of the detector, in metres.
        mtf: modulation transfer function at the band's Nyquist frequency, in [0, 1].
    """

    key: str
    scale: PositiveFloat
    resolution: PositiveFloat
    mtf: Annotated[float, Field(ge=0, le=1)]


class TemporalCompensation(_Frozen):
    """Residual compensation in time (`ops.residuals`).

    Attributes:
        decay_days: days after which the correlation of the prediction's error has fallen to 1/e.
        noise: variance of an observation's own error, in variances of the prediction's error.
    """

    decay_days: PositiveFloat = 30.0
    noise: PositiveFloat = 0.1


class BandInput(BandSpec):
    """A band with its standardisation, in units of the scaled value.

    `fill`: scaled value of what was never observed, where the band has its own; `compensation`: likewise, where the
    weights have one.
    """

    mean: float
    std: PositiveFloat
    fill: float | None = None
    compensation: TemporalCompensation | None = None


class SensorInput(_Frozen):
    """One sensor at the network's border; the order of the bands is part of the model.

    Attributes:
        sensor: name in the sensor registry.
        bands: in the network's channel order.
        optional_bands: keys of bands that the weights were trained to do without.
        clip: limits of the scaled value, None for no clipping.
        fill: scaled value of what was never observed.
    """

    sensor: str
    bands: Annotated[tuple[BandInput, ...], Field(min_length=1)]
    optional_bands: tuple[str, ...] = ()
    clip: tuple[float, float] | None = None
    fill: float = -1.0

    @model_validator(mode="after")
    def _keys_fit(self) -> SensorInput:
        if len(set(self.keys)) != len(self.keys):
            raise ValueError(f"{self.sensor} lists a band twice: {', '.join(self.keys)}")
        unknown = sorted(set(self.optional_bands) - set(self.keys))
        if unknown:
            raise ValueError(f"optional_bands {unknown} are not among the bands {', '.join(self.keys)}")
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """Band keys in channel order."""
        return tuple(band.key for band in self.bands)


class TamrfsitsWeights(_Frozen):
    """The config beside TAMRFSITS weights.

    Attributes:
        name: what the weights are called in reports and provenance.
        architecture: the network.
        lr: the coarse sensor; its bands come first in the output.
        hr: the fine sensor.
        day_origin: day 0 of the encoding: "first_valid_hr", "local_year", or an ISO date.
        licence: as the authors state it; "not stated" where they do not.
        source: where the weights come from (record, DOI, training job).
        cloudy: what the network is fed where a pixel is masked: "seen", the cloud (published weights, trained without
            masks), or "hidden", the fill of what was never observed.
        missed_clouds: with compensation, distrust clear pixels that look like clouds: difference in the visible, in
            standard deviations of the bands, at which the variance of an observation is doubled. None trusts all.
        compensation: residual compensation in time that the weights were trained with, if any.
    """

    family: Literal["tamrfsits"] = "tamrfsits"
    name: str
    architecture: TamrfsitsConfig
    lr: SensorInput
    hr: SensorInput
    day_origin: DayOrigin
    licence: str
    source: str
    cloudy: Literal["seen", "hidden"] = "seen"
    compensation: TemporalCompensation | None = None
    missed_clouds: PositiveFloat | None = None

    @model_validator(mode="after")
    def _bands_fit(self) -> TamrfsitsWeights:
        net, lr, hr = self.architecture, len(self.lr.bands), len(self.hr.bands)
        if (net.lr_bands, net.hr_bands, net.out_bands) != (lr, hr, lr + hr):
            raise ValueError(
                f"the network takes {net.lr_bands} LR and {net.hr_bands} HR bands and gives {net.out_bands}; "
                f"{lr} and {hr} bands are described, so it should give {lr + hr}"
            )
        return self


class _SensorSpec(_Frozen):
    sensor: str
    bands: tuple[BandSpec, ...]


class PublishedRecord(_Frozen):
    """A checkpoint published by the authors; `file` is its name there."""

    file: str
    source: str
    doi: str
    licence: str
    standardisation: str
    day_origin: DayOrigin


class Catalogue(_Frozen):
    """The content of `tamrfsits.yaml`: standardisation sets and published checkpoints, by name."""

    lr: _SensorSpec
    hr: _SensorSpec
    standardisation: dict[str, dict[str, tuple[float, ...]]]
    published: dict[str, PublishedRecord]


@cache
def catalogue() -> Catalogue:
    """Bands, standardisation sets and published checkpoints that come with the library."""
    text = (package_files("sitsfusion") / "weights" / "tamrfsits.yaml").read_text()
    return Catalogue.model_validate(yaml.safe_load(text))


def sensor_input(
    role: Literal["lr", "hr"], mean: Sequence[float], std: Sequence[float], **other: Sequence[float]
) -> SensorInput:
    """The published bands of a sensor with this standardisation; `other` replaces `mtf` or `resolution` per band.

    Raises InputError when a list has not one value per band.
    """
    spec = catalogue().lr if role == "lr" else catalogue().hr
    values: Mapping[str, Sequence[float]] = {"mean": mean, "std": std, **other}
    for name, found in values.items():
        if len(found) != len(spec.bands):
            raise InputError(f"{role} {name} has {len(found)} values, expected one per band: {len(spec.bands)}")
    bands = [
        BandInput(**band.model_dump() | {name: found[i] for name, found in values.items()})
        for i, band in enumerate(spec.bands)
    ]
    return SensorInput(sensor=spec.sensor, bands=tuple(bands))


def standardised_inputs(name: str) -> tuple[SensorInput, SensorInput]:
    """LR and HR inputs with a named standardisation set: ls2s2_2022, ls2s2_all or ls2s2_wwmy."""
    sets = catalogue().standardisation
    if name not in sets:
        raise InputError(f"no standardisation set is named {name!r}; the sets are {', '.join(sets)}")
    values = sets[name]
    return (
        sensor_input("lr", values["lr_mean"], values["lr_std"]),
        sensor_input("hr", values["hr_mean"], values["hr_std"]),
    )
