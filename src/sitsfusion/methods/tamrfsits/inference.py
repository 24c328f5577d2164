"""Predicting one tile with a TAMRFSITS network: fast, in memory that does not depend on the number of query days.

1. Each image is decoded, standardised and encoded on its own; only its features over the core and the 2 pixels that
   the spatial decoder reaches are kept (`features`, `spatial`).
2. The core is taken in strips of rows. For the pixels of a strip, in chunks that fit a processor's cache, the
   transformer mixes the dates; only the decoder's keys and values are kept (`temporal`, `strips`).
3. Still within the strip, the query days are decoded some at a time: attention, then the spatial decoder.

The result is that of `TamrfsitsNet.forward` on the whole image, up to rounding, whatever the tile.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sitsfusion.errors import InputError
from sitsfusion.grid import Window
from sitsfusion.methods.tamrfsits.features import extract, fine_region
from sitsfusion.methods.tamrfsits.footprint import footprint
from sitsfusion.methods.tamrfsits.frames import Frames, Settings
from sitsfusion.methods.tamrfsits.reach import Reach, decoder_reach, reach
from sitsfusion.methods.tamrfsits.strips import KeyValueRows, Sensor, decode, strips
from sitsfusion.methods.tamrfsits.temporal import Temporal
from sitsfusion.nets.tamrfsits import Role, TamrfsitsNet
from sitsfusion.nets.tamrfsits_config import TamrfsitsConfig

__all__ = ["Frames", "Reach", "Settings", "footprint", "halo", "predict_core", "reach"]


def halo(config: TamrfsitsConfig) -> dict[str, int]:
    """Pixels of each sensor that windows need around the core: {"hr": 19, "lr": 20} for the published network.

    `reach` also says where windows may start; only networks with a U-Net restrict that.
    """
    found = reach(config)
    return {"hr": found.hr, "lr": found.lr}


@torch.inference_mode()
def predict_core(
    net: TamrfsitsNet,
    lr: Frames | None,
    hr: Frames | None,
    days: Tensor,
    settings: Settings | None = None,
    bands: Sequence[int] | None = None,
) -> Tensor:
    """Both sensors' bands over the core, at any days.

    Args:
        net: float32 weights; it is not changed, and dropout is off whatever its mode.
        lr: images of the coarse sensor, or None. Zero dates are legal.
        hr: images of the fine sensor, or None. Its core is that of `lr`, in its own pixels.
        days: `[q]` query days of any dtype and order; duplicates are legal.
        settings: device, precision, batch; by default one image at a time on the CPU in float32.
        bands: output channels wanted, coarse bands first; None for all.

    Returns:
        `[q, bands, height, width]` float32 on the CPU, standardised, over the core on the fine grid.

    Raises:
        InputError: both sensors are None, or their cores do not cover the same pixels.
    """
    settings = settings or Settings()
    exact = _copy(net, settings.device, torch.float32)
    low = exact if settings.dtype == torch.float32 else _copy(net, settings.device, settings.dtype)
    given = _given(lr, hr)
    core, size = _layout(given, net.config)
    temporal = Temporal(exact, low, settings.batch)
    sensors = [_sensor(temporal, role, frames, settings) for role, frames in given.items()]
    spatial = low.decoder.spatial if bands is None else _only(low.decoder.spatial, bands)
    rows = KeyValueRows(temporal, sensors, size, settings)
    channels = net.config.out_bands if bands is None else len(bands)
    out = torch.empty(len(days), channels, core.height, core.width)
    for strip in strips(core, size, settings):
        key_values = rows.move_to(strip.area(decoder_reach(net.config)))
        top = strip.want.row - core.row
        for first, images in decode(temporal, spatial, key_values, days, strip):
            out[first : first + len(images), :, top : top + strip.want.height] = images
    return out


def _copy(net: TamrfsitsNet, device: torch.device, dtype: torch.dtype) -> TamrfsitsNet:
    # convolutions are fastest when channels lie side by side
    copied = copy.deepcopy(net).eval().to(device=device, dtype=dtype)
    return copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _given(lr: Frames | None, hr: Frames | None) -> dict[Role, Frames]:
    """The sensors that are there, the coarse one first."""
    pairs: tuple[tuple[Role, Frames | None], ...] = (("lr", lr), ("hr", hr))
    found = {role: frames for role, frames in pairs if frames is not None}
    if not found:
        raise InputError("both sensors are None: give LR images, HR images or both (zero dates are legal)")
    return found


def _layout(given: Mapping[Role, Frames], config: TamrfsitsConfig) -> tuple[Window, tuple[int, int]]:
    """The core inside the region of tokens, and the size of that region, in fine pixels."""
    found = {}
    for role, frames in given.items():
        factor = config.ratio if role == "lr" else 1
        region, _ = fine_region(frames, factor, decoder_reach(config))
        found[role] = frames.core.scaled(factor).relative_to(region), (region.height, region.width)
    first = next(iter(found.values()))
    if any(one != first for one in found.values()):
        raise InputError(
            f"the cores of the sensors differ, or one window ends at the image border and the other does not: {found} "
            f"(core and size of the region of tokens, in fine pixels)"
        )
    return first


def _sensor(temporal: Temporal, role: Role, frames: Frames, settings: Settings) -> Sensor:
    """Features of all dates of one sensor, and what else makes its tokens."""
    low, exact = temporal.low.encoder, temporal.exact.encoder
    features = extract(low.lr if role == "lr" else low.hr, frames, decoder_reach(temporal.low.config), settings)
    nothing = torch.zeros(1, 1, len(frames), temporal.low.config.latent, device=settings.device)
    constants = exact.tokens(nothing, frames.days[None].to(settings.device), role)[0, 0]  # [t, d]
    return Sensor(features, constants)


def _only(spatial: nn.Sequential, bands: Sequence[int]) -> nn.Sequential:
    """The spatial decoder with some of its output channels."""
    *hidden, last = spatial
    chosen = copy.deepcopy(last)
    for name, values in last.named_parameters():
        setattr(chosen, name, nn.Parameter(values[list(bands)], requires_grad=False))
    return nn.Sequential(*hidden, chosen)
