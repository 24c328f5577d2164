"""Run methods on cases through the engine, and score what they predict.

Each (case, method) is one unit: its result is one file, written last, so that a repeated call goes on where the last
one stopped. Predictions lie in `OUT/work` while they are scored.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sitsfusion import methods
from sitsfusion.api import fuse
from sitsfusion.cube import Cube
from sitsfusion.dates import days_since
from sitsfusion.engine.job import Resources
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.errors import GridError, InputError, PlanError, SitsFusionError
from sitsfusion.evaluation import scoring
from sitsfusion.evaluation.cases import SENSORS, Case, Division, divide
from sitsfusion.evaluation.profiles import Profile, Profiles
from sitsfusion.evaluation.results import Result, Row, read_result, result_file, write_result
from sitsfusion.evaluation.sites import Material, Site, Truth, safe_name
from sitsfusion.methods.base import Method
from sitsfusion.metrics.brisque import BrisqueModel, load_brisque
from sitsfusion.metrics.temporal import closest_distance, density
from sitsfusion.prediction import Prediction
from sitsfusion.query import RoleQuery

_SCORING = 1  # raised when the same prediction would be scored otherwise

Progress = Callable[[Result, bool], None]  # a result, and whether it was there already


@dataclass(frozen=True)
class MethodSpec:
    """A method with options, under a name of its own in the results (default: the method's).

    `optional`: a name that this version does not know is a refused result, not an error.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    optional: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", safe_name(self.label or self.name))


@dataclass(frozen=True)
class Settings:
    """How cases are scored and run.

    Attributes:
        margin: pixels left out along the border, of the grid of the observed images (truth: of the finest grid).
        keep: keep the predicted images, in `OUT/predictions`.
        brisque: file of the support vectors of BRISQUE (piq's `brisque_svm_weights.pt`); None: not computed.
        resources: of the machine.
    """

    margin: int = 30
    keep: bool = False
    brisque: Path | None = None
    resources: Resources = Resources()

    @cached_property
    def brisque_model(self) -> BrisqueModel | None:
        """The support vectors; raises ReadError or CheckpointError."""
        return load_brisque(self.brisque) if self.brisque else None


def run(
    cases: Sequence[Case],
    specs: Sequence[MethodSpec],
    out: Path,
    settings: Settings = Settings(),
    *,
    shard: tuple[int, int] = (0, 1),
    progress: Progress | None = None,
) -> list[Result]:
    """Run every method on every case; what is done already is read back, what was refused is tried again.

    A method that cannot run on a case, and a site that cannot be opened, give a result that says so.

    Args:
        cases: with names of their own.
        specs: with labels of their own.
        out: folder of the results.
        settings: of scoring.
        shard: (i, n): only the cases of every n-th site, from the i-th.
        progress: called after each method of each case.

    Raises:
        InputError: no case, no method, a name or label used twice, an unknown method or option, a bad shard.
        WriteError: results cannot be written.
    """
    _check(cases, specs, shard)
    sites = [list(group) for _, group in groupby(cases, key=lambda case: case.site.name)]
    found: list[Result] = []
    for group in sites[shard[0] :: shard[1]]:
        opened = _Opened(group[0].site)
        for case in group:
            for result, resumed in _run_case(case, specs, out, settings, opened):
                found.append(result)
                if progress is not None:
                    progress(result, resumed)
    return found


class _Opened:
    """The images of one site and what they depend on, looked up when first needed and shared by its cases."""

    def __init__(self, site: Site) -> None:
        self._site = site

    @cached_property
    def identity(self) -> Mapping[str, object]:
        return self._site.identity()

    @cached_property
    def material(self) -> Material:
        return self._site.open()


def _run_case(
    case: Case, specs: Sequence[MethodSpec], out: Path, settings: Settings, opened: _Opened
) -> Iterator[tuple[Result, bool]]:
    """Results of all methods on one case, and whether each was there already."""
    division: Division | None = None
    for spec in specs:
        file = result_file(out, case.name, spec.label)
        identity = ""
        started = time.monotonic()
        try:
            identity = _identity(case, spec, settings, opened.identity)
            earlier = read_result(file)
            if earlier is not None and earlier.identity == identity and earlier.status == "done":
                yield earlier, True
                continue
            division = division or divide(case, opened.material.scene)
            result = _predict_and_score(case, spec, division, opened.material.truth, out, settings, identity)
        except SitsFusionError as error:
            reason = f"{type(error).__name__}: {error}"
            seconds = time.monotonic() - started
            result = Result(*_names(case, spec), identity, "refused", reason, seconds=seconds)
        write_result(file, result)
        yield result, False


def _predict_and_score(
    case: Case, spec: MethodSpec, division: Division, truth: Truth | None, out: Path, settings: Settings, identity: str
) -> Result:
    nothing = f"no predicted day of {case.name} has an observed image or a known truth to compare with"
    if truth is None and not any(cube.dates for cube in division.targets.values()):
        raise PlanError(nothing)
    method = methods.make(spec.name, spec.options)
    query, unable = _query(division, method)
    kind = "predictions" if settings.keep else "work"
    folder = out / kind / case.name / f"{spec.label}-{identity[:12]}"
    started = time.monotonic()
    spec_out = OutputSpec(folder, format="zarr", encoding="float32")
    prediction = fuse(division.given, query, method, out=spec_out, resources=settings.resources)
    seconds = time.monotonic() - started
    rows, profiles = score_prediction(prediction, division, truth, settings)
    missing = (*unable, *((one.role, str(one.day), one.reason) for one in prediction.missing))
    if not rows:
        raise PlanError(nothing)
    provenance = dict(prediction.provenance)
    if not settings.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return Result(*_names(case, spec), identity, "done", "", missing, rows, profiles, seconds, provenance)


def _query(division: Division, method: Method) -> tuple[dict[str, RoleQuery], tuple[tuple[str, str, str], ...]]:
    """What is asked of a method, and the roles that it cannot give."""
    outputs = method.outputs(division.given)
    finest = max(division.given.per_cell(role) for role in division.given.cubes)
    query: dict[str, RoleQuery] = {}
    unable: list[tuple[str, str, str]] = []
    for role, days in division.asked.items():
        if role not in outputs:
            unable.append((role, "", f"{method.card.name} does not predict {role} from these images"))
            continue
        output = outputs[role]
        query[role] = RoleQuery(output.sensor, output.bands, days, output.per_cell or finest)
    if not query:
        raise PlanError("; ".join(reason for _, _, reason in unable))
    return query, tuple(unable)


# --- scoring a prediction --------------------------------------------------------------------------------------------


def score_prediction(
    prediction: Prediction, division: Division, truth: Truth | None, settings: Settings
) -> tuple[tuple[Row, ...], tuple[Profile, ...]]:
    """Rows of all predicted images, against the observed image of the day and, where it is known, the truth; and the
    mean spectra.

    Images are read one date at a time.

    Raises:
        InputError, GridError: grids or sizes on which a prediction cannot be scored.
    """
    profiles = Profiles()
    rows: list[Row] = []
    for role, predicted in prediction.cubes.items():
        for compared in _compared(predicted, division, truth, role, settings):
            rows += _rows(compared, division, role)
            profiles.add(compared.reference, compared.group, role, compared.bands, compared.scores.restoration)
    return tuple(rows), profiles.means()


@dataclass(frozen=True)
class _Compared:
    """Scores of one image."""

    reference: str
    group: str
    day: date
    eye: scoring.Eye
    scores: scoring.Scores
    clear_share: float

    @property
    def bands(self) -> tuple[str, ...]:
        return tuple(band.key for band in self.eye.bands)


def _compared(
    predicted: Cube, division: Division, truth: Truth | None, role: str, settings: Settings
) -> Iterator[_Compared]:
    """Every predicted image of a role, beside whatever it can be compared with."""
    model = settings.brisque_model
    pixel = abs(float(predicted.grid.affine.a))
    given, target = set(division.given_dates(role)), division.targets.get(role)
    if target is not None and target.dates:
        seen, images = _common_bands(predicted, target, role)
        factor = _factor(seen, images, role)
        eye = scoring.observed_eye(images.band_info(), pixel, factor, settings.margin, model)
        for t, day in enumerate(seen.dates):
            if day in images.dates:
                image = images.frame(images.dates.index(day))
                found = scoring.score_image(seen.frame(t), image, eye)
                yield _Compared("observed", _group(day, given), day, eye, found, float(image.valid.mean()))
    if truth is not None:
        at = [division.bands[role].index(key) for key in predicted.bands if key in division.bands[role]]
        seen = predicted.select(bands=[division.bands[role][i] for i in at])
        eye = scoring.truth_eye(seen.band_info(), pixel, settings.margin, model)
        for t, day in enumerate(seen.dates):
            found = scoring.score_image(seen.frame(t), scoring.truth_frame(truth(role, day)[at]), eye)
            yield _Compared("truth", _group(day, given), day, eye, found, 1.0)


def _group(day: date, given: set[date]) -> str:
    return "clear" if day in given else "masked"


def _common_bands(predicted: Cube, target: Cube, role: str) -> tuple[Cube, Cube]:
    common = [key for key in predicted.bands if key in target.bands]
    if not common:
        raise InputError(
            f"{role}: no observed band ({', '.join(target.bands)}) is among those predicted "
            f"({', '.join(predicted.bands)})"
        )
    return predicted.select(bands=common), target.select(bands=common)


def _factor(predicted: Cube, target: Cube, role: str) -> int:
    crs = target.grid.crs
    if crs is not None and crs.geographic:
        raise GridError(f"{role} images are in degrees ({crs}), the sensors' optics in metres: reproject the images")
    return scoring.whole_factor(predicted.grid.shape.x, target.grid.shape.x, role)


def _rows(found: _Compared, division: Division, role: str) -> Iterator[Row]:
    """One row per band, and one for the metrics over all bands."""
    image = {
        "reference": found.reference,
        "group": found.group,
        "role": role,
        "date": found.day.isoformat(),
        "day": int(days_since([found.day], division.origin)[0]),
        "clear_share": found.clear_share,
        **_distances(division, role, found.day),
    }
    scores = found.scores
    for i, band in enumerate(found.eye.bands):
        metrics = {name: values[i] for name, values in scores.per_band.items()}
        group = band_group(role, band.resolution, band.unit)
        counts = {"count": scores.count[i], "coverage": scores.coverage[i]}
        yield {**image, "band": band.key, "band_group": group, **counts, **metrics}
    overall = {"band": scoring.ALL_BANDS, "band_group": f"{role} all bands", "count": max(scores.count)}
    yield {**image, **overall, "coverage": max(scores.coverage), **scores.overall}


def band_group(role: str, resolution: float, unit: str) -> str:
    """The group that a band's scores are averaged in: by role and real pixel; temperatures apart."""
    return "temperature" if unit == "kelvin" else f"{role} {resolution:g} m"


def _distances(division: Division, role: str, day: date) -> dict[str, float]:
    """Days to the nearest given image of the role and of both sensors, and the published densities; NaN without any."""
    joint = [d for one in SENSORS for d in division.given_dates(one)]
    own, both = (_closest(dates, day) for dates in (division.given_dates(role), joint))
    return {
        "closest_days": float(own),
        "closest_joint_days": float(both),
        "local_density": float(density(own)),
        "local_joint_density": float(density(both)),
    }


def _closest(dates: Sequence[date], day: date) -> Tensor:
    days = torch.tensor(days_since(dates, day))
    return closest_distance(torch.zeros(1), days)[0]


# --- names and identities --------------------------------------------------------------------------------------------


def _names(case: Case, spec: MethodSpec) -> tuple[str, str, str, str]:
    return case.name, case.site.name, case.label, spec.label


def _identity(case: Case, spec: MethodSpec, settings: Settings, site: Mapping[str, object]) -> str:
    """A digest of everything that the scores depend on; loads the method, whose weights may be missing."""
    method = methods.make(spec.name, spec.options)
    content = {
        "scoring": [_SCORING, settings.margin, settings.brisque is not None],
        "case": [site, case.identity()],
        "method": [spec.name, method.options.model_dump(mode="json"), dict(method.provenance())],
        "numbers": [settings.resources.dtype, settings.resources.seed],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _check(cases: Sequence[Case], specs: Sequence[MethodSpec], shard: tuple[int, int]) -> None:
    if not cases or not specs:
        raise InputError(f"{len(cases)} case(s) and {len(specs)} method(s): nothing to run")
    _unique("case", (case.name for case in cases), "label a strategy that is used twice; sites need different names")
    _unique("method", (spec.label for spec in specs), "give each a label of its own")
    if not 0 <= shard[0] < shard[1]:
        raise InputError(f"shard {shard[0]}/{shard[1]} is not possible; give I/N with 0 <= I < N")
    for spec in specs:
        if spec.name in methods.names() or not spec.optional:
            methods.make(spec.name, spec.options)


def _unique(what: str, names: Iterable[str], remedy: str) -> None:
    listed = list(names)
    repeated = sorted({name for name in listed if listed.count(name) > 1})
    if repeated:
        raise InputError(f"{what} {', '.join(repeated[:5])} is there more than once; {remedy}")
