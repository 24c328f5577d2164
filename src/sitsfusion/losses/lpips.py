"""Perceptual distance between images of which parts are unknown: LPIPS with VGG16 features, masked.

LPIPS (Zhang et al. 2018) compares the features that a network trained on photographs computes from two images. Here
a feature counts only if none of the pixels it was computed from is unknown (Michel and Inglada, TAMRFSITS).

The weights are two files that the user names, nothing is downloaded: VGG16 as torchvision publishes it
(`vgg16-397923af.pth`, entries `features.<i>.weight` and `.bias`; only these are read), and the linear weights of LPIPS
as PIQ publishes them (`lpips_weights.pt`, a list of five tensors `[1 c 1 1]`).
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sitsfusion.checkpoints.common import require_same, shapes
from sitsfusion.errors import CheckpointError, InputError, ReadError

# Convolutions of VGG16 by their position in torchvision's list; features are taken after the last of each block, and
# a pooling by 2 comes between blocks. The pooling behind the fifth block serves classification only.
BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
WIDTHS = (64, 128, 256, 512, 512)
MIN_SIDE = 16  # smaller images have no pixel left at the fifth block
EPSILON = 1e-10


class MaskedLpips(nn.Module):
    """LPIPS with fixed weights; they take no gradient and are not part of the state dict.

    Args:
        vgg: `features.<i>.weight` and `features.<i>.bias` of VGG16's 13 convolutions; other entries are ignored.
        linear: five tensors `[1 c 1 1]`, the weight of each feature channel of a block.

    Raises:
        CheckpointError: entries missing or of another shape.
    """

    def __init__(self, vgg: Mapping[str, Tensor], linear: Sequence[Tensor]) -> None:
        super().__init__()
        vgg = _features_only(vgg)
        require_same(_expected_vgg(), shapes(vgg), "VGG16", "the VGG16 file")
        named = {f"lin{i}": weight for i, weight in enumerate(linear)}
        require_same(_expected_linear(), shapes(named), "the linear weights of LPIPS", "the LPIPS file")
        for name, weight in {**vgg, **named}.items():
            layout = torch.channels_last if weight.ndim == 4 else torch.contiguous_format  # spares conversions
            own = weight.detach().float().clone(memory_format=layout)
            self.register_buffer(name.replace(".", "_"), own, persistent=False)

    def forward(self, prediction: Tensor, reference: Tensor, valid: Tensor) -> Tensor | None:
        """Mean masked distance of pairs of images.

        Args:
            prediction: `[n 3 h w]`, or `[n 1 h w]` standing for three equal channels; sides of 16 at least. Any unit:
                values go into VGG16 as they are.
            reference: same shape; takes no gradient.
            valid: bool `[n h w]`: where the reference is known.

        Returns:
            A scalar; None if there is no image or no feature of known pixels only. Where all is valid, plain LPIPS.

        Raises:
            InputError: other shapes.
        """
        _check_images(prediction, reference, valid)
        if len(prediction) == 0:
            return None
        known = _known(valid)  # per block, [n 1 h' w']
        counts = [v.sum() * width for v, width in zip(known, WIDTHS, strict=True)]
        total = sum(v.numel() * width for v, width in zip(known, WIDTHS, strict=True))
        features = float(torch.stack(counts).sum())
        if features == 0:
            return None
        # Nothing unknown reaches a known feature; it is set to 0 because NaN would reach gradients.
        ours = torch.where(valid[:, None] | prediction.isfinite(), prediction, 0)
        theirs = torch.where(valid[:, None], reference, 0).detach()
        return total / features * self._compare(ours, theirs, known) / len(prediction)

    def _compare(self, ours: Tensor, theirs: Tensor, known: Sequence[Tensor]) -> Tensor:
        """Sum of the masked distances of all images and blocks.

        An image leaves as soon as none of its features is known: no later one will be, so they need no computing.
        Late features see 90 to 200 pixels around, so a cloud near the middle of a patch is enough.
        """
        sums = []
        rows = torch.arange(len(ours), device=ours.device)
        for i, block in enumerate(BLOCKS):
            alive = known[i][rows].flatten(1).any(1)
            if not bool(alive.all()):
                rows, ours, theirs = rows[alive], ours[alive], theirs[alive]
            if len(rows) == 0:
                break
            ours = self._block(ours, block)
            with torch.no_grad():
                theirs = self._block(theirs, block)
            sums.append(self._distance(i, ours, theirs, known[i][rows]))
        return torch.stack(sums).sum()

    def _block(self, x: Tensor, block: Sequence[int]) -> Tensor:
        """Features of a block from those of the one before: `[n c h w]`, half the sides but in the first."""
        x = x if block == BLOCKS[0] else F.max_pool2d(x, 2)
        for i in block:
            weight, bias = self.get_buffer(f"features_{i}_weight"), self.get_buffer(f"features_{i}_bias")
            if i == 0 and x.shape[1] == 1:
                weight = weight.sum(1, keepdim=True)  # three equal channels: a third of the products
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
        return x

    def _distance(self, i: int, ours: Tensor, theirs: Tensor, known: Tensor) -> Tensor:
        """Weighted squared difference of one block: mean over the known places of an image, sum over images."""
        known = known.float()
        with torch.autocast(ours.device.type, enabled=False):
            squares = (_normalised(ours) - _normalised(theirs)).square()
            weighted = F.conv2d(squares, self.get_buffer(f"lin{i}"))  # [n 1 h w]
        return ((weighted * known).sum((1, 2, 3)) / known.sum((1, 2, 3)).clamp(min=1e-6)).sum()


def _normalised(features: Tensor) -> Tensor:
    """Divided by the norm over channels, in float32."""
    features = features.float()
    norm: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (norm + EPSILON)


def load_lpips(vgg_file: Path, linear_file: Path) -> MaskedLpips:
    """Read the weights of `MaskedLpips` from two files.

    Args:
        vgg_file: a state dict of VGG16 whose names end in `features.<i>.weight` and `.bias`, as .pth, .pt or .npz.
        linear_file: a list of five tensors as .pt, or a dictionary (.pt, .npz) of entries that end in `lin0` .. `lin4`.

    Raises:
        ReadError: a file is missing or damaged.
        CheckpointError: a file with other content, or one whose reading could run code.
    """
    missing = [str(file) for file in (vgg_file, linear_file) if not file.is_file()]
    if missing:
        raise ReadError(
            f"LPIPS needs two files of weights, and {' and '.join(missing)} cannot be found: give VGG16 as published "
            "by torchvision (vgg16-397923af.pth) and the LPIPS linear weights as published with PIQ v0.4.0 "
            f"(lpips_weights.pt); asked for {vgg_file} and {linear_file}. Nothing is downloaded."
        )
    vgg, linear = _read(vgg_file), _read(linear_file)
    if not isinstance(vgg, Mapping):
        raise CheckpointError(f"{vgg_file} holds a {type(vgg).__name__}, expected the state dict of VGG16")
    if isinstance(linear, Mapping):
        last = {name.rpartition(".")[2]: weight for name, weight in linear.items()}
        linear = [last[f"lin{i}"] for i in range(len(BLOCKS)) if f"lin{i}" in last]
    if not isinstance(linear, Sequence) or not all(isinstance(weight, Tensor) for weight in linear):
        raise CheckpointError(f"{linear_file} holds a {type(linear).__name__}, expected a list of five tensors")
    return MaskedLpips(vgg, linear)


def _read(file: Path) -> Any:
    """What a .npz, or a file of torch.save that holds tensors only, contains."""
    try:
        if file.suffix == ".npz":
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{file} holds more than tensors, or is damaged: download it again") from error
    except (RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise ReadError(f"{file} cannot be read as weights ({error}): download it again") from error


def _features_only(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries of the convolutions, whatever comes before `features.` in their names."""
    return {"features." + name.partition("features.")[2]: w for name, w in state.items() if "features." in name}


def _expected_vgg() -> dict[str, tuple[int, ...]]:
    expected: dict[str, tuple[int, ...]] = {}
    channels = 3
    for block, width in zip(BLOCKS, WIDTHS, strict=True):
        for i in block:
            expected |= {f"features.{i}.weight": (width, channels, 3, 3), f"features.{i}.bias": (width,)}
            channels = width
    return expected


def _expected_linear() -> dict[str, tuple[int, ...]]:
    return {f"lin{i}": (1, width, 1, 1) for i, width in enumerate(WIDTHS)}


def _known(valid: Tensor) -> list[Tensor]:
    """Where the features of each block are computed from valid pixels only: bool `[n 1 h' w']`.

    The same as running the network on an image that is NaN where it is not valid, and looking for NaN.
    """
    unknown = (~valid)[:, None].float()
    out = []
    for i, block in enumerate(BLOCKS):
        unknown = F.max_pool2d(unknown, 2) if i else unknown
        for _ in block:
            unknown = F.max_pool2d(unknown, 3, stride=1, padding=1)
        out.append(unknown == 0)
    return out


def _check_images(prediction: Tensor, reference: Tensor, valid: Tensor) -> None:
    n, c, h, w = prediction.shape
    if prediction.shape != reference.shape or c not in (1, 3) or valid.shape != (n, h, w):
        raise InputError(
            f"LPIPS compares images [n 1 h w] or [n 3 h w] with validity [n h w], found prediction "
            f"{tuple(prediction.shape)}, reference {tuple(reference.shape)}, validity {tuple(valid.shape)}"
        )
    if min(h, w) < MIN_SIDE:
        raise InputError(
            f"LPIPS needs images of at least {MIN_SIDE} pixels a side, found {h} x {w}: use larger patches or a "
            "smaller loss margin"
        )
