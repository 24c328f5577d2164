"""What every fusion method is: a card, options, and five verbs with defaults.

A simple method writes a card and `predict`. The engine does the rest: it cuts tiles with the halo that `tiling` asks
for, loads the pixels, and writes what comes back. No method loops over tiles.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from sitsfusion.cube import Cube
from sitsfusion.errors import InputError
from sitsfusion.grid import Window
from sitsfusion.query import Output, Query
from sitsfusion.scene import IMAGE_ROLES, Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

State = Mapping[str, NDArray[Any]]


class Options(BaseModel):
    """Options of a method: frozen and typed; an unknown name is an error. `--set`, suites and keywords all use it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_AnyOptions = Options  # inside `Method`, `Options` is the class of one method's options


@dataclass(frozen=True)
class Card:
    """What a user must know before choosing a method.

    `needs`: roles it cannot do without; `uses`: roles it takes in addition when present; `needs_clear_share`: the
    engine measures the scene-wide share of usable pixels of every date before `plan`, where the reader did not know it.
    """

    name: str
    title: str
    summary: str
    citation: str
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    learned: bool = False
    needs_clear_share: bool = False


@dataclass(frozen=True)
class Step:
    """One unit of work on every tile: these input dates give these output dates.

    Attributes:
        name: short and unique in the plan ("s000").
        inputs: dates used of each input role.
        query: what comes out.
        sources: for each output role, the input roles that inform it (default: all inputs). The quality layers count
            the clear observations of these.
    """

    name: str
    inputs: Mapping[str, tuple[date, ...]]
    query: Query
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def informing(self, role: str) -> tuple[str, ...]:
        """Input roles whose clear observations inform an output role."""
        return self.sources.get(role, tuple(self.inputs))


@dataclass(frozen=True)
class Refusal:
    """A date that cannot be predicted, and why. Never silently missing."""

    role: str
    day: date
    reason: str


@dataclass(frozen=True)
class MethodPlan:
    """What `plan` decided: the steps, the refused dates, remarks for the user, and day 0 where the method has a rule
    for it (the scene's own origin, when given, wins).

    Every role and date asked for must be in exactly one step or refused.
    """

    steps: tuple[Step, ...]
    refused: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    origin: date | None = None


@dataclass(frozen=True)
class Local:
    """Output pixels depend on inputs at most `halo` cells away (per role); cores start at multiples of `align` cells.

    Tiled and untiled results are equal.
    """

    halo: Mapping[str, int] = field(default_factory=dict)
    align: int = 1

    def __post_init__(self) -> None:
        if self.align < 1 or any(cells < 0 for cells in self.halo.values()):
            raise InputError(f"{self}: the alignment must be 1 or more cells, halos 0 or more")


@dataclass(frozen=True)
class Patches:
    """For networks with global operations: patches of `size` cells every `stride` cells from the scene's first cell.

    The method is defined on this lattice: it is shown one whole patch at a time, and overlapping results are blended
    with weights that fall off linearly towards the patch's edge. The result does not depend on tiles.

    Where a side of the scene is shorter than a patch, the patches are as short as the scene.
    """

    size: int
    stride: int

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.size:
            raise InputError(f"{self}: the stride must be 1 to {self.size} cells, or pixels would belong to no patch")


@dataclass(frozen=True)
class Whole:
    """The method must see the whole scene at once; refused when that does not fit in memory."""


Tiling = Local | Patches | Whole


@dataclass(frozen=True)
class Tile:
    """What a method is shown: the pixels of one core rectangle and its surroundings.

    Attributes:
        core: the rectangle to predict, in cells of the whole scene.
        cubes: the step's input dates by role, loaded. Each covers the core and the role's halo, clipped at the
            scene's border: nothing is padded.
        reach: the cells that each cube covers, in cells of the whole scene.
        per_cell: pixels of each cube along one side of a cell.
        origin: day 0 of the job.
        scene_size: (rows, columns) of the whole scene in cells.
    """

    core: Window
    cubes: Mapping[str, Cube]
    reach: Mapping[str, Window]
    per_cell: Mapping[str, int]
    origin: date
    scene_size: tuple[int, int]

    def core_in(self, role: str, per_cell: int | None = None) -> Window:
        """Where the core lies in the role's cube, in its pixels, or in pixels of `per_cell` to a cell's side."""
        return self.core.relative_to(self.reach[role]).scaled(per_cell or self.per_cell[role])

    def output_size(self, per_cell: int) -> tuple[int, int]:
        """(rows, columns) of the core in pixels of `per_cell` to a cell's side."""
        return self.core.height * per_cell, self.core.width * per_cell


@dataclass(frozen=True, eq=False)
class Block:
    """A prediction for the core of one tile and one role.

    `values` [t, c, h, w] float32 in physical units, NaN where nothing can be said; `valid` [t, h, w] bool, True only
    where all bands are finite; `sigma` one standard deviation in the band's unit, shaped as `values`, or None when the
    method has none. t and c follow the step's query of the role.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    sigma: NDArray[np.float32] | None = None


class Method(ABC):
    """Base of all methods. `options` is an instance of the class's `Options`."""

    card: ClassVar[Card]
    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: _AnyOptions | None = None, **values: Any) -> None:
        if options is not None and values:
            raise InputError(f"{self.card.name}: give options as one object or by name, not both")
        self.options = options if options is not None else parse_options(type(self), values)

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        """What can be asked for, by role. Default: all bands of the images that the method takes."""
        taken = [role for role in self.inputs(scene) if role in IMAGE_ROLES]
        return {role: Output(scene[role].sensor, scene[role].bands) for role in taken}

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        """Decide from metadata, reading no pixel, which inputs serve which dates. Default: all serve all, one step."""
        inputs = {role: scene[role].dates for role in self.inputs(scene)}
        return MethodPlan((Step("s000", inputs, query),))

    def tiling(self, scene: Scene, step: Step) -> Tiling:
        """How far outputs reach. Default: not at all (each output pixel needs only the cell it lies in)."""
        return Local()

    def calibrate(self, scene: Scene, plan: MethodPlan, runtime: Runtime) -> State:
        """Quantities of the whole scene that every tile needs, computed once. Default: none."""
        return {}

    def footprint(self, scene: Scene, step: Step, size: tuple[int, int]) -> int | None:
        """Predicted peak bytes of `predict` for a core of `size` cells, inputs as loaded not included.

        Default None: the engine assumes inputs decoded to float32 twice over, and the output twice over.
        """
        return None

    @abstractmethod
    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        """The step's query over the tile's core, one block per output role."""

    def provenance(self) -> Mapping[str, Any]:
        """What identifies the method beyond its name and options (digest and name of weights). Default: nothing."""
        return {}

    def inputs(self, scene: Scene) -> tuple[str, ...]:
        """Roles of the scene that the method takes.

        Raises:
            InputError: a role it needs is absent.
        """
        missing = [role for role in self.card.needs if role not in scene]
        if missing:
            raise InputError(
                f"{self.card.name} needs {', '.join(self.card.needs)} images; the scene has no {', '.join(missing)} "
                f"(it has {', '.join(scene.cubes)})"
            )
        return tuple(role for role in scene.cubes if role in (*self.card.needs, *self.card.uses))


def parse_options(method: type[Method], values: Mapping[str, Any]) -> Options:
    """Validate options by name.

    Raises:
        InputError: an unknown option or a bad value; the message lists the options.
    """
    try:
        return method.Options.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        known = ", ".join(method.Options.model_fields) or "none"
        raise InputError(f"options of {method.card.name}: {problems} (known options: {known})") from error
