"""Pictures of simulated places beside real ones: one PNG file per place, and a page that shows them in columns.

All pictures use the same stretches, so that places can be compared by eye.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sitsfusion.errors import InputError
from sitsfusion.io.png import write_png
from sitsfusion.simulate.compare import Place

Picture = NDArray[np.uint8]  # [h, w, 3]

EXTENT = 960.0  # m: of the ground shown, at most
TILE, _GAP, _COLUMNS = 160, 4, 6  # pixels of the PNG
_PAPER, _RULE = 255, 225
# Reflectance shown as black and white, and the exponent between: (bands, white, exponent).
_TRUE_COLOUR = (("B04", "B03", "B02"), (0.22, 0.19, 0.17), 0.75)
_FALSE_COLOUR = (("B08", "B04", "B03"), (0.55, 0.20, 0.18), 0.8)
_KELVIN = 8.0  # on both sides of the median
_COLD_TO_WARM = np.array([(40, 60, 150), (90, 170, 220), (250, 245, 200), (240, 140, 60), (150, 20, 30)], float)
_INKS = np.array([(20, 120, 60), (200, 90, 20), (60, 80, 190), (160, 30, 110), (90, 90, 90)], np.uint8)
_NDVI = (-0.2, 1.0)
_SMALLEST = 8  # pixels along the shorter side of what is shown
_CLEAR, _PARTLY = 0.95, (0.25, 0.9)  # clear shares
_CAPTION = (
    "Rows: six clear dates in true colour; three in false colour (near infrared, red, green) and three of surface "
    "temperature (8 K around the median); partly cloudy dates beside their masks (white: not usable), and NDVI of "
    "five pixels over the series (clear observations, lines at 0 and 0.5)."
)
_STYLE = "body{font:14px sans-serif;margin:2em}td{vertical-align:top;padding:0 2em 2em 0}img{max-width:100%}"


def write_gallery(folder: str | Path, groups: Mapping[str, Sequence[Place]]) -> Path:
    """Write a PNG file for each place name and `index.html`, one column per group; files that exist are overwritten.

    Places of one name (optical, temperature) share a picture. Places with neither B02, B03, B04 and B08 nor LST
    are not shown.

    Returns:
        the page.

    Raises:
        InputError: nothing to show.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    columns = []
    for group, places in groups.items():
        cells = [f"<h2>{html.escape(group)}</h2>"]
        for name in dict.fromkeys(place.name for place in places):
            these = [place for place in places if place.name == name]
            if not any(map(_shown, these)):
                continue
            file = re.sub(r"\W+", "-", f"{group} {name}") + ".png"
            write_png(root / file, sheet(these))
            cells.append(f'<h3>{html.escape(name)}</h3><img src="{file}" alt="{html.escape(name)}">')
        columns.append("<td>" + "\n".join(cells) + "</td>")
    if not any("<img" in column for column in columns):
        raise InputError("no place has the bands of a picture: B02, B03, B04 and B08, or LST")
    page = root / "index.html"
    body = f"<h1>Simulated and real places</h1><p>{_CAPTION}</p><table><tr>{''.join(columns)}</tr></table>"
    page.write_text(f"<!doctype html><meta charset=utf-8><title>Gallery</title><style>{_STYLE}</style>{body}", "utf-8")
    return page


def sheet(places: Sequence[Place]) -> Picture:
    """The picture of one ground: three rows of six tiles, blank where there is nothing to show."""
    optical = next((p for p in places if set(_TRUE_COLOUR[0] + _FALSE_COLOUR[0]) <= set(p.bands)), None)
    warm = next((p for p in places if "LST" in p.bands), None)
    index = next((p for p in places if "NDVI" in p.bands), None)
    top = [true_colour(optical, t) for t in _spread(optical, _COLUMNS)] if optical else []
    middle = [false_colour(optical, t) for t in _spread(optical, 3)] if optical else []
    middle += [_blank()] * (3 - len(middle)) + ([temperature(warm, t) for t in _spread(warm, 3)] if warm else [])
    bottom = (
        [picture(optical, t) for t in _spread(optical, 2, _PARTLY) for picture in (true_colour, mask)]
        if optical
        else []
    )
    rows = [[_fitted(tile) for tile in row] for row in (top, middle, bottom)]
    rows[2] += [_fitted(_blank())] * (4 - len(bottom)) + ([curves(index)] if index else [])
    return np.concatenate([_in_line(row) for row in rows])


def true_colour(place: Place, t: int) -> Picture:
    """Red, green and blue of date number `t`."""
    return _stretched(place, t, *_TRUE_COLOUR)


def false_colour(place: Place, t: int) -> Picture:
    """Near infrared, red and green of date number `t`: plants are red."""
    return _stretched(place, t, *_FALSE_COLOUR)


def temperature(place: Place, t: int) -> Picture:
    """Surface temperature of date number `t`, 8 K below (blue) to 8 K above (red) its median."""
    rows, cols = _shown_part(place)
    kelvin, seen = place.values[t, place.bands.index("LST"), rows, cols], place.valid[t, rows, cols]
    middle = np.median(kelvin[seen]) if seen.any() else 0.0
    at = np.nan_to_num(np.clip((kelvin - middle) / (2 * _KELVIN) + 0.5, 0, 1)) * (len(_COLD_TO_WARM) - 1)
    channels = [np.interp(at, np.arange(len(_COLD_TO_WARM)), _COLD_TO_WARM[:, i]) for i in range(3)]
    return np.where(seen[..., None], np.stack(channels, -1), _PAPER).astype(np.uint8)


def mask(place: Place, t: int) -> Picture:
    """White where the image of date number `t` is not usable, dark where it is."""
    rows, cols = _shown_part(place)
    return np.where(place.valid[t, rows, cols][..., None], 60, _PAPER).astype(np.uint8).repeat(3, -1)


def curves(place: Place) -> Picture:
    """NDVI of five pixels along the diagonal over the series: [160, 324, 3]."""
    width = 2 * TILE + _GAP
    picture = np.full((TILE, width, 3), _PAPER, np.uint8)
    for level in (0.0, 0.5):
        picture[_row(np.array(level))] = _RULE
    days = (place.days - place.days[0]) / max(place.days[-1] - place.days[0], 1) * (width - 1)
    ndvi, (height, cols) = place.values[:, place.bands.index("NDVI")], place.valid.shape[1:]
    for ink, share in zip(_INKS, (0.1, 0.3, 0.5, 0.7, 0.9), strict=True):
        row, col = int(share * height), int(share * cols)
        seen = place.valid[:, row, col]
        if seen.any():
            x = np.arange(days[seen][0], days[seen][-1] + 1e-6, 0.1)
            y = _row(np.interp(x, days[seen], ndvi[seen, row, col]))
            picture[y, x.astype(int)] = ink
    return picture


def _shown(place: Place) -> bool:
    known = "LST" in place.bands or set(_TRUE_COLOUR[0] + _FALSE_COLOUR[0]) <= set(place.bands)
    return known and min(place.valid.shape[1:]) >= _SMALLEST


def _shown_part(place: Place) -> tuple[slice, slice]:
    """Rows and columns of the upper left 960 m."""
    rows, cols = (slice(0, max(round(EXTENT / size), 1)) for size in place.pixel)
    return rows, cols


def _stretched(place: Place, t: int, bands: tuple[str, ...], white: tuple[float, ...], exponent: float) -> Picture:
    rows, cols = _shown_part(place)
    picture = np.stack([place.values[t, place.bands.index(band), rows, cols] for band in bands], -1)
    shares = np.clip(np.nan_to_num(picture) / np.array(white, np.float32), 0, 1)
    return np.asarray(255 * shares**exponent, np.uint8)


def _spread(place: Place, count: int, shares: tuple[float, float] = (_CLEAR, 1.0)) -> list[int]:
    """At most `count` dates, evenly from those whose shown part has a clear share in a range."""
    rows, cols = _shown_part(place)
    clear = place.valid[:, rows, cols].mean((1, 2))
    found = np.flatnonzero((clear >= shares[0]) & (clear <= shares[1]))
    at = np.linspace(0, found.size - 1, count).round().astype(int) if found.size else np.zeros(0, int)
    return [int(found[i]) for i in np.unique(at)]


def _fitted(picture: Picture) -> Picture:
    """A square tile, by repeating pixels."""
    rows, cols = (np.arange(TILE) * side // TILE for side in picture.shape[:2])
    return np.asarray(picture[rows][:, cols], np.uint8)


def _in_line(tiles: Sequence[Picture]) -> Picture:
    """Tiles beside each other, on paper of six tiles."""
    line = np.full((TILE + _GAP, _COLUMNS * (TILE + _GAP), 3), _PAPER, np.uint8)
    left = 0
    for tile in tiles:
        line[:TILE, left : left + tile.shape[1]] = tile
        left += tile.shape[1] + _GAP
    return line


def _blank() -> Picture:
    return np.full((1, 1, 3), _PAPER, np.uint8)


def _row(ndvi: NDArray[np.floating]) -> NDArray[np.int64]:
    """Row of the chart at which a value is drawn."""
    share = (np.clip(ndvi, *_NDVI) - _NDVI[0]) / (_NDVI[1] - _NDVI[0])
    return np.asarray((1 - share) * (TILE - 1), np.int64)
