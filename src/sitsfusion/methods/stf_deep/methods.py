"""The seven deep spatiotemporal fusion methods of the survey arXiv 2504.00901."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from sitsfusion.grid import Window
from sitsfusion.methods.base import Tile
from sitsfusion.methods.stf_deep.base import DeepFusion, DeepOptions, card_of
from sitsfusion.nets.stf import registry
from sitsfusion.nets.stf.edcstfn import Edcstfn as EdcstfnNet
from sitsfusion.nets.stf.stfdiff import Stfdiff as StfdiffNet
from sitsfusion.ops.tiles import pad_to_multiple

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime


class EdcOptions(DeepOptions):
    """Options of `edcstfn`."""

    pairs: int = Field(1, ge=1, le=2, description="reference pairs: the nearest, or one before and one after")


class DiffusionOptions(DeepOptions):
    """Options of `stfdiff`."""

    sampling_steps: int | None = Field(None, ge=1, description="evaluations of the network (default: the weights' own)")
    eta: float = Field(0.0, ge=0, le=1, description="0 adds no noise after the start; 1 as much as in training")


class Edcstfn(DeepFusion):
    """EDCSTFN, the only one with a finite reach; one pair, or two weighted by the inverse of their change."""

    model = "edcstfn"
    card = card_of(registry.get(model), "Features of the fine image plus those of the change, decoded. 1 or 2 pairs.")
    Options: ClassVar[type[DeepOptions]] = EdcOptions
    options: EdcOptions

    def pairs_wanted(self) -> tuple[int, int]:
        return 1, self.options.pairs

    def fuse(self, net: nn.Module, images: list[Tensor], tile: Tile, runtime: Runtime) -> Tensor:
        if len(images) == 3:
            return super().fuse(net, images, tile, runtime)
        return cast(EdcstfnNet, net).from_two([(images[0], images[1]), (images[2], images[3])], images[4])


class GanStfm(DeepFusion):
    """GAN-STFM."""

    model = "ganstfm"
    card = card_of(registry.get(model), "Adversarial; from a fine image of any date and the wanted coarse one.")
    Options = DeepOptions


class MlffGan(DeepFusion):
    """MLFF-GAN."""

    model = "mlffgan"
    card = card_of(registry.get(model), "Adversarial; features of five levels, re-coloured by the coarse image.")
    Options = DeepOptions


class EcpwStfn(DeepFusion):
    """ECPW-STFN."""

    model = "ecpwstfn"
    card = card_of(registry.get(model), "Features of wavelet sub-bands of the fine image and of the change.")
    Options = DeepOptions


class SrsfGan(DeepFusion):
    """SRSF-GAN."""

    model = "srsfgan"
    card = card_of(registry.get(model), "Adversarial; the coarse image super-resolved by 8 and fused level by level.")
    Options = DeepOptions


class SwinStfm(DeepFusion):
    """SwinSTFM; one patch at a time (published weights mix those of a batch)."""

    model = "swinstfm"
    card = card_of(registry.get(model), "Transformer with windows; cross-attention unmixes the coarse change.")
    Options = DeepOptions


class Stfdiff(DeepFusion):
    """STFDiff; the noise it starts from belongs to the place, whatever the tiles and the order of patches."""

    model = "stfdiff"
    card = card_of(registry.get(model), "A diffusion model conditioned on the pair and the coarse image; slow.")
    Options: ClassVar[type[DeepOptions]] = DiffusionOptions
    options: DiffusionOptions

    def fuse(self, net: nn.Module, images: list[Tensor], tile: Tile, runtime: Runtime) -> Tensor:
        coarse_ref, fine_ref, coarse = images
        steps = self.options.sampling_steps or self.weights.sampling_steps

        def draw(k: int) -> Tensor:
            return _noise(runtime, f"stfdiff-{k}", tile, fine_ref)

        return cast(StfdiffNet, net).sample((coarse_ref, fine_ref, coarse), steps, draw, self.options.eta)


def _noise(runtime: Runtime, purpose: str, tile: Tile, like: Tensor) -> Tensor:
    """Standard normal numbers of the place `[1 b h w]`, mirrored as the images are where those are padded."""
    window: Window = tile.reach["fine"].scaled(tile.per_cell["fine"])
    drawn = torch.from_numpy(runtime.noise(purpose, window, like.shape[1]))[None]
    multiple = registry.get("stfdiff").multiple
    return pad_to_multiple(drawn, multiple).to(like)
