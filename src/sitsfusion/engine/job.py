"""Planning: everything that is decided before a pixel is written, and the identity of what was decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import sitsfusion
from sitsfusion.engine.cost import Bill, available_memory, bill_of, peak_bytes
from sitsfusion.engine.cost import check_disk as check_disk  # part of planning for callers, too
from sitsfusion.engine.files import PLAN, read_json
from sitsfusion.engine.identity import content_id, plan_id
from sitsfusion.engine.outputs import OutputSpec, Product, product
from sitsfusion.engine.tiling import TileGrid, choose
from sitsfusion.errors import GridError, InputError, MissingBandError, PlanError
from sitsfusion.grid import Window
from sitsfusion.methods.base import Method, MethodPlan, State, Step, Tiling
from sitsfusion.query import Query
from sitsfusion.scene import Scene


@dataclass(frozen=True)
class Resources:
    """How much of the machine a job may use; none of this changes the result (but `dtype` and `seed`, and `tile` within
    rounding).

    `memory` is a budget in bytes for all workers together (default: 80 % of what is available); `tile` the side of a
    core in output pixels; `threads` the CPU threads of each worker.

    Raises:
        InputError: a number that makes no sense.
    """

    device: str = "auto"
    dtype: str = "float32"
    batch: int = 1
    workers: int = 1
    threads: int | None = None
    memory: int | None = None
    tile: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("workers", 1), ("threads", 1), ("memory", 1), ("tile", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} {value} is not possible; give {least} or more")

    def budget(self) -> int:
        """Bytes that one worker may use."""
        total = self.memory if self.memory is not None else int(0.8 * available_memory())
        return total // self.workers


@dataclass(frozen=True)
class Task:
    """One tile of one step: the unit that is run, marked and resumed."""

    step: Step
    tile: str
    core: Window

    @property
    def name(self) -> str:
        return f"{self.step.name}_{self.tile}"


@dataclass(frozen=True)
class Job:
    """A planned job. Picklable: worker processes receive it whole."""

    scene: Scene
    method: Method
    query: Query
    plan: MethodPlan
    tilings: Mapping[str, Tiling]
    tiles: TileGrid
    output: OutputSpec
    resources: Resources
    plan_id: str = ""
    state: State = field(default_factory=dict)

    def tasks(self) -> Iterator[Task]:
        """All tasks, step by step, row by row."""
        for step in self.plan.steps:
            for name, core in self.tiles:
                yield Task(step, name, core)

    def products(self, step: Step | None = None) -> list[Product]:
        """What the job (or one of its steps) writes, sigma excepted: whether a method has one is known when it runs."""
        roles = self.query if step is None else step.query
        return [self.product(role, kind) for role in roles for kind in ("values", "quality")]

    def product(self, role: str, kind: Any) -> Product:
        """One series of images of a role: "values", "quality" or "sigma"."""
        return product(self.scene, role, self.query[role], kind, self.output)

    def used_dates(self) -> dict[str, list[date]]:
        """By role, the input dates that any step uses."""
        used: dict[str, set[date]] = {}
        for step in self.plan.steps:
            for role, days in step.inputs.items():
                used.setdefault(role, set()).update(days)
        return {role: sorted(days) for role, days in used.items()}

    def provenance(self) -> dict[str, Any]:
        """What made the result, for people and programs."""
        inputs = {role: self.scene[role].select(dates=days) for role, days in self.used_dates().items()}
        return {
            "version": sitsfusion.__version__,
            "method": self.method.card.name,
            "options": self.method.options.model_dump(mode="json"),
            **self.method.provenance(),
            "plan_id": self.plan_id,
            "scene": self.scene.name,
            "day_origin": self.scene.day_origin.isoformat(),
            "dtype": self.resources.dtype,
            "seed": self.resources.seed,
            "sensors": {role: cube.sensor.name for role, cube in inputs.items()},
            "inputs": {role: [day.isoformat() for day in cube.dates] for role, cube in inputs.items()},
            "items": {role: [item.id for item in cube.items] for role, cube in inputs.items()},
            "citation": self.method.card.citation,
        }

    def bill(self) -> Bill:
        """What the job will cost."""
        return bill_of(self)


def plan_job(scene: Scene, query: Query, method: Method, output: OutputSpec, resources: Resources = Resources()) -> Job:
    """Plan a job; reads no pixel.

    A folder that holds a part of the same job decides the size of the tiles: the memory that is free today must not
    make another job of it.

    Raises:
        PlanError: no date can be predicted; the memory or disk budget is too small.
        InputError: the scene lacks what the method needs, or the method cannot give what is asked for.
        GridError: GeoTIFFs are wanted of a scene without coordinate system.
    """
    if scene.cells.crs is None and output.format == "cog":
        raise GridError(f"{scene.name} has no coordinate system: GeoTIFFs would lie nowhere; set one or write Zarr")
    _check_query(scene, query, method)
    decided = method.plan(scene, query)
    _check_decided(method, query, decided)
    if scene.origin is None and decided.origin is not None:
        scene = replace(scene, origin=decided.origin)
    tilings = {step.name: method.tiling(scene, step) for step in decided.steps}
    draft = Job(scene, method, query, decided, tilings, TileGrid(scene.size, *scene.size), output, resources)
    draft.products()  # refuses what cannot be written
    job = _with_tiles(draft)
    check_disk(job)
    return job


def _check_query(scene: Scene, query: Query, method: Method) -> None:
    """What is asked for must be what the method can give."""
    outputs = method.outputs(scene)
    for role, wanted in query.items():
        if role not in outputs:
            possible = ", ".join(outputs) or "nothing"
            raise InputError(f"{method.card.name} cannot predict {role} of {scene.name}; possible: {possible}")
        given = outputs[role]
        missing = [key for key in wanted.bands if key not in given.bands]
        if missing or wanted.sensor.name != given.sensor.name:
            raise MissingBandError(
                f"{method.card.name} cannot predict {role} {', '.join(missing)} of {wanted.sensor.name}; "
                f"possible: {', '.join(given.bands)} of {given.sensor.name}"
            )


def _check_decided(method: Method, query: Query, decided: MethodPlan) -> None:
    """Every image that is asked for must be made once, or refused."""
    name = method.card.name
    if not decided.steps:
        reasons = "; ".join(sorted({r.reason for r in decided.refused})) or "the method found no usable input"
        raise PlanError(f"{name} can predict none of the dates asked for: {reasons}")
    if len({step.name for step in decided.steps}) < len(decided.steps):
        raise PlanError(f"{name} planned several steps of one name; a defect of the method")
    planned = Counter(_images(step.query for step in decided.steps))
    planned.update((refusal.role, refusal.day) for refusal in decided.refused)
    asked = Counter(_images([query]))
    wrong = sorted(key for key in {*asked, *planned} if asked[key] != planned[key])
    if wrong:
        role, day = wrong[0]
        raise PlanError(
            f"{name} planned {role} of {day} {planned[role, day]} time(s), asked for {asked[role, day]} time(s) "
            f"({len(wrong)} such image(s)); a defect of the method"
        )


def _images(queries: Iterable[Query]) -> Iterator[tuple[str, date]]:
    return ((role, day) for query in queries for role, wanted in query.items() for day in wanted.dates)


def _with_tiles(draft: Job) -> Job:
    """The job cut into tiles: as its folder was begun with, or as the memory budget allows."""
    content, budget = content_id(draft), draft.resources.budget()

    def peak(core: tuple[int, int]) -> int:
        return peak_bytes(draft, core)

    tiles = _begun_tiles(draft, content)
    if tiles is None:
        per_cell = [wanted.per_cell for wanted in draft.query.values()]
        tiles = choose(draft.scene.size, list(draft.tilings.values()), per_cell, peak, budget, draft.resources.tile)
    elif peak(tiles.largest) > budget:
        raise PlanError(
            f"{draft.output.folder} was begun with tiles of {tiles.height} x {tiles.width} cells, which need "
            f"{peak(tiles.largest) / 2**20:.0f} MiB per worker; the budget is {budget / 2**20:.0f} MiB: use fewer "
            "workers, raise --memory, or begin anew in another --out"
        )
    return replace(draft, tiles=tiles, plan_id=plan_id(content, tiles))


def _begun_tiles(draft: Job, content: str) -> TileGrid | None:
    note = read_json(draft.output.folder / PLAN)
    if note is None or draft.resources.tile is not None or "tiles" not in note:
        return None
    tiles = TileGrid(draft.scene.size, *note["tiles"]["cells"])
    return tiles if plan_id(content, tiles) == note.get("plan_id") else None
