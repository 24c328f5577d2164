"""The command that makes scenes up: `sitsfusion simulate`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sitsfusion.cli.app import Json, app, out, show_json
from sitsfusion.errors import InputError, WriteError


class Kind(StrEnum):
    """Which worlds are simulated."""

    RANDOM = "random"
    TEMPERATE = "temperate"


class Layout(StrEnum):
    """How scenes are written."""

    LS2S2 = "ls2s2"
    GEOTIFF = "geotiff"


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="gets one folder per scene, sim-SEED")],
    size: Annotated[int, typer.Option(help="side in pixels of 10 m, a multiple of 3")] = 240,
    year: Annotated[int, typer.Option(help="of the images")] = 2022,
    seed: Annotated[int, typer.Option(help="of the first scene; the next ones count on", min=0)] = 0,
    count: Annotated[int, typer.Option(help="number of scenes", min=1)] = 1,
    kind: Annotated[
        Kind, typer.Option("--world", help="a random place on Earth, or farmland of Belgium")
    ] = Kind.RANDOM,
    layout: Annotated[Layout, typer.Option(help="LS2S2 sites, or plain folders of GeoTIFFs")] = Layout.LS2S2,
    truth: Annotated[
        str | None,
        typer.Option(help="dates whose truth is written: 2022-06-15,2022-07-01, 10d or inputs", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make up scenes: a year of Sentinel-2 and Landsat images, and the truth behind them.

    The same seed gives the same scene. Images are surface reflectance.

    Example: sitsfusion simulate sites --count 20 --size 330 --truth 10d
    """
    from sitsfusion.dates import parse_dates

    if truth is not None:
        parse_dates(truth, inputs=[date(year, 1, 1), date(year, 12, 31)])  # refused before any work
    targets = {number: folder / f"sim-{number}" for number in range(seed, seed + count)}
    for target in targets.values():
        if target.exists():
            raise InputError(f"{target} is there already; choose another OUT or --seed, or remove it")
    written = [_write(target, size, year, number, kind, layout, truth) for number, target in targets.items()]
    if as_json:
        show_json(written)
        return
    for scene in written:
        counts = ", ".join(f"{number} dates of {role}" for role, number in scene["dates"].items())
        out.print(f"wrote {scene['folder']}: {counts}", markup=False, highlight=False)


def _write(
    target: Path, size: int, year: int, seed: int, kind: Kind, layout: Layout, truth: str | None
) -> dict[str, Any]:
    """Simulate and write one scene; its folder gets its name when it is complete."""
    from sitsfusion.dates import parse_dates
    from sitsfusion.simulate import World, simulate_scene, write_geotiffs, write_ls2s2

    # neither layout can say that reflectance is of the top of the atmosphere
    world = World.temperate() if kind is Kind.TEMPERATE else replace(World.draw(seed), toa=False)
    made = simulate_scene(size, year=year, seed=seed, world=world)
    days = sorted({day for cube in made.scene.cubes.values() for day in cube.dates})
    part = target.with_name(f"{target.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a run that was stopped
        write = write_ls2s2 if layout is Layout.LS2S2 else write_geotiffs
        write(made, part, truth=() if truth is None else parse_dates(truth, inputs=days))
        part.rename(target)
    except OSError as error:
        raise WriteError(f"{target} cannot be written ({error}); {part} holds what was") from error
    counts = {role: len(cube) for role, cube in made.scene.cubes.items()}
    return {"folder": str(target), "seed": seed, "latitude": round(world.latitude, 2), "dates": counts}
