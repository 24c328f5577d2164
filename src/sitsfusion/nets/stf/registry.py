"""The fusion models by name: how they are built, and what they ask of images.

A model of one's own is made known by `register`; training, `fuse` and the benchmark then take it like the others.
Importing this imports no network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sitsfusion.errors import InputError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class StfModel:
    """What is known of a model.

    Attributes:
        name: in commands and files.
        title: in tables.
        network: "module:class", or what builds the network from the number of bands and options.
        citation: of the paper.
        multiple: both sides of an image are multiples of this.
        patch: pixels a side of the images it is trained on and shown.
        reach: input pixels around an output pixel that it depends on; None where the whole image counts.
        takes_pairs: reference pairs it can use, at most.
        published: options of the published wiring, where that differs from the corrected one.
        whole_size: the network is built for images of exactly one size, its option `size`.
        unused: inputs that the network does not look at.
    """

    name: str
    title: str
    network: str | Callable[..., nn.Module]
    citation: str = ""
    multiple: int = 1
    patch: int = 256
    reach: int | None = None
    takes_pairs: int = 1
    published: Mapping[str, Any] = field(default_factory=dict)
    whole_size: bool = False
    unused: tuple[str, ...] = ()

    def build(self, bands: int, options: Mapping[str, Any]) -> nn.Module:
        """The network, untrained.

        Raises:
            InputError: options that its constructor does not take.
        """
        network = self.network
        if isinstance(network, str):
            module, _, attribute = network.partition(":")
            network = getattr(import_module(module), attribute)
        try:
            return network(bands, **options)
        except TypeError as error:
            raise InputError(f"the network {self.name} cannot be built with {dict(options)}: {error}") from error


_HERE = "sitsfusion.nets.stf"
_MODELS = {
    model.name: model
    for model in (
        StfModel(
            "edcstfn",
            "EDCSTFN",
            f"{_HERE}.edcstfn:Edcstfn",
            "Tan, Di, Zhang, Guo and Gao (2019), Remote Sensing 11(24), 2898",
            multiple=1,
            reach=5,
            takes_pairs=2,
        ),
        StfModel(
            "ganstfm",
            "GAN-STFM",
            f"{_HERE}.ganstfm:GanStfm",
            "Tan, Gao, Li and Jiang (2022), IEEE TGRS 60, 5601413",
            published={"published": True},
            unused=("coarse_ref",),
        ),
        StfModel(
            "mlffgan",
            "MLFF-GAN",
            f"{_HERE}.mlffgan:MlffGan",
            "Song, Zhang, Ma, Li and Zhang (2022), IEEE TGRS 60, 4410816",
            multiple=32,  # 16, and at least 32
        ),
        StfModel(
            "ecpwstfn",
            "ECPW-STFN",
            f"{_HERE}.ecpwstfn:EcpwStfn",
            "Zhang et al. (2023), ECPW-STFN; facts from arXiv 2504.00901",
            multiple=8,
            published={"detached": True},
            unused=("coarse_ref",),
        ),
        StfModel(
            "srsfgan",
            "SRSF-GAN",
            f"{_HERE}.srsfgan:SrsfGan",
            "SRSF-GAN; facts from arXiv 2504.00901",
            multiple=8,
            unused=("coarse_ref",),
        ),
        StfModel(
            "stfdiff",
            "STFDiff",
            f"{_HERE}.stfdiff:Stfdiff",
            "Huang et al. (2024), Information Fusion 111, 102505",
            multiple=4,
        ),
        StfModel(
            "swinstfm",
            "SwinSTFM",
            f"{_HERE}.swinstfm:SwinStfm",
            "Chen, Jiao, Liu and Li (2022), IEEE TGRS 60, 5410618",
            multiple=32,
            published={"attention": "published"},
            whole_size=True,
        ),
    )
}
BUILT_IN = tuple(_MODELS)


def names() -> tuple[str, ...]:
    """All known models, the seven of the survey first."""
    return tuple(_MODELS)


def get(name: str) -> StfModel:
    """A model by its name.

    Raises:
        InputError: no such model.
    """
    if name not in _MODELS:
        raise InputError(f"unknown spatiotemporal fusion model {name!r}; known: {', '.join(_MODELS)}")
    return _MODELS[name]


def register(model: StfModel) -> StfModel:
    """Make a model of one's own known.

    Raises:
        InputError: a different model of this name is known already.
    """
    if model.name in BUILT_IN and _MODELS[model.name] != model:
        raise InputError(f"a model called {model.name!r} exists already; choose another name")
    _MODELS[model.name] = model
    return model
