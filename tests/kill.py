"""Child processes that start fast, and one that is really killed: by SIGKILL, at a chosen point of a running job."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ROOT = str(Path(__file__).parents[1])
# Imported once by a server process that is forked for every child: a child costs milliseconds, not seconds.
_PRELOADED = ["sitsfusion.api", "sitsfusion.methods.naive", "zarr"]


def forkserver() -> Any:
    """A context whose child processes have the library loaded and can import the tests."""
    if _ROOT not in sys.path:
        sys.path.insert(0, _ROOT)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def run_killed(run: Callable[..., object], *args: Any, at: tuple[str, str, int]) -> None:
    """Run `run(*args)` in a child that dies when the function `at` = (module, dotted name, n) is called the n-th time.

    Fails if the child lived, or died of something else.
    """
    child = forkserver().Process(target=_run_and_die, args=(run, args, at))
    child.start()
    child.join(120)
    if child.exitcode != -signal.SIGKILL:
        child.kill()
        raise AssertionError(f"the child was to be killed at {at}, but ended with {child.exitcode}")


def _run_and_die(run: Callable[..., object], args: tuple[Any, ...], at: tuple[str, str, int]) -> None:
    import torch

    torch.set_num_threads(1)
    module, name, count = at
    owner: Any = sys.modules[module]
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original, calls = getattr(owner, last), []

    def dying(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*given, **named)

    setattr(owner, last, dying)
    run(*args)
