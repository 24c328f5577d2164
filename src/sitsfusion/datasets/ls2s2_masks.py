"""Which pixels of the openEO cubes are unusable: the masks of LS2S2.

Each function takes the layers of one date, `[y x]` by name, and gives a `Masks`. Morphology has square structuring
elements and takes what is outside the image for clear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sitsfusion.errors import MissingExtraError

Layers = Mapping[str, NDArray[Any]]
Mask = NDArray[np.bool_]
Release = Literal["1.0.0", "2.0.0"]

S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
LANDSAT_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B10")
PAN_BANDS = ("B08",)

_SCL_BAD = (0, 1, 2, 3, 7, 8, 9, 10)  # no data, saturated, dark, shadow, unclassified, clouds, cirrus
_SCL_DARK, _SCL_SNOW = 2, 11
_BQA_BAD = (0, 1, 2, 3, 4)  # fill, dilated cloud, cirrus, cloud, shadow
_BQA_SNOW = 5
_RADSAT_BAD = (0, 1, 2, 3, 4, 5, 6, 11)  # saturation of B1 to B7, terrain occlusion


@dataclass(frozen=True)
class Masks:
    """What is known of the pixels of one date `[y x]`; None where the sensor does not tell."""

    unusable: Mask
    snow: Mask | None = None
    dark: Mask | None = None

    @property
    def clear_share(self) -> float:
        return float(1 - self.unusable.mean())


def sentinel2_masks(layers: Layers) -> Masks:
    """From scene classification (SCL), cloud mask and probability (CLM, CLP) and data mask.

    Clouds smaller than 10 pixels are dropped, the others closed and grown over 25 pixels. Pixels without data in a band
    are unusable, but not grown.
    """
    nd = ndimage()
    classes = np.nan_to_num(layers["SCL"], nan=0).astype(np.uint8)
    bad = np.isin(classes, _SCL_BAD) | (layers["dataMask"] == 0) | (layers["CLM"] > 0) | (layers["CLP"] > 150)
    opened = nd.binary_opening(bad, _square(10))
    grown = nd.binary_dilation(nd.binary_closing(opened, _square(25)), _square(25))
    return Masks(grown | absent(layers, S2_BANDS), classes == _SCL_SNOW, classes == _SCL_DARK)


def landsat_masks(layers: Layers, release: Release = "2.0.0") -> Masks:
    """From the quality bits (BQA, SR_QA_AEROSOL, QA_RADSAT) and pixels that are 0 in a band (grown over 10 pixels).

    Release 1.0.0 of the reference also looked at the distance to clouds (ST_CDIST), took any high aerosol, and kept
    masked spots smaller than 5 pixels.
    """
    nd = ndimage()
    quality, aerosol = _bits(layers["BQA"], nan=1), _bits(layers["SR_QA_AEROSOL"])
    high_aerosol = (6, 7) if release == "1.0.0" else (1, 6, 7)  # bit 1: the retrieval is valid
    bad = _any_bit(quality, _BQA_BAD) | _all_bits(aerosol, high_aerosol)
    bad |= _any_bit(_bits(layers["QA_RADSAT"]), _RADSAT_BAD)
    if release == "1.0.0":
        bad |= layers["ST_CDIST"] < 1
    bad |= nd.binary_dilation(_any_zero(layers, LANDSAT_BANDS), _square(10))
    if release == "2.0.0":
        bad = nd.binary_opening(bad, _square(5))
    return Masks(bad | absent(layers, LANDSAT_BANDS), _any_bit(quality, (_BQA_SNOW,)))


def pan_masks(layers: Layers) -> Masks:
    """Pixels that are 0 or absent; nothing is known of clouds."""
    return Masks(_any_zero(layers, PAN_BANDS) | absent(layers, PAN_BANDS))


def absent(layers: Layers, bands: Sequence[str]) -> Mask:
    """Pixels that are NaN in a band."""
    return np.asarray(np.stack([np.isnan(layers[band]) for band in bands]).any(axis=0))


def _any_zero(layers: Layers, bands: Sequence[str]) -> Mask:
    return np.asarray(np.stack([layers[band] == 0 for band in bands]).any(axis=0))


def _bits(layer: NDArray[Any], nan: float = 0) -> NDArray[np.uint32]:
    return np.asarray(np.nan_to_num(layer, nan=nan), np.uint32)


def _any_bit(layer: NDArray[np.uint32], bits: Sequence[int]) -> Mask:
    return np.asarray((layer & _number(bits)) != 0)


def _all_bits(layer: NDArray[np.uint32], bits: Sequence[int]) -> Mask:
    return np.asarray((layer & _number(bits)) == _number(bits))


def _number(bits: Sequence[int]) -> np.uint32:
    return np.uint32(sum(1 << bit for bit in bits))


def _square(side: int) -> Mask:
    return np.ones((side, side), bool)


def ndimage() -> Any:
    """`scipy.ndimage`.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    try:
        return import_module("scipy.ndimage")
    except ImportError as error:
        raise MissingExtraError("masks and splines of the LS2S2 extraction", "classical") from error
