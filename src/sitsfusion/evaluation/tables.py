"""Tables of results: every score (tidy), summaries per strategy, method and band group, and the paper's columns."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from sitsfusion.engine.files import part_of, write_text
from sitsfusion.errors import WriteError
from sitsfusion.evaluation.results import FOLDER, KEYS, ImageCost, Result, Row, read_costs, read_result, read_results

GROUP = ("strategy", "reference", "group", "band_group")
_NAMES = ("site", "strategy", "method", *KEYS)  # columns of a tidy row before its metrics
HEADLINE = ("rmse", "sam")  # metrics shown in Markdown
COSTS = "What an image costs"
COSTS_EXPLAINED = (
    "Seconds: median of the predictions of the run, by the number of their images. Multiply-accumulate operations "
    "(MACs) are those that the networks executed for one image, halos of tiles included; memory is what a fresh "
    "process grew by while it predicted one image."
)
_RESAMPLES, _LEVEL = 1000, 0.95
STEPS = ("open", "predict", "metrics", "pictures", "images", "animation")

Key = tuple[str, str, str, str, str]  # strategy, reference, group, band group, method


@dataclass
class Tally:
    """Sums and counts of the rows of one key, by metric and site."""

    sums: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))
    counts: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))

    def add(self, site: str, metric: str, value: float) -> None:
        """Take in one score of an image."""
        self.sums[metric][site] += value
        self.counts[metric][site] += 1

    def mean(self, metric: str) -> float | None:
        """Mean over all rows of all sites; None without any."""
        n = sum(self.counts[metric].values())
        return sum(self.sums[metric].values()) / n if n else None

    def interval(self, metric: str) -> tuple[float | None, float | None]:
        """95 % interval of the mean when sites are drawn anew (bootstrap over sites); None with fewer than two."""
        sites = sorted(self.counts[metric])
        if len(sites) < 2:
            return None, None
        sums = np.array([self.sums[metric][site] for site in sites])
        counts = np.array([self.counts[metric][site] for site in sites])
        draws = np.random.default_rng(0).integers(0, len(sites), (_RESAMPLES, len(sites)))
        means = sums[draws].sum(1) / counts[draws].sum(1)
        low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        return float(low), float(high)


@dataclass(frozen=True)
class Summary:
    """Scores per key, over all images that a method predicted (`own`) and over those that every method did (`common`),
    which is where methods can be compared.
    """

    metrics: tuple[str, ...]
    own: Mapping[Key, Tally]
    common: Mapping[Key, Tally]

    def rows(self) -> list[dict[str, Any]]:
        """One per key, sorted."""
        return [self._row(key) for key in sorted(self.own)]

    def _row(self, key: Key) -> dict[str, Any]:
        own, common = self.own[key], self.common.get(key, Tally())
        counts = own.counts["rmse"] or next(iter(own.counts.values()), {})
        row: dict[str, Any] = dict(zip((*GROUP, "method"), key, strict=True))
        row |= {"sites": len(counts), "images": sum(counts.values())}
        for metric in self.metrics:
            low, high = own.interval(metric)
            row |= {metric: own.mean(metric), f"{metric}_low": low, f"{metric}_high": high}
            low, high = common.interval(metric)
            row |= {
                f"{metric}_common": common.mean(metric),
                f"{metric}_common_low": low,
                f"{metric}_common_high": high,
            }
        return row


def summarise(out: Path) -> Summary:
    """Summarise all results of a folder, one case in memory at a time."""
    own: dict[Key, Tally] = defaultdict(Tally)
    shared: list[dict[Key, Tally]] = []
    metrics: dict[str, None] = {}
    for results in by_case(out):
        shared.append(_common(results))
        for result in results:
            for row in result.tidy():
                metrics |= dict.fromkeys(name for name in row if name not in _NAMES)
                for metric, value in _scores(row):
                    own[_key(row)].add(row["site"], metric, value)
    return Summary(tuple(metrics), own, _joined(shared, own))


def by_case(out: Path) -> Iterator[list[Result]]:
    """The finished results of each case."""
    for folder in sorted(path for path in (out / FOLDER).glob("*") if path.is_dir()):
        found = [read_result(file) for file in sorted(folder.glob("*.json"))]
        done = [one for one in found if one is not None and one.status == "done"]
        if done:
            yield done


def _common(results: Sequence[Result]) -> dict[Key, Tally]:
    """Tallies of one case over the images that all its methods predicted.

    Methods that give nothing of a band group at all do not count for it: they do not predict these bands.
    """
    scores: dict[tuple[Any, ...], dict[str, float]] = defaultdict(dict)
    methods: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in (row for result in results for row in result.tidy()):
        for metric, value in _scores(row):
            group = tuple(row[name] for name in GROUP)
            scores[(group, row["site"], row["role"], row["band"], row["date"], metric)][row["method"]] = value
            methods[group].add(row["method"])
    found: dict[Key, Tally] = defaultdict(Tally)
    for (group, site, _, _, _, metric), values in scores.items():
        if set(values) == methods[group]:
            for method, value in values.items():
                found[(*group, method)].add(site, metric, value)
    return found


def _joined(shared: Iterable[Mapping[Key, Tally]], own: Mapping[Key, Tally]) -> dict[Key, Tally]:
    """The common images of all cases; a case on which a method failed that ran elsewhere has none."""
    everyone: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for key in own:
        everyone[key[:-1]].add(key[-1])
    joined: dict[Key, Tally] = defaultdict(Tally)
    for one in shared:
        present: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for key in one:
            present[key[:-1]].add(key[-1])
        for key, tally in one.items():
            if present[key[:-1]] == everyone[key[:-1]]:
                _merge(joined[key], tally)
    return joined


def _merge(into: Tally, tally: Tally) -> None:
    for metric, by_site in tally.sums.items():
        for site, total in by_site.items():
            into.sums[metric][site] += total
            into.counts[metric][site] += tally.counts[metric][site]


def _scores(row: Row) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if name not in _NAMES and isinstance(value, (int, float)) and math.isfinite(value):
            yield name, value


def _key(row: Row) -> Key:
    return row["strategy"], row["reference"], row["group"], row["band_group"], row["method"]


# --- writing ---------------------------------------------------------------------------------------------------------


def write_tables(out: Path) -> dict[str, Path]:
    """Write all tables of the results in a folder, and return their files.

    * `scores.csv`: every score: one row per site, strategy, method, reference, role, band and date;
    * `summary.csv`: means per strategy, reference, group of dates, band group and method, 95 % intervals over sites
      (`_low`, `_high`), and the same over the images that every method predicted (`_common`);
    * `refused.csv`: methods that could not run on a case, and images they could not predict, with the reason;
    * `summary.md`: the same to read;
    * `timings.csv`: wall-clock seconds of each step of each method on each case;
    * `costs.csv`: what an image of each method costs (`ImageCost`), where that was measured.

    `evaluation.paper` writes the published columns.

    Raises:
        WriteError: a file cannot be written.
    """
    results = [(r.status, r) for r in read_results(out)]
    refused = [row for _, result in results for row in refusals(result)]
    summary = summarise(out)
    files = {name: out / name for name in ("scores.csv", "summary.csv", "refused.csv", "summary.md")}
    _write_scores(files["scores.csv"], out, summary.metrics)
    write_text(files["summary.csv"], as_csv(summary.rows()))
    write_text(files["refused.csv"], as_csv(refused, ("strategy", "site", "method", "role", "date", "reason")))
    counts = {status: sum(one == status for one, _ in results) for status in ("done", "refused")}
    costs = read_costs(out)
    write_text(files["summary.md"], markdown(summary, refused, counts, costs))
    if costs:
        files["costs.csv"] = out / "costs.csv"
        write_text(files["costs.csv"], as_csv([asdict(one) for one in costs]))
    files["timings.csv"] = out / "timings.csv"
    write_text(files["timings.csv"], as_csv([_timings(result) for status, result in results if status == "done"]))
    return files


def _timings(result: Result) -> dict[str, Any]:
    names = {"site": result.site, "strategy": result.strategy, "method": result.method}
    return names | {step: result.timings.get(step) for step in STEPS}


def refusals(result: Result) -> Iterator[dict[str, str]]:
    """What a result lacks: all of it, roles, or single images."""
    names = {"strategy": result.strategy, "site": result.site, "method": result.method}
    if result.status == "refused":
        yield {**names, "role": "", "date": "", "reason": result.reason}
    for role, day, reason in result.missing:
        yield {**names, "role": role, "date": day, "reason": reason}


def as_csv(rows: Sequence[Row], columns: Sequence[str] = (), delimiter: str = ",") -> str:
    """Rows as text; None and NaN are empty fields."""
    text = io.StringIO()
    names = list(columns) or list(rows[0] if rows else ())
    writer = csv.DictWriter(text, names, delimiter=delimiter, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({name: _field(row.get(name)) for name in names} for row in rows)
    return text.getvalue()


def _field(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def _write_scores(file: Path, out: Path, metrics: Sequence[str]) -> None:
    """All rows, case by case: they may be more than fit in memory."""
    names = [*_NAMES, *metrics]
    part = part_of(file)
    try:
        with part.open("w", newline="") as text:
            writer = csv.DictWriter(text, names, lineterminator="\n", restval="")
            writer.writeheader()
            for results in by_case(out):
                for result in results:
                    writer.writerows({name: _field(value) for name, value in row.items()} for row in result.tidy())
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WriteError(f"{file} cannot be written ({error.strerror})") from error


# --- to read ---------------------------------------------------------------------------------------------------------


def markdown(
    summary: Summary, refused: Sequence[Row], counts: Mapping[str, int], costs: Sequence[ImageCost] = ()
) -> str:
    """The summary as Markdown: per strategy, reference and group of dates, methods by band groups."""
    rows = summary.rows()
    parts = [
        "# Results",
        f"{counts['done']} results, {counts['refused']} refused. Errors are root mean squares per image, averaged over "
        "the images that every method predicted (in brackets: over all that the method predicted, with its 95 % "
        "interval over sites); reflectance x 1000, temperature in kelvin, spectral angle in degrees. `masked` dates "
        "were hidden from the methods, `clear` dates were given.",
    ]
    for (strategy, reference, group), found in groupby(rows, key=lambda r: (r["strategy"], r["reference"], r["group"])):
        parts += [f"## {strategy}, {group} dates, against the {_against(reference)}", _grid(list(found))]
    if costs:
        parts += [f"## {COSTS}", COSTS_EXPLAINED, _lines(cost_cells(costs))]
    if refused:
        parts += ["## What could not be done", _refused_lines(refused)]
    return "\n\n".join(parts) + "\n"


def _against(reference: str) -> str:
    return {"observed": "observed images", "truth": "truth"}[reference]


def _grid(rows: Sequence[Row]) -> str:
    cells: dict[str, dict[str, str]] = defaultdict(dict)
    headings: dict[str, None] = {}
    for row in rows:
        for metric in HEADLINE:
            if row.get(metric) is not None:
                heading = f"{row['band_group']} {metric.upper()}"
                headings[heading] = None
                cells[row["method"]][heading] = _cell(row, metric)
    lines = [[method, *(found.get(heading, "") for heading in headings)] for method, found in sorted(cells.items())]
    return _lines([["method", *headings], *lines])


def cost_cells(costs: Sequence[ImageCost]) -> list[list[str]]:
    """The costs to read: a heading and a line per method."""
    heading = ["method", "parameters", "MACs", "seconds", "memory (MiB)", "GPU memory (MiB)", "pixels"]
    return [heading] + [
        [
            one.method,
            f"{one.parameters:,}" if one.parameters else "",
            f"{one.macs / 1e9:.3g} G" if one.macs else "",
            f"{one.seconds:.2f}",
            "" if one.peak_mib is None else f"{one.peak_mib:.0f}",
            f"{one.device_mib:.0f}" if one.device_mib else "",
            f"{one.rows} x {one.columns}",
        ]
        for one in costs
    ]


def _lines(cells: Sequence[Sequence[str]]) -> str:
    heading, *rest = cells
    return "\n".join(f"| {' | '.join(line)} |" for line in [heading, ["---"] * len(heading), *rest])


def _cell(row: Row, metric: str) -> str:
    scale = math.degrees(1) if metric == "sam" else 1.0 if row["band_group"] == "temperature" else 1000.0
    own, low, high, common = (
        None if row[name] is None else f"{row[name] * scale:.2f}"
        for name in (metric, f"{metric}_low", f"{metric}_high", f"{metric}_common")
    )
    interval = f", {low} to {high}" if low is not None else ""
    return f"{common or 'none'} ({own}{interval})"


def _refused_lines(refused: Sequence[Row]) -> str:
    """One line per reason: on how many sites and images."""
    found: dict[tuple[str, str, str, str], list[Row]] = defaultdict(list)
    for row in refused:
        found[(row["strategy"], row["method"], row["role"], row["reason"])].append(row)
    lines = []
    for (strategy, method, role, reason), rows in sorted(found.items()):
        sites = sorted({row["site"] for row in rows})
        images = sum(bool(row["date"]) for row in rows)
        where = f"{len(sites)} site(s) ({', '.join(sites[:3])}{', ...' if len(sites) > 3 else ''})"
        what = f"{role} " if role else ""
        lines.append(f"- {strategy}, {method}: {what}{f'{images} image(s), ' if images else ''}{where}: {reason}")
    return "\n".join(lines)
