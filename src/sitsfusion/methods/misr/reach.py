"""How far a network sees, and how much memory it takes."""

from __future__ import annotations

from sitsfusion.errors import InputError
from sitsfusion.nets.misr_config import (
    SCALE,
    HighResConfig,
    HighResLtaeConfig,
    MisrConfig,
    RrdbConfig,
    RrdbHighResConfig,
    RrdbLtaeConfig,
)

_FUSION = 3  # pixels that one level of recursive fusion sees on each side
_FLOAT = 4  # bytes


def reach(config: MisrConfig) -> int:
    """Pixels of the images that go in which a pixel of the result sees on each side.

    Raises:
        InputError: a network that sees so far that it works on patches.
    """
    match config.backbone, config.diffusion:
        case HighResLtaeConfig(blocks=n), None:
            return 2 + 2 * n
        case HighResConfig(blocks=n), None:
            return 2 + 2 * n + _FUSION * (config.views.bit_length() - 1)
        case _:
            raise InputError(f"{config.describe()} works on patches: it has no exact halo")


def footprint(config: MisrConfig, size: tuple[int, int]) -> int:
    """About the peak bytes of a network on images of `size` (rows, columns): the largest layers, counted."""
    coarse = size[0] * size[1]
    fine = coarse * SCALE**2
    match config.backbone:
        case RrdbConfig(features=f, growth=g):
            numbers = coarse * (3 * f + 8 * g) + fine * 3 * f
        case RrdbLtaeConfig(features=f, growth=g, width=w, heads=h):
            numbers = coarse * config.views * (4 * f + 8 * g + 5 * w + 8 * h) + fine * 3 * f
        case RrdbHighResConfig(features=f, growth=g):
            numbers = coarse * config.views * (6 * f + 8 * g) + fine * 3 * f
        case HighResLtaeConfig(features=f, width=w, heads=h):
            numbers = coarse * config.views * (6 * f + 5 * w + 8 * h) + fine * 3 * f
        case HighResConfig(features=f):
            numbers = coarse * config.views * 8 * f + fine * 3 * f
        case None:
            numbers = 0
    if config.diffusion is not None:
        numbers += fine * 10 * config.diffusion.width * config.diffusion.multipliers[0]
    return _FLOAT * numbers
