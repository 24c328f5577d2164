"""Frequency restoration ratio (FRR): how much of the high frequencies of a target an image holds.

Michel et al. (TAMRFSITS); frequencies in units of the Nyquist frequency (0 to 1). An image of side n is padded with
zeros to 2n; the amplitude of its spectrum is averaged over rings of the frequency plane:

    g = 0, 1/n, ..., (n-1)/n;  ring j: g[2j] < r < g[2j+1], both strict, so every other ring of width 1/n is used.

Ring 0 holds no frequency and is dropped; an odd n leaves the last edge unused. Profiles are decibels relative to the
first ring kept. Masks play no role here (clouds count), and NaN is taken as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.ops.tiles import patchify

MIN_SIDE = 4  # pixels: the first side with a ring besides ring 0


@dataclass(frozen=True, eq=False)
class Restoration:
    """Result of `frr` for images `[...]`.

    Attributes:
        frr: float64 `[...]`, decibels, ideal 0; positive: the prediction holds relatively more high frequencies.
        prediction: float64 `[... rings]`, profile of the prediction in decibels relative to its first ring.
        target: the same of the target.
        frequencies: float64 `[rings]`, centre of each ring, 1 = Nyquist.
    """

    frr: Tensor
    prediction: Tensor
    target: Tensor
    frequencies: Tensor


def frr(prediction: Tensor, target: Tensor, patch: int | None = None) -> Restoration:
    """Mean difference of two images' profiles over the rings kept, but the first and the last.

    Args:
        prediction: `[... h w]` on the grid of the target, any unit (it cancels); NaN is taken as 0.
        target: same shape.
        patch: larger images are cut into patches of this side (the last ones filled with zeros), whose profiles are
            averaged; None: never.

    Returns:
        `Restoration` of `[...]`. NaN for an image of zeros, and where fewer than three rings are kept (side < 8).

    Raises:
        InputError: shapes that differ; as `profile`.
    """
    if prediction.shape != target.shape:
        raise InputError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must be on one grid")
    p, t = (attenuation(profile(x, patch)) for x in (prediction, target))
    return Restoration((p - t)[..., 1:-1].mean(-1), p, t, frequencies(_side(target, patch)))


def profile(images: Tensor, patch: int | None = None) -> Tensor:
    """Mean amplitude of the spectrum in each ring, ring 0 (empty, NaN) included.

    A rectangular image is padded to the square of its longer side.

    Args:
        images: `[... h w]`, any unit; NaN is taken as 0.
        patch: as in `frr`.

    Returns:
        float64 `[... rings]`, in the unit of the images, rings = n // 2, n = the longer side or the patch.

    Raises:
        InputError: images or patches of less than 4 pixels a side.
    """
    side = _side(images, patch)
    known = images.nan_to_num(nan=0.0).float()
    if max(images.shape[-2:]) > side:
        known = patchify(known, side, 0)  # [rows columns ... s s]
        return _profiles(known, side).mean((0, 1))
    return _profiles(known, side)


def attenuation(amplitudes: Tensor) -> Tensor:
    """Profile `[... rings]` in decibels relative to ring 1, without ring 0: `[... rings-1]`; NaN where it is all 0."""
    decibels = 10.0 * torch.log10(amplitudes[..., 1:])
    return decibels - decibels[..., :1]


def ring_centres(side: int) -> Tensor:
    """Centre of each ring of images of this side, ring 0 included: float64 `[side // 2]`, 1 = Nyquist."""
    edges = torch.arange(2 * (side // 2), dtype=torch.float64) / side
    return edges.reshape(-1, 2).mean(1)


def frequencies(side: int) -> Tensor:
    """Centres of the rings that `attenuation` keeps: float64 `[side // 2 - 1]`, 1 = Nyquist."""
    return ring_centres(side)[1:]


def _side(images: Tensor, patch: int | None) -> int:
    if images.ndim < 2:
        raise InputError(f"a spectrum profile needs images [... h w], found {tuple(images.shape)}")
    longer = max(images.shape[-2:])
    side = longer if patch is None else min(longer, patch)
    if side < MIN_SIDE:
        raise InputError(f"a spectrum profile needs images and patches of at least {MIN_SIDE} pixels, found {side}")
    return side


def _profiles(images: Tensor, side: int) -> Tensor:
    """One image at a time, so that one spectrum at a time is in memory."""
    cells, ring, weight, total = _rings(side, images.device)
    flat = images.reshape(-1, *images.shape[-2:])
    rows = [torch.bincount(ring, _amplitude(x, side)[cells] * weight, minlength=side // 2) for x in flat]
    return (torch.stack(rows) / total).reshape(*images.shape[:-2], -1)


def _amplitude(image: Tensor, side: int) -> Tensor:
    """|FFT| of the zero-padded image for the column frequencies 0 to (n-1)/n, flat `[2n * n]`.

    The other half plane mirrors this one, and the rows of zeros need no transform.
    """
    half = torch.fft.rfft(image, n=2 * side, dim=1)[:, :side]  # [h n]
    spectrum: Tensor = torch.fft.fft(half, n=2 * side, dim=0)
    return spectrum.abs().flatten()


@lru_cache(maxsize=4)
def _rings(side: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cells of the half plane `[2n n]` that lie in a ring: position, ring, weight; and each ring's sum of weights.

    In float32, as published: rounding decides on which side of an edge a cell on it falls. The root is rounded
    correctly (through float64), which the one of float32 is not on every machine.
    """
    f = torch.fft.fftfreq(2 * side, d=0.5, dtype=torch.float32, device=device)  # [2n], k / n
    edges = f[:side]
    r = (f[:, None].square() + edges[None, :].square()).flatten().double().sqrt().float()
    above = torch.bucketize(r, edges)  # edges[above - 1] < r <= edges[above]
    inside = (above % 2 == 1) & (r < edges[above.clamp(max=side - 1)])
    cells = inside.nonzero()[:, 0]
    ring = above[cells] // 2
    weight = torch.where(cells % side == 0, 1.0, 2.0).double()  # column 0 has no mirror image
    return cells, ring, weight, torch.bincount(ring, weight, minlength=side // 2)
