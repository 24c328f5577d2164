"""Run methods on cases through the engine, and score what they predict.

Each (case, method) is one unit: its result is one file, written last, so that a repeated call goes on where the last
one stopped. Predictions lie in `OUT/work` while they are scored.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sitsfusion import methods
from sitsfusion.api import fuse
from sitsfusion.engine.files import write_text
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.errors import InputError, PlanError, RunError, SitsFusionError
from sitsfusion.evaluation.animation import write_animation
from sitsfusion.evaluation.cases import Case, Division, Work, divide
from sitsfusion.evaluation.images import write_images
from sitsfusion.evaluation.looks import save_looks
from sitsfusion.evaluation.results import Result, read_result, result_file, write_result
from sitsfusion.evaluation.scoring import score_prediction
from sitsfusion.evaluation.settings import MethodSpec, Settings
from sitsfusion.evaluation.sites import Material, Site, Truth
from sitsfusion.methods.base import Method
from sitsfusion.prediction import Prediction
from sitsfusion.query import RoleQuery

_SCORING = 2  # raised when the same prediction would be scored otherwise

DEFAULTS = Settings()

Progress = Callable[[Result, bool], None]  # a result, and whether it was there already


def run(
    cases: Sequence[Work],
    specs: Sequence[MethodSpec],
    out: Path,
    settings: Settings = DEFAULTS,
    *,
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
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
        workers: processes; each takes one site after the other. In a script they need `if __name__ == "__main__":`.
        progress: called after each method of each case.

    Raises:
        InputError: no case, no method, a name or label used twice, an unknown method or option, a bad shard.
        WriteError: results cannot be written.
        RunError: a worker process died.
    """
    _check(cases, specs, shard, workers)
    _describe(out, cases, specs, settings)
    sites = [list(group) for _, group in groupby(cases, key=lambda case: case.site.name)][shard[0] :: shard[1]]
    one_site = partial(_run_site, specs=specs, out=out, settings=settings)
    found: list[Result] = []
    for results in _in_processes(one_site, sites, workers) if workers > 1 else map(one_site, sites):
        for result, resumed in results:
            found.append(result)
            if progress is not None:
                progress(result, resumed)
    return found


_Outcomes = Iterator[tuple[Result, bool]]


def _run_site(group: Sequence[Work], specs: Sequence[MethodSpec], out: Path, settings: Settings) -> _Outcomes:
    """All cases of one site."""
    opened = _Opened(group[0].site)
    for work in group:
        try:
            cases = [work] if isinstance(work, Case) else work.cases(opened.material.scene)
        except SitsFusionError as error:
            for spec in specs:
                yield _refused(work if isinstance(work, Case) else work.case, spec, error, out), False
            continue
        for case in cases:
            yield from _run_case(case, specs, out, settings, opened)


def _in_processes(
    one_site: Callable[[Sequence[Work]], _Outcomes], sites: Sequence[Sequence[Work]], workers: int
) -> Iterator[list[tuple[Result, bool]]]:
    """The results of each site, as they come."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(sites)) or 1, context) as pool:
        try:
            for done in as_completed([pool.submit(_all_of, one_site, group) for group in sites]):
                yield done.result()
        except BrokenProcessPool as error:
            raise RunError(
                "a worker process died, most likely for want of memory: use fewer workers, and repeat to go on. A "
                'script that starts workers needs `if __name__ == "__main__":`'
            ) from error


def _all_of(one_site: Callable[[Sequence[Work]], _Outcomes], group: Sequence[Work]) -> list[tuple[Result, bool]]:
    return list(one_site(group))


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


def _run_case(case: Case, specs: Sequence[MethodSpec], out: Path, settings: Settings, opened: _Opened) -> _Outcomes:
    """Results of all methods on one case, and whether each was there already."""
    division: Division | None = None
    for spec in specs:
        file = result_file(out, case.name, spec.label)
        clock = Clock()
        try:
            identity = _identity(case, spec, settings, opened.identity)
            earlier = read_result(file)
            if earlier is not None and earlier.identity == identity and earlier.status == "done":
                yield earlier, True
                continue
            with clock.timed("open"):
                division = division or divide(case, opened.material.scene)
                truth = _truth(case, opened.material)
            result = _predict_and_score(_Unit(case, spec, out, identity), division, truth, settings, clock)
        except SitsFusionError as error:
            yield _refused(case, spec, error, out), False
            continue
        write_result(file, result)
        yield result, False


def _refused(case: Case, spec: MethodSpec, error: SitsFusionError, out: Path) -> Result:
    result = Result(*_names(case, spec), "", "refused", f"{type(error).__name__}: {error}")
    write_result(result_file(out, case.name, spec.label), result)
    return result


@dataclass
class Clock:
    """Wall-clock seconds of the steps of one method on one case."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of the block to a step."""
        started = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - started


@dataclass(frozen=True)
class _Unit:
    """One method on one case, and where its files go."""

    case: Case
    spec: MethodSpec
    out: Path
    identity: str

    def work(self, kept: bool) -> Path:
        kind = "predictions" if kept else "work"
        return self.out / kind / self.case.name / f"{self.spec.label}-{self.identity[:12]}"


def _truth(case: Case, material: Material) -> Truth | None:
    """The truth of the case's patch."""
    whole = material.truth
    if whole is None or case.patch is None:
        return whole
    window = case.patch.window(material.scene)
    finest = max(material.scene.per_cell(role) for role in material.scene.cubes)
    rows, columns = (slice(s.start * finest, s.stop * finest) for s in window.slices)

    def cut(role: str, day: date) -> NDArray[np.float32]:
        return whole(role, day)[:, rows, columns]

    return cut


def _predict_and_score(
    unit: _Unit, division: Division, truth: Truth | None, settings: Settings, clock: Clock
) -> Result:
    scored = settings.metrics != "none"
    shown = settings.images or settings.animations or settings.keep
    nothing = f"no predicted day of {unit.case.name} has an observed image or a known truth to compare with"
    if not shown and scored and truth is None and not any(cube.dates for cube in division.targets.values()):
        raise PlanError(nothing)
    method = methods.make(unit.spec.name, unit.spec.options)
    query, unable = query_of(division, method)
    folder = unit.work(settings.keep)
    with clock.timed("predict"):
        spec = OutputSpec(folder, format="zarr", encoding="float32")
        prediction = fuse(division.given, query, method, out=spec, resources=settings.resources)
    with clock.timed("metrics"):
        rows, profiles = score_prediction(prediction, division, truth, settings) if scored else ((), ())
    if scored and not rows and not shown:
        raise PlanError(nothing)
    _show(unit, prediction, division, truth, settings, clock)
    missing = (*unable, *((one.role, str(one.day), one.reason) for one in prediction.missing))
    provenance = dict(prediction.provenance)
    if not settings.keep:
        shutil.rmtree(folder, ignore_errors=True)
    names, seconds = _names(unit.case, unit.spec), clock.seconds.get("predict", 0.0)
    timings = dict(clock.seconds)
    return Result(*names, unit.identity, "done", "", missing, rows, profiles, seconds, provenance, timings)


def _show(
    unit: _Unit, prediction: Prediction, division: Division, truth: Truth | None, settings: Settings, clock: Clock
) -> None:
    """Everything to look at: small pictures for the report always, images and animations if wanted."""
    case, label = unit.case, unit.spec.label
    with clock.timed("pictures"):
        save_looks(unit.out, case.name, label, prediction, division, truth)
    if settings.images:
        with clock.timed("images"):
            write_images(unit.out, case, label, prediction, division, settings.margin)
    if settings.animations:
        with clock.timed("animation"):
            write_animation(unit.out, case, label, prediction, division)


def query_of(division: Division, method: Method) -> tuple[dict[str, RoleQuery], tuple[tuple[str, str, str], ...]]:
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


# --- names and identities --------------------------------------------------------------------------------------------


def _names(case: Case, spec: MethodSpec) -> tuple[str, str, str, str]:
    return case.name, case.site_name, case.label, spec.label


def _identity(case: Case, spec: MethodSpec, settings: Settings, site: Mapping[str, object]) -> str:
    """A digest of everything that the scores depend on; loads the method, whose weights may be missing."""
    method = methods.make(spec.name, spec.options)
    content = {
        "scoring": [_SCORING, *settings.identity()],
        "case": [site, case.identity()],
        "method": [spec.name, method.options.model_dump(mode="json"), dict(method.provenance())],
        "numbers": [settings.resources.dtype, settings.resources.seed],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _describe(out: Path, cases: Sequence[Work], specs: Sequence[MethodSpec], settings: Settings) -> None:
    """Write what is run to `run.json`."""
    out.mkdir(parents=True, exist_ok=True)
    content = {
        "cases": [_described(work) for work in cases],
        "methods": [{"label": spec.label, "name": spec.name, "options": dict(spec.options)} for spec in specs],
        "settings": {name: str(value) for name, value in vars(settings).items() if name != "brisque_model"},
    }
    write_text(out / "run.json", json.dumps(content, indent=1, default=str))


def _described(work: Work) -> dict[str, object]:
    if isinstance(work, Case):
        return {"name": work.name, **work.identity()}
    return {"name": work.case.name, **work.case.identity(), "leave_one_out": work.role}


def _check(cases: Sequence[Work], specs: Sequence[MethodSpec], shard: tuple[int, int], workers: int) -> None:
    if not cases or not specs:
        raise InputError(f"{len(cases)} case(s) and {len(specs)} method(s): nothing to run")
    names = [case.name if isinstance(case, Case) else case.case.name for case in cases]
    _unique("case", names, "label a strategy that is used twice; sites need different names")
    _unique("method", (spec.label for spec in specs), "give each a label of its own")
    if not 0 <= shard[0] < shard[1]:
        raise InputError(f"shard {shard[0]}/{shard[1]} is not possible; give I/N with 0 <= I < N")
    if workers < 1:
        raise InputError(f"workers {workers} is not possible; give 1 or more")
    for spec in specs:
        if not spec.optional:  # one that is refused is in the results
            methods.make(spec.name, spec.options)


def _unique(what: str, names: Iterable[str], remedy: str) -> None:
    listed = list(names)
    repeated = sorted({name for name in listed if listed.count(name) > 1})
    if repeated:
        raise InputError(f"{what} {', '.join(repeated[:5])} is there more than once; {remedy}")
