"""What all figures share: matplotlib (extra `viz`), one colour per method, panels on a sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sitsfusion.errors import MissingExtraError

# Colour-blind safe (Okabe and Ito 2008), without black, which stands for what was observed.
_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7F3C8D",
    "#8C6D31",
    "#999999",
    "#B3DE69",
)
DPI = 110


def pyplot() -> Any:
    """matplotlib.pyplot, drawing into files. Raises MissingExtraError."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError("a figure", "viz") from error
    return plt


def colours(methods: Iterable[str]) -> dict[str, str]:
    """A colour per method, the same in every figure of a run."""
    return {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(sorted(set(methods)))}


def sheet(count: int, columns: int, size: tuple[float, float]) -> tuple[Any, Sequence[Any]]:
    """A figure with so many panels, of this size in inches each."""
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    figure, axes = pyplot().subplots(
        rows, columns, figsize=(size[0] * columns, size[1] * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


def save(figure: Any, file: Path) -> Path:
    """Write a figure and let it go."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=DPI)
    pyplot().close(figure)
    return file
