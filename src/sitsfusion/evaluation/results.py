"""Results of one method on one case, and costs of a run: what is in the files, written whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sitsfusion.engine.files import read_json, write_text
from sitsfusion.evaluation.profiles import Profile, as_profile

FOLDER = "results"
_COSTS = "costs"
Status = Literal["done", "refused"]
# Columns of a row that say what was scored; those of the metrics come behind.
KEYS = (
    "reference", "group", "role", "band", "band_group", "date", "day", "clear_share", "closest_days",
    "closest_joint_days", "local_density", "local_joint_density", "count", "coverage",
)  # fmt: skip

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """What became of one method on one case.

    Attributes:
        case, site, strategy, method: names; `strategy` is the case's label.
        identity: of everything that the scores depend on.
        status: refused means that nothing could be predicted or scored; `reason` says why.
        missing: images that could not be predicted: (role, date, reason); date "" for a whole role.
        rows: one per reference (observed or truth), role, band and date; values by column name, None where there is
            none. `KEYS` and the metrics.
        profiles: mean spectra of predictions and targets.
        seconds: that the prediction took, all tiles of it (a resumed one only its last part).
        provenance: of the prediction.
        timings: wall-clock seconds of each step: open, predict, metrics, pictures, images, animation.
    """

    case: str
    site: str
    strategy: str
    method: str
    identity: str
    status: Status
    reason: str = ""
    missing: tuple[tuple[str, str, str], ...] = ()
    rows: tuple[Row, ...] = ()
    profiles: tuple[Profile, ...] = ()
    seconds: float = 0.0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)

    def tidy(self) -> Iterator[dict[str, Any]]:
        """The rows with what they belong to."""
        for row in self.rows:
            yield {"site": self.site, "strategy": self.strategy, "method": self.method, **row}


@dataclass(frozen=True)
class ImageCost:
    """What one image of a method costs.

    Attributes:
        method: label.
        seconds: median over the results of the run: those of a prediction by the number of its images.
        parameters: of its networks; 0 without any.
        macs: multiply-accumulate operations of networks (convolutions and matrix products, as executed, halos of tiles
            included) for one image; 0 without a network, whose arithmetic is not counted.
        peak_mib: growth of the resident memory of a fresh process while it predicts one image, MiB; None where the
            system does not tell (other than Linux).
        device_mib: largest memory on the GPU meanwhile; 0 on a CPU.
        rows, columns: of the image.
    """

    method: str
    seconds: float
    parameters: int
    macs: int
    peak_mib: float | None
    device_mib: float
    rows: int
    columns: int


def read_costs(out: Path) -> list[ImageCost]:
    """The costs of all methods in a folder of results; empty where they were not asked for. Raises ReadError."""
    found = (read_json(file) for file in sorted((out / _COSTS).glob("*.json")))
    return [ImageCost(**one["cost"]) for one in found if one is not None]


def read_cost(out: Path, method: str, identity: str) -> ImageCost | None:
    """The cost of a method, if it was measured with the same identity (weights, options, case). Raises ReadError."""
    found = read_json(out / _COSTS / f"{method}.json")
    return ImageCost(**found["cost"]) if found is not None and found["identity"] == identity else None


def write_cost(out: Path, cost: ImageCost, identity: str) -> None:
    """Write the cost of a method; the file is absent or complete. Raises WriteError."""
    file = out / _COSTS / f"{cost.method}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps({"identity": identity, "cost": asdict(cost)}))


def result_file(out: Path, case: str, method: str) -> Path:
    """Where the result of a method on a case lies."""
    return out / FOLDER / case / f"{method}.json"


def write_result(file: Path, result: Result) -> None:
    """Write a result; the file is absent or complete. Raises WriteError."""
    columns = list(dict.fromkeys(name for row in result.rows for name in row))
    content = {
        **{name: getattr(result, name) for name in ("case", "site", "strategy", "method", "identity", "status")},
        "reason": result.reason,
        "missing": [list(one) for one in result.missing],
        "seconds": round(result.seconds, 3),
        "provenance": dict(result.provenance),
        "timings": {step: round(seconds, 3) for step, seconds in result.timings.items()},
        "profiles": [asdict(one) for one in result.profiles],
        "columns": columns,
        "rows": [[_plain(row.get(name)) for name in columns] for row in result.rows],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(content, default=str, allow_nan=False))


def read_result(file: Path) -> Result | None:
    """A result, or None if there is none or it was cut short. Raises ReadError where it may not be read."""
    found = read_json(file)
    if found is None:
        return None
    columns: Sequence[str] = found.pop("columns")
    rows = tuple(dict(zip(columns, row, strict=True)) for row in found.pop("rows"))
    profiles = tuple(as_profile(one) for one in found.pop("profiles"))
    missing = tuple((role, day, reason) for role, day, reason in found.pop("missing"))
    return Result(**found, rows=rows, missing=missing, profiles=profiles)


def read_results(out: Path) -> list[Result]:
    """All results below a folder, in the order of their names."""
    found = (read_result(file) for file in sorted((out / FOLDER).glob("*/*.json")))
    return [one for one in found if one is not None]


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
