"""Pictures of predictions side by side: maps of one day with their errors, and a synopsis of all days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sitsfusion.evaluation.looks import FOLDER, THUMB, Key, Pixels, read_looks
from sitsfusion.evaluation.plotting import pyplot, save, sheet
from sitsfusion.evaluation.results import Result
from sitsfusion.evaluation.tables import by_case

MOST_CASES = 3  # per strategy
Looks = Mapping[Key, Pixels]
_KELVIN, _ERROR, _THERMAL_ERROR = "inferno", "magma", "coolwarm"
_GAMMA, _UNKNOWN = 0.6, 0.6  # brightness of dark surfaces; grey where nothing is known
_GAP, _LINE = 4, 16  # pixels between pictures of a synopsis, and above a row


def draw_maps(out: Path, folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Draw maps and synopses of the first cases of each strategy: file, title and caption of each.

    * `<case>_<role>_map.png`: the day that `looks.map_day` chose: what is known of it and what every method made of it,
      and the errors;
    * `<case>_synopsis.png`: days from left to right, given images, predictions and observed images from top to bottom,
      temperatures too.
    """
    drawn: dict[str, int] = {}
    for results in by_case(out):
        strategy = results[0].strategy
        if drawn.get(strategy, 0) >= MOST_CASES:
            continue
        looks = _looks(out, results)
        if not looks:
            continue
        drawn[strategy] = drawn.get(strategy, 0) + 1
        about = f"{results[0].site}, {strategy}"
        for role in ("fine", "coarse"):
            for kind, name in (("rgb", "true colours"), ("thermal", "surface temperature")):
                panels = list(_map_panels(looks, role, kind))
                if panels:
                    file = save(_map(panels, kind), folder / f"{results[0].case}_{role}_{kind}_map.png")
                    day = panels[0][2]
                    yield file, f"{about}: {role} images, {name} on {day}", _MAP_CAPTION
        rows = list(_synopsis_rows(looks))
        if rows:
            file = save(_synopsis(rows), folder / f"{results[0].case}_synopsis.png")
            yield file, f"{about}: synopsis", _SYNOPSIS_CAPTION


_MAP_CAPTION = (
    "Middle of the site on the hidden day (where none is hidden, the given day) whose observed image is the clearest. "
    "Below each prediction the difference from the reference: mean over red, green and blue, or in kelvin. Grey: not "
    "known (clouds)."
)
_SYNOPSIS_CAPTION = "The whole site through the year; a column per day. Clouds of given images are shown as they are."


def _looks(out: Path, results: Sequence[Result]) -> dict[str, Looks]:
    """Pictures by method, and those of the case under ""."""
    folder = out / FOLDER / results[0].case
    if not (folder / "case.npz").is_file():
        return {}
    methods = {one.method: folder / f"{one.method}.npz" for one in results}
    found: dict[str, Looks] = {"": read_looks(folder / "case.npz")}
    return found | {method: read_looks(file) for method, file in methods.items() if file.is_file()}


Panel = tuple[str, Pixels, date, Pixels | None]  # title, picture, day, reference to compare with


def _map_panels(looks: Mapping[str, Looks], role: str, kind: str) -> Iterator[Panel]:
    """The reference, and every method's prediction of the same day; nothing without a prediction."""
    shown = [(m, k, p) for m, found in looks.items() for k, p in found.items() if _is(k, role, kind, "map")]
    predicted = [(m, k, p) for m, k, p in shown if k.what == "predicted"]
    if not predicted:
        return
    known = {k.what: p for _, k, p in shown if k.what in ("truth", "observed") and k.day == predicted[0][1].day}
    size = predicted[0][2].shape[:2]
    reference = next((_enlarged(known[what], size) for what in ("truth", "observed") if what in known), None)
    day = predicted[0][1].day
    for what in ("observed", "truth"):
        if what in known:
            yield what, _enlarged(known[what], size), day, None
    for method, key, picture in predicted:
        yield method, picture, key.day, reference


def _is(key: Key, role: str, kind: str, size: str) -> bool:
    return (key.role, key.kind, key.size) == (role, kind, size)


def _enlarged(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """Coarser pixels repeated to the size of the others."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, picture.shape[:2], strict=True))
    found: Pixels = picture[rows][:, columns]
    return found


def _map(panels: Sequence[Panel], kind: str) -> Any:
    compared = any(reference is not None for *_, reference in panels)
    figure, axes = sheet(len(panels) * (2 if compared else 1), len(panels), (2.6, 2.7))
    known = [picture for title, picture, _, _ in panels if title in ("observed", "truth")]
    everything = [picture for _, picture, _, _ in panels]  # temperatures that are far off must still show their shapes
    limits = _limits(everything if kind == "thermal" else known or everything, kind)
    errors = [_error(picture, reference, kind) for _, picture, _, reference in panels]
    largest = _largest(errors)
    for axis, (title, picture, _, _) in zip(axes, panels, strict=False):
        axis.set_title(title, fontsize=9)
        shown = _shown(axis, picture, limits)
    if kind == "thermal":
        figure.colorbar(shown, ax=axes[: len(panels)], label="K", shrink=0.85)
    lower = axes[len(panels) :]
    palette, lowest = (_THERMAL_ERROR, -largest) if kind == "thermal" else (_ERROR, 0.0)
    for axis, error in zip(lower, errors, strict=False):
        if error is None:
            axis.set_visible(False)
        else:
            difference = _image(axis, error, palette, (lowest, largest))
            axis.set_title("difference", fontsize=8)
    if lower:
        figure.colorbar(difference, ax=lower, label="K" if kind == "thermal" else "reflectance", shrink=0.85)
    return figure


def _limits(pictures: Sequence[Pixels], kind: str) -> tuple[float, float]:
    """What is drawn darkest and brightest: reflectance 0 is black."""
    known = np.concatenate([picture[np.isfinite(picture)] for picture in pictures])
    if not known.size:
        return 0.0, 1.0
    low, high = np.percentile(known, [1, 99])
    return (float(low), float(max(high, low + 1))) if kind == "thermal" else (0.0, float(max(high, 0.02)))


def _error(picture: Pixels, reference: Pixels | None, kind: str) -> Pixels | None:
    if reference is None or reference.shape != picture.shape:
        return None
    if kind == "thermal":
        return picture - reference
    return np.asarray(np.abs(picture - reference).mean(axis=-1))


def _largest(errors: Sequence[Pixels | None]) -> float:
    known = [np.abs(error[np.isfinite(error)]) for error in errors if error is not None]
    values = np.concatenate(known) if known else np.zeros(0)
    return float(np.percentile(values, 98)) if values.size else 1.0


def _shown(axis: Any, picture: Pixels, limits: tuple[float, float]) -> Any:
    """True colours, stretched between the limits, or temperatures; grey where nothing is known."""
    if picture.ndim == 2:
        return _image(axis, picture, _KELVIN, limits)
    return _image(axis, _colours(picture, limits), None, (0, 1))


def _colours(picture: Pixels, limits: tuple[float, float]) -> Pixels:
    """[h, w, 3] in 0 .. 1."""
    if picture.ndim == 2:
        level = (picture - limits[0]) / (limits[1] - limits[0])
        found: Pixels = pyplot().get_cmap(_KELVIN)(np.clip(level, 0, 1))[..., :3].astype(np.float32)
        found[~np.isfinite(picture)] = _UNKNOWN
        return found
    found = np.clip((picture - limits[0]) / (limits[1] - limits[0]), 0, 1) ** _GAMMA
    found[~np.isfinite(picture).all(axis=-1)] = _UNKNOWN
    return found


def _image(axis: Any, picture: NDArray[Any], palette: str | None, limits: tuple[float, float]) -> Any:
    axis.set(xticks=[], yticks=[], facecolor="#999999")
    return axis.imshow(picture, cmap=palette, vmin=limits[0], vmax=limits[1], interpolation="nearest")


# --- synopsis --------------------------------------------------------------------------------------------------------

Row = tuple[str, str, dict[date, Pixels]]  # title, kind, pictures by day


def _synopsis_rows(looks: Mapping[str, Looks]) -> Iterator[Row]:
    """Given images of both sensors, then of each method its predictions, then what is known of these days."""
    for role, kind in (("coarse", "rgb"), ("fine", "rgb")):
        yield from _row(looks[""], f"given, {role}", "given", role, kind)
    for role, kind in (("fine", "rgb"), ("coarse", "thermal")):
        for method in (one for one in looks if one):
            yield from _row(looks[method], method, "predicted", role, kind)
        for what in ("truth", "observed"):
            yield from _row(looks[""], what, what, role, kind)


def _row(looks: Looks, title: str, what: str, role: str, kind: str) -> Iterator[Row]:
    found = {k.day: p for k, p in looks.items() if k.what == what and _is(k, role, kind, "thumb")}
    if found:
        yield title if kind == "rgb" else f"{title}, temperature", kind, dict(sorted(found.items()))


def _synopsis(rows: Sequence[Row]) -> Any:
    """One picture of all: every row at its height, every day under its date."""
    columns = max(len(pictures) for *_, pictures in rows)
    limits = {kind: _row_limits(rows, kind) for kind in ("rgb", "thermal")}
    mosaic = np.ones((len(rows) * (THUMB + _LINE), columns * (THUMB + _GAP), 3), np.float32)
    figure, (axis,) = sheet(1, 1, (1.15 * (columns + 1.3), 0.2 + 1.15 * len(rows) * (THUMB + _LINE) / (THUMB + _GAP)))
    for r, (title, kind, pictures) in enumerate(rows):
        top = r * (THUMB + _LINE) + _LINE
        axis.text(-4, top + THUMB / 2, title, ha="right", va="center", fontsize=7.5)
        for c, (day, picture) in enumerate(pictures.items()):
            left = c * (THUMB + _GAP)
            square = _enlarged(_colours(picture, limits[kind]), (THUMB, THUMB))
            mosaic[top : top + THUMB, left : left + THUMB] = square
            axis.text(left + THUMB / 2, top - 2, f"{day:%d %b}", ha="center", va="bottom", fontsize=7)
    axis.imshow(mosaic, interpolation="nearest")
    axis.set_xlim(-1.3 * THUMB, mosaic.shape[1])  # room for the titles
    axis.axis("off")
    return figure


def _row_limits(rows: Sequence[Row], kind: str) -> tuple[float, float]:
    """From what is known of the days, if anything is: clouds in other rows would make everything else dark."""
    of_kind = [(title, pictures) for title, k, pictures in rows if k == kind]
    known = [pictures for title, pictures in of_kind if title.startswith(("truth", "observed"))]
    chosen = known or [pictures for _, pictures in of_kind]
    return _limits([p for pictures in chosen for p in pictures.values()], kind) if chosen else (0.0, 1.0)
