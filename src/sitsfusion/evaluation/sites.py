"""Where the images of a case come from, and the truth where it is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import sitsfusion
from sitsfusion.io import open_scene
from sitsfusion.scene import Scene
from sitsfusion.simulate import World, simulate_scene

# (role, day) -> the surface without clouds or noise [c, h, w], on the finest grid, in the bands of the role's cube.
Truth = Callable[[str, date], NDArray[np.float32]]


@dataclass(frozen=True)
class Material:
    """What a site gives: all its images, and the truth of any day where it is known."""

    scene: Scene
    truth: Truth | None = None


class Site(Protocol):
    """A place whose images are divided into given and hidden ones."""

    @property
    def name(self) -> str:
        """Names the site in all results."""
        ...

    def identity(self) -> Mapping[str, object]:
        """What the pixels depend on: results of another identity are made again. Reads no pixel."""
        ...

    def open(self) -> Material:
        """The images; raises SitsFusionError where they cannot be had."""
        ...


@dataclass(frozen=True)
class PlaceSite:
    """A place on disk, as `open_scene` opens it; named after its folder."""

    path: Path

    @property
    def name(self) -> str:
        return safe_name(self.path.absolute().stem)

    def identity(self) -> Mapping[str, object]:
        return scene_identity(open_scene(self.path))

    def open(self) -> Material:
        return Material(open_scene(self.path))


@dataclass(frozen=True)
class SceneSite:
    """A scene that is open already, with its truth if there is one."""

    scene: Scene
    truth: Truth | None = None

    @property
    def name(self) -> str:
        return safe_name(self.scene.name)

    def identity(self) -> Mapping[str, object]:
        return scene_identity(self.scene)

    def open(self) -> Material:
        return Material(self.scene, self.truth)


@dataclass(frozen=True)
class SimulatedSite:
    """A simulated year over a made-up place, of which the truth is known.

    Attributes:
        seed: of the place.
        size: side in pixels of 10 m, a multiple of 3.
        year: of the images.
        random_world: a random place on Earth (`World.draw(seed)`), else farmland of Belgium (`World.temperate`).
    """

    seed: int
    size: int = 210
    year: int = 2022
    random_world: bool = True

    @property
    def name(self) -> str:
        return f"sim-{self.seed}"

    def identity(self) -> Mapping[str, object]:
        # the simulator may draw other numbers in another version
        own = {"seed": self.seed, "size": self.size, "year": self.year, "random_world": self.random_world}
        return {"simulated": own, "version": sitsfusion.__version__}

    def open(self) -> Material:
        world = World.draw(self.seed) if self.random_world else World.temperate()
        made = simulate_scene(self.size, year=self.year, seed=self.seed, world=world)
        return Material(made.scene, lambda role, day: made.truth(role, [day])[0])


def scene_identity(scene: Scene) -> Mapping[str, object]:
    """What identifies the stored pixels of all images of a scene, its extent and its day 0."""
    images = {
        role: [[str(day), cube.fingerprint(t)] for t, day in enumerate(cube.dates)]
        for role, cube in scene.cubes.items()
    }
    bands = {role: [cube.sensor.name, *cube.bands] for role, cube in scene.cubes.items()}
    return {"images": images, "bands": bands, "cells": str(scene.cells), "origin": str(scene.origin)}


def safe_name(text: str) -> str:
    """A text with only what may stand in any file name."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("-.") or "site"
