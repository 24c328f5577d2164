"""Look at some pixels of every image of a cube."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sitsfusion.cube import Cube, Stored
from sitsfusion.errors import ReadError
from sitsfusion.grid import Window
from sitsfusion.sensors import Encoding

_SMALL = 256  # images up to this size are read whole
_SIDE = 96  # of a window, in pixels
READS = 300  # windows per cube: few dates are looked at in more places
_FEWEST = 20  # pixels that a statistic needs
_DARK = 1.0  # per cent


@dataclass(frozen=True)
class ImageSample:
    """Statistics of one image over the sampled pixels.

    Attributes:
        day: of the image.
        id: of the image.
        observed: share of pixels observed in every band.
        clear: share of pixels observed and usable; `observed` where there is no quality layer.
        quality: whether there is one.
        median: [c] of clear pixels, physical units; NaN where there are too few.
        dark: [c] the lowest per cent of clear pixels, physical units.
        outside: [c] share of clear pixels outside the band's plausible range.
        stored_median: [c] of clear pixels, stored numbers.
        brightness: stored number in the band of shortest wavelength, median of (clear, masked) observed pixels; NaN
            where there are too few.
        top: [c] share of all stored numbers in the top tenth of an unsigned type.
        upper: [c] the same between its half and its top tenth.
        zeros: share of pixels whose stored numbers are 0 in every band.
        encodings: one per band.
        digest: of the sampled stored numbers.
    """

    day: date
    id: str
    observed: float
    clear: float
    quality: bool
    median: NDArray[np.float64]
    dark: NDArray[np.float64]
    outside: NDArray[np.float64]
    stored_median: NDArray[np.float64]
    brightness: tuple[float, float]
    top: NDArray[np.float64]
    upper: NDArray[np.float64]
    zeros: float
    encodings: tuple[Encoding, ...]
    digest: str


@dataclass(frozen=True)
class Sample:
    """Samples of the images of a cube; `failures`: those that could not be read, (day, message)."""

    cube: Cube
    images: tuple[ImageSample, ...]
    failures: tuple[tuple[date, str], ...]
    looked_at: str

    def clear_images(self, least: float = 0.3) -> list[ImageSample]:
        """Images with at least this share of clear pixels and a median in every band."""
        return [i for i in self.images if i.clear >= least and not np.isnan(i.median).any()]


def sample(cube: Cube, reads: int = READS) -> Sample:
    """Look at up to `reads` windows of a cube: every date if they suffice, else every n-th."""
    step = max(1, -(-len(cube) // reads))
    times = range(0, len(cube), step)
    windows = sample_windows((cube.shape[2], cube.shape[3]), reads // max(1, len(times)))
    images, failures = [], []
    for t in times:
        try:
            images.append(look(cube, t, windows))
        except ReadError as error:
            failures.append((cube.dates[t], str(error)))
    return Sample(cube, tuple(images), tuple(failures), _described(cube, windows, step))


def sample_windows(shape: tuple[int, int], most: int) -> list[Window]:
    """The whole of a small image; of a larger one the middle and, if `most` allows, places around it."""
    height, width = shape
    if max(shape) <= _SMALL:
        return [Window(0, 0, height, width)]
    places = [(0.5, 0.5), (0.2, 0.2), (0.8, 0.8), (0.2, 0.8), (0.8, 0.2)][: max(1, most)]
    tall, wide = min(_SIDE, height), min(_SIDE, width)
    return [Window(int(y * (height - tall)), int(x * (width - wide)), tall, wide) for y, x in places]


def look(cube: Cube, t: int, windows: Sequence[Window]) -> ImageSample:
    """Statistics of one image inside some windows.

    Raises:
        ReadError: the pixels cannot be read.
    """
    parts = [cube.window(window).stored(t) for window in windows]
    encodings = parts[0].encodings
    stored = np.concatenate([part.values.reshape(len(part.values), -1) for part in parts], axis=1)  # c n
    values = np.stack([e.decode(band) for e, band in zip(encodings, stored, strict=True)])
    observed = ~np.isnan(values).any(axis=0)
    clear = observed & np.concatenate([_flags(part) for part in parts])
    plausible = np.array([band.plausible for band in cube.band_info()])
    seen, seen_stored = values[:, clear], stored[:, clear].astype(np.float64)
    outside = (seen < plausible[:, :1]) | (seen > plausible[:, 1:])
    enough = clear.sum() >= _FEWEST
    shortest = int(np.argmin([band.wavelength or np.inf for band in cube.band_info()]))
    nothing = np.full(len(values), np.nan)
    top, upper = _high(stored, encodings)
    return ImageSample(
        cube.dates[t],
        cube.items[t].id,
        float(observed.mean()),
        float(clear.mean()),
        parts[0].clear is not None,
        np.median(seen, axis=1).astype(float) if enough else nothing,
        np.percentile(seen, _DARK, axis=1) if enough else nothing,
        outside.mean(axis=1) if enough else nothing,
        np.median(seen_stored, axis=1) if enough else nothing,
        (_median(stored[shortest, clear]), _median(stored[shortest, observed & ~clear])),
        top,
        upper,
        float((stored == 0).all(axis=0).mean()),
        encodings,
        hashlib.blake2b(np.ascontiguousarray(stored).tobytes(), digest_size=16).hexdigest(),
    )


def _flags(part: Stored) -> NDArray[np.bool_]:
    return np.ones(part.values[0].size, bool) if part.clear is None else part.clear.ravel()


def _median(numbers: NDArray[np.generic]) -> float:
    return float(np.median(numbers.astype(np.float64))) if numbers.size >= _FEWEST else float("nan")


def _high(
    stored: NDArray[np.generic], encodings: Sequence[Encoding]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Per band the shares of an unsigned type's top tenth, and of what lies between its half and that."""
    most = np.array([[np.iinfo(e.dtype).max if e.dtype.startswith("uint") else np.inf] for e in encodings])
    numbers = stored.astype(np.float64)
    top, upper = numbers >= 0.9 * most, numbers >= 0.5 * most
    return top.mean(axis=1), (upper & ~top).mean(axis=1)


def _described(cube: Cube, windows: Sequence[Window], step: int) -> str:
    height, width = cube.shape[2:]
    which = "every date" if step == 1 else f"one date in {step}"
    if sum(w.height * w.width for w in windows) == height * width:
        return f"all pixels of {which}"
    size = f"{windows[0].height} x {windows[0].width}"
    share = sum(w.height * w.width for w in windows) / (height * width)
    return f"{len(windows)} window(s) of {size} pixels ({share:.1%}) of {which}"
