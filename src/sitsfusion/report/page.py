"""The HTML page: inputs, predictions and truth of one place, in one file that needs no network.

Python decides what goes into the page (`write_page`); the files in `viewer/` show it.
"""

from __future__ import annotations

import html
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sitsfusion.cube import Cube
from sitsfusion.errors import GridError, InputError
from sitsfusion.grid import Window, describe
from sitsfusion.report import pixels

Kind = Literal["input", "prediction", "truth"]

MAX_PIXELS = 512
MAX_BYTES = 40_000_000
_SCRIPTS = ("pixels.js", "series.js", "drawing.js", "viewer.js")
_STRIP = 4_000_000  # pixels read at once from an image that is thinned
# A band stands for another where a layer lacks it: both sensors call their own near infrared something else.
_GROUPS = {"nir": "nir08"}


@dataclass(frozen=True)
class Layer:
    """Images shown together: `name` is what the reader sees, `kind` decides how the time series is drawn."""

    name: str
    kind: Kind
    cube: Cube


@dataclass(frozen=True)
class _Image:
    """One date of a layer as stored in the page: `values` [c, h, w], `valid` [h, w], values clipped per band."""

    values: NDArray[np.uint16]
    valid: NDArray[np.bool_]
    clipped: tuple[int, ...]


@dataclass
class _Track:
    """A layer while its dates are collected. `counts` [c, 65536]: histogram of the valid stored numbers."""

    layer: Layer
    step: int
    clear: dict[date, float] = field(default_factory=dict)
    clipped: NDArray[np.int64] = field(init=False)
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.clipped = np.zeros(len(self.layer.cube.bands), np.int64)
        self.counts = np.zeros((len(self.layer.cube.bands), pixels.NEVER + 1), np.int64)

    def add(self, day: date, image: _Image) -> None:
        self.clear[day] = float(image.valid.mean())
        self.clipped += image.clipped
        for counts, band in zip(self.counts, image.values, strict=True):
            counts += np.bincount(band[image.valid], minlength=pixels.NEVER + 1)


def write_page(
    path: Path,
    layers: Sequence[Layer],
    *,
    title: str,
    provenance: Mapping[str, str],
    refused: Mapping[date, str] | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Write one HTML file that shows all layers; it opens from disk in any current browser.

    Layers may differ in grid, bands and dates, not in CRS; all are drawn over their common surroundings. Images with
    more than `max_pixels` on a side are thinned to every n-th pixel (values are never averaged). When all dates need
    more than `max_bytes`, dates spread evenly over the whole are kept. The page itself lists both decisions.

    Args:
        path: the file to write; its folder is made.
        layers: read one date at a time.
        title: heading of the page.
        provenance: what the result was made from and with, shown as a table (method, weights digest, version, inputs).
        refused: dates that could not be predicted, and why.
        max_pixels: per side of a layer.
        max_bytes: of the whole file, approximately.

    Returns:
        `path`.

    Warns:
        UserWarning: dates were left out for lack of room.

    Raises:
        InputError: no layer, a name used twice, a layer without dates, or not even one date fits `max_bytes`.
        GridError: layers of different CRS, or rotated grids.
    """
    _check(layers, max_pixels)
    tracks = [_Track(layer, max(-(-max(layer.cube.grid.shape) // max_pixels), 1)) for layer in layers]
    days = sorted({day for layer in layers for day in layer.cube.dates})
    blocks, kept = _collect(tracks, days, max_bytes)
    left_out = [day for day in days if day not in kept]
    if left_out:
        warnings.warn(_left_out(left_out, len(days), max_bytes), UserWarning, stacklevel=2)
    notes = _notes(tracks, max_pixels) + ([_left_out(left_out, len(days), max_bytes)] if left_out else [])
    refusals = {str(day): why for day, why in sorted((refused or {}).items())}
    text = Template(_file("viewer.html")).substitute(
        title=html.escape(title),
        style=_file("viewer.css"),
        meta=_json(_meta(tracks, sorted(kept))),
        blocks="\n".join(blocks),
        provenance=_table(provenance),
        refused=_section("Dates not predicted", _table(refusals)),
        notes=_section("About this page", "".join(f"<p>{html.escape(note)}</p>" for note in notes)),
        scripts="\n".join(f"<script>\n{_file(name)}</script>" for name in _SCRIPTS),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# -- pixels -----------------------------------------------------------------------------------------------------------


def _collect(tracks: Sequence[_Track], days: Sequence[date], max_bytes: int) -> tuple[list[str], set[date]]:
    """The page's pixel blocks, and the dates that found room: evenly spread ones first."""
    blocks: list[str] = []
    kept: set[date] = set()
    size = 0
    for day in (days[i] for i in _spread(len(days))):
        images = [(n, track, _image(track, day)) for n, track in enumerate(tracks) if day in track.layer.cube.dates]
        new = [block for n, _, image in images for block in _blocks(f"{n}-{day}", image)]
        size += sum(map(len, new))
        if size > max_bytes:
            break
        blocks += new
        kept.add(day)
        for _, track, image in images:
            track.add(day, image)
    if not kept:
        raise InputError(
            f"the images of one date need {size:,} bytes, more than max_bytes={max_bytes:,}; "
            "raise it, lower max_pixels, or give layers of fewer bands"
        )
    return blocks, kept


def _spread(n: int) -> list[int]:
    """0 to n-1 in an order of which every beginning is spread over the whole: 0, n-1, the middle, the quarters."""
    order: dict[int, None] = {}
    parts = 1
    while len(order) < n:
        order.update(dict.fromkeys(round(i * (n - 1) / parts) for i in range(parts + 1)))
        parts *= 2
    return list(order)


def _image(track: _Track, day: date) -> _Image:
    cube = track.layer.cube
    values, valid = _sampled(cube, cube.dates.index(day), track.step)
    packed = [pixels.quantise(band, info.unit) for band, info in zip(values, cube.band_info(), strict=True)]
    return _Image(np.stack([stored for stored, _ in packed]), valid, tuple(clipped for _, clipped in packed))


def _sampled(cube: Cube, t: int, step: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The middle one of every `step` x `step` pixels of a date: values [c, h, w] and valid [h, w]."""
    height, width = cube.grid.shape
    strip = max(_STRIP // (step * width), 1) * step  # whole steps of rows
    frames = [cube.window(Window(row, 0, min(strip, height - row), width)).frame(t) for row in range(0, height, strip)]
    rows = [_middles(frame.valid.shape[0], step) for frame in frames]
    cols = _middles(width, step)
    values = np.concatenate([f.values[:, at][:, :, cols] for f, at in zip(frames, rows, strict=True)], axis=1)
    return values, np.concatenate([f.valid[at][:, cols] for f, at in zip(frames, rows, strict=True)])


def _middles(n: int, step: int) -> NDArray[np.int64]:
    """The index of the middle pixel of each step; the last step may be cut short by the border."""
    return np.minimum(np.arange(0, n, step) + step // 2, n - 1)


def _blocks(name: str, image: _Image) -> list[str]:
    """Script elements that browsers keep as text: one per band, and the mask."""
    content = {f"m-{name}": pixels.pack_mask(image.valid)}
    content |= {f"v-{name}-{b}": pixels.pack(band) for b, band in enumerate(image.values)}
    return [f'<script type="text/plain" id="{key}">{text}</script>' for key, text in content.items()]


# -- what the viewer is told ------------------------------------------------------------------------------------------


def _meta(tracks: Sequence[_Track], days: Sequence[date]) -> dict[str, Any]:
    crs = tracks[0].layer.cube.grid.crs
    return {
        "crs": None if crs is None else str(crs),
        "degrees": crs is not None and crs.geographic,
        "dates": [str(day) for day in days],
        "layers": [_layer_meta(track) for track in tracks],
        "shared": _shared_ranges(tracks),
    }


def _layer_meta(track: _Track) -> dict[str, Any]:
    cube, step = track.layer.cube, track.step
    affine, (height, width) = cube.grid.affine, cube.grid.shape
    names = [band.common_name for band in cube.band_info()]
    bands = [
        {
            "key": band.key,
            # two bands of one common name (a narrow and a broad one) are told apart by their keys
            "name": band.common_name if names.count(band.common_name) == 1 else band.key,
            "group": _GROUPS.get(band.common_name, band.common_name),
            "unit": band.unit,
            "scale": pixels.ENCODINGS[band.unit].scale,
            "offset": pixels.ENCODINGS[band.unit].offset,
            "range": pixels.percentiles(counts, band.unit),
        }
        for band, counts in zip(cube.band_info(), track.counts, strict=True)
    ]
    return {
        "name": track.layer.name,
        "kind": track.layer.kind,
        "left": affine.c,
        "top": affine.f,
        "right": affine.c + width * affine.a,
        "bottom": affine.f + height * affine.e,
        "dx": affine.a * step,
        "dy": -affine.e * step,
        "width": -(-width // step),
        "height": -(-height // step),
        "dates": [str(day) for day in sorted(track.clear)],
        "clear": [round(track.clear[day], 3) for day in sorted(track.clear)],
        "bands": bands,
    }


def _shared_ranges(tracks: Sequence[_Track]) -> dict[str, list[float]]:
    """The 2nd and 98th percentile of all layers' valid pixels together, by band group."""
    pooled: dict[str, NDArray[np.int64]] = {}
    units = {}
    for track in tracks:
        for band, counts in zip(track.layer.cube.band_info(), track.counts, strict=True):
            group = _GROUPS.get(band.common_name, band.common_name)
            units[group] = band.unit
            pooled[group] = pooled.get(group, np.zeros_like(counts)) + counts
    return {group: pixels.percentiles(counts, units[group]) for group, counts in pooled.items()}


# -- words and tables -------------------------------------------------------------------------------------------------


def _notes(tracks: Sequence[_Track], max_pixels: int) -> list[str]:
    units = dict.fromkeys(band.unit for track in tracks for band in track.layer.cube.band_info())
    notes = [f"Values are kept to within {pixels.ENCODINGS[unit].scale / 2:g} {unit}." for unit in units]
    for track in tracks:
        cube, name = track.layer.cube, track.layer.name
        if track.step > 1:
            shape = f"{cube.grid.shape.y} x {cube.grid.shape.x}"
            notes.append(
                f"{name}: of the {shape} pixels of an image, one in {track.step} is shown along each side, "
                f"to keep at most {max_pixels} (max_pixels)."
            )
        clipped = [f"{count} of {key}" for count, key in zip(track.clipped, cube.bands, strict=True) if count]
        if clipped:
            notes.append(
                f"{name}: values beyond what this page can hold are shown at its limits: {', '.join(clipped)}."
            )
        if not track.clear:
            notes.append(f"{name}: none of its dates is in this page.")
    return notes


def _left_out(days: Sequence[date], total: int, max_bytes: int) -> str:
    return (
        f"{len(days)} of {total} dates are left out to keep the page below {max_bytes / 1e6:g} MB "
        f"(max_bytes): {', '.join(map(str, days))}."
    )


def _table(rows: Mapping[str, str]) -> str:
    cells = (f'<tr><th scope="row">{html.escape(k)}</th><td>{html.escape(v)}</td></tr>' for k, v in rows.items())
    return f"<table>{''.join(cells)}</table>" if rows else ""


def _section(heading: str, content: str) -> str:
    return f"<section><h2>{heading}</h2>{content}</section>" if content else ""


def _json(content: object) -> str:
    """JSON that cannot close the script element it stands in."""
    return json.dumps(content, allow_nan=False).replace("<", "\\u003c")


def _file(name: str) -> str:
    return resources.files(__package__).joinpath("viewer", name).read_text(encoding="utf-8")


def _check(layers: Sequence[Layer], max_pixels: int) -> None:
    if not layers:
        raise InputError("a page needs at least one layer")
    if max_pixels < 1:
        raise InputError(f"max_pixels={max_pixels}; expected at least 1")
    names = [layer.name for layer in layers]
    if len(set(names)) < len(names):
        raise InputError(f"layer names must differ; found {', '.join(names)}")
    empty = [layer.name for layer in layers if not layer.cube.dates]
    if empty:
        raise InputError(f"no dates in {', '.join(empty)}; leave such layers out of the page")
    _check_units(layers)
    first = layers[0].cube.grid.crs
    if any(layer.cube.grid.crs != first for layer in layers):
        found = ", ".join(f"{layer.name}: {layer.cube.grid.crs}" for layer in layers)
        raise GridError(f"the layers have different coordinate systems ({found}); warp them to one")
    for layer in layers:
        affine = layer.cube.grid.affine
        if not layer.cube.grid.axis_aligned or affine.a <= 0 or affine.e >= 0:
            found = describe(layer.cube.grid)
            raise GridError(f"{layer.name}: the grid is rotated or not north-up ({found}); warp it first")


def _check_units(layers: Sequence[Layer]) -> None:
    """Bands of one common name are compared, so they need one unit."""
    units: dict[str, tuple[str, str]] = {}
    for layer in layers:
        for band in layer.cube.band_info():
            unit, where = units.setdefault(band.common_name, (band.unit, layer.name))
            if unit != band.unit:
                raise InputError(
                    f"{band.common_name} is in {unit} in {where} and in {band.unit} in {layer.name}; give it one unit"
                )
