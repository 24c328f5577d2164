"""U-TILISE behind the method protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from sitsfusion.checkpoints.utilise import load_utilise
from sitsfusion.datasets.utilise_positions import positions
from sitsfusion.dates import days_since
from sitsfusion.errors import GridError, InputError, MissingBandError
from sitsfusion.methods.arrays import block, stack
from sitsfusion.methods.base import Block, Card, Method, MethodPlan, Options, Patches, Refusal, State, Step, Tile
from sitsfusion.methods.stored import Stored, provenance, stored
from sitsfusion.methods.utilise.frames import frames_at, nearest_dates, pick
from sitsfusion.methods.utilise.sequence import SequenceOptions, impute
from sitsfusion.nets.utilise import UTILISE
from sitsfusion.ops.tiles import crop_to, pad_to_multiple
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene
from sitsfusion.series import Series
from sitsfusion.weights.utilise import UtiliseWeights

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

_OVERLAP = 8  # neighbouring patches share at least an eighth of their side
_BYTES = 4


class UtiliseOptions(Options):
    """Options of `utilise`."""

    weights: str = Field(description="shipped or fetched name, folder of our format, or published .pth")
    bands: tuple[str, ...] | None = Field(
        None, description="bands to feed in place of those of the weights, in their order (B08 for B8A, say)"
    )
    mode: Literal["full", "reference"] = Field(
        "full", description="reference: as in the comparison of TAMRFSITS: the network sees clouds, days since day 0"
    )
    min_clear_share: float = Field(0.05, ge=0, le=1, description="images with fewer usable pixels are left out")
    max_sar_days: int = Field(6, ge=0, description="days between a date and its SAR image, for weights that take SAR")
    keep_clear: bool = Field(False, description="give clear pixels of dates with an image as they were observed")
    patch: int = Field(256, ge=1, description="side in pixels of the patches that the network sees, cells rounded down")


@dataclass(frozen=True)
class _Timeline:
    """Which dates are used: images, wanted dates that can be predicted, and the SAR image of each."""

    images: tuple[date, ...]
    wanted: tuple[date, ...]
    sar: Mapping[date, date]


class Utilise(Method):
    """The fine images at any day, from themselves (and SAR, where the weights take it).

    A wanted date without an image becomes a wholly masked frame. Where two windows in time overlap, the network's own
    agreement over the whole image decides which is used, so results are defined per patch.
    """

    card: ClassVar[Card] = Card(
        name="utilise",
        title="U-TILISE, sequence-to-sequence gap filling",
        summary="A U-Net with temporal attention repaints a whole series of one sensor, hidden pixels included.",
        citation="C. Stucker, V. Sainte Fare Garnot, K. Schindler, U-TILISE: A Sequence-to-Sequence Model for Cloud "
        "Removal in Optical Satellite Time Series, IEEE TGRS 61, 2023, arXiv 2305.13277",
        needs=("fine",),
        uses=("sar",),
        learned=True,
        needs_clear_share=True,
    )
    Options: ClassVar[type[Options]] = UtiliseOptions
    options: UtiliseOptions

    @property
    def weights(self) -> UtiliseWeights:
        """What the weights say about themselves; raises when they cannot be found or read."""
        return self._stored.weights

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands that are fed and predicted, in channel order.

        Raises:
            InputError: another number of bands than the weights take.
        """
        own, given = self.weights.bands, self.options.bands
        if given is not None and len(given) != len(own):
            raise InputError(
                f"bands={','.join(given)}: the weights {self.weights.name} take {len(own)}: {', '.join(own)}"
            )
        return own if given is None else given

    def inputs(self, scene: Scene) -> tuple[str, ...]:
        found = super().inputs(scene)
        sar = self.weights.sar_bands
        if sar and "sar" not in found:
            raise InputError(
                f"the weights {self.weights.name} take SAR images ({', '.join(sar)}), and the scene has none: add a "
                "cube with the role sar, or use weights without SAR"
            )
        return tuple(role for role in found if role == "fine" or sar)

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        self.inputs(scene)
        return {"fine": Output(scene["fine"].sensor, self.bands, scene.per_cell("fine"))}

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        self._check(scene, query)
        used, wanted = self._timeline(scene, query["fine"].dates), query["fine"]
        refused = tuple(
            Refusal("fine", day, f"no SAR image within {self.options.max_sar_days} days")
            for day in wanted.dates
            if day not in used.wanted
        )
        if not used.images:
            why = f"no fine image with {self.options.min_clear_share:.0%} usable pixels"
            return MethodPlan((), tuple(Refusal("fine", day, why) for day in wanted.dates))
        inputs = {"fine": used.images} | ({"sar": tuple(sorted(set(used.sar.values())))} if used.sar else {})
        steps = (Step("s000", inputs, {"fine": wanted.at(used.wanted)}),) if used.wanted else ()
        return MethodPlan(steps, refused, self._notes(scene, used))

    def tiling(self, scene: Scene, step: Step) -> Patches:
        size = max(1, self.options.patch // scene.per_cell("fine"))
        stride = max(1, size - size // _OVERLAP)
        # tiles hold whole strides and multiples of 16 pixels: a stride of 75 cells would make them enormous
        return Patches(size, stride - stride % 16 if stride > 16 else stride)

    def footprint(self, scene: Scene, step: Step, size: tuple[int, int]) -> int:
        net, n = self.weights.architecture, scene.per_cell("fine")
        pixels = (size[0] * n + net.smallest) * (size[1] * n + net.smallest)
        frames = len({*step.inputs["fine"], *step.query["fine"].dates})
        seen = min(self.weights.window or frames, frames)
        series = 5 * frames * (net.input_dim + net.channels_out)
        features = 2 * seen * sum(w / 4**level for level, w in enumerate(net.encoder_widths))
        decoder = 2 * seen * 3 * (net.up_widths[0] + net.encoder_widths[0])
        return int(_BYTES * pixels * (series + features + decoder))

    @torch.inference_mode()
    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        net = runtime.network(str(self._stored.path), lambda: self._stored.net.to(runtime.device))
        wanted = step.query["fine"]
        values, valid = stack(tile.cubes["fine"].select(bands=self.bands))  # [t c h w], [t h w]
        dates = tile.cubes["fine"].dates
        days, targets = (torch.from_numpy(days_since(d, tile.origin)) for d in (dates, wanted.dates))
        full = self.options.mode == "full"
        shown = values.clamp(0, 1) if full else values
        frames = frames_at(Series(shown[None], days[None], valid[None]), targets, self.weights.fill_value, hide=full)
        every = sorted({*dates, *wanted.dates})
        mask = [frames.masks] if self.weights.mask_channel else []
        x = torch.cat([frames.x, *mask, *self._sar(tile, every)], dim=2)
        given = positions(every, self.weights.positions) if full else days_since(every, tile.origin)
        filled = self._imputed(net, x, torch.from_numpy(given)[None].float(), frames.masks, runtime)
        found = pick(filled, frames.days, targets)[0][:, [self.bands.index(key) for key in wanted.bands]]
        found = self._as_observed(found, wanted.bands, values, valid, dates, wanted.dates)
        never = ~valid.any(0)  # where nothing was clear, the network was shown nothing: no guess is passed on
        return {"fine": block(found.masked_fill(never, torch.nan))}

    def provenance(self) -> Mapping[str, Any]:
        return provenance(self._stored)

    @property
    def _stored(self) -> Stored[UTILISE, UtiliseWeights]:
        return stored(self.options.weights, load_utilise)

    def _imputed(self, net: UTILISE, x: Tensor, days: Tensor, masks: Tensor, runtime: Runtime) -> Tensor:
        """The complete series [1 t c h w] of images of any size, on the CPU."""
        h, w = x.shape[-2:]
        rule = net.config.multiple if min(h, w) >= net.config.smallest else net.config.smallest
        x, days, masks = (a.to(runtime.device) for a in (pad_to_multiple(x, rule), days, pad_to_multiple(masks, rule)))
        length = self.weights.window
        options = SequenceOptions(length, runtime.dtype, 4 * max(1, runtime.batch))
        return crop_to(impute(net, x, days, masks, options).images, h, w).cpu()

    def _sar(self, tile: Tile, every: Sequence[date]) -> list[Tensor]:
        """SAR of every frame, [1 t c h w] in [0, 1], if the weights take it; 0 where there is none."""
        weights = self.weights
        if not weights.sar_bands:
            return []
        cube = tile.cubes["sar"].select(bands=weights.sar_bands)
        values, valid = stack(cube)
        low, high = weights.sar_range
        scaled = ((values.clamp(low, high) - low) / (high - low)).masked_fill(~valid[:, None], 0.0).nan_to_num(0.0)
        near = nearest_dates(every, cube.dates, self.options.max_sar_days)
        return [scaled[[cube.dates.index(near[day]) for day in every]][None]]

    def _as_observed(
        self,
        found: Tensor,
        bands: Sequence[str],
        values: Tensor,
        valid: Tensor,
        dates: Sequence[date],
        wanted: Sequence[date],
    ) -> Tensor:
        """The prediction, with clear observed pixels as they were, if asked for."""
        if self.options.keep_clear:
            at = [self.bands.index(key) for key in bands]
            for q, day in enumerate(wanted):
                if day in dates:
                    t = dates.index(day)
                    found[q] = torch.where(valid[t], values[t, at], found[q])
        return found

    def _timeline(self, scene: Scene, wanted: Sequence[date]) -> _Timeline:
        """Images that are clear enough; with SAR, only dates that have a SAR image near."""
        images = scene["fine"].dates_clear(self.options.min_clear_share)
        if not self.weights.sar_bands:
            return _Timeline(images, tuple(wanted), {})
        near = nearest_dates(sorted({*images, *wanted}), scene["sar"].dates, self.options.max_sar_days)
        return _Timeline(tuple(d for d in images if d in near), tuple(d for d in wanted if d in near), near)

    def _check(self, scene: Scene, query: Query) -> None:
        roles = self.inputs(scene)
        wanted = {"fine": self.bands} | ({"sar": self.weights.sar_bands} if "sar" in roles else {})
        for role, keys in wanted.items():
            missing = [key for key in keys if key not in scene[role].bands]
            if missing:
                raise MissingBandError(
                    f"the weights {self.weights.name} need the {role} band(s) {', '.join(missing)}, which the images "
                    f"lack (they have {', '.join(scene[role].bands)}); add them, or name other bands to feed in the "
                    f"order {', '.join(self.weights.bands)} (--set bands=...)"
                )
        if "sar" in roles and scene.per_cell("sar") != scene.per_cell("fine"):
            raise GridError("SAR and fine images must have pixels of one size: resample one of them (--resample sar)")
        if query["fine"].per_cell != scene.per_cell("fine"):
            raise GridError("utilise predicts on the pixels of its images only; leave --resolution out")

    def _notes(self, scene: Scene, used: _Timeline) -> tuple[str, ...]:
        weights, cube = self.weights, scene["fine"]
        notes = [f"weights {weights.name}; positions: {weights.positions if self.options.mode == 'full' else 'days'}"]
        if len(used.images) < len(cube):
            left = len(cube) - len(used.images)
            notes.append(f"{left} of {len(cube)} fine images are left out: too cloudy, or no SAR image near")
        if cube.sensor.name != weights.sensor:
            notes.append(f"the fine images are {cube.sensor.name}; the weights were trained on {weights.sensor}")
        if self.bands != weights.bands:
            notes.append(f"fed {', '.join(self.bands)} in place of {', '.join(weights.bands)}")
        return tuple(notes)
