"""Figures of a benchmark's scores, as PNG files. Needs matplotlib (extra `viz`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sitsfusion.evaluation.maps import draw_maps
from sitsfusion.evaluation.plotting import colours, pyplot, save, sheet
from sitsfusion.evaluation.tables import by_case

_EDGES = (0, 1, 4, 8, 16, 32, 64)  # days to the nearest given image: bins of the curves
_LEAST = 3  # values that a violin needs
_REFERENCES = {"observed": "observed images", "truth": "truth"}


@dataclass(frozen=True)
class Figure:
    """A file and what it shows."""

    file: Path
    title: str
    caption: str


@dataclass(frozen=True)
class _Error:
    """RMSE of one band and date: reflectance x 1000, or kelvin."""

    days: float
    value: float
    clear: bool


Errors = dict[str, dict[str, list[_Error]]]  # panel -> method -> errors
Curves = dict[str, dict[str, list[tuple[Any, Any]]]]  # band -> method -> (frequencies, decibels)


def write_figures(out: Path) -> list[Figure]:
    """Draw the results in a folder into `OUT/figures`.

    Per strategy and reference (observed images, or the truth):

    * `..._distance.png`: error of each method against the days to the nearest given image of the sensor, per band
      group; not where all images are equally far, as none is hidden;
    * `..._violins.png`: distribution of the errors per method and band group, given and hidden days apart;
    * `..._<role>_spectra.png`: detail of predictions and targets by frequency, hidden days, a panel per band;

    and per case (of the first sites) what `evaluation.maps` draws: maps of one hidden day and a synopsis of all days.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    pyplot()
    folder, figures = out / "figures", []
    errors, spectra = _collect(out)
    for (strategy, reference), panels in sorted(errors.items()):
        stem, about = f"{strategy}_{reference}", f"{strategy}, against the {_REFERENCES[reference]}"
        for kind, draw in (("distance", _distance), ("violins", _violins)):
            shown = _with_distances(panels) if kind == "distance" else panels
            if not shown:
                continue
            file = save(_drawn(shown, draw), folder / f"{stem}_{kind}.png")
            figures.append(Figure(file, f"{about}: {_TITLES[kind]}", _CAPTIONS[kind]))
    for (strategy, reference, role), curves in sorted(spectra.items()):
        file = save(_spectra(curves), folder / f"{strategy}_{reference}_{role}_spectra.png")
        about = f"{strategy}, {role} bands against the {_REFERENCES[reference]}"
        figures.append(Figure(file, f"{about}: {_TITLES['spectra']}", _CAPTIONS["spectra"]))
    return figures + [Figure(*one) for one in draw_maps(out, folder)]


_TITLES = {
    "distance": "error against the distance to the nearest given image",
    "violins": "distribution of the errors",
    "spectra": "detail by frequency",
}
_CAPTIONS = {
    "distance": "Mean RMSE of the images in bins of days to the nearest given image of the same sensor (0: given).",
    "violins": "RMSE per image and band. Left half: days whose image was given; right half: hidden days. Lines: "
    "quartiles. A method without a half has fewer than three such values, or all are equal.",
    "spectra": "Mean amplitude of the spectrum of hidden days in decibels relative to the lowest frequency; black: "
    "what it should be. Above the black line there is too much detail (noise), below it too little (blur).",
}


def _collect(out: Path) -> tuple[dict[tuple[str, str], Errors], dict[tuple[str, str, str], Curves]]:
    """Errors by strategy and reference, spectra of hidden days by strategy, reference and role."""
    errors: dict[tuple[str, str], Errors] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    spectra: dict[tuple[str, str, str], Curves] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for result in (result for results in by_case(out) for result in results):
        for row in result.rows:
            if row.get("rmse") is not None:
                _add_error(errors[result.strategy, row["reference"]], result.method, row)
        for profile in result.profiles:
            if profile.group == "masked":
                found = spectra[result.strategy, profile.reference, profile.role]
                rings = np.array(profile.frequencies)
                for band, predicted, target in zip(profile.bands, profile.predicted, profile.target, strict=True):
                    for name, levels in ((result.method, predicted), ("target", target)):
                        found[band][name].append((rings, np.array(levels, dtype=float)))
    return errors, spectra


def _add_error(panels: Errors, method: str, row: Mapping[str, Any]) -> None:
    warm = row["band_group"] == "temperature"
    days = np.inf if row["closest_days"] is None else row["closest_days"]
    error = _Error(days, row["rmse"] * (1 if warm else 1000), row["group"] == "clear")
    panels[f"{row['band_group']} ({'K' if warm else 'reflectance x 1000'})"][method].append(error)


def _drawn(panels: Mapping[str, Any], draw: Any) -> Any:
    figure, axes = sheet(len(panels), 2 if len(panels) == 4 else 3, (4.8, 3.7))
    shades = colours(name for methods in panels.values() for name in methods)
    for axis, (name, methods) in zip(axes, sorted(panels.items()), strict=True):
        axis.set_title(name, fontsize=10)
        draw(axis, methods, shades)
        axis.grid(alpha=0.3)
    return figure


def _with_distances(panels: Errors) -> Errors:
    """The panels whose images lie at more than one distance."""
    days = {name: {e.days for errors in methods.values() for e in errors} for name, methods in panels.items()}
    return {name: methods for name, methods in panels.items() if len(days[name] - {np.inf}) > 1}


def _distance(axis: Any, methods: Mapping[str, Sequence[_Error]], shades: Mapping[str, str]) -> None:
    for method, errors in sorted(methods.items()):
        points = list(_binned(errors))
        axis.plot([x for x, _ in points], [y for _, y in points], "o-", ms=3.5, color=shades[method], label=method)
    axis.set_xlabel("days to the nearest given image")
    axis.set_ylabel("RMSE")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=7)


def _binned(errors: Sequence[_Error]) -> Iterator[tuple[float, float]]:
    """Means of days and of errors in each bin that holds something; without any given image there is no distance."""
    days, values = (np.array([getattr(error, name) for error in errors]) for name in ("days", "value"))
    at = np.digitize(days, _EDGES)
    for i in range(1, len(_EDGES) + 1):
        chosen = (at == i) & np.isfinite(days)
        if chosen.any():
            yield float(days[chosen].mean()), float(values[chosen].mean())


def _violins(axis: Any, methods: Mapping[str, Sequence[_Error]], shades: Mapping[str, str]) -> None:
    names, highest = sorted(methods), 0.0
    for x, name in enumerate(names):
        for clear, side in ((True, "low"), (False, "high")):
            values = np.array([error.value for error in methods[name] if error.clear is clear])
            if len(values) < _LEAST or np.ptp(values) == 0:
                continue
            # the longest tail must not flatten all others
            highest = max(highest, float(np.quantile(values, 0.99)))
            found = axis.violinplot(
                [values], [x], widths=0.85, showextrema=False, side=side, quantiles=[[0.25, 0.5, 0.75]]
            )
            for body in found["bodies"]:
                body.set(facecolor=shades[name], alpha=0.35 if clear else 0.85, edgecolor="none")
            found["cquantiles"].set(color="black", linewidth=0.8)
    axis.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axis.set_xlim(-0.6, len(names) - 0.4)
    axis.set_ylabel("RMSE: given | hidden days")
    axis.set_ylim(0, highest * 1.1 or 1)


def _spectra(curves: Curves) -> Any:
    figure, axes = sheet(len(curves), 5, (3.2, 2.7))
    shades = colours(name for methods in curves.values() for name in methods if name != "target") | {"target": "black"}
    for axis, (band, methods) in zip(axes, curves.items(), strict=True):
        for name in sorted(methods, key=lambda one: (one == "target", one)):
            axis.plot(*_mean_curve(methods[name]), label=name, color=shades[name], lw=1.1)
        axis.set_title(band, fontsize=10)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 6), fontsize=8)
    figure.supxlabel("frequency (1 = Nyquist)", fontsize=9)
    figure.supylabel("attenuation (dB)", fontsize=9)
    return figure


def _mean_curve(found: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Mean over cases; those of another size have other rings and are left out."""
    side = max(len(rings) for rings, _ in found)
    alike = [(rings, levels) for rings, levels in found if len(rings) == side]
    level = np.ma.masked_invalid(np.stack([levels for _, levels in alike])).mean(axis=0)
    return alike[0][0], np.ma.filled(level, np.nan)
