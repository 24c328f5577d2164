"""Typed errors.

Each is raised once, at the boundary where the bad value comes in. A message says what was
found (value, file), what was expected, and what to do.
"""

from __future__ import annotations


class SitsFusionError(Exception):
    """Base of all errors of this library; the command line prints it without a traceback."""


class InputError(SitsFusionError, ValueError):
    """A value given by the user cannot be used: an option, an array, a date, a file's content."""


class GridError(InputError):
    """Grids without CRS, with different CRS, that do not nest in common cells, or do not overlap."""


class DateError(InputError):
    """Duplicate, unordered, unreadable or out-of-range dates."""


class SensorError(InputError):
    """An unknown sensor or band, or a sensor file that breaks the schema."""


class MissingBandError(SensorError):
    """A band that a method or its weights need is not in the input."""


class ReadError(SitsFusionError, OSError):
    """A file is missing, truncated, corrupt, or not what its name says."""


class WriteError(SitsFusionError, OSError):
    """A file cannot be written: the disk is full, or it may not be written to."""


class EncodingError(SitsFusionError, ValueError):
    """A physical value does not fit the integer encoding it was to be written in."""


class CheckpointError(SitsFusionError, ValueError):
    """Weights of another architecture, with missing or extra entries, or in an unsafe format."""


class FetchError(SitsFusionError, OSError):
    """A download failed, or what came has another size or checksum than declared."""


class PlanError(SitsFusionError, ValueError):
    """The job cannot be planned: over budget, no dates, an output that belongs to another plan."""


class MissingExtraError(SitsFusionError, ImportError):
    """An optional dependency is absent; the message names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        remedy = f"pip install 'sitsfusion[{extra}]'"
        super().__init__(f"{what} needs an optional dependency that is not installed: {remedy}")


class RunError(SitsFusionError, RuntimeError):
    """Some tiles of a job failed; the message names the first and says how to go on."""
