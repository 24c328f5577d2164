"""Options that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import typer
import yaml

from sitsfusion.errors import InputError

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True)
class PlaceOptions:
    """Where the images are."""

    places: Annotated[list[str], typer.Argument(help="scene.yaml, site, folder; or ROLE=FOLDER", show_default=False)]
    sensor: Annotated[list[str] | None, typer.Option(help="ROLE=SENSOR (see `sensors`)", show_default=False)] = None
    read: Annotated[list[str] | None, typer.Option(help="ROLE.OPTION=VALUE for the reader", show_default=False)] = None
    duplicates: Annotated[Literal["error", "merge"], typer.Option(help="two images of one day")] = "error"
    resample: Annotated[
        list[str] | None, typer.Option(help="ROLE: bring it onto a nested grid", show_default=False)
    ] = None
    bbox: Annotated[str | None, typer.Option(help="LEFT,BOTTOM,RIGHT,TOP in the CRS", show_default=False)] = None
    aoi: Annotated[Path | None, typer.Option(help="GeoJSON polygon: its bounds", show_default=False)] = None
    size: Annotated[str | None, typer.Option(help="ROW,COL,HEIGHT,WIDTH in cells", show_default=False)] = None
    origin: Annotated[str | None, typer.Option(help="day 0 (default: the method's rule)", show_default=False)] = None


@dataclass(frozen=True)
class JobOptions(PlaceOptions):
    """What is wanted, and how."""

    dates: Annotated[
        str | None, typer.Option(help="2022-01-05,... START/END/5d START/END/1+15", show_default=False)
    ] = None
    every: Annotated[str | None, typer.Option(help="5d: from first to last input", show_default=False)] = None
    at_inputs: Annotated[bool, typer.Option("--at-inputs", help="at every input date")] = False
    method: Annotated[str, typer.Option(help="see `methods`")] = "tamrfsits"
    set_: Annotated[list[str] | None, typer.Option("--set", help="OPTION=VALUE of the method", show_default=False)] = (
        None
    )
    max_dates: Annotated[int | None, typer.Option(help="inputs per block of dates", show_default=False)] = None
    window_days: Annotated[int | None, typer.Option(help="their span in days", show_default=False)] = None
    bands: Annotated[list[str] | None, typer.Option(help="ROLE or ROLE=B02,B03: only these", show_default=False)] = None
    resolution: Annotated[float | None, typer.Option(help="output pixel, CRS unit", show_default=False)] = None
    out: Annotated[Path, typer.Option(help="folder of the results")] = Path("fused")
    format_: Annotated[Literal["cog", "vrt", "zarr"], typer.Option("--format", help="vrt: tiles not joined")] = "cog"
    encoding: Annotated[Literal["sensor", "float32"], typer.Option(help="numbers on disk")] = "sensor"
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N")] = "auto"
    dtype: Annotated[Literal["float32", "bfloat16"], typer.Option(help="of networks")] = "float32"
    workers: Annotated[int, typer.Option(help="processes")] = 1
    threads: Annotated[int | None, typer.Option(help="CPU threads of each", show_default=False)] = None
    memory: Annotated[float | None, typer.Option(help="budget in GiB, all workers", show_default=False)] = None


def with_options(options: type[Any]) -> Callable[[_F], _F]:
    """Give a command the fields of an options class as parameters; it receives them as one object, `given`."""

    def decorate(function: _F) -> _F:
        hints = get_type_hints(options, include_extras=True)
        fields = {name: hints[name] for name in options.__dataclass_fields__}
        own = [p for name, p in inspect.signature(function).parameters.items() if name != "given"]
        own_hints = {k: v for k, v in get_type_hints(function, include_extras=True).items() if k != "given"}

        def command(**values: Any) -> Any:
            given = options(**{name: values.pop(name) for name in fields})
            return function(given, **values)

        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [
            inspect.Parameter(name, keyword, default=_default(options, name), annotation=hint)
            for name, hint in fields.items()
        ]
        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [*shared, *(p.replace(kind=keyword, annotation=own_hints[p.name]) for p in own)]
        )
        command.__annotations__ = {**fields, **own_hints}
        command.__doc__, command.__name__ = function.__doc__, function.__name__
        return command  # type: ignore[return-value]

    return decorate


def _default(options: type[Any], name: str) -> Any:
    default = options.__dataclass_fields__[name].default
    return inspect.Parameter.empty if default is MISSING else default


def pairs(texts: Sequence[str] | None, what: str) -> dict[str, str]:
    """`NAME=VALUE` texts as a mapping.

    Raises:
        InputError: a text without `=`, or a name given twice.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{what} {text!r} is not of the form NAME=VALUE")
        if name in found:
            raise InputError(f"{what} {name!r} is given twice")
        found[name] = value
    return found


def values(texts: Sequence[str] | None, what: str) -> dict[str, Any]:
    """As `pairs`, values read as YAML scalars or lists (`true`, `0.5`, `[B02, B03]`)."""
    return {name: yaml.safe_load(value) for name, value in pairs(texts, what).items()}


def nested(flat: Mapping[str, Any], what: str) -> dict[str, dict[str, Any]]:
    """`{"fine.bands": x}` as `{"fine": {"bands": x}}`."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in flat.items():
        first, dot, rest = name.partition(".")
        if not dot:
            raise InputError(f"{what} {name!r} is not of the form ROLE.OPTION")
        found.setdefault(first, {})[rest] = value
    return found


def shard_of(text: str) -> tuple[int, int]:
    """(I, N) of `I/N`."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit()):
        raise InputError(f"--shard {text!r} is not of the form I/N, e.g. 0/4")
    return int(index), int(count)
