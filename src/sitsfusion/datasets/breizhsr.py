"""BreizhSR: SPOT-6/7 images at 2.5 m beside irregular Sentinel-2 series, prepared for training.

`sitsfusion convert breizhsr ROOT` (see `breizhsr_convert`) prepares the distributed archive; what it writes under
`ROOT/preprocessed` are the tensors of the published preprocessing and `dataset_{train,test}.json`, which lists them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from sitsfusion.datasets.breizhsr_radiometry import MATCHINGS, Matching
from sitsfusion.errors import InputError, ReadError
from sitsfusion.nets.misr_config import SCALE
from sitsfusion.ops.unit_range import to_unit_range

PREPARED = "preprocessed"
Split = Literal["train", "val", "test"]


class Site(BaseModel):
    """One prepared site. Paths are relative to the root of the data set.

    Attributes:
        id: of the row in the distributed table.
        split: of the data set.
        hr, single, enlarged, views: tensors of the fine image, the closest view, its enlargement and all views kept.
        single_day: of the closest view, relative to the fine image.
        days: of the views, relative to the fine image.
        present: 1 for a view, 0 for a repetition of the last one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    split: Split
    hr: str
    single: str
    enlarged: str
    views: str
    single_day: int
    days: Annotated[tuple[int, ...], Field(min_length=1)]
    present: tuple[Literal[0, 1], ...]


@dataclass(frozen=True, eq=False)
class StoredSite:
    """The tensors of a site, float32: `hr [c 4h 4w]` in [0, 1], and reflectances `views [n c h w]`, `single [c h w]`,
    `enlarged [c 4h 4w]`; days relative to the fine image.
    """

    hr: Tensor
    views: Tensor
    days: tuple[int, ...]
    present: tuple[int, ...]
    single: Tensor
    single_day: int
    enlarged: Tensor


@dataclass(frozen=True, eq=False)
class MisrSample:
    """One training sample in network units.

    Attributes:
        views: `[n c h w]` in [-1, 1].
        days, present: float32 `[n]`.
        base: `[c 4h 4w]`, bicubic enlargement of the closest view.
        hr: `[c 4h 4w]`, the target in the radiometry of the closest view.
        id: of the site.
    """

    views: Tensor
    days: Tensor
    present: Tensor
    base: Tensor
    hr: Tensor
    id: int


def closest_views(days: Sequence[int], wanted: int) -> list[int]:
    """Positions of the `wanted` days nearest to 0 (ties: the first ones), in the order given."""
    nearest = sorted(range(len(days)), key=lambda i: abs(days[i]))[:wanted]
    return sorted(nearest)


def make_sample(
    site: StoredSite, views: int, maxima: Sequence[float], matching: Matching = "histogram", number: int = 0
) -> MisrSample:
    """The sample that a network with so many views is shown.

    With fewer views than stored, the closest ones are taken in stored order; repetitions compete with real views, as
    published.

    Raises:
        InputError: more views than stored.
    """
    if views > len(site.days):
        raise InputError(
            f"{views} views are asked for, but the sites were prepared with {len(site.days)}: prepare them anew with "
            f"`sitsfusion convert breizhsr --max-views {views}`, or ask for fewer"
        )
    if views == 1:
        shown, days, present = site.single[None], [site.single_day], [1]
        closest = 0
    else:
        at = closest_views(site.days, views)
        shown, days, present = site.views[at], [site.days[i] for i in at], [site.present[i] for i in at]
        closest = min(range(views), key=lambda i: abs(days[i]))
    shown = to_unit_range(shown, maxima)
    target = MATCHINGS[matching](2 * site.hr - 1, shown[closest])
    return MisrSample(
        shown,
        torch.tensor(days).float(),
        torch.tensor(present).float(),
        to_unit_range(site.enlarged, maxima),
        target,
        number,
    )


class BreizhSr(torch.utils.data.Dataset[MisrSample]):
    """The samples of one split, read from a prepared data set.

    Raises:
        ReadError: the data set is not prepared, or a file is missing or damaged.
        InputError: the split is empty, or more views are asked for than stored.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        views: int,
        maxima: Sequence[float],
        matching: Matching = "histogram",
    ) -> None:
        self.root, self.views, self.maxima, self.matching = root, views, tuple(maxima), matching
        self.sites = [site for site in read_index(root, split) if site.split == split]
        if not self.sites:
            raise InputError(f"{root} has no site of the split {split!r}; check the tables that it was prepared from")

    def __len__(self) -> int:
        return len(self.sites)

    def __getitem__(self, position: int) -> MisrSample:
        site = self.sites[position]
        return make_sample(self.stored(position), self.views, self.maxima, self.matching, site.id)

    def stored(self, position: int) -> StoredSite:
        """The tensors of a site as stored."""
        site = self.sites[position]
        hr, single, enlarged, views = (
            read_tensor(self.root / name) for name in (site.hr, site.single, site.enlarged, site.views)
        )
        return StoredSite(hr, views, site.days, site.present, single, site.single_day, enlarged)


def index_file(root: Path, split: Split) -> Path:
    """The list of prepared sites that holds a split."""
    return root / PREPARED / f"dataset_{'test' if split == 'test' else 'train'}.json"


def read_index(root: Path, split: Split) -> list[Site]:
    """All prepared sites of the list that holds a split.

    Raises:
        ReadError: there is none, or it is damaged.
    """
    path = index_file(root, split)
    if not path.is_file():
        raise ReadError(f"{path} is missing: prepare the data set with `sitsfusion convert breizhsr {root}`")
    try:
        return TypeAdapter(list[Site]).validate_python(json.loads(path.read_text()))
    except (ValueError, ValidationError) as error:
        raise ReadError(f"{path} is not a list of prepared sites ({error}); prepare the data set anew") from error


def read_tensor(path: Path) -> Tensor:
    """One tensor from a file of torch.save, float32.

    Raises:
        ReadError: absent, damaged, or something else than a tensor.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ReadError(f"{path} cannot be read as a tensor ({error}); prepare the data set anew") from error
    if not isinstance(found, Tensor):
        raise ReadError(f"{path} holds a {type(found).__name__}, expected a tensor; prepare the data set anew")
    return found.float()


def collate(samples: Sequence[MisrSample]) -> dict[str, Tensor]:
    """Samples of one size as a batch: `views [b n c h w]`, `days`, `present [b n]`, `base`, `hr [b c 4h 4w]`, `id [b]`.

    Raises:
        InputError: samples of different sizes.
    """
    sizes = {tuple(s.views.shape) for s in samples}
    if len(sizes) > 1:
        raise InputError(
            f"sites of different sizes cannot share a batch, found {sorted(sizes)}: use a batch of 1, or crop the sites"
        )
    names = ("views", "days", "present", "base", "hr")
    return {name: torch.stack([getattr(s, name) for s in samples]) for name in names} | {
        "id": torch.tensor([s.id for s in samples])
    }


def cropped(sample: MisrSample, side: int, row: int, col: int) -> MisrSample:
    """The square of `side` coarse pixels whose first row and column are given, of all images of a sample."""
    fine = (slice(SCALE * row, SCALE * (row + side)), slice(SCALE * col, SCALE * (col + side)))
    views = sample.views[..., row : row + side, col : col + side]
    return MisrSample(views, sample.days, sample.present, sample.base[..., *fine], sample.hr[..., *fine], sample.id)
