"""The report of a run: one HTML file with tables, figures, what could not be done, and how long it took."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from itertools import groupby
from pathlib import Path
from statistics import median
from string import Template

import sitsfusion
from sitsfusion.engine.files import read_json, write_text
from sitsfusion.evaluation.figures import Figure
from sitsfusion.evaluation.results import Result, Row, read_costs, read_results
from sitsfusion.evaluation.tables import COSTS, COSTS_EXPLAINED, STEPS, cost_cells, refusals, summarise

# Metric, heading, factor from its unit to what is shown, better when: low, high, near zero.
_SHOWN: tuple[tuple[str, str, float, str], ...] = (
    ("rmse", "RMSE (reflectance x 1000, temperature in K)", 1000.0, "low"),
    ("sam", "Spectral angle (degrees)", math.degrees(1), "low"),
    ("nrmse", "Normalised RMSE", 1.0, "low"),
    ("bias", "Bias, prediction - reference (reflectance x 1000, temperature in K)", 1000.0, "zero"),
    ("r2", "R2 (over the pixels of an image)", 1.0, "high"),
    ("correlation", "Correlation", 1.0, "high"),
    ("ssim", "SSIM", 1.0, "high"),
    ("psnr", "PSNR (dB)", 1.0, "high"),
    ("uqi", "UQI", 1.0, "high"),
    ("scc", "Spatial correlation (SCC)", 1.0, "high"),
    ("ergas", "ERGAS", 1.0, "low"),
    ("ndvi_rmse", "RMSE of the NDVI", 1.0, "low"),
    ("ndvi_bias", "Bias of the NDVI", 1.0, "zero"),
    ("frr", "Frequency restoration ratio (dB)", 1.0, "zero"),
    ("brisque", "BRISQUE", 1.0, "low"),
    ("target_brisque", "BRISQUE of the reference", 1.0, "low"),
)
_OPEN = 2  # tables that are unfolded
_IN_PHYSICAL_UNITS = ("rmse", "bias")
_AGAINST = {"observed": "observed images", "truth": "truth"}


def write_report(out: Path, title: str, description: str, figures: Sequence[Figure], more: str = "") -> Path:
    """Write `OUT/report.html` from the results in a folder; it opens from disk and needs no network.

    Args:
        out: folder of results.
        title: of the page.
        description: what was run.
        figures: of `figures.write_figures`, which are embedded.
        more: HTML of further sections.

    Raises:
        WriteError: the disk is full.
    """
    results = read_results(out)
    rows = summarise(out).rows()
    parts = {
        "title": escape(title),
        "lead": _lead(results, description),
        "tables": "\n".join(_tables(rows)) or "<p>Nothing was scored.</p>",
        "figures": "\n".join(_figure(one) for one in figures) or _no_figures(),
        "more": more,
        "refused": _refused(results),
        "timings": _timings(results) + _costs(out),
        "run": escape(str(read_json(out / "run.json") or {})),
    }
    page = Template((resources.files("sitsfusion.report") / "benchmark.html").read_text())
    write_text(out / "report.html", page.substitute(parts))
    return out / "report.html"


def _lead(results: Sequence[Result], description: str) -> str:
    done = [one for one in results if one.status == "done"]
    sites, methods = ({getattr(one, name) for one in done} for name in ("site", "method"))
    counts = f"{len(done)} results, {len(results) - len(done)} refused: {len(methods)} methods on {len(sites)} sites"
    return (
        f"<p>{escape(description)}</p><p>{counts}; sitsfusion {sitsfusion.__version__}. Each value is the mean over "
        "the images that <em>every</em> method of the table predicted, with the 95 % interval of that mean when sites "
        "are drawn anew; in grey the mean over all images that the method predicted, and the number of values (one per "
        "image and band). The best value of a column is bold. "
        "<em>Hidden</em> days were not shown to the methods, <em>given</em> days were.</p>"
    )


# --- tables ----------------------------------------------------------------------------------------------------------


def _tables(rows: Sequence[Row]) -> Iterator[str]:
    """Per strategy, reference and kind of day, hidden days first, one table per metric."""

    def section(row: Row) -> tuple[str, str, bool]:
        return row["strategy"], row["reference"], row["group"] == "clear"

    for (strategy, reference, given), found in groupby(sorted(rows, key=section), key=section):
        kind = "given" if given else "hidden"
        yield f"<h3>{escape(strategy)}: {kind} days against the {_AGAINST[reference]}</h3>"
        tables = list(_metric_tables(list(found)))
        yield from (f"<h4>{escape(heading)}</h4>{table}" for heading, table in tables[:_OPEN])
        more = "".join(f"<h4>{escape(heading)}</h4>{table}" for heading, table in tables[_OPEN:])
        yield f"<details><summary>Other metrics</summary>{more}</details>" if more else ""


def _metric_tables(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    for metric, heading, factor, better in _SHOWN:
        groups = list(dict.fromkeys(r["band_group"] for r in rows if r.get(metric) is not None))
        if groups:
            yield heading, _table(rows, groups, metric, factor, better)


def _table(rows: Sequence[Row], groups: Sequence[str], metric: str, factor: float, better: str) -> str:
    cells = {(r["method"], r["band_group"]): r for r in rows if r.get(metric) is not None}
    best = {group: _best([r for (_, g), r in cells.items() if g == group], metric, better) for group in groups}
    head = "".join(f"<th>{escape(group)}</th>" for group in groups)
    body = []
    for method in sorted({method for method, _ in cells}):
        found = (_cell(cells.get((method, g)), metric, factor, best[g]) for g in groups)
        body.append(f"<tr><th>{escape(method)}</th>{''.join(found)}</tr>")
    return f"<div class=wide><table><tr><th>method</th>{head}</tr>{''.join(body)}</table></div>"


def _best(rows: Sequence[Row], metric: str, better: str) -> float | None:
    """The best common mean of a column with several."""
    values = [r[f"{metric}_common"] for r in rows if r[f"{metric}_common"] is not None]
    if len(values) < 2:
        return None
    rules = {"low": min, "high": max, "zero": lambda found: min(found, key=abs)}
    found: float = rules[better](values)  # type: ignore[operator]
    return found


def _cell(row: Row | None, metric: str, factor: float, best: float | None) -> str:
    if row is None:
        return "<td></td>"
    scale = 1.0 if metric in _IN_PHYSICAL_UNITS and row["band_group"] == "temperature" else factor
    own = f"<small>{_number(row[metric], scale)} ({row['images']} values)</small>"
    common = row[f"{metric}_common"]
    if common is None:
        return f"<td><small>none in common</small> {own}</td>"
    shown = f"<b>{_number(common, scale)}</b>" if common == best else _number(common, scale)
    low, high = (row[f"{metric}_common_{side}"] for side in ("low", "high"))
    interval = "" if low is None else f" <span>[{_number(low, scale)}, {_number(high, scale)}]</span>"
    return f"<td>{shown}{interval} {own}</td>"


def _number(value: float, scale: float) -> str:
    shown = value * scale
    return f"{shown:.{2 if abs(shown) >= 1 else 3}f}"


def published_section(rows: Sequence[Row]) -> str:
    """HTML of our scores beside published ones (`published.beside`)."""
    if not rows:
        return "<h2>Beside the published results</h2><p>No image is in both.</p>"
    names = list(rows[0])
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{v:.4g}</td>" if isinstance(v, float) else f"<td>{escape(str(v))}</td>" for v in row.values())
        + "</tr>"
        for row in rows
    )
    table = f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"
    return f"<h2>Beside the published results</h2><details><summary>Same images</summary>{table}</details>"


# --- the rest --------------------------------------------------------------------------------------------------------


def _figure(one: Figure) -> str:
    content = base64.b64encode(one.file.read_bytes()).decode("ascii")
    title, caption = escape(one.title), escape(one.caption)
    image = f'<img alt="{title}" src="data:image/png;base64,{content}">'
    return f"<figure><figcaption><b>{title}</b><br>{caption}</figcaption>{image}</figure>"


def _no_figures() -> str:
    return "<p>There are no figures: they need matplotlib (pip install 'sitsfusion[viz]').</p>"


def _refused(results: Sequence[Result]) -> str:
    found: dict[tuple[str, str, str, str], list[Mapping[str, str]]] = {}
    for row in (row for result in results for row in refusals(result)):
        found.setdefault((row["strategy"], row["method"], row["role"], row["reason"]), []).append(row)
    if not found:
        return "<p>Everything was predicted and scored.</p>"
    lines = []
    for (strategy, method, role, reason), rows in sorted(found.items()):
        sites = sorted({row["site"] for row in rows})
        dates = sorted({row["date"] for row in rows if row["date"]})
        what = f"{len(dates)} date(s) of {role}" if dates else (role or "everything")
        cells = (strategy, method, what, ", ".join(sites), reason)
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("strategy", "method", "what", "sites", "reason"))
    return f"<div class=wide><table><tr>{head}</tr>{''.join(lines)}</table></div>"


def _timings(results: Sequence[Result]) -> str:
    """Median seconds of each step per method."""
    done = [one for one in results if one.status == "done" and one.timings]
    steps = [step for step in STEPS if any(step in one.timings for one in done)]
    lines = []
    for method in sorted({one.method for one in done}):
        mine = [one.timings for one in done if one.method == method]
        cells = (f"<td>{median(t.get(step, 0.0) for t in mine):.1f}</td>" for step in steps)
        lines.append(f"<tr><th>{escape(method)}</th>{''.join(cells)}</tr>")
    if not lines:
        return "<p>Nothing was timed.</p>"
    head = "".join(f"<th>{step}</th>" for step in steps)
    return f"<div class=wide><table><tr><th>method</th>{head}</tr>{''.join(lines)}</table></div>"


def _costs(out: Path) -> str:
    """What an image of each method costs; empty where that was not measured."""
    costs = read_costs(out)
    if not costs:
        return ""
    heading, *lines = ([escape(cell) for cell in line] for line in cost_cells(costs))
    head = "".join(f"<th>{cell}</th>" for cell in heading)
    body = "".join(f"<tr><th>{line[0]}</th>{''.join(f'<td>{cell}</td>' for cell in line[1:])}</tr>" for line in lines)
    table = f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"
    return f"<h2>{COSTS}</h2><p>{escape(COSTS_EXPLAINED)}</p>{table}"
