"""Tables and spectra in the form of the TAMRFSITS paper and its test tool, for the published analysis tools."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sitsfusion.engine.files import write_text
from sitsfusion.evaluation.cases import SENSORS
from sitsfusion.evaluation.profiles import Profile
from sitsfusion.evaluation.results import Result, Row
from sitsfusion.evaluation.tables import as_csv, by_case

_PAPER_METRICS = ("rmse", "nrmse", "brisque", "frr", "target_brisque")
_TABLE_METRICS = ("rmse", "nrmse", "brisque", "frr")
Spectrum = NDArray[np.float64]


def write_paper(out: Path) -> list[Path]:
    """Write what the published test tool writes, for each strategy and method, from the results in a folder.

    In `OUT/paper/<strategy>/<method>`:

    * `lr_metrics.csv`, `hr_metrics.csv`: one row per site and day, tab-separated, the published columns;
    * `<lr|hr>_<masked|clear>_pred_prof.pt` and `..._ref_prof.pt`: mean spectra in decibels, tensor `[rings bands]`
      (sites without such a day are left out; all sites must be of one size, others than the first's are left out);

    and `OUT/bands.csv`: mean and standard deviation over images per band, clear and masked days apart, as the paper's
    tables have them.

    Raises:
        WriteError: a file cannot be written.
    """
    found: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in (result for results in by_case(out) for result in results):
        found[(result.strategy, result.method)].append(result)
    files, bands = [], []
    for (strategy, method), group in found.items():
        folder = out / "paper" / strategy / method
        for role, name in SENSORS.items():
            lines = paper_rows(group, role)
            if lines:
                folder.mkdir(parents=True, exist_ok=True)
                files.append(folder / f"{name}_metrics.csv")
                write_text(files[-1], as_csv(lines, delimiter="\t"))
                bands += [{"strategy": strategy, "method": method, **row} for row in band_table(group, role)]
            for kind, spectra in mean_spectra(group, role):
                for what, spectrum in spectra.items():
                    files.append(folder / f"{name}_{kind}_{what}_prof.pt")
                    torch.save(torch.from_numpy(spectrum.T.copy()), files[-1])
    files.append(out / "bands.csv")
    write_text(files[-1], as_csv(bands))
    return files


def band_table(results: Sequence[Result], role: str) -> list[dict[str, Any]]:
    """Per band of a role, against the observed images: `<metric>_<clear|masked>_<mean|std>` over images; the standard
    deviation is that of a sample, None with one image.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in (row for result in results for row in result.rows):
        if row["role"] == role and row["reference"] == "observed" and row["band"] != "all":
            for metric in _TABLE_METRICS:
                if row.get(metric) is not None:
                    found[row["band"]][f"{metric}_{row['group']}"].append(row[metric])
    columns = [f"{metric}_{group}" for metric in _TABLE_METRICS for group in ("clear", "masked")]
    return [
        {"role": role, "band": band}
        | {
            f"{name}_{what}": value
            for name in columns
            for what, value in zip(("mean", "std"), _mean_std(values.get(name, [])), strict=True)
        }
        for band, values in found.items()
    ]


def _mean_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    mean = float(np.mean(values)) if values else None
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else None


def mean_spectra(results: Iterable[Result], role: str) -> Iterator[tuple[str, dict[str, Spectrum]]]:
    """Spectra `[bands rings]` of predictions ("pred") and targets ("ref"), averaged over sites, per kind of day."""
    for kind in ("masked", "clear"):
        profiles = [
            one
            for result in results
            for one in result.profiles
            if (one.role, one.group, one.reference) == (role, kind, "observed")
        ]
        if profiles:
            first = profiles[0]
            alike = [one for one in profiles if one.frequencies == first.frequencies and one.bands == first.bands]
            yield kind, {"pred": _mean(alike, "predicted"), "ref": _mean(alike, "target")}


def _mean(profiles: Sequence[Profile], what: str) -> Spectrum:
    stacked = np.ma.masked_invalid(np.array([getattr(one, what) for one in profiles], dtype=np.float64))
    mean: Spectrum = np.ma.filled(stacked.mean(axis=0), np.nan)
    return mean


# --- the published columns -------------------------------------------------------------------------------------------


def paper_rows(results: Sequence[Result], role: str) -> list[dict[str, Any]]:
    """One row per site and date of a role against the observed images, in the published columns, by day."""
    images: dict[tuple[str, int], dict[str, Any]] = {}
    for row in (row for result in results for row in result.tidy()):
        if row["role"] == role and row["reference"] == "observed":
            image = images.setdefault((row["site"], row["day"]), _paper_image(row))
            if row["band"] == "all":
                image["sam"] = row.get("sam")
                continue
            for metric in _PAPER_METRICS:
                if metric in row:
                    image[f"{metric}_{_paper_band(row['band'])}"] = row[metric]
    found = [{"": i, **image} for i, image in enumerate(images.values())]
    return [_in_order(row) for row in sorted(found, key=lambda row: row["doy"])]


def _paper_image(row: Row) -> dict[str, Any]:
    return {
        "name": row["site"],
        "doy": row["day"],
        "clear_doy": row["group"] == "clear",
        "clear_pixel_rate": row["clear_share"],
        "closest_doy": row["closest_days"],
        "closest_joint_doy": row["closest_joint_days"],
        "local_density": row["local_density"],
        "local_joint_density": row["local_joint_density"],
        "pred_pixel_rate": 1.0,
        "sam": None,
    }


def _paper_band(key: str) -> str:
    """B02 -> b2, B8A -> b8a, LST -> lst."""
    return f"b{key[1:].lstrip('0').lower()}" if key[0] == "B" else key.lower()


def _in_order(row: Mapping[str, Any]) -> dict[str, Any]:
    """Metric columns behind the others, metric by metric."""
    lead = {k: v for k, v in row.items() if not any(k.startswith(f"{m}_") for m in _PAPER_METRICS)}
    return lead | {k: row[k] for m in _PAPER_METRICS for k in row if k.startswith(f"{m}_")}
