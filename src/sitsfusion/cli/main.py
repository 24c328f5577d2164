"""Entry point."""

from __future__ import annotations

import sys

from sitsfusion.cli import evaluate, gaps, jobs, score_gaps, show, simulate, train  # noqa: F401  (importing them registers their commands)
from sitsfusion.cli.app import Exit, app, err, exit_code
from sitsfusion.cli.convert import convert
from sitsfusion.cli.dataset import dataset
from sitsfusion.cli.download import download
from sitsfusion.errors import SitsFusionError

app.add_typer(dataset)
app.add_typer(download)
app.add_typer(convert)


def main() -> None:
    """Run the command line. An error of this library, or of a file system, is one message and an exit code, never a
    traceback.
    """
    try:
        app()
    except SitsFusionError as error:
        err.print("\n".join([f"error: {error}", *getattr(error, "__notes__", [])]), markup=False, highlight=False)
        sys.exit(exit_code(error))
    except OSError as error:  # a full disk, a folder that is a file, no permission
        if error.filename is None:
            raise
        err.print(f"error: {error.filename}: {error.strerror}", markup=False, highlight=False)
        sys.exit(Exit.BAD_INPUT)
