"""Figures of a benchmark's tables, as PNG files. Needs matplotlib (extra `viz`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sitsfusion.errors import MissingExtraError
from sitsfusion.evaluation.tables import by_case

_EDGES = (0, 1, 4, 8, 16, 32, 64)  # days to the nearest given image: bins of the curves

Spectra = dict[str, dict[str, list[tuple[Any, Any]]]]  # panel -> method -> (frequencies, decibels)
Values = dict[str, dict[str, list[tuple[float, float]]]]  # panel -> method -> (days to the nearest image, RMSE)


def write_figures(out: Path) -> list[Path]:
    """Three figures per strategy and reference, from the results in a folder: PNG files in `OUT/figures`.

    * `<strategy>_<reference>_distance.png`: error of each method against the days to the nearest given image of the
      sensor, per band group;
    * `<strategy>_<reference>_methods.png`: distribution of the errors of hidden dates per method and band group;
    * `<strategy>_<reference>_spectra.png`: detail of predictions and targets by frequency, hidden dates.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    plt = _pyplot()
    folder, files = out / "figures", []
    folder.mkdir(parents=True, exist_ok=True)
    for (strategy, reference), values in sorted(_collect(out).items()):
        stem = folder / f"{strategy}_{reference}"
        for kind, draw in (("distance", _distance), ("methods", _distribution)):
            files.append(_drawn(plt, Path(f"{stem}_{kind}.png"), values, draw))
    for (strategy, reference), spectra in sorted(_spectra(out).items()):
        files.append(_drawn(plt, folder / f"{strategy}_{reference}_spectra.png", spectra, _attenuation))
    return files


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError("a figure", "viz") from error
    return plt


def _collect(out: Path) -> dict[tuple[str, str], Values]:
    """RMSE of each band and date, by strategy and reference; reflectance x 1000, kelvin."""
    found: dict[tuple[str, str], Values] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in (row for results in by_case(out) for result in results for row in result.tidy()):
        if row.get("rmse") is None:
            continue
        warm = row["band_group"] == "temperature"
        panel = f"{row['band_group']} ({'K' if warm else 'reflectance x 1000'})"
        days = np.inf if row["closest_days"] is None else row["closest_days"]
        error = row["rmse"] * (1 if warm else 1000)
        found[row["strategy"], row["reference"]][panel][row["method"]].append((days, error))
    return found


def _spectra(out: Path) -> dict[tuple[str, str], Spectra]:
    """Attenuation of all bands of hidden dates, by strategy and reference; a panel per role, and the target's curve."""
    found: dict[tuple[str, str], Spectra] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for result in (result for results in by_case(out) for result in results):
        for profile in result.profiles:
            if profile.group == "masked":
                panel = found[result.strategy, profile.reference][profile.role]
                for name, rows in ((result.method, profile.predicted), ("target", profile.target)):
                    panel[name].append((np.array(profile.frequencies), np.array(rows, float)))
    return found


def _drawn(plt: Any, file: Path, panels: Mapping[str, Any], draw: Any) -> Path:
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.5 * columns, 3.6 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (name, found) in zip(axes.flat, sorted(panels.items()), strict=False):
        axis.set_title(name, fontsize=10)
        draw(axis, found)
        axis.grid(alpha=0.3)
    figure.savefig(file, dpi=110)
    plt.close(figure)
    return file


def _distance(axis: Any, methods: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    for method, pairs in sorted(methods.items()):
        points = list(_binned(pairs))
        axis.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=method)
    axis.set_xlabel("days to the nearest given image")
    axis.set_ylabel("RMSE")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=7)


def _binned(pairs: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Means of days and of errors in each bin that holds something; without any given image there is no distance."""
    days, errors = np.array(pairs).T
    at = np.digitize(days, _EDGES)
    for i in range(1, len(_EDGES) + 1):
        chosen = (at == i) & np.isfinite(days)
        if chosen.any():
            yield float(days[chosen].mean()), float(errors[chosen].mean())


def _distribution(axis: Any, methods: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Errors of hidden dates: box from quartile to quartile, whiskers to the 5th and 95th percentile."""
    hidden = {name: [error for days, error in pairs if days > 0] for name, pairs in sorted(methods.items())}
    shown = {name: errors for name, errors in hidden.items() if errors}
    if not shown:
        axis.text(0.5, 0.5, "no hidden date", ha="center", transform=axis.transAxes)
        return
    axis.boxplot(list(shown.values()), whis=(5, 95), showfliers=False, showmeans=True)
    axis.set_xticks(range(1, len(shown) + 1), list(shown), rotation=30, ha="right", fontsize=8)
    axis.set_ylabel("RMSE of hidden dates")
    axis.set_ylim(bottom=0)


def _attenuation(axis: Any, curves: Mapping[str, Sequence[tuple[Any, Any]]]) -> None:
    for name, found in sorted(curves.items()):
        side = max(len(frequencies) for frequencies, _ in found)
        alike = [(f, rows) for f, rows in found if len(f) == side]  # sites of another size have other rings
        level = np.ma.masked_invalid(np.concatenate([rows for _, rows in alike])).mean(0)
        axis.plot(alike[0][0], level.filled(np.nan), label=name, color="black" if name == "target" else None, lw=1)
    axis.set_xlabel("frequency (1 = Nyquist)")
    axis.set_ylabel("attenuation (dB)")
    axis.legend(fontsize=7)
