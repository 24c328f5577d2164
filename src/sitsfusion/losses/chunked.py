"""The network of TAMRFSITS as a loss runs it: only where it is judged, some pixels after the other.

Equal to `TamrfsitsNet.forward` up to rounding (and to which dropout is drawn), in less time and memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.losses.fidelity import crop
from sitsfusion.nets.tamrfsits import Role, TamrfsitsNet
from sitsfusion.series import Series

TOKENS = 4096  # processed together on a CPU; their activations take about 4 kB each


@dataclass(frozen=True)
class Features:
    """Encoded images of one sensor, before anything is done in time."""

    pixels: Tensor  # [1 p t latent]
    days: Tensor  # [1 t]
    role: Role


def features(net: TamrfsitsNet, lr: Series | None, hr: Series | None, border: int) -> list[Features]:
    """Features of the given images of one place, without `border` fine pixels on each side."""
    pairs: tuple[tuple[Role, Series | None], ...] = (("lr", lr), ("hr", hr))
    series = [(role, one) for role, one in pairs if one is not None]
    if not series:
        raise InputError("a split gives neither sensor to the network; give at least one, zero dates are legal")
    found = []
    for role, one in series:
        # Channels last: convolutions on CPUs and tensor cores would convert every image, and back.
        images = one.values[0].contiguous(memory_format=torch.channels_last)
        encoded = crop(net.encoder.features(images, role), border)
        found.append(Features(rearrange(encoded, "t c h w -> 1 (h w) t c"), one.days, role))
    return found


def decoded(
    net: TamrfsitsNet, inputs: list[Features], query: Tensor, height: int, keep_tokens: bool
) -> tuple[Tensor | None, Tensor]:
    """The encoded tokens `[1 p t d]`, if they are kept, and all bands at the query days `[q c H W]`.

    What is done in time is done for some pixels after the other, whose activations stay in a processor's caches.
    """
    at_once = inputs[0].pixels.shape[1]
    if query.device.type == "cpu":
        at_once = max(1, TOKENS // max(len(query), sum(one.pixels.shape[2] for one in inputs)))
    tokens, attended = [], []
    for chunk in zip(*(torch.split(one.pixels, at_once, 1) for one in inputs), strict=True):
        fed = [net.encoder.tokens(pixels, one.days, one.role) for pixels, one in zip(chunk, inputs, strict=True)]
        encoded = net.encoder.temporal(torch.cat(fed, 2))
        attended.append(net.decoder.attend(encoded, query[None]).transpose(1, 2))  # [1 q p d]
        tokens += [encoded] if keep_tokens else []
    images = rearrange(torch.cat(attended, 2), "1 q (h w) d -> q d h w", h=height)  # channels last
    return torch.cat(tokens, 1) if keep_tokens else None, net.decoder.spatial(images)
