"""Published results read back: the tables of the TAMRFSITS test tool, as rows like those of our own results.

Tables lie as `<strategy>/<method>/lr_metrics.csv` (Landsat) and `hr_metrics.csv` (Sentinel-2) below a folder, as
`evaluation.paper` writes ours. Both releases are understood: 1.0.0 has no columns `sam` and `nrmse_`.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from sitsfusion import sensors
from sitsfusion.errors import InputError, ReadError
from sitsfusion.evaluation.results import Row
from sitsfusion.evaluation.scoring import ALL_BANDS, band_group

METRICS = ("rmse", "nrmse", "brisque", "frr", "target_brisque")
_ROLES = {"lr_metrics.csv": ("coarse", "landsat-8-9-c2-l2"), "hr_metrics.csv": ("fine", "sentinel-2-l2a")}
# Ours, and what the published tables call it.
_OF_IMAGE = {
    "clear_share": "clear_pixel_rate",
    "closest_days": "closest_doy",
    "closest_joint_days": "closest_joint_doy",
    "local_density": "local_density",
    "local_joint_density": "local_joint_density",
}
_BOOLEANS = {"True": True, "False": False}
_FAILED_BRISQUE = 100.0  # what the published tool wrote where the index could not be computed

Origin = date | Mapping[str, date]


def read_published(folder: Path, origin: Origin | None = None) -> list[dict[str, Any]]:
    """All tables below a folder, one row per site, day and band, and one over all bands where there is `sam`.

    Args:
        folder: where `<strategy>/<method>/<lr|hr>_metrics.csv` lie, at any depth.
        origin: day 0 of the tables, the same for all sites or by site: rows then have a `date`. Those of the 2022
            sites count from 2022-01-01 if they were run so (`--dt_orig`), else from each site's first Sentinel-2 date.

    Returns:
        Rows with the columns of `results.KEYS` (`count` and `coverage` are not known) and the metrics, None where
        there is none; as the published analysis does, a BRISQUE of 100 or more of a Landsat band is none.

    Raises:
        ReadError: no table there, or one that cannot be read.
        InputError: a table that lacks columns, or has a field that cannot be used; a site without day 0.
    """
    files = sorted(file for name in _ROLES for file in folder.rglob(name))
    if not files:
        raise ReadError(f"no {' or '.join(_ROLES)} lies below {folder}; expected <strategy>/<method>/lr_metrics.csv")
    return [row for file in files for row in _table(file, origin)]


def beside(ours: Iterable[Row], published: Sequence[Row]) -> list[dict[str, Any]]:
    """Our scores and the published ones over the images that both have.

    Args:
        ours: tidy rows (`Result.tidy`), with the strategies and methods of the published ones; others are left out.
        published: from `read_published`.

    Returns:
        One row per strategy, method, kind of date (clear or masked), role, band and metric: number of images, means
        `ours` and `published`, and their `difference`. Images are the same where site and date agree (site and day
        number, where the published rows have no date).
    """
    theirs = {_image(row, dated=bool(row["date"])): row for row in published}
    dated = any(row["date"] for row in published)
    sums: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
    for row in ours:
        other = theirs.get(_image(row, dated)) if row["reference"] == "observed" else None
        for metric in (*METRICS, "sam") if other is not None else ():
            pair = _number(row.get(metric)), _number((other or {}).get(metric))
            if pair[0] is not None and pair[1] is not None:
                key = (row["strategy"], row["method"], row["group"], row["role"], row["band"], metric)
                sums[key].append((pair[0], pair[1]))
    names = ("strategy", "method", "group", "role", "band", "metric")
    return [dict(zip(names, key, strict=True)) | _means(pairs) for key, pairs in sorted(sums.items())]


def _image(row: Row, dated: bool) -> tuple[Any, ...]:
    when = row["date"] if dated else row["day"]
    return row["site"], row["strategy"], row["method"], row["group"], row["role"], row["band"], when


def _means(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    ours, published = (math.fsum(side) / len(pairs) for side in zip(*pairs, strict=True))
    return {"images": len(pairs), "ours": ours, "published": published, "difference": ours - published}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


# --- one table -------------------------------------------------------------------------------------------------------


def _table(file: Path, origin: Origin | None) -> Iterator[dict[str, Any]]:
    role, sensor = _ROLES[file.name]
    try:
        with file.open(newline="", encoding="utf-8") as text:
            reader = csv.DictReader(text, delimiter="\t")
            head, lines = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReadError(f"{file} cannot be read ({error}); expected tab-separated text") from error
    bands = _bands(file, head, sensor)
    names = {"strategy": file.parent.parent.name, "method": file.parent.name, "reference": "observed", "role": role}
    for number, line in enumerate(lines, start=2):
        try:
            yield from _rows(line, names, bands, origin)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{file}, line {number}: {error} cannot be used; expected name, doy, clear_doy (True or False) and "
                "numbers, and a site whose day 0 is given"
            ) from error


def _bands(file: Path, head: Sequence[str], sensor: str) -> dict[str, tuple[str, str]]:
    """Of each band in a table: our key and group."""
    known = _known(sensor)
    labels = [name.removeprefix("rmse_") for name in head if name.startswith("rmse_")]
    lacking = [name for name in ("name", "doy", "clear_doy") if name not in head]
    strange = [label for label in labels if label not in known]
    if lacking or strange or not labels:
        raise InputError(
            f"{file} is no table of the test tool: it lacks {', '.join(lacking) or 'no column of names'}, and of the "
            f"bands {', '.join(known)} it has {', '.join(labels) or 'none'}"
        )
    return {label: known[label] for label in labels}


@cache
def _known(sensor: str) -> dict[str, tuple[str, str]]:
    """Key and group of each band of a sensor, by its name in the published tables: b2, b8a, lst."""
    role = next(role for role, name in _ROLES.values() if name == sensor)
    return {
        (f"b{band.key[1:].lstrip('0')}" if band.key.startswith("B") else band.key).lower(): (
            band.key,
            band_group(role, band.resolution, band.unit),
        )
        for band in sensors.get(sensor).bands
    }


def _rows(
    line: Mapping[str, str], names: Mapping[str, str], bands: Mapping[str, tuple[str, str]], origin: Origin | None
) -> Iterator[dict[str, Any]]:
    """The rows of one image."""
    day = round(float(line["doy"]))
    group = "clear" if _BOOLEANS[line["clear_doy"]] else "masked"
    image: dict[str, Any] = {"site": line["name"], **names, "group": group}
    image |= {"day": day, "date": _date(line["name"], day, origin), "count": None, "coverage": None}
    image |= {ours: _value(line, theirs) for ours, theirs in _OF_IMAGE.items()}
    for label, (key, of_bands) in bands.items():
        scores = {metric: _value(line, f"{metric}_{label}") for metric in METRICS}
        if names["role"] == "coarse" and (scores["brisque"] or 0) >= _FAILED_BRISQUE:
            scores["brisque"] = None
        yield {**image, "band": key, "band_group": of_bands, **scores}
    if "sam" in line:
        yield {**image, "band": ALL_BANDS, "band_group": f"{names['role']} all bands", "sam": _value(line, "sam")}


def _date(site: str, day: int, origin: Origin | None) -> str:
    if origin is None:
        return ""
    first = origin if isinstance(origin, date) else origin[site]
    return (first + timedelta(days=day)).isoformat()


def _value(line: Mapping[str, str], column: str) -> float | None:
    text = line.get(column)
    return _number(float(text)) if text else None
