"""What every fusion method must beat: the reference image as it is, and with the coarse change added."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from sitsfusion.methods.base import Card, MethodPlan, State, Step
from sitsfusion.methods.stf_classical.base import GriddedOptions, PairMethod
from sitsfusion.methods.stf_classical.images import Images, taps
from sitsfusion.scene import Scene

if TYPE_CHECKING:
    from sitsfusion.engine.runtime import Runtime


class _Trivial(PairMethod):
    Options: ClassVar[type[GriddedOptions]] = GriddedOptions
    options: GriddedOptions

    def pairs_wanted(self) -> tuple[int, int]:
        return 1, 1

    def reach(self) -> tuple[int, int]:
        return 0, taps(self.options.resampling)

    def calibrate(self, scene: Scene, plan: MethodPlan, runtime: Runtime) -> State:
        return {}


class CopyFine(_Trivial):
    """The fine image of the nearest pair."""

    card: ClassVar[Card] = Card(
        name="copy-fine",
        title="Copy of the reference image",
        summary="The fine image of the nearest pair, as it is. A baseline.",
        citation="",
        needs=("fine", "coarse"),
        needs_clear_share=True,
    )

    def fuse(self, images: Images, step: Step, state: State) -> Tensor:
        return images.fine[0]


class CoarseChange(_Trivial):
    """The fine image of the nearest pair, plus the difference of the coarse images."""

    card: ClassVar[Card] = Card(
        name="coarse-change",
        title="Reference image plus coarse change",
        summary="F1 + (C2 - C1): the fine image of the nearest pair plus the coarse change since. A baseline.",
        citation="",
        needs=("fine", "coarse"),
        needs_clear_share=True,
    )

    def fuse(self, images: Images, step: Step, state: State) -> Tensor:
        [pair], coarse = images.on_fine(self.options.resampling)
        return pair.fine + coarse - pair.coarse
