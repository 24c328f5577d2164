"""Commands that make weights: train, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sitsfusion.cli.app import app, out


@app.command()
def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="experiment=NAME, GROUP=CHOICE, path.to.key=VALUE", show_default=False),
    ] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="of the run", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the folder's last checkpoint")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="show the configuration and stop")] = False,
    validate: Annotated[
        Path | None, typer.Option("--validate", help="train nothing: score this checkpoint", show_default=False)
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", help="the same on the test samples", show_default=False)
    ] = None,
    experiments: Annotated[bool, typer.Option("--list", help="show the groups and their choices and stop")] = False,
) -> None:
    """Train a network.

    Example: sitsfusion train experiment=train_ls2s2_all location=cluster datamodule.config.num_workers=16
    """
    from sitsfusion.errors import InputError
    from sitsfusion.training import compose

    if experiments:
        _list()
        return
    config = compose.compose(overrides or [])
    if print_config:
        typer.echo(compose.as_yaml(config), nl=False)
        return
    from sitsfusion.training.run import assess
    from sitsfusion.training.run import train as run

    if validate is not None and test is not None:
        raise InputError("--validate and --test score one checkpoint each: give one of them")
    if (checkpoint := validate or test) is not None:
        where = folder or config.location.runs / config.name
        scores = assess(config, checkpoint, "validate" if validate else "test", where)
        for name, value in scores.items():
            out.print(f"{name}: {value:.6g}", markup=False, highlight=False)
        return
    out.print(f"run {config.name}: {config.describe()}", markup=False, highlight=False)
    last = run(config, folder, resume=resume)
    out.print(f"trained: {last}\nexport it with: sitsfusion export {last.parents[1]} WEIGHTS_FOLDER", markup=False)


def _list() -> None:
    """Families with their groups and choices."""
    from sitsfusion.training import compose, families

    for family in families.names():
        out.print(f"{family}", style="bold")
        for group in compose.groups(family):
            out.print(f"  {group}: {', '.join(compose.names(group, family))}", markup=False, highlight=False)


@app.command()
def export(
    trained: Annotated[Path, typer.Argument(help="folder of a run, or one of its checkpoints", show_default=False)],
    destination: Annotated[Path, typer.Argument(help="folder (safetensors) or .onnx file", show_default=False)],
    format_: Annotated[Literal["safetensors", "onnx"], typer.Option("--format")] = "safetensors",
    half: Annotated[bool, typer.Option("--half", help="float16, half the size (safetensors)")] = False,
) -> None:
    """Write trained weights in a form that others can load.

    Example: sitsfusion export runs/base my_weights; sitsfusion fuse scene.yaml --every 5d --set weights=my_weights
    """
    from sitsfusion.errors import InputError
    from sitsfusion.training.export import export_onnx, export_safetensors, read_trained

    if half and format_ == "onnx":
        raise InputError("--half is for safetensors: ONNX networks are written in float32")
    net, weights = read_trained(trained)
    if format_ == "onnx":
        export_onnx(net, weights, destination)
    else:
        digest = export_safetensors(net, weights, destination, half=half)
        out.print(f"SHA-256 {digest}", markup=False, highlight=False)
    out.print(f"written: {destination}", markup=False, highlight=False)
