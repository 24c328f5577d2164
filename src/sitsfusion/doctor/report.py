"""What the doctor says: findings with remedies, and the facts of each role, as data, JSON or text."""

from __future__ import annotations

from collections import Counter
from datetime import date
from textwrap import wrap
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sitsfusion.io.scene_file import SceneFile

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
_WIDTH = 116
_MOSTLY, _HARDLY = 0.5, 0.01


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Finding(_Frozen):
    """Something that would go wrong (error), may (warning), or is good to know (note), and what to do about it."""

    level: Level
    code: str = Field(description="kind of finding, the same in every version: duplicates, nesting, offset, ...")
    role: str | None = Field(None, description="role or place that it is about")
    message: str
    remedy: str = ""

    def lines(self) -> list[str]:
        """As text."""
        about = f"{self.role}: " if self.role else ""
        text = _wrapped(f"{self.level:7} {about}{self.message}", indent=8)
        return text + (_wrapped(f"        -> {self.remedy}", indent=11) if self.remedy else [])


class DateFacts(_Frozen):
    """One image, in the sampled pixels: shares in [0, 1]."""

    day: date
    id: str
    observed: float = Field(description="pixels observed in every band")
    clear: float = Field(description="pixels observed and usable by the quality layers")


class RoleReport(_Frozen):
    """The facts of one role."""

    role: str
    place: str
    reader: str
    sensor: str
    bands: tuple[str, ...]
    absent_bands: tuple[str, ...] = Field(description="bands of the sensor that are not there")
    grid: str
    crs: str | None
    pixel: float
    dates: int
    images: int = Field(description="before several of one day are merged")
    first: date | None
    last: date | None
    stored: str = Field(description="type of the stored numbers, and what stands for no data")
    quality: bool = Field(description="whether quality layers or masks are used")
    looked_at: str
    days: tuple[DateFacts, ...]

    def lines(self) -> list[str]:
        """As text."""
        span = f", {self.first} to {self.last}" if self.dates else ""
        extra = f" ({self.images} images)" if self.images != self.dates else ""
        return [
            f"{self.role:8} {self.sensor}, reader {self.reader}, {self.place}",
            f"         {self.dates} dates{extra}{span}",
            *_wrapped(f"         {len(self.bands)} bands: {' '.join(self.bands)}; {self.stored}", indent=9),
            f"         {self.grid}",
            f"         {self._clearness()}; looked at {self.looked_at}",
        ]

    def _clearness(self) -> str:
        if not self.quality:
            return "no quality layer"
        clear = sum(day.clear > _MOSTLY for day in self.days)
        none = sum(day.clear < _HARDLY for day in self.days)
        return f"{clear} dates more than half clear, {none} hardly at all"


class Report(_Frozen):
    """Everything found in some places.

    `suggestion` is a scene file that opens them with the remedies that need no decision; None if nothing can be read.
    """

    roles: tuple[RoleReport, ...]
    findings: tuple[Finding, ...]
    suggestion: SceneFile | None = None

    @property
    def has_errors(self) -> bool:
        """Whether a fusion of these images as they are would fail or be wrong."""
        return any(finding.level == "error" for finding in self.findings)

    def to_json(self) -> str:
        """All of it as JSON."""
        return self.model_dump_json(indent=2)

    def lines(self) -> list[str]:
        """All of it as text, worst findings first."""
        text = [line for role in self.roles for line in [*role.lines(), ""]]
        ordered = sorted(self.findings, key=lambda finding: LEVELS.index(finding.level))
        text += [line for finding in ordered for line in finding.lines()]
        counts = Counter(finding.level for finding in self.findings)
        summary = ", ".join(f"{counts[level]} {level}{'' if counts[level] == 1 else 's'}" for level in LEVELS)
        return [*text, "", summary]


def _wrapped(text: str, indent: int) -> list[str]:
    lead = text[: len(text) - len(text.lstrip())]
    return wrap(
        text.strip(), _WIDTH, initial_indent=lead, subsequent_indent=" " * indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
