"""Lazy cubes: what they give, what they refuse, and that they read nothing before they must."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion import sensors
from sitsfusion.cube import Cube, Item
from sitsfusion.errors import DateError, InputError, MissingBandError, SensorError
from sitsfusion.grid import Window
from sitsfusion.sensors import Encoding
from tests.scenes import Spy, cube, days, grid

S2 = sensors.get("sentinel-2-l2a")
pytestmark = pytest.mark.smoke


def arguments(**changed: Any) -> dict[str, Any]:
    """What makes a good cube of 2 dates, 3 bands, 4 x 5 pixels."""
    good = {
        "values": np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5) / 100,
        "sensor": S2,
        "bands": ["B02", "B04", "B08"],
        "grid": grid((4, 5), 10),
        "dates": days(0, 3),
        "valid": np.ones((2, 4, 5), bool),
    }
    return {**good, **changed}


def test_a_cube_of_an_array_gives_its_images() -> None:
    given_ = arguments()
    given_["values"][0, 1, 0, 0] = np.nan
    given_["valid"][0, 3, 4] = False
    made = Cube.from_array(**given_)
    assert (made.shape, len(made), made.bands) == ((2, 3, 4, 5), 2, ("B02", "B04", "B08"))
    frame = made.frame(0)
    np.testing.assert_array_equal(frame.values, given_["values"][0])
    assert frame.values.dtype == np.float32
    assert not frame.valid[0, 0], "a pixel that was not observed in one band"
    assert not frame.valid[3, 4], "a cloudy pixel"
    assert np.isfinite(frame.values[:, 3, 4]).all(), "a cloudy pixel keeps its value"
    assert frame.valid.sum() == 18


@settings(deadline=None)
@given(
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32"]),
    scale=st.sampled_from([1.0, 1e-4, 2.75e-5]),
    offset=st.sampled_from([0.0, -0.2, 149.0]),
    seed=st.integers(0, 99),
)
def test_stored_numbers_become_physical(dtype: str, scale: float, offset: float, seed: int) -> None:
    encoding = Encoding(dtype=dtype, scale=scale, offset=offset, nodata=7)
    stored = np.random.default_rng(seed).integers(0, 200, (2, 3, 4, 5)).astype(dtype)
    made = Cube.from_array(**arguments(values=stored, encodings=[encoding] * 3, valid=None))
    values, valid = made.to_numpy()
    expected = np.where(stored == 7, np.nan, stored.astype(np.float64) * scale + offset)
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(valid, (stored != 7).all(1))


def test_the_never_observed_are_filled_by_one_number_or_one_per_band() -> None:
    given_ = arguments()
    given_["values"][1, :, 2, 2] = np.nan
    made = Cube.from_array(**given_)
    assert (made.filled(1, -1.0)[:, 2, 2] == -1).all()
    np.testing.assert_array_equal(made.filled(1, np.float32([1, 2, 3]))[:, 2, 2], [1, 2, 3])
    np.testing.assert_array_equal(made.filled(0, -1.0), given_["values"][0])


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"values": np.zeros((2, 3, 4, 6), np.float32)}, InputError, r"\(2, 3, 4, 6\); expected .* \(2, 3, 4, 5\)"),
        ({"values": np.zeros((2, 3, 4, 5), np.int16)}, InputError, "values are int16: without `encodings`"),
        (
            {"values": np.zeros((2, 3, 4, 5), complex), "encodings": [Encoding(dtype="int16")] * 3},
            InputError,
            "complex128",
        ),
        ({"valid": np.ones((2, 4, 5), np.uint8)}, InputError, "valid is uint8"),
        ({"valid": np.ones((4, 5), bool)}, InputError, r"valid is bool \(4, 5\); expected bool \(2, 4, 5\)"),
        ({"encodings": [Encoding(dtype="int16")]}, InputError, "1 encodings but 3 bands"),
        ({"bands": ["B02", "B04", "B99"]}, MissingBandError, "no band 'B99'; it has B01"),
        ({"bands": ["B02", "blue", "B08"]}, InputError, "band B02 is named more than once"),
        ({"dates": days(3, 3)}, DateError, "more than once: 2022-01-04"),
        ({"dates": days(3, 0)}, DateError, "not in increasing order"),
        ({"dates": [datetime(2022, 1, 1), datetime(2022, 1, 2)]}, DateError, "not a calendar day"),
        ({"items": [Item("a")]}, InputError, "1 items but 2 dates"),
        ({"native": [1]}, InputError, "1 native but 3 bands"),
    ],
)
def test_what_does_not_fit_together_is_refused(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Cube.from_array(**arguments(**changed))


def test_a_cube_has_bands() -> None:
    with pytest.raises(InputError, match="no band; choose from B01"):
        Cube.from_array(**arguments(bands=[], values=np.zeros((2, 0, 4, 5), np.float32)))
    with pytest.raises(InputError, match="no band"):
        Cube.from_array(**arguments()).select(bands=[])
    with pytest.raises(MissingBandError, match="has no band blue"):
        replace(Cube.from_array(**arguments()), bands=("blue", "B04", "B08"))


@settings(deadline=None)
@given(
    bands=st.permutations(["B02", "B04", "B08"]).flatmap(lambda p: st.integers(1, 3).map(lambda n: p[:n])),
    dates=st.sets(st.integers(0, 3)),
    first=st.tuples(st.integers(0, 3), st.integers(0, 4)),
    then=st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_selections_and_windows_are_those_of_the_array(
    bands: list[str], dates: set[int], first: tuple[int, int], then: tuple[int, int]
) -> None:
    whole = cube("fine", (0, 5, 10, 17), (2, 3), bands=["B02", "B04", "B08"])  # 6 x 9 pixels
    values, valid = whole.to_numpy()
    part = whole.window(Window(*first, 6 - first[0], 9 - first[1])).select(bands=bands)
    part = part.select(dates=[whole.dates[t] for t in dates]).window(
        Window(*then, 6 - first[0] - then[0], 9 - first[1] - then[1])
    )
    rows, cols = slice(first[0] + then[0], None), slice(first[1] + then[1], None)
    at = [["B02", "B04", "B08"].index(b) for b in bands]
    expected = values[sorted(dates)][:, at][:, :, rows, cols]
    for one in (part, part.load(), pickle.loads(pickle.dumps(part))):
        found, clear = one.to_numpy()
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(clear, _clear(values, valid, sorted(dates), at)[:, rows, cols])
        assert one.shape == expected.shape
        assert one.grid.affine.c == whole.grid.affine.c + 10 * cols.start
        assert one.grid.affine.f == whole.grid.affine.f - 10 * rows.start
        assert len(one.items) == len(dates)


def _clear(values: Any, valid: Any, dates: list[int], bands: list[int]) -> Any:
    """Valid of some bands only: in the made-up images all bands are missing together."""
    return valid[dates] & np.isfinite(values[dates][:, bands]).all(1)


def test_bands_answer_to_their_other_names() -> None:
    whole = cube("fine", (0, 5), (2, 2))
    assert whole.select(bands=["nir", "blue"]).bands == ("B08", "B02")


def test_what_is_not_there_cannot_be_selected() -> None:
    whole = cube("fine", (0, 5), (2, 2))
    with pytest.raises(MissingBandError, match="cube has no B04; it has B02, B08"):
        whole.select(bands=["B04"])
    with pytest.raises(InputError, match="no image of 2022-01-02"):
        whole.select(dates=days(1))
    with pytest.raises(SensorError):
        whole.select(bands=["infrared"])
    with pytest.raises(InputError, match="does not lie inside a grid of 6 x 6 pixels"):
        whole.window(Window(0, 0, 7, 1))
    with pytest.raises(InputError, match="does not lie inside"):
        whole.window(Window(3, 3, 0, 1))


def test_nothing_is_read_before_a_frame_is_asked_for() -> None:
    whole = cube("fine", (0, 5, 10), (4, 4))
    spy = Spy(whole.source)
    lazy = replace(whole, source=spy).window(Window(2, 3, 5, 6)).select(["B08"], days(5, 10))
    assert (lazy.shape, lazy.band_info()[0].key) == ((2, 1, 5, 6), "B08")
    assert not spy.reads
    lazy.frame(1)
    assert dict(spy.reads) == {(2, Window(2, 3, 5, 6)): 1}
    loaded = lazy.load()
    assert sum(spy.reads.values()) == 3, "one read per date"
    loaded.to_numpy()
    loaded.window(Window(0, 0, 2, 2)).frame(0)
    assert sum(spy.reads.values()) == 3, "a loaded cube reads no more"


def test_a_cube_of_no_date_is_legal() -> None:
    empty = cube("fine", (0, 5), (2, 2)).select(dates=[])
    values, valid = empty.to_numpy()
    assert (values.shape, valid.shape) == ((0, 2, 6, 6), (0, 6, 6))
    assert len(empty.load()) == 0


def test_fingerprints_follow_the_pixels_and_survive_loading() -> None:
    whole = cube("fine", (0, 5, 10), (2, 2), seed=1)
    same, other = cube("fine", (0, 5, 10), (2, 2), seed=1), cube("fine", (0, 5, 10), (2, 2), seed=2)
    assert [whole.fingerprint(t) for t in range(3)] == [same.fingerprint(t) for t in range(3)]
    assert whole.fingerprint(0) != other.fingerprint(0)
    assert whole.select(dates=days(5)).load().fingerprint(0) == whole.fingerprint(1)
    masked = Cube.from_array(**arguments(valid=np.zeros((2, 4, 5), bool)))
    assert masked.fingerprint(0) != Cube.from_array(**arguments()).fingerprint(0)


def test_bytes_of_a_pixel_as_the_product_stores_it() -> None:
    assert cube("fine", (0, 5), (2, 2)).pixel_bytes() == 2 * 2 + 1


def test_a_loaded_cube_keeps_stored_numbers() -> None:
    stored = np.zeros((2, 3, 4, 5), np.int16)
    made = Cube.from_array(**arguments(values=stored, encodings=[Encoding(dtype="int16", scale=0.1)] * 3)).load()
    assert made.stored(0).values.dtype == np.int16


def test_equal_cubes_are_equal() -> None:
    made = Cube.from_array(**arguments())
    assert made == replace(made)
    assert made != made.select(dates=[made.dates[0]])
    assert made.dates[0] + timedelta(3) == made.dates[1] == date(2022, 1, 4)
