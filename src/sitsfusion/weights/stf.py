"""What a set of spatiotemporal fusion weights must say about itself: model, bands, radiometry, licence.

Radiometry at the network's border, alike for both sensors and all bands: the reflectances `value_range` become
`network_range`, linearly, without clipping.

Importing this imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from sitsfusion.nets.stf import registry

Range = tuple[float, float]


class StfWeights(BaseModel):
    """The config beside weights of a deep spatiotemporal fusion model.

    Attributes:
        name: what the weights are called in reports and provenance.
        model: name in `nets.stf.registry`.
        bands: common names ("red", "nir08") in channel order; the same for both sensors.
        fine: name of the fine sensor of the training, for the record.
        coarse: likewise of the coarse sensor.
        options: of the network's constructor; the published wiring is among them.
        patch: pixels a side of the images it was trained on.
        value_range: reflectances that become the ends of `network_range`.
        network_range: what the network sees: (0, 1), or (-1, 1).
        resampling: how coarse images were brought onto the fine grid for the training.
        sampling_steps: evaluations of a diffusion model per image, where weights are of one.
        licence: as the authors state it; "not stated" where they do not.
        source: where the weights come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["stf"] = "stf"
    name: str
    model: str
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    fine: str
    coarse: str
    options: dict[str, Any] = {}
    patch: PositiveInt = 256
    value_range: Range = (0.0, 1.0)
    network_range: Range = (0.0, 1.0)
    resampling: Literal["nearest", "bilinear", "bicubic"] = "bicubic"
    sampling_steps: PositiveInt = 50
    licence: str
    source: str

    @model_validator(mode="after")
    def _fits(self) -> StfWeights:
        if len(set(self.bands)) != len(self.bands):
            raise ValueError(f"a band is listed twice: {', '.join(self.bands)}")
        if self.value_range[0] >= self.value_range[1] or self.network_range[0] >= self.network_range[1]:
            raise ValueError("value_range and network_range must ascend")
        if self.described.whole_size and self.options.get("size") != self.patch:
            raise ValueError(f"{self.model} is built for one size: options.size must be the patch, {self.patch}")
        return self

    @property
    def described(self) -> registry.StfModel:
        """What is known of the model; InputError if nothing is."""
        return registry.get(self.model)

    @property
    def wiring(self) -> Literal["published", "corrected"]:
        """Which wiring the network has, where the published one is wrong."""
        published = self.described.published
        chosen = published and all(self.options.get(k) == v for k, v in published.items())
        return "published" if chosen else "corrected"

    @property
    def scale(self) -> tuple[float, float]:
        """(factor, offset): network value = reflectance * factor + offset."""
        (low, high), (first, last) = self.value_range, self.network_range
        factor = (last - first) / (high - low)
        return factor, first - low * factor
