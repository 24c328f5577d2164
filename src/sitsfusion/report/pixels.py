"""How the page stores pixels: quantised to 16 bits, deflated, as text.

A band of one date is a base64 text of a zlib stream. Inside it: the differences between neighbours of a row (modulo
65536, the first pixel of a row against 0), folded to small numbers (0, -1, 1, -2, ... become 0, 1, 2, 3, ...), all
their low bytes and then all their high bytes. `viewer/pixels.js` is the reader.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from sitsfusion.sensors.model import Encoding, Unit

NEVER = 65535  # the stored number of a pixel that was never observed

# Half a step is the largest error: 0.00025 reflectance, 0.025 K, 0.005 dB, 0.1 m.
ENCODINGS: Mapping[Unit, Encoding] = MappingProxyType(
    {
        "reflectance": Encoding(dtype="uint16", scale=5e-4, offset=-1.0, nodata=NEVER),
        "kelvin": Encoding(dtype="uint16", scale=0.05, offset=0.0, nodata=NEVER),
        "decibel": Encoding(dtype="uint16", scale=0.01, offset=-100.0, nodata=NEVER),
        "metre": Encoding(dtype="uint16", scale=0.2, offset=-1000.0, nodata=NEVER),
    }
)


def quantise(values: NDArray[np.float32], unit: Unit) -> tuple[NDArray[np.uint16], int]:
    """Physical values (any shape, NaN where never observed) as stored numbers, and how many had to be clipped.

    Values beyond what the unit's encoding holds (reflectance: -1 to 31.767) become its limits.
    """
    low, high = ENCODINGS[unit].limits()
    clipped = int(np.count_nonzero((values < low) | (values > high)))
    return ENCODINGS[unit].encode(np.clip(values, low, high)).astype(np.uint16), clipped


def pack(stored: NDArray[np.uint16]) -> str:
    """One band [h, w] of stored numbers as text."""
    steps = np.diff(stored, axis=1, prepend=np.uint16(0)).view(np.int16)
    folded = ((steps << 1) ^ (steps >> 15)).astype("<i2")
    return _text(folded.ravel().view(np.uint8).reshape(-1, 2).T.tobytes())


def pack_mask(mask: NDArray[np.bool_]) -> str:
    """A mask [h, w] as text: one bit per pixel, the first one in the highest bit."""
    return _text(np.packbits(mask).tobytes())


def percentiles(histogram: NDArray[np.int64], unit: Unit, shares: tuple[float, float] = (0.02, 0.98)) -> list[float]:
    """Physical values below which these shares of the counted pixels lie; `histogram` [65536] counts stored numbers.

    Nothing counted gives (0, 1). The two are at least one quantisation step apart.
    """
    total = histogram[:NEVER].sum()
    if total == 0:
        return [0.0, 1.0]
    cumulated = np.cumsum(histogram[:NEVER])
    low, high = (int(np.searchsorted(cumulated, share * total)) for share in shares)
    encoding = ENCODINGS[unit]
    return [round(n * encoding.scale + encoding.offset, 6) for n in (low, max(high, low + 1))]


def _text(raw: bytes) -> str:
    return base64.b64encode(zlib.compress(raw, 6)).decode("ascii")
