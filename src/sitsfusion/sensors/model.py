"""What a sensor is: bands, units, how numbers are stored, which quality values are unusable.

Sensors are data (one YAML file each, see `registry`), never code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sitsfusion.errors import EncodingError, MissingBandError

Unit = Literal["reflectance", "kelvin", "decibel", "metre"]
DType = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Encoding(_Frozen):
    """How physical values are stored: `physical = stored * scale + offset`, `nodata` where there is none."""

    dtype: DType
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None

    def decode(self, stored: NDArray[np.generic]) -> NDArray[np.float32]:
        """Stored numbers (any shape) to float32 physical values, NaN where nodata or not finite."""
        physical = stored.astype(np.float32)
        missing = ~np.isfinite(physical)
        if self.nodata is not None:
            missing |= stored == self.nodata
        if self.scale != 1.0:
            physical *= np.float32(self.scale)
        if self.offset != 0.0:
            physical += np.float32(self.offset)
        physical[missing] = np.nan
        return physical

    def encode(self, physical: NDArray[np.floating], what: str = "value") -> NDArray[np.generic]:
        """Physical values (any shape) to stored numbers, rounded; NaN becomes nodata.

        Raises:
            EncodingError: a value lies outside what `dtype` can hold, or is NaN and there is no nodata number.
        """
        if self.dtype.startswith("float"):
            fill = np.nan if self.nodata is None else self.nodata
            scaled = (physical - self.offset) / self.scale
            return np.where(np.isnan(physical), fill, scaled).astype(self.dtype)
        missing = np.isnan(physical)
        stored = np.rint((physical.astype(np.float64) - self.offset) / self.scale)
        self._check_range(stored[~missing], what)
        if missing.any():
            if self.nodata is None:
                raise EncodingError(f"{what}: NaN cannot be stored as {self.dtype} without a nodata number")
            stored[missing] = self.nodata
        return stored.astype(self.dtype)

    def limits(self) -> tuple[float, float]:
        """The smallest and largest physical value that can be stored."""
        if self.dtype.startswith("float"):
            return -np.inf, np.inf
        info = np.iinfo(self.dtype)
        low, high = float(info.min), float(info.max)
        if self.nodata == low:
            low += 1
        elif self.nodata == high:
            high -= 1
        return low * self.scale + self.offset, high * self.scale + self.offset

    def _check_range(self, stored: NDArray[np.float64], what: str) -> None:
        low, high = ((limit - self.offset) / self.scale for limit in self.limits())
        if stored.size and (stored.min() < low - 0.5 or stored.max() > high + 0.5):
            worst = stored.max() if stored.max() > high else stored.min()
            raise EncodingError(
                f"{what}: {worst * self.scale + self.offset:g} does not fit {self.dtype} with scale {self.scale:g} and "
                f"offset {self.offset:g} (range {self.limits()[0]:g} to {self.limits()[1]:g}); "
                "write float32 (--encoding float32), or check that the input's scale and offset are right"
            )


class Band(_Frozen):
    """One spectral band.

    `resolution` is the native pixel in metres; `mtf` the modulation transfer at the Nyquist frequency of that
    pixel, in (0, 1]; `stored` how the product delivers it, `output` how we write it.
    """

    key: str
    common_name: str
    wavelength: float | None = Field(None, description="centre wavelength, nanometres")
    resolution: float = Field(gt=0)
    mtf: float = Field(gt=0, le=1)
    unit: Unit = "reflectance"
    plausible: tuple[float, float] = Field(description="range outside which a clear-sky value is suspect, in `unit`")
    aliases: tuple[str, ...] = ()
    stored: Encoding
    output: Encoding

    @property
    def names(self) -> tuple[str, ...]:
        """Every name the band answers to, the canonical key first."""
        return (self.key, self.common_name, *self.aliases)


class BitTest(_Frozen):
    """A field of `width` bits from `shift` that makes a pixel unusable when it holds one of `values`.

    With `requires`, only where these other bits are set too.
    """

    name: str
    shift: int = Field(ge=0, le=31)
    width: int = Field(1, ge=1, le=8)
    values: tuple[int, ...] = (1,)
    requires: tuple[Annotated[int, Field(ge=0, le=31)], ...] = ()

    @model_validator(mode="after")
    def _values_fit(self) -> BitTest:
        if not self.values or not all(0 <= value < 1 << self.width for value in self.values):
            raise ValueError(f"{self.name}: values {list(self.values)} do not fit a field of {self.width} bit(s)")
        return self

    def hit(self, layer: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True where the field makes the pixel unusable; same shape as the layer."""
        field = (layer >> self.shift) & ((1 << self.width) - 1)
        required = sum(1 << bit for bit in self.requires)
        return np.asarray(np.isin(field, self.values) & ((layer & required) == required))


class QualityRule(_Frozen):
    """How one quality layer says which pixels are unusable: by class number or by bits (exactly one of them)."""

    layer: str
    aliases: tuple[str, ...] = ()
    source: str = Field(description="where the rule comes from")
    invalid_classes: tuple[int, ...] = ()
    invalid_bits: tuple[BitTest, ...] = ()

    @model_validator(mode="after")
    def _one_kind(self) -> QualityRule:
        if bool(self.invalid_classes) == bool(self.invalid_bits):
            raise ValueError(f"quality layer {self.layer}: give either invalid_classes or invalid_bits")
        return self

    def clear(self, layer: NDArray[np.integer]) -> NDArray[np.bool_]:
        """True where the layer (any shape, stored integers) calls the pixel usable."""
        if self.invalid_classes:
            return ~np.isin(layer, self.invalid_classes)
        bits = layer.astype(np.int64)
        return np.asarray(~np.logical_or.reduce([test.hit(bits) for test in self.invalid_bits]))


class BaselineOffset(_Frozen):
    """Numbers added to all bands of products made by a processing baseline from `since` on (ESA, Sentinel-2)."""

    since: str
    add: float
    source: str


class Sensor(_Frozen):
    """A sensor at one product level: ordered bands and the rules of its quality layers."""

    name: str
    title: str
    product: str
    platforms: tuple[str, ...]
    source: str = Field(description="document that the numbers come from")
    bands: Annotated[tuple[Band, ...], Field(min_length=1)]
    quality: tuple[QualityRule, ...] = ()
    baseline_offset: BaselineOffset | None = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> Sensor:
        seen: dict[str, str] = {}
        for band in self.bands:
            for name in {n.lower() for n in (band.key, *band.aliases)}:
                if name in seen:
                    raise ValueError(f"sensor {self.name}: {name} names both {seen[name]} and {band.key}")
                seen[name] = band.key
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """Canonical band keys, in order."""
        return tuple(band.key for band in self.bands)

    def band(self, name: str) -> Band:
        """The band of this key, alias or (where it is unique) common name, case ignored.

        Raises:
            MissingBandError: no band, or several bands, answer to the name.
        """
        wanted = name.lower()
        found = [b for b in self.bands if wanted in (n.lower() for n in (b.key, *b.aliases))]
        found = found or [b for b in self.bands if wanted == b.common_name.lower()]
        if len(found) != 1:
            problem = "has no band" if not found else "has several bands called"
            raise MissingBandError(f"{self.name} {problem} {name!r}; it has {', '.join(self.keys)}")
        return found[0]

    def resolve(self, names: Iterable[str]) -> tuple[str, ...]:
        """Canonical keys of the named bands, in the order given."""
        return tuple(self.band(name).key for name in names)

    def rule(self, layer: str) -> QualityRule | None:
        """The rule of a quality layer, by name or alias (case ignored), or None."""
        wanted = layer.lower()
        return next((r for r in self.quality if wanted in (n.lower() for n in (r.layer, *r.aliases))), None)

    def stored(self, keys: Sequence[str], baseline: str | None = None) -> tuple[Encoding, ...]:
        """How the product stores these bands; `baseline` is the item's processing baseline ("05.09") or None."""
        shift = 0.0
        if (
            self.baseline_offset is not None
            and baseline is not None
            and _version(baseline) >= _version(self.baseline_offset.since)
        ):
            shift = self.baseline_offset.add
        found = [self.band(key).stored for key in keys]
        return tuple(e.model_copy(update={"offset": e.offset + shift * e.scale}) if shift else e for e in found)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.strip().lstrip("Nn").split("."))
