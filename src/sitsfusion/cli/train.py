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
    experiments: Annotated[bool, typer.Option("--list", help="show the groups and their choices and stop")] = False,
) -> None:
    """Train a network.

    Example: sitsfusion train experiment=train_ls2s2_all location=cluster datamodule.config.num_workers=16
    """
    from sitsfusion.training import compose

    if experiments:
        for group in compose.groups():
            out.print(f"{group}: {', '.join(compose.names(group))}", markup=False, highlight=False)
        return
    config = compose.compose(overrides or [])
    if print_config:
        typer.echo(compose.as_yaml(config), nl=False)
        return
    from sitsfusion.training.run import train as run

    out.print(f"run {config.name}: {config.architecture().describe()}", markup=False, highlight=False)
    last = run(config, folder, resume=resume)
    out.print(f"trained: {last}\nexport it with: sitsfusion export {last.parents[1]} WEIGHTS_FOLDER", markup=False)


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
