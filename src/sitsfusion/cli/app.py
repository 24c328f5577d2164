"""The application that the commands hang on: help, exit codes, printing."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import sitsfusion
from sitsfusion.errors import PlanError, RunError, SitsFusionError

app = typer.Typer(
    name="sitsfusion",
    help=sitsfusion.__doc__.splitlines()[0] + "\n\nExit codes: 0 done, 1 some tiles failed, 2 wrong use, "
    "3 input cannot be used, 4 does not fit (memory, disk, another plan's folder).",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"max_content_width": 110},
)
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)
Json = Annotated[bool, typer.Option("--json", help="print one JSON object for programs")]


class Exit(IntEnum):
    """Exit codes; 2 is typer's own for wrong use."""

    DONE = 0
    TILES_FAILED = 1
    BAD_INPUT = 3
    DOES_NOT_FIT = 4


def exit_code(error: SitsFusionError) -> Exit:
    """The exit code of an error."""
    if isinstance(error, RunError):
        return Exit.TILES_FAILED
    return Exit.DOES_NOT_FIT if isinstance(error, PlanError) else Exit.BAD_INPUT


def show_json(content: Any) -> None:
    """Print an object as JSON, and nothing else."""
    typer.echo(json.dumps(content, indent=1, default=str))


def table(title: str, headings: list[str], rows: list[list[str]]) -> None:
    """Print a small table."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in headings:
        shown.add_column(heading, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    out.print(shown, markup=False, highlight=False)
