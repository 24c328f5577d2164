"""The methods `deepharmo-unet` and `deepharmo-ensemble`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from math import ceil, gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from sitsfusion import sensors
from sitsfusion.checkpoints.deepharmo import weights_of
from sitsfusion.errors import GridError, InputError
from sitsfusion.methods.base import (
    Block,
    Card,
    Local,
    Method,
    MethodPlan,
    Options,
    Patches,
    Refusal,
    State,
    Step,
    Tile,
    Tiling,
)
from sitsfusion.methods.deepharmo.member import DESK, described, located, parameters_of, run_members, sha256
from sitsfusion.methods.deepharmo.reference import PUBLISHED_WEIGHTS
from sitsfusion.methods.roles import BICUBIC_REACH
from sitsfusion.methods.single_date import Image, image_of
from sitsfusion.nets.deepharmo_ensemble import mean_and_variance
from sitsfusion.ops.tiles import crop_to, pad_to_multiple
from sitsfusion.query import Output, Query
from sitsfusion.scene import Scene
from sitsfusion.weights.deepharmo import DeepHarmoWeights, published

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime

_CITATION = (
    "Deep-Harmonization, ISPRS J. Photogramm. Remote Sens. 212, 274-288, 2024, doi 10.1016/j.isprsjprs.2024.04.026"
)


class HarmoniseOptions(Options):
    """Options of both methods."""

    clip: tuple[float, float] | None = Field(None, description="limits of the output, reflectance; default: none")
    patch: int = Field(128, ge=8, description="side of a patch in cells, for weights with channel attention")


class _Harmonise(Method):
    """Six Landsat bands and the panchromatic one of a day -> six Sentinel-2 bands at a third of the pixel."""

    options: HarmoniseOptions

    @property
    @abstractmethod
    def paths(self) -> tuple[Path, ...]:
        """Where the weights of the network(s) lie."""

    @abstractmethod
    def estimate(self, x: Tensor, at: tuple[int, int], runtime: Runtime) -> tuple[Tensor, Tensor | None]:
        """Mean and variance (if any) `[1, c, h, w]` of images whose first pixel lies `at` in the whole scene."""

    @property
    def weights(self) -> DeepHarmoWeights:
        """What the (first) weights say about themselves; all weights must name the same bands.

        Raises:
            InputError: members of other bands than the first.
        """
        first, *others = (described(path) for path in self.paths)
        for other in others:
            if (other.coarse, other.pan, other.fine, other.ratio) != (first.coarse, first.pan, first.fine, first.ratio):
                raise InputError(f"{other.name} and {first.name} were trained for other bands; no ensemble of both")
        return first

    def outputs(self, scene: Scene) -> Mapping[str, Output]:
        given = self.weights
        n = scene.per_cell("coarse") * given.ratio
        return {"fine": Output(sensors.get(given.fine.sensor), given.fine.bands, n, ("coarse", "pan"))}

    def plan(self, scene: Scene, query: Query) -> MethodPlan:
        given, wanted = self.weights, query["fine"]
        self._check(scene, wanted.per_cell)
        roles = ("coarse", "pan") if given.pan else ("coarse",)
        steps: list[Step] = []
        refused: list[Refusal] = []
        for day in wanted.dates:
            lacking = [role for role in roles if day not in scene[role].dates]
            if lacking:
                refused.append(Refusal("fine", day, f"no {' and no '.join(lacking)} image of that day"))
            else:
                inputs = dict.fromkeys(roles, (day,))
                steps.append(Step(f"s{len(steps):03d}", inputs, {"fine": wanted.at([day])}))
        return MethodPlan(tuple(steps), tuple(refused), tuple(self._notes(scene)))

    def tiling(self, scene: Scene, step: Step) -> Tiling:
        nets = [described(path).architecture for path in self.paths]
        if any(net.ca_layer for net in nets):
            return Patches(self.options.patch, self.options.patch - self.options.patch // 4)
        n, multiple = step.query["fine"].per_cell, max(net.multiple for net in nets)
        align = multiple // gcd(multiple, n)
        # windows must start where the network's own grid does: the halo is a multiple of the alignment, too
        around = ceil(max(net.reach for net in nets) / n) + ceil(BICUBIC_REACH / scene.per_cell("coarse"))
        halo = ceil(around / align) * align
        return Local(dict.fromkeys(step.inputs, halo), align)

    def footprint(self, scene: Scene, step: Step, size: tuple[int, int]) -> int:
        """The largest network's weights, and eight maps of its first level (measured: benchmarks/deepharmo.py)."""
        nets = [described(path).architecture for path in self.paths]
        tiling, n = self.tiling(scene, step), step.query["fine"].per_cell
        halo = tiling.halo["coarse"] if isinstance(tiling, Local) else 0
        pixels = (min(size[0] + 2 * halo, scene.size[0]) * n) * (min(size[1] + 2 * halo, scene.size[1]) * n)
        maps = 8 * max(net.widths[0] for net in nets) * pixels * 4
        stored = max(_weight_bytes(path) for path in self.paths)
        return int(maps + 2 * stored + len(self.paths) * self.weights.architecture.out_channels * pixels * 8)

    @torch.inference_mode()
    def predict(self, tile: Tile, step: Step, state: State, runtime: Runtime) -> Mapping[str, Block]:
        given, wanted = self.weights, step.query["fine"]
        n = wanted.per_cell
        images, seen, clear = zip(*(self._on_grid(tile, role, n) for role in step.inputs), strict=True)
        x = torch.cat(images)[None]  # [1 c h w]
        height, width = x.shape[-2:]
        multiple = max(described(path).architecture.multiple for path in self.paths)
        at = (tile.reach["coarse"].row * n, tile.reach["coarse"].col * n)
        mean, variance = self.estimate(pad_to_multiple(x, multiple), at, runtime)
        rows, cols = tile.core_in("coarse", n).slices
        channels = [given.fine.bands.index(key) for key in wanted.bands]

        def cut(y: Tensor) -> Tensor:
            return crop_to(y, height, width)[:, channels, rows, cols]

        values, known = cut(mean), torch.stack(seen).all(0)[rows, cols]
        if self.options.clip is not None:
            values = values.clamp(*self.options.clip)
        values = values.masked_fill(~known, torch.nan)
        sigma = None if variance is None else cut(variance).sqrt().masked_fill(~known, torch.nan).numpy()
        valid = torch.stack(clear).all(0)[rows, cols] & known
        return {"fine": Block(values.contiguous().numpy(), valid[None].numpy(), sigma)}

    def provenance(self) -> Mapping[str, Any]:
        names = [described(path).name for path in self.paths]
        licences = sorted({described(path).licence for path in self.paths})
        return {
            "weights": ", ".join(names),
            "weights_sha256": ", ".join(sha256(path) for path in self.paths),
            "licence": ", ".join(licences),
            "parameters": sum(parameters_of(described(path)) for path in self.paths),
        }

    def _on_grid(self, tile: Tile, role: str, n: int) -> Image:
        """One role on the output grid, over its reach."""
        return image_of(tile, role, self._bands(role)).resampled(tile.per_cell[role] / n)

    def _bands(self, role: str) -> tuple[str, ...]:
        given = self.weights
        if role == "coarse":
            return given.coarse.bands
        return given.pan.bands if given.pan else ()

    def _check(self, scene: Scene, per_cell: int) -> None:
        given = self.weights
        if given.pan and "pan" not in scene:
            raise InputError(
                f"weights {given.name} need the panchromatic band; the scene has {', '.join(scene.cubes)}. "
                "Add it (pan=PLACE), or give weights without (--set weights=...)"
            )
        for role in ("coarse", "pan") if given.pan else ("coarse",):
            scene[role].select(bands=self._bands(role))  # raises where one is missing
        if per_cell != scene.per_cell("coarse") * given.ratio:
            raise GridError(
                f"{self.card.name} predicts pixels {given.ratio} times smaller than the coarse ones only; leave "
                "--resolution out"
            )

    def _notes(self, scene: Scene) -> list[str]:
        given = self.weights
        expected = {"coarse": given.coarse.sensor} | ({"pan": given.pan.sensor} if given.pan else {})
        return [
            f"the {role} images are {scene[role].sensor.name}; the weights were trained on {sensor}"
            for role, sensor in expected.items()
            if scene[role].sensor.name != sensor
        ]


class UnetOptions(HarmoniseOptions):
    """Options of `deepharmo-unet`."""

    weights: str = Field("6depth-upsample", description="folder, file, or downloaded name of the hub")
    uncertainty: Literal["head", "dropout"] = Field(
        "head", description="sigma of weights with a Gaussian head, or the spread of Monte-Carlo dropout"
    )
    passes: int = Field(30, ge=2, description="passes of Monte-Carlo dropout (the publication took 500)")
    dropout: float = Field(0.1, gt=0, lt=1, description="its probability")


class DeepHarmoUnet(_Harmonise):
    """One network. Sigma comes from a Gaussian head, where the weights have one, or from Monte-Carlo dropout."""

    card: ClassVar[Card] = Card(
        name="deepharmo-unet",
        title="Deep-Harmonization, one network",
        summary="Landsat and its panchromatic band to six Sentinel-2 bands at 10 m, on the days of Landsat.",
        citation=_CITATION,
        needs=("coarse",),
        uses=("pan",),
        learned=True,
    )
    Options: ClassVar[type[Options]] = UnetOptions
    options: UnetOptions

    @property
    def paths(self) -> tuple[Path, ...]:
        return (located(self.options.weights),)

    def estimate(self, x: Tensor, at: tuple[int, int], runtime: Runtime) -> tuple[Tensor, Tensor | None]:
        (path,), device, dtype = self.paths, runtime.device, runtime.dtype
        images = x.to(device=device, dtype=dtype, memory_format=torch.channels_last)
        if self.options.uncertainty == "dropout":
            net = DESK.take(path, device, dtype, self.options.dropout)

            def one_pass(number: int) -> Tensor:
                net.draw_at(runtime.seed * self.options.passes + number, *at)
                out = net(images)
                image: Tensor = out[0] if isinstance(out, tuple) else out
                return image.float().cpu()

            return mean_and_variance(one_pass(i) for i in range(self.options.passes))
        out = DESK.take(path, device, dtype)(images)
        if isinstance(out, tuple):
            return out[0].float().cpu(), out[1].float().cpu()
        return out.float().cpu(), None


class EnsembleOptions(HarmoniseOptions):
    """Options of `deepharmo-ensemble`."""

    members: tuple[str, ...] = Field(
        tuple(published()), min_length=2, description="weights as in deepharmo-unet; default: the four published ones"
    )
    weighting: Literal["equal", "tamrfsits"] = Field(
        "equal", description="each once, or as the TAMRFSITS comparison counted the four: 1, 2, 1, 0"
    )


class DeepHarmoEnsemble(_Harmonise):
    """Mean of several networks, run one at a time; sigma is their spread."""

    card: ClassVar[Card] = Card(
        name="deepharmo-ensemble",
        title="Deep-Harmonization, ensemble",
        summary="Mean and spread of several networks: Landsat to six Sentinel-2 bands at 10 m, on the days of Landsat.",
        citation=_CITATION,
        needs=("coarse",),
        uses=("pan",),
        learned=True,
    )
    Options: ClassVar[type[Options]] = EnsembleOptions
    options: EnsembleOptions

    @property
    def counts(self) -> tuple[float, ...]:
        """How often each member counts.

        Raises:
            InputError: the weighting of the comparison for another number of members than four.
        """
        if self.options.weighting == "equal":
            return (1.0,) * len(self.options.members)
        if len(self.options.members) != len(PUBLISHED_WEIGHTS):
            raise InputError(f"the weighting of the TAMRFSITS comparison is for 4 members, not {self.options.members}")
        return PUBLISHED_WEIGHTS

    @property
    def paths(self) -> tuple[Path, ...]:
        pairs = zip(self.options.members, self.counts, strict=True)
        return tuple(located(member) for member, count in pairs if count > 0)

    def estimate(self, x: Tensor, at: tuple[int, int], runtime: Runtime) -> tuple[Tensor, Tensor | None]:
        counts = [count for count in self.counts if count > 0]
        return mean_and_variance(run_members(self.paths, x, runtime.device, runtime.dtype), counts)


def _weight_bytes(path: Path) -> int:
    return weights_of(path).stat().st_size
