"""The report of a benchmark and its animations in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

import sitsfusion
from sitsfusion.engine.job import Resources
from sitsfusion.evaluation.settings import Settings
from sitsfusion.evaluation.sites import SceneSite
from tests.evaluation import tiny

from .test_browser import driver as driver

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    settings = Settings(margin=1, animations=True, resources=Resources(device="cpu"))
    site = SceneSite(tiny.scene(), tiny.truth)
    sitsfusion.evaluate(site, "GAPS", ["naive", "closest"], out=folder, settings=settings)
    return folder


def complaints(driver: Chrome) -> list[object]:
    return [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def test_the_report_shows_tables_and_all_figures(driver: Chrome, out: Path) -> None:
    driver.get((out / "report.html").as_uri())
    images = driver.find_elements(By.CSS_SELECTOR, "figure img")
    assert len(images) >= 6
    assert all(driver.execute_script("return arguments[0].naturalWidth", image) > 100 for image in images)
    headings = [h.text for h in driver.find_elements(By.TAG_NAME, "h3")]
    assert "GAPS: hidden days against the truth" in headings
    first = driver.find_element(By.CSS_SELECTOR, "h4 + .wide table")
    assert first.is_displayed()
    assert {"closest", "naive"} <= {cell.text for cell in first.find_elements(By.TAG_NAME, "th")}
    wide = driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert wide
    assert complaints(driver) == []


def test_an_animation_plays_all_days(driver: Chrome, out: Path) -> None:
    driver.get((out / "animations" / "tiny_GAPS_naive.html").as_uri())
    titles = [caption.text for caption in driver.find_elements(By.TAG_NAME, "figcaption")]
    assert titles == [
        f"{sensor}, {what}" for sensor in ("Coarse", "Fine") for what in ("given", "predicted", "observed")
    ]
    date = driver.find_element(By.ID, "date")
    assert date.text == "2022-01-01 (day 0)"
    boxes = driver.find_elements(By.CSS_SELECTOR, ".image")
    assert [box.text for box in boxes[:3]] == ["no image"] * 3  # a fine image was taken that day
    driver.execute_script(
        "const s = document.getElementById('slider'); s.value = 2; s.dispatchEvent(new Event('input'))"
    )
    assert date.text == "2022-01-21 (day 20)"
    assert len(driver.find_elements(By.CSS_SELECTOR, ".image img")) == 6  # both sensors that day
    play = driver.find_element(By.ID, "play")
    play.click()
    assert play.get_attribute("aria-pressed") == "true"
    play.click()
    assert play.text == "Play"
    assert driver.find_elements(By.CSS_SELECTOR, "#timeline circle")
    assert complaints(driver) == []
