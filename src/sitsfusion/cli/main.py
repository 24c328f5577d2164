"""Entry point."""

from __future__ import annotations

import sys

from sitsfusion.cli import evaluate, gaps, jobs, score_gaps, show, simulate, train  # noqa: F401  (importing them registers their commands)
from sitsfusion.cli.app import app, err, exit_code
from sitsfusion.cli.convert import convert
from sitsfusion.cli.dataset import dataset
from sitsfusion.cli.download import download
from sitsfusion.errors import SitsFusionError

app.add_typer(dataset)
app.add_typer(download)
app.add_typer(convert)


def main() -> None:
    """Run the command line. An error of this library is one message and an exit code, never a traceback."""
    try:
        app()
    except SitsFusionError as error:
        err.print("\n".join([f"error: {error}", *getattr(error, "__notes__", [])]), markup=False, highlight=False)
        sys.exit(exit_code(error))
