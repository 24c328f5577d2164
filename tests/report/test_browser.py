"""The page in a real browser: a headless Chromium opens the file from disk and is clicked like a person would.

Debian packages: chromium and chromium-driver. Without them these tests are skipped, but not in CI: there (environment
variable CI, set by `.ci/run`) they fail.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from sitsfusion.cube import Cube
from sitsfusion.report import Layer

from .viewer import READ_COLOURS, Viewer

pytestmark = pytest.mark.browser

FLAGS = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
FLAGS += ["disable-component-update", "disable-sync", "window-size=1280,800"]
LEFT, TOP = 600_000, 4_900_000  # corner of the layers of conftest.py


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    control = shutil.which("chromedriver")
    if browser is None or control is None:
        missing = "no Chromium with its driver on this machine (Debian: apt-get install chromium chromium-driver)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    options = ChromeOptions()
    options.binary_location = browser
    for flag in [*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = Chrome(options=options, service=ChromeService(control))  # a given path: selenium downloads nothing
    yield found
    found.quit()


@pytest.fixture
def viewer(driver: Chrome, page: Path) -> Iterator[Viewer]:
    found = Viewer(driver).open(page)
    yield found
    assert found.complaints() == []
    assert not found["alarm"].is_displayed()


def values_at(cube: Cube, day: date, x: float, y: float) -> np.ndarray:
    """The bands [c] of the pixel at a place (metres right and down from the corner)."""
    pixel = cube.grid.affine.a
    return cube.frame(cube.dates.index(day)).values[:, int(y // pixel), int(x // pixel)]


def shades(values: np.ndarray, low: float, high: float, gamma: float = 1) -> np.ndarray:
    return 255 * np.clip((values - low) / (high - low), 0, 1) ** (1 / gamma)


PLACES = [(45, 35), (175, 125), (215, 15), (355, 235)]


def check_true_colour(viewer: Viewer, side: str, cube: Cube, day: date) -> None:
    """Blue, green and red are the first three bands of every layer here; limits 0 to 0.5."""
    found = viewer.colours(side, PLACES)
    expected = [shades(values_at(cube, day, *place)[[2, 1, 0]], 0, 0.5) for place in PLACES]
    assert found[:, 3].tolist() == [255] * len(PLACES)
    np.testing.assert_allclose(found[:, :3], expected, atol=1)  # one shade: quantisation


# -- images ------------------------------------------------------------------------------------------------------------


def test_page_opens_from_disk_and_asks_for_nothing(viewer: Viewer) -> None:
    asked = viewer.driver.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert [name for name in asked if not name.startswith("data:")] == []
    assert viewer["summary"].text == "6 dates, 2022-03-01 to 2022-04-03 · EPSG:32631 · 0.360 × 0.240 km"


def test_slider_shows_the_images_of_the_date(viewer: Viewer, layers: list[Layer]) -> None:
    viewer.limits(0, 0.5)
    viewer.choose("layer-right", "Landsat input")
    fine, coarse = layers[0].cube, layers[1].cube
    viewer.go_to("2022-03-21")
    check_true_colour(viewer, "left", fine, date(2022, 3, 21))
    check_true_colour(viewer, "right", coarse, date(2022, 3, 21))
    assert viewer["status-left"].text == viewer["status-right"].text == "image of 2022-03-21"
    viewer.go_to("2022-03-05")
    check_true_colour(viewer, "left", fine, date(2022, 3, 1))
    check_true_colour(viewer, "right", coarse, date(2022, 3, 5))
    assert viewer["status-left"].text == "nearest image: 2022-03-01, 4 days earlier"
    assert viewer["status-right"].text == "image of 2022-03-05"


def test_pixels_never_observed_are_transparent(viewer: Viewer) -> None:
    viewer.go_to("2022-03-11")
    assert viewer.colour("left", 5, 100)[3] == 0
    assert viewer.colour("left", 15, 100)[3] == 255
    assert viewer.colour("right", 5, 100)[3] == 255


def test_arrow_keys_and_buttons_move_the_date(viewer: Viewer) -> None:
    before = viewer.picture("right")
    viewer["canvas-left"].send_keys(Keys.ARROW_RIGHT)
    viewer.settled()
    assert viewer["day"].text == "2022-03-05"
    viewer["next"].click()
    viewer.settled()
    assert viewer["day"].text == "2022-03-06"
    assert viewer["date"].get_attribute("aria-valuetext") == "2022-03-06"
    assert viewer.picture("right") != before
    viewer["previous"].click()
    viewer["canvas-left"].send_keys(Keys.ARROW_LEFT)
    viewer.settled()
    assert viewer["day"].text == "2022-03-01"
    assert viewer["previous"].get_property("disabled")
    assert viewer.picture("right") == before


def test_single_bands_and_palettes(viewer: Viewer, layers: list[Layer]) -> None:
    viewer.choose("bands", "swir16")
    viewer.limits(0, 0.5)
    day, band = date(2022, 3, 1), 4
    expected = [[shades(values_at(layers[0].cube, day, *place)[band], 0, 0.5)] * 3 for place in PLACES]
    np.testing.assert_allclose(viewer.colours("left", PLACES)[:, :3], expected, atol=1)
    viewer.choose("bands", "lwir11")
    assert Select(viewer["palette"]).first_selected_option.text == "temperature colours"
    assert viewer["message-left"].text == "Sentinel-2 input has no lwir11 band."
    viewer.choose("layer-left", "Landsat input")
    assert not viewer["message-left"].is_displayed()
    viewer.limits(0, 1)  # everything is hotter: the last colour of the palette
    assert viewer.colour("left", 45, 35) == [252, 255, 164, 255]
    viewer.limits(400, 500)
    assert viewer.colour("left", 45, 35) == [0, 0, 4, 255]


def test_presets_find_the_near_infrared_of_both_sensors(viewer: Viewer, layers: list[Layer]) -> None:
    viewer.choose("layer-right", "Landsat input")
    viewer.choose("bands", "Colour infrared")
    viewer.limits(0, 0.5)
    viewer.go_to("2022-03-21")
    for side, layer in (("left", layers[0]), ("right", layers[1])):
        expected = shades(values_at(layer.cube, date(2022, 3, 21), 175, 125)[[3, 2, 1]], 0, 0.5)
        np.testing.assert_allclose(viewer.colour(side, 175, 125)[:3], expected, atol=1)
    assert viewer["key-left"].text.startswith("B08 0.000–0.500")
    assert viewer["key-right"].text.startswith("B05 0.000–0.500")


def test_stretch_and_gamma_change_the_image(viewer: Viewer, layers: list[Layer]) -> None:
    viewer.choose("bands", "red")
    seen = {viewer.picture("left")}
    assert viewer["low"].get_property("disabled")
    viewer.choose("stretch", "2–98 % of all layers")
    seen.add(viewer.picture("left"))
    viewer.limits(0.1, 0.3)
    seen.add(viewer.picture("left"))
    viewer.write("gamma", "2")
    seen.add(viewer.picture("left"))
    assert len(seen) == 4
    viewer.limits(0, 0.5)
    expected = [shades(values_at(layers[0].cube, date(2022, 3, 1), *place)[2], 0, 0.5, 2) for place in PLACES]
    np.testing.assert_allclose(viewer.colours("left", PLACES)[:, 0], expected, atol=2)


def test_hatching_marks_what_is_not_clear(viewer: Viewer) -> None:
    clear, cloudy = ([(x, 55.0) for x in range(start, start + 140, 7)] for start in (20, 200))
    before = [viewer.colours("left", places) for places in (clear, cloudy)]
    viewer["hatch"].click()
    viewer.settled()
    after = [viewer.colours("left", places) for places in (clear, cloudy)]
    changed = [np.any(a != b, axis=1).mean() for a, b in zip(after, before, strict=True)]
    assert changed[0] == 0
    assert changed[1] > 0.2


def test_zoom_keeps_pixels_crisp_and_places_in_place(viewer: Viewer, layers: list[Layer]) -> None:
    viewer.limits(0, 0.5)
    ActionChains(viewer.driver).scroll_from_origin(_wheel(viewer, 45, 35), 0, -400).perform()
    for _ in range(6):
        viewer["zoom-in"].click()
    viewer.settled()
    half = viewer["canvas-left"].rect["width"] // 2
    row = viewer.driver.execute_script(READ_COLOURS, "canvas-left", [(x, 0) for x in range(-half, half)])
    runs = np.diff(np.flatnonzero(np.any(np.diff(np.array(row), axis=0), axis=1)))
    assert runs.size
    assert runs.min() > 50  # one image pixel is a block of one colour, without blended edges
    viewer["zoom-fit"].click()
    viewer.settled()
    check_true_colour(viewer, "left", layers[0].cube, date(2022, 3, 1))


def _wheel(viewer: Viewer, x: float, y: float) -> ScrollOrigin:
    dx, dy = viewer.offset("left", x, y)
    return ScrollOrigin.from_element(viewer["canvas-left"], round(dx), round(dy))


def test_swipe_divider_moves_by_mouse_and_keys(viewer: Viewer) -> None:
    viewer.layout("swipe")
    assert viewer["divider"].get_attribute("aria-valuenow") == "50"
    assert _on_top(viewer, -100) == "canvas-left"
    assert _on_top(viewer, 100) == "canvas-right"
    ActionChains(viewer.driver).drag_and_drop_by_offset(viewer["divider"], 200, 0).perform()
    viewer.settled()
    width = viewer["canvas-left"].rect["width"]
    assert int(viewer["divider"].get_attribute("aria-valuenow")) == pytest.approx(50 + 100 * 200 / width, abs=1)
    assert _on_top(viewer, 100) == "canvas-left"
    assert _on_top(viewer, 240) == "canvas-right"
    viewer["divider"].send_keys(Keys.HOME)
    assert viewer["divider"].get_attribute("aria-valuenow") == "0"
    assert _on_top(viewer, -100) == "canvas-right"
    viewer["divider"].send_keys(Keys.ARROW_RIGHT)
    assert viewer["divider"].get_attribute("aria-valuenow") == "2"
    assert viewer["day"].text == "2022-03-01"  # the divider's arrow keys are its own


def _on_top(viewer: Viewer, dx: int) -> str:
    """Which image is seen `dx` screen pixels right of the stage's middle, away from the divider's handle."""
    return viewer.driver.execute_script(
        "const box = document.getElementById('stage').getBoundingClientRect();"
        "return document.elementFromPoint(box.left + box.width / 2 + arguments[0], box.top + 20).id",
        dx,
    )


# -- series ------------------------------------------------------------------------------------------------------------


def test_click_draws_the_series_of_a_pixel(viewer: Viewer, layers: list[Layer]) -> None:
    place = (215, 35)  # cloudy on every second date of the inputs
    viewer.click("left", *place)
    check_place(viewer["place"].text, *place)
    expected = {"Sentinel-2 input": 3, "Landsat input": 3, "prediction": 4, "truth": 0}
    assert {layer.name: len(viewer.markers(layer.name)) for layer in layers} == expected
    for layer in layers[:3]:
        for t, marker in enumerate(viewer.markers(layer.name)):
            day, frame = layer.cube.dates[t], layer.cube.frame(t)
            pixel = layer.cube.grid.affine.a
            clear = frame.valid[int(place[1] // pixel), int(place[0] // pixel)]
            assert marker.get_attribute("data-day") == str(day)
            value = values_at(layer.cube, day, *place)[3]
            assert float(marker.get_attribute("data-value")) == pytest.approx(value, abs=1e-3)
            assert marker.get_attribute("data-clear") == str(bool(clear)).lower()
            assert ("panel" in marker.get_attribute("fill")) == (not clear)
    assert [line.get_attribute("class") for line in viewer.all("#plot path.line")] == ["line prediction", "line truth"]
    rows = [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in viewer.all("#legend tbody tr")]
    truth = values_at(layers[3].cube, date(2022, 3, 1), *place)[3]
    assert rows[3][:2] == ["truth B08", "2022-03-01"]
    assert float(rows[3][2]) == pytest.approx(truth, abs=1e-3)
    assert rows[0][2].endswith(", not clear")
    assert rows[1][1] == "2022-03-05 +4 d"


def check_place(text: str, x: float, y: float) -> None:
    """Coordinates as written; a screen pixel is about a metre wide here."""
    found = re.fullmatch(r"x ([\d.]+), y ([\d.]+) \(EPSG:32631\)", text)
    assert found is not None
    assert float(found[1]) == pytest.approx(LEFT + x, abs=2)
    assert float(found[2]) == pytest.approx(TOP - y, abs=2)


def test_pixels_never_observed_are_not_plotted(viewer: Viewer) -> None:
    viewer.click("right", 5, 100)
    assert len(viewer.markers("Sentinel-2 input")) == 1
    viewer.go_to("2022-03-11")
    assert viewer.all("#legend tbody td:nth-child(3)")[0].text == "never observed"


def test_unclear_values_can_be_hidden(viewer: Viewer) -> None:
    viewer.click("left", 215, 35)
    viewer["show-unclear"].click()
    viewer.settled()
    assert [marker.get_attribute("data-day") for marker in viewer.markers("Sentinel-2 input")] == ["2022-03-11"]


def test_series_of_another_band_follows_the_choice(viewer: Viewer, layers: list[Layer]) -> None:
    viewer.click("left", 175, 125)
    viewer.choose("series-band", "lwir11")
    assert viewer.all("#plot .unit")[0].text == "lwir11, temperature (K)"
    assert {layer.name: len(viewer.markers(layer.name)) for layer in layers[:3]} == {
        "Sentinel-2 input": 0,
        "Landsat input": 3,
        "prediction": 0,
    }
    value = values_at(layers[1].cube, layers[1].cube.dates[0], 175, 125)[6]
    assert float(viewer.markers("Landsat input")[0].get_attribute("data-value")) == pytest.approx(value, abs=0.1)
    viewer.choose("bands", "green")
    assert viewer.all("#plot .unit")[0].text == "green, reflectance"


def test_click_on_a_marker_goes_to_its_date(viewer: Viewer) -> None:
    viewer.click("left", 175, 125)
    viewer.markers("Landsat input")[2].click()
    viewer.settled()
    assert viewer["day"].text == "2022-04-03"


def test_shift_and_arrows_move_the_pixel(viewer: Viewer, layers: list[Layer]) -> None:
    viewer.click("left", 175, 125)
    viewer["canvas-left"].send_keys(Keys.SHIFT, Keys.ARROW_DOWN)
    viewer.settled()
    value = values_at(layers[0].cube, layers[0].cube.dates[0], 175, 135)[3]
    assert float(viewer.markers("Sentinel-2 input")[0].get_attribute("data-value")) == pytest.approx(value, abs=1e-3)
    assert viewer["day"].text == "2022-03-01"


def test_pointing_reads_out_place_and_values(viewer: Viewer, layers: list[Layer]) -> None:
    dx, dy = viewer.offset("left", 175, 125)
    ActionChains(viewer.driver).move_to_element_with_offset(viewer["canvas-left"], round(dx), round(dy)).perform()
    place, left, right = viewer["hover"].text.split(" · ")
    check_place(place, 175, 125)
    for text, layer in ((left, layers[0]), (right, layers[2])):
        numbers = [float(number) for number in text.split(" ", 1)[1].split(" / ")]
        np.testing.assert_allclose(numbers, values_at(layer.cube, date(2022, 3, 1), 175, 125)[[2, 1, 0]], atol=1e-3)
    viewer.driver.execute_script("document.activeElement.blur()")
    ActionChains(viewer.driver).send_keys(Keys.ARROW_RIGHT).perform()
    viewer.settled()
    right = float(viewer["hover"].text.split(" · ")[2].split()[1])  # follows the date
    assert right == pytest.approx(values_at(layers[2].cube, date(2022, 3, 6), 175, 125)[2], abs=1e-3)


# -- small screens -----------------------------------------------------------------------------------------------------


def test_page_fits_a_phone(driver: Chrome, page: Path) -> None:
    viewer = Viewer(driver).open(page, 400, 800)
    assert driver.execute_script("return document.documentElement.scrollWidth") == 400
    viewer.click("right", 175, 125)
    assert len(viewer.markers("prediction")) == 4
    for control in viewer.all("select, button, input[type=number]"):
        assert control.rect["x"] >= 0
        assert control.rect["x"] + control.rect["width"] <= 400
    assert viewer.complaints() == []


def test_every_control_has_a_name(viewer: Viewer) -> None:
    viewer.click("left", 175, 125)  # shows the controls of the series
    viewer.layout("swipe")  # and the divider
    nameless = [
        control.get_attribute("id") or control.get_attribute("outerHTML")
        for control in viewer.all("select, button, input, canvas, [role=slider]")
        if not control.accessible_name
    ]
    assert nameless == []
