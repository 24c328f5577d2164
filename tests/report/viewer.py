"""What a person does with the page and what they see, through a browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

WIDTH, HEIGHT = 360, 240  # metres that the layers of conftest.py cover
# The colours [r, g, b, a] of a canvas at some places, read from a copy so that the page's own canvas stays as it is.
READ_COLOURS = """
const [canvas, places] = [document.getElementById(arguments[0]), arguments[1]];
const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
const context = copy.getContext("2d", { willReadFrequently: true });
context.drawImage(canvas, 0, 0);
return places.map(([x, y]) => [...context.getImageData(canvas.width / 2 + x, canvas.height / 2 + y, 1, 1).data]);
"""


@dataclass
class Viewer:
    """The page in a browser that runs."""

    driver: Chrome

    def open(self, path: Path, width: int = 1280, height: int = 800) -> Viewer:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get(path.as_uri())
        return self.settled()

    def settled(self) -> Viewer:
        """Waits until the page is drawn: also the frame after a change of size."""
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        WebDriverWait(self.driver, 20, 0.02).until(lambda _: self["main"].get_attribute("aria-busy") == "false")
        return self

    def __getitem__(self, key: str) -> Any:
        return self.driver.find_element(By.ID, key)

    def all(self, css: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def choose(self, key: str, text: str) -> None:
        Select(self[key]).select_by_visible_text(text)
        self.settled()

    def write(self, key: str, text: str) -> None:
        self[key].send_keys(Keys.CONTROL, "a")
        self[key].send_keys(text)
        self.settled()

    def layout(self, name: str) -> None:
        self.all(f".choice input[value={name}] + span")[0].click()
        self.settled()

    def limits(self, low: float, high: float) -> None:
        self.choose("stretch", "given limits")
        self.write("low", str(low))
        self.write("high", str(high))

    def go_to(self, day: str) -> None:
        """Moves the slider with the keyboard."""
        while self["day"].text < day:
            self["date"].send_keys(Keys.ARROW_RIGHT)
        while self["day"].text > day:
            self["date"].send_keys(Keys.ARROW_LEFT)
        self.settled()
        assert self["day"].text == day

    def offset(self, side: str, x: float, y: float) -> tuple[float, float]:
        """Where a place (metres right and down from the corner) is, in screen pixels from the image's middle."""
        box = self[f"canvas-{side}"].rect
        k = min(box["width"] / WIDTH, box["height"] / HEIGHT)
        return (x - WIDTH / 2) * k, (y - HEIGHT / 2) * k

    def colours(self, side: str, places: Sequence[tuple[float, float]]) -> np.ndarray:
        """Red, green, blue, alpha of the image at each place: [n, 4]."""
        offsets = [self.offset(side, *place) for place in places]
        return np.array(self.driver.execute_script(READ_COLOURS, f"canvas-{side}", offsets))

    def colour(self, side: str, x: float, y: float) -> list[int]:
        return self.colours(side, [(x, y)])[0].tolist()

    def picture(self, side: str) -> str:
        """The whole image, to tell whether it changed."""
        return self.driver.execute_script("return document.getElementById(arguments[0]).toDataURL()", f"canvas-{side}")

    def click(self, side: str, x: float, y: float) -> None:
        dx, dy = self.offset(side, x, y)
        canvas = self[f"canvas-{side}"]
        ActionChains(self.driver).move_to_element_with_offset(canvas, round(dx), round(dy)).click().perform()
        self.settled()

    def markers(self, layer: str) -> list[Any]:
        return self.all(f'#plot g[data-layer="{layer}"] path')

    def complaints(self) -> list[Any]:
        return self.driver.get_log("browser")
