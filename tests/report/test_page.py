"""What is inside the page, read back without a browser and without the code that wrote it."""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import dataclass, field
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox

from sitsfusion import sensors
from sitsfusion.cube import Cube
from sitsfusion.errors import GridError, InputError
from sitsfusion.report import Layer, page, pixels, write_page

from .conftest import FINE_BANDS, make_cube

FINE = "sentinel-2-l2a"


@dataclass
class Parsed(HTMLParser):
    """Script elements by id, references to other files, and the text a reader sees."""

    scripts: dict[str, str] = field(default_factory=dict)
    references: list[str] = field(default_factory=list)
    text: str = ""
    _inside: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        self._inside = [tag, given.get("id") or ""]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ["", ""]

    def handle_data(self, data: str) -> None:
        tag, key = self._inside or ["", ""]
        if tag == "script" and key:
            self.scripts[key] = self.scripts.get(key, "") + data
        elif tag not in ("script", "style"):
            self.text += data


def parse(path: Path) -> tuple[Parsed, dict[str, Any]]:
    parsed = Parsed()
    parsed.feed(path.read_text(encoding="utf-8"))
    return parsed, json.loads(parsed.scripts["meta"])


def unpack(text: str, height: int, width: int) -> np.ndarray:
    """The stored numbers [h, w] of one block, as pixels.js reads them."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).astype(np.int64)
    folded = raw[: height * width] + 256 * raw[height * width :]
    steps = np.where(folded % 2 == 1, -(folded + 1) // 2, folded // 2)
    return np.cumsum(steps.reshape(height, width), axis=1) % 65536


def unpack_mask(text: str, height: int, width: int) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8))
    return bits[: height * width].reshape(height, width).astype(bool)


def band_values(parsed: Parsed, meta: dict[str, Any], layer: int, day: date, band: int) -> np.ndarray:
    about = meta["layers"][layer]
    stored = unpack(parsed.scripts[f"v-{layer}-{day}-{band}"], about["height"], about["width"])
    scale, offset = about["bands"][band]["scale"], about["bands"][band]["offset"]
    return np.where(stored == 65535, np.nan, stored * scale + offset)


# -- the file ---------------------------------------------------------------------------------------------------------


def test_page_is_one_file_that_asks_for_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    parsed, _ = parse(page)
    assert [p.name for p in page.parent.iterdir()] == [page.name]
    assert parsed.references == ["data:,"]  # the empty icon, so that browsers do not look for one
    code = re.sub(r'<script type="text/plain".*?</script>', "", text)
    assert not re.findall(r"https?://|//[a-z]+\.|\bfetch\(|XMLHttpRequest|WebSocket|import\(|@import|url\(", code)
    assert "default-src 'none'" in text


def test_what_the_user_writes_cannot_break_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>$title"
    layers = [Layer(evil, "input", make_cube(FINE, ["red"], (0,), (4, 6), seed=0))]
    path = write_page(
        tmp_path / "p.html", layers, title=evil, provenance={evil: evil}, refused={date(2022, 1, 1): evil}
    )
    parsed, meta = parse(path)
    assert meta["layers"][0]["name"] == evil
    assert parsed.text.count(evil) == 5  # title twice, provenance twice, refusal once


def test_provenance_and_refusals_are_shown(page: Path) -> None:
    text = parse(page)[0].text
    for words in (
        "methodlinear",
        "weightsnone",
        "version0.1.0",
        "2021-12-0190 days before the first clear observation",
    ):
        assert words in text


# -- pixels -----------------------------------------------------------------------------------------------------------


def test_values_and_masks_come_back(page: Path, layers: list[Layer]) -> None:
    parsed, meta = parse(page)
    for n, layer in enumerate(layers):
        for t, day in enumerate(layer.cube.dates):
            frame = layer.cube.frame(t)
            np.testing.assert_array_equal(unpack_mask(parsed.scripts[f"m-{n}-{day}"], *frame.valid.shape), frame.valid)
            for b, info in enumerate(layer.cube.band_info()):
                found = band_values(parsed, meta, n, day, b)
                bound = {"reflectance": 1e-3, "kelvin": 0.1}[info.unit]
                np.testing.assert_allclose(found, frame.values[b], rtol=0, atol=bound / 2)


def test_meta_describes_the_layers(page: Path, layers: list[Layer]) -> None:
    meta = parse(page)[1]
    assert meta["crs"] == "EPSG:32631"
    assert meta["dates"] == [f"2022-03-{n:02d}" for n in (1, 5, 6, 11, 21)] + ["2022-04-03"]
    coarse = meta["layers"][1]
    assert (coarse["left"], coarse["top"], coarse["right"], coarse["bottom"]) == (600000, 4900000, 600360, 4899760)
    assert [band["name"] for band in coarse["bands"]][3:] == ["nir08", "swir16", "swir22", "lwir11"]
    assert meta["layers"][0]["bands"][3]["group"] == coarse["bands"][3]["group"] == "nir08"
    assert coarse["clear"] == [0.5, 0.917, 0.417]  # half; all but one column of 12; half but one column


@given(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)))
def test_packing_loses_nothing(stored: np.ndarray) -> None:
    np.testing.assert_array_equal(unpack(pixels.pack(stored), *stored.shape), stored)
    np.testing.assert_array_equal(unpack_mask(pixels.pack_mask(stored > 9), *stored.shape), stored > 9)


@given(
    st.sampled_from(["reflectance", "kelvin", "decibel", "metre"]),
    hnp.arrays(np.float32, (3, 4), elements=st.floats(-1, 30, width=32) | st.just(np.nan)),
)
def test_quantisation_error_is_at_most_half_a_step(unit: Any, values: np.ndarray) -> None:
    encoding = pixels.ENCODINGS[unit]
    inside = np.clip(values, encoding.offset, None)
    stored, clipped = pixels.quantise(inside, unit)
    assert clipped == 0
    found = np.where(stored == pixels.NEVER, np.nan, stored * encoding.scale + encoding.offset)
    np.testing.assert_allclose(found, inside, rtol=0, atol=encoding.scale / 2 + 1e-5)


def test_stretch_limits_are_percentiles_of_valid_pixels(page: Path, layers: list[Layer]) -> None:
    meta = parse(page)[1]
    pooled = []
    for n, b in ((0, 3), (1, 3), (2, 3), (3, 3)):  # nir and nir08 are compared with each other
        values, valid = layers[n].cube.to_numpy()
        seen = values[:, b][valid]
        pooled.append(seen)
        expected = np.percentile(seen, [2, 98], method="inverted_cdf")
        np.testing.assert_allclose(meta["layers"][n]["bands"][b]["range"], expected, atol=6e-4)
    expected = np.percentile(np.concatenate(pooled), [2, 98], method="inverted_cdf")
    np.testing.assert_allclose(meta["shared"]["nir08"], expected, atol=6e-4)


def test_bands_of_one_common_name_are_told_apart(tmp_path: Path) -> None:
    found = sensors.get(FINE)
    twins = tuple(band.model_copy(update={"common_name": "nir"}) if band.key == "B8A" else band for band in found.bands)
    sensor = found.model_copy(update={"bands": twins})
    grid = GeoBox((2, 2), Affine(10, 0, 0, 0, -10, 0), "EPSG:32631")
    values = np.full((1, 3, 2, 2), 0.2, np.float32)
    cube = Cube.from_array(values, sensor=sensor, bands=["B08", "B8A", "B04"], grid=grid, dates=[date(2022, 1, 1)])
    meta = parse(write_page(tmp_path / "p.html", [Layer("a", "input", cube)], title="t", provenance={}))[1]
    assert [band["name"] for band in meta["layers"][0]["bands"]] == ["B08", "B8A", "red"]


# -- large images and pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strip", [1, 200, 10**6])
def test_large_images_are_thinned_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strip: int
) -> None:
    monkeypatch.setattr(page, "_STRIP", strip)
    cube = make_cube(FINE, ["red", "nir"], (0, 3), (25, 36), seed=5, cloudy=True)
    path = write_page(tmp_path / "p.html", [Layer("big", "input", cube)], title="t", provenance={}, max_pixels=10)
    parsed, meta = parse(path)
    about = meta["layers"][0]
    assert (about["height"], about["width"], about["dx"]) == (7, 9, 40)
    assert about["bottom"] == 4_900_000 - 250
    rows, cols = np.minimum(np.arange(0, 25, 4) + 2, 24), np.arange(2, 36, 4)
    frame = cube.frame(1)
    np.testing.assert_allclose(
        band_values(parsed, meta, 0, cube.dates[1], 1), frame.values[1][np.ix_(rows, cols)], rtol=0, atol=3e-4
    )
    mask = unpack_mask(parsed.scripts[f"m-0-{cube.dates[1]}"], 7, 9)
    np.testing.assert_array_equal(mask, frame.valid[np.ix_(rows, cols)])
    assert "big: of the 25 x 36 pixels of an image, one in 4 is shown along each side" in parsed.text


def test_dates_that_do_not_fit_are_left_out_and_named(tmp_path: Path) -> None:
    cube = make_cube(FINE, FINE_BANDS, range(0, 90, 10), (20, 30), seed=6)
    size = write_page(tmp_path / "all.html", [Layer("a", "input", cube)], title="t", provenance={}).stat().st_size
    with pytest.warns(UserWarning, match=r"of 9 dates are left out"):
        path = write_page(
            tmp_path / "some.html", [Layer("a", "input", cube)], title="t", provenance={}, max_bytes=size // 2
        )
    parsed, meta = parse(path)
    left_out = [day for day in cube.dates if str(day) not in meta["dates"]]
    assert 0 < len(left_out) < 9
    assert meta["layers"][0]["dates"] == meta["dates"]
    assert {str(cube.dates[0]), str(cube.dates[-1])} <= set(meta["dates"])
    assert f"{len(left_out)} of 9 dates are left out" in parsed.text
    assert all(str(day) in parsed.text for day in left_out)
    assert path.stat().st_size < size


def test_a_page_too_small_for_one_date_is_refused(tmp_path: Path, layers: list[Layer]) -> None:
    with pytest.raises(InputError, match="max_bytes=1,000"):
        write_page(tmp_path / "p.html", layers, title="t", provenance={}, max_bytes=1000)


@given(st.integers(1, 200), st.data())
def test_every_beginning_of_the_order_is_spread(n: int, data: st.DataObject) -> None:
    order = page._spread(n)
    assert sorted(order) == list(range(n))
    some = sorted(order[: data.draw(st.integers(min(2, n), n))])
    gaps = np.diff(some)
    assert some[0] == 0
    assert some[-1] == n - 1
    assert not gaps.size or gaps.max() <= 2 * gaps.min() + 3  # halved or not yet halved, and rounding


def test_values_beyond_the_encoding_are_shown_at_its_limits_and_counted(tmp_path: Path) -> None:
    grid = GeoBox((1, 3), Affine(10, 0, 0, 0, -10, 0), None)
    values = np.array([[[[-7.0, 0.5, 99.0]]]], np.float32)
    cube = Cube.from_array(values, sensor=sensors.get(FINE), bands=["red"], grid=grid, dates=[date(2022, 1, 1)])
    parsed, meta = parse(write_page(tmp_path / "p.html", [Layer("odd", "input", cube)], title="t", provenance={}))
    np.testing.assert_allclose(band_values(parsed, meta, 0, date(2022, 1, 1), 0), [[-1, 0.5, 31.767]], atol=1e-6)
    assert "odd: values beyond what this page can hold are shown at its limits: 2 of B04." in parsed.text
    assert meta["crs"] is None


# -- refusals ---------------------------------------------------------------------------------------------------------


def _with_grid(grid: GeoBox) -> Layer:
    values = np.zeros((1, 1, *grid.shape), np.float32)
    day = [date(2022, 1, 1)]
    return Layer("b", "input", Cube.from_array(values, sensor=sensors.get(FINE), bands=["red"], grid=grid, dates=day))


def _refused(*layers: Layer, path: Path, **options: int) -> None:
    write_page(path / "p.html", layers, title="t", provenance={}, **options)


def test_layers_that_cannot_be_shown_together_are_refused(tmp_path: Path) -> None:
    cube = make_cube(FINE, ["red"], (0,), (4, 6), seed=0)
    good = Layer("a", "input", cube)
    with pytest.raises(InputError, match="at least one layer"):
        _refused(path=tmp_path)
    with pytest.raises(InputError, match="names must differ; found a, a"):
        _refused(good, good, path=tmp_path)
    with pytest.raises(InputError, match="no dates in empty"):
        _refused(good, Layer("empty", "truth", make_cube(FINE, ["red"], (), (4, 6), seed=0)), path=tmp_path)
    with pytest.raises(InputError, match="max_pixels=0"):
        _refused(good, path=tmp_path, max_pixels=0)
    with pytest.raises(GridError, match="different coordinate systems"):
        _refused(good, _with_grid(GeoBox((2, 2), Affine(10, 0, 0, 0, -10, 0), "EPSG:32632")), path=tmp_path)
    with pytest.raises(GridError, match="rotated"):
        _refused(_with_grid(GeoBox((2, 2), Affine(10, 1, 0, 1, -10, 0), "EPSG:32631")), path=tmp_path)


def test_one_name_in_two_units_is_refused(tmp_path: Path) -> None:
    found = sensors.get(FINE)
    warm = tuple(band.model_copy(update={"unit": "kelvin"}) for band in found.bands)
    cube = make_cube(FINE, ["red"], (0,), (4, 6), seed=0)
    other = Cube.from_array(
        cube.to_numpy()[0],
        sensor=found.model_copy(update={"bands": warm}),
        bands=["red"],
        grid=cube.grid,
        dates=cube.dates,
    )
    with pytest.raises(InputError, match="red is in reflectance in a and in kelvin in b"):
        _refused(Layer("a", "input", cube), Layer("b", "input", other), path=tmp_path)
