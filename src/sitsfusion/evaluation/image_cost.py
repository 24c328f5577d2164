"""What one image costs: seconds, network parameters, multiplications, and memory of each method of a run."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from sitsfusion import methods
from sitsfusion.api import fuse
from sitsfusion.engine.job import Resources
from sitsfusion.errors import RunError
from sitsfusion.evaluation.cases import Case, Division, Work, divide
from sitsfusion.evaluation.results import ImageCost, Result, read_cost, write_cost
from sitsfusion.evaluation.runner import query_of
from sitsfusion.evaluation.settings import MethodSpec, Settings
from sitsfusion.evaluation.sites import Site
from sitsfusion.query import RoleQuery
from sitsfusion.scene import Scene

_MIB = 2**20


def measure_costs(
    cases: Sequence[Work], specs: Sequence[MethodSpec], results: Sequence[Result], out: Path, settings: Settings
) -> None:
    """Measure each method that has a result: one image of its first case, alone in a process of its own.

    What was measured already is kept; methods without a result have no cost. `results.read_costs` reads them.

    Raises:
        SitsFusionError: a site cannot be opened, costs cannot be written, the process died.
    """
    scenes: dict[str, Scene] = {}

    def opened(site: Site) -> Scene:
        """Once for all methods: making up a site takes a minute."""
        if site.name not in scenes:
            scenes[site.name] = site.open().scene
        return scenes[site.name]

    for spec in specs:
        mine = [one for one in results if one.method == spec.label and one.status == "done"]
        case = next(_cases(cases, {one.case for one in mine}, opened), None)
        if case is not None:
            identity = _identity(case, spec, settings.resources)
            cost = read_cost(out, spec.label, identity)
            cost = cost or _measured(divide(case, opened(case.site)), spec, settings.resources)
            write_cost(out, replace(cost, seconds=median(map(_seconds, mine))), identity)


def _seconds(result: Result) -> float:
    images = {(row["role"], row["date"]) for row in result.rows}
    return result.seconds / max(1, len(images))


def _cases(works: Sequence[Work], names: set[str], opened: Callable[[Site], Scene]) -> Iterator[Case]:
    """The cases of these names, in order; sites are opened only as far as needed."""
    for work in works:
        if isinstance(work, Case):
            if work.name in names:
                yield work
        elif any(name.startswith(work.case.name) for name in names):
            yield from (case for case in work.cases(opened(work.site)) if case.name in names)


def _identity(case: Case, spec: MethodSpec, resources: Resources) -> str:
    provenance = methods.make(spec.name, spec.options).provenance()
    known = {**provenance, "options": dict(spec.options), "case": case.name, "device": resources.device}
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()


def _measured(division: Division, spec: MethodSpec, resources: Resources) -> ImageCost:
    """The cost of one image, its seconds left open."""
    query = _one_image(query_of(division, methods.make(spec.name, spec.options))[0])
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_predict_one, division.given, query, spec, replace(resources, workers=1)).result()
        except BrokenProcessPool as error:
            raise RunError(
                f"{spec.label}: the process that measured its cost died, most likely for want of memory"
            ) from error


def _one_image(query: Mapping[str, RoleQuery]) -> dict[str, RoleQuery]:
    role, wanted = next(iter(query.items()))
    return {role: wanted.at(wanted.dates[:1])}


def _predict_one(scene: Scene, query: Mapping[str, RoleQuery], spec: MethodSpec, resources: Resources) -> ImageCost:
    """In a fresh process; the weights are loaded before memory is looked at."""
    method = methods.make(spec.name, spec.options)
    parameters = int(method.provenance().get("parameters", 0))
    cuda = torch.cuda.is_available() and resources.device != "cpu"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    before = _forget_peak()
    with FlopCounterMode(display=False) as counter:
        prediction = fuse(scene, query, method, resources=resources)
    peak = _peak()
    [cube] = prediction.cubes.values()
    return ImageCost(
        method=spec.label,
        seconds=0.0,
        parameters=parameters,
        macs=counter.get_total_flops() // 2 if parameters else 0,
        peak_mib=peak - before if peak is not None and before is not None else None,
        device_mib=torch.cuda.max_memory_allocated() / _MIB if cuda else 0.0,
        rows=cube.shape[2],
        columns=cube.shape[3],
    )


def _forget_peak() -> float | None:
    """Make the peak of the resident memory that of now, and return it; imports need more than most predictions."""
    if sys.platform == "linux":
        with suppress(OSError):  # a container may forbid it: growth beyond the peak of the imports is what is left
            Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> float | None:
    """Largest resident memory of this process since it was last forgotten, MiB; None on other systems than Linux."""
    if sys.platform != "linux":
        return None
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024
