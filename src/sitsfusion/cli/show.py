"""Commands that look at things: doctor, methods, sensors, info, fetch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sitsfusion.cli.app import Exit, Json, app, err, out, show_json, table


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="one method: all about it", show_default=False)] = None,
    cite: Annotated[bool, typer.Option("--cite", help="what to cite")] = False,
    as_json: Json = False,
) -> None:
    """List the fusion methods, or the options of one.

    Example: sitsfusion methods tamrfsits
    """
    from sitsfusion import methods as registry

    chosen = {n: registry.get(n) for n in ([name] if name else registry.names())}
    if as_json:
        show_json([_card(method) for method in chosen.values()])
    elif cite:
        for method in chosen.values():
            out.print(f"{method.card.name}: {method.card.citation}", markup=False, highlight=False)
    elif name:
        _print_method(chosen[name])
    else:
        rows = [
            [n, m.card.title, " ".join(m.card.needs) or "any", "yes" if m.card.learned else ""]
            for n, m in chosen.items()
        ]
        table("", ["method", "what it does", "needs", "weights"], rows)


def _card(method: Any) -> dict[str, Any]:
    return {**method.card.__dict__, "options": method.Options.model_json_schema().get("properties", {})}


def _print_method(method: Any) -> None:
    card = method.card
    out.print(f"{card.name}: {card.title}\n{card.summary}\ncite: {card.citation}", markup=False, highlight=False)
    rows = [
        [key, str(field.get_default()), field.description or ""] for key, field in method.Options.model_fields.items()
    ]
    if rows:
        table("options (--set NAME=VALUE)", ["option", "default", "meaning"], rows)


@app.command()
def sensors(
    name: Annotated[str | None, typer.Argument(help="one sensor: its bands", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List the sensors, or the bands and quality rules of one (a name, or your own .yaml).

    Example: sitsfusion sensors landsat-8-9-c2-l2
    """
    from sitsfusion import sensors as registry

    if name is None:
        known = [registry.get(n) for n in registry.names()]
        if as_json:
            show_json([s.model_dump(mode="json") for s in known])
        else:
            table("", ["sensor", "title", "bands"], [[s.name, s.title, " ".join(s.keys)] for s in known])
        return
    sensor = registry.get(name)
    if as_json:
        show_json(sensor.model_dump(mode="json"))
        return
    rows = [
        [
            b.key,
            b.common_name,
            "" if b.wavelength is None else f"{b.wavelength:g}",
            f"{b.resolution:g}",
            b.unit,
            f"{b.stored.dtype} x {b.stored.scale:g} + {b.stored.offset:g}",
            " ".join(b.aliases),
        ]
        for b in sensor.bands
    ]
    table(sensor.title, ["band", "common name", "nm", "m", "unit", "stored", "also called"], rows)
    for rule in sensor.quality:
        out.print(f"quality {rule.layer}: {rule.source}", markup=False, highlight=False)


@app.command()
def doctor(
    places: Annotated[list[Path], typer.Argument(help="folders, sites, archives or a scene.yaml")],
    write: Annotated[Path | None, typer.Option(help="write a scene.yaml to edit", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Look at images before fusing them: dates, grids, units, clouds, what would go wrong.

    Example: sitsfusion doctor sentinel2/ landsat/ --write scene.yaml
    """
    from sitsfusion import doctor as physician
    from sitsfusion.io.scene_file import write_scene_file

    report = physician.inspect(*places)
    if as_json:
        typer.echo(report.to_json())
    else:
        out.print("\n".join(report.lines()), markup=False, highlight=False)
    if write is not None:
        write_scene_file(physician.suggest_scene(*places), write)
        err.print(f"wrote {write}", markup=False, highlight=False)
    if report.has_errors:
        raise typer.Exit(Exit.BAD_INPUT)


@app.command()
def info(
    place: Annotated[Path, typer.Argument(help="a scene, images, results or weights")], as_json: Json = False
) -> None:
    """Say what is in a place: a scene, a results folder, or a weights file.

    Example: sitsfusion info fused
    """
    from sitsfusion.info import describe

    found = describe(place)
    if as_json:
        show_json(found)
    else:
        table(str(place), ["", ""], [[key, _shown(value)] for key, value in found.items()])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_shown(v)}" for key, v in value.items())
    if isinstance(value, list | tuple):
        shown = ", ".join(map(str, value[:8]))
        return shown + (f", ... ({len(value)})" if len(value) > 8 else "")
    return str(value)


@app.command()
def fetch(
    name: Annotated[str | None, typer.Argument(help="what to download (none: the list)", show_default=False)] = None,
    to: Annotated[Path | None, typer.Option(help="folder (default: the cache)", show_default=False)] = None,
    files: Annotated[list[str] | None, typer.Option(help="only files matching", show_default=False)] = None,
    source: Annotated[Path | None, typer.Option(help="local copy instead of the network", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Download published weights or data; resumes, verifies size and checksum.

    Example: sitsfusion fetch tamrfsits-v2
    """
    from sitsfusion import fetch as downloads

    if name is None:
        entries = downloads.available()
        if as_json:
            show_json([{**e.model_dump(mode="json"), "local": downloads.local(e)} for e in entries])
        else:
            rows = [[e.name, e.kind, e.title, str(downloads.local(e) or "")] for e in entries]
            table("", ["name", "kind", "title", "already in"], rows)
        return
    paths = downloads.fetch(name, to=to, files=files or None, source=source, progress=_print_progress(as_json))
    if as_json:
        show_json({"files": paths})
    else:
        out.print("\n".join(map(str, paths)), markup=False, highlight=False)


def _print_progress(quiet: bool) -> Any:
    if quiet or not err.is_terminal:
        return None

    def show(done: int, total: int | None) -> None:
        share = f" of {total / 1e6:.1f}" if total else ""
        err.print(f"\r{done / 1e6:.1f}{share} MB", end="", markup=False, highlight=False)

    return show
