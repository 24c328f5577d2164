from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from sitsfusion.errors import InputError
from sitsfusion.simulate.compare import Place
from sitsfusion.simulate.gallery import TILE, curves, false_colour, mask, sheet, temperature, true_colour, write_gallery

BANDS = ("B02", "B03", "B04", "B08", "NDVI")


def optical(name: str = "fields", dates: int = 9) -> Place:
    rng = np.random.default_rng(0)
    values = rng.random((dates, len(BANDS), 40, 50), np.float32) * 0.2
    valid = np.ones((dates, 40, 50), bool)
    valid[::4, :, :20] = False
    return Place(name, BANDS, values, valid, np.arange(dates) * 10.0, (10.0, 10.0), (10.0,) * len(BANDS))


def thermal(name: str = "fields") -> Place:
    kelvin = np.full((2, 1, 12, 12), 290.0, np.float32)
    kelvin[:, :, :4], kelvin[:, :, 8:] = 270.0, 310.0
    valid = np.ones((2, 12, 12), bool)
    valid[:, 0, 0] = False
    return Place(name, ("LST",), kelvin, valid, np.arange(2.0), (30.0, 30.0), (90.0,))


def read(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            return np.moveaxis(file.read(), 0, -1)


def test_gallery_has_a_picture_of_each_ground(tmp_path: Path) -> None:
    only_masks = Place(
        "sky", (), np.zeros((3, 0, 9, 9), np.float32), np.ones((3, 9, 9), bool), np.arange(3.0), (10, 10), ()
    )
    page = write_gallery(
        tmp_path, {"simulated": [optical("a <1>"), thermal("a <1>")], "real": [thermal("b"), only_masks]}
    )
    text = page.read_text("utf-8")
    assert "a &lt;1&gt;" in text
    assert "<1>" not in text
    assert "sky" not in text
    assert sorted(file.name for file in tmp_path.iterdir()) == ["index.html", "real-b.png", "simulated-a-1-.png"]
    assert all(f'src="{file.name}"' in text for file in tmp_path.glob("*.png"))
    np.testing.assert_array_equal(read(tmp_path / "real-b.png"), sheet([thermal("b")]))


def test_nothing_to_show_is_an_error(tmp_path: Path) -> None:
    bare = optical()
    with pytest.raises(InputError, match="B02, B03, B04 and B08, or LST"):
        write_gallery(
            tmp_path, {"real": [Place("x", ("NDVI",), bare.values[:, :1], bare.valid, bare.days, (10, 10), (10,))]}
        )


def test_sheet_shows_images_temperature_masks_and_curves() -> None:
    found = sheet([optical(), thermal()])
    height = found.shape[0] // 3
    assert found.shape[1] // 6 == height > TILE

    def tile(row: int, col: int) -> np.ndarray:
        return found[row * height : row * height + TILE, col * height : col * height + TILE]

    filled = [[bool((tile(row, col) != 255).any()) for col in range(6)] for row in range(3)]
    assert filled == [[True] * 6, [True] * 5 + [False], [True] * 6]  # temperature has but two dates
    assert not (sheet([thermal()])[:height] != 255).any()


def test_colours() -> None:
    place = optical()
    place.values[0] = np.array([0.5, 0.0, 0.0, 0.9, 0.5], np.float32)[:, None, None]  # blue and near infrared
    place.values[0, :, 0, 0] = np.nan
    assert true_colour(place, 0)[5, 5].tolist() == [0, 0, 255]
    assert false_colour(place, 0)[5, 5].tolist() == [255, 0, 0]
    assert true_colour(place, 0)[0, 0].tolist() == [0, 0, 0]
    assert mask(place, 0)[0, 0].tolist() == [255] * 3
    assert mask(place, 0)[0, 49].max() < 100


def test_temperature_is_blue_when_cold_and_red_when_warm() -> None:
    found = temperature(thermal(), 0).astype(int)
    assert found[0, 0].tolist() == [255] * 3  # not valid
    (cold, warm) = found[1, 1], found[10, 10]
    assert cold[2] > cold[0]
    assert warm[0] > warm[2]


def test_curves_show_clear_observations_only() -> None:
    place = optical(dates=5)
    place.values[:, BANDS.index("NDVI")] = 1.0
    place.values[2, BANDS.index("NDVI")] = -0.2
    place.valid[2] = False
    inked = (curves(place) < 225).any(-1)
    assert inked[0].any()
    assert not inked[1:].any()


def test_only_the_upper_left_960_metres_are_shown() -> None:
    place = Place(
        "wide",
        BANDS,
        np.zeros((1, 5, 200, 300), np.float32),
        np.ones((1, 200, 300), bool),
        np.zeros(1),
        (10, 10),
        (10.0,) * 5,
    )
    assert true_colour(place, 0).shape == (96, 96, 3)
