"""Figures of imputed series: galleries of frames, and what U-TILISE's attention looked at. PNG needs extra `viz`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sitsfusion.errors import InputError, MissingExtraError

Variable = Literal["rgb", "false_colour", "mask", "cloud_prob", "attention", "sar", "error"]
Image = NDArray[np.float64]
# colour map and the value that its last colour stands for; None: the largest one
_MAPS: Mapping[str, tuple[str, float | None]] = {
    "mask": ("gray", 1),
    "sar": ("gray", 1),
    "cloud_prob": ("YlOrBr", 1),
    "attention": ("magma", None),
    "error": ("Reds", None),
}
_LINE = 2  # pixels around a frame
_RED = (1.0, 0.0, 0.0)


def upsample_attention(attention: Tensor, size: tuple[int, int]) -> Tensor:
    """Attention `[head, b, target, source, h, w]` at another size (height, width), bilinear."""
    heads, batch, targets = attention.shape[:3]
    flat = rearrange(attention, "n b t s h w -> (n b t) s h w")
    larger = functional.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    return rearrange(larger, "(n b t) s h w -> n b t s h w", n=heads, b=batch, t=targets)


def gallery(
    images: NDArray[Any],
    columns: int = 10,
    *,
    border: int = _LINE,
    colour: Literal["black", "white"] = "black",
    brightness: float = 3,
) -> Image:
    """Frames [t, c, h, w] side by side in rows: [rows * (h + 2 border), columns * (w + 2 border), c], at most 1.

    Args:
        images: values from 0 on.
        columns: frames in a row; the last row is filled up with blank frames.
        border: pixels around each frame, of that `colour`.
        colour: of borders and blank frames.
        brightness: what values are multiplied with before they are cut at 1.

    Raises:
        InputError: no frames.
    """
    if images.ndim != 4 or not len(images):
        raise InputError(f"a gallery needs frames [t, c, h, w], found shape {images.shape}")
    blank = 0.0 if colour == "black" else 1.0
    rows = -(-len(images) // columns)
    edges = [(0, rows * columns - len(images)), (0, 0), (border, border), (border, border)]
    bright = np.minimum(images.astype(np.float64) * brightness, 1)
    frames = np.pad(bright, edges, constant_values=blank)
    return np.asarray(rearrange(frames, "(r q) c h w -> (r h) (q w) c", q=columns))


def sequence_gallery(
    sample: Mapping[str, Any],
    images: Tensor,
    variable: Variable = "rgb",
    *,
    columns: int = 10,
    brightness: float = 3,
) -> Image:
    """A gallery of one sequence in colours: [rows, columns, 3].

    Args:
        sample: gives `c_index_rgb` and `c_index_nir` for the colours.
        images: [t, c, h, w], what to show: input, target or prediction in colours (`false_colour`: near infrared, red,
            green), or one layer of another kind, such as `error`, of which channels are averaged.
        variable: what it is.
        columns: frames in a row.
        brightness: of colours.

    Raises:
        InputError: the sample does not know its colours. MissingExtraError: matplotlib is not installed.
    """
    if variable in ("rgb", "false_colour"):
        return gallery(images.numpy()[:, _colours(sample, variable)], columns, brightness=brightness)
    layer = images.numpy().mean(axis=1, keepdims=True)
    return _coloured(gallery(layer, columns, brightness=1 / _top(layer, variable)), variable)


def attention_over_time(
    sample: Mapping[str, Any], attention: Tensor, head: int, path: Path, *, per_row: bool = False
) -> None:
    """PNG file: the input frames, then a row for each target frame: how much one head looked at each input frame.

    Args:
        sample: of one sequence: `x` [t, c, h, w], `c_index_rgb`.
        attention: `[head, 1, target, source, h', w']`.
        head: which one.
        path: of the file.
        per_row: colours span the values of each row, not 0 to 1.
    """
    maps = upsample_attention(attention, _size(sample))[head, 0].numpy()  # target source h w
    _save(path, [_strip(sample), *(_attention_row(row, per_row) for row in maps)])


def attention_of_heads(
    sample: Mapping[str, Any], attention: Tensor, target: int, path: Path, *, per_row: bool = False
) -> None:
    """PNG file: the input frames, the target (negative: from the end) outlined in red, then a row for each head.

    Arguments as of `attention_over_time`.

    Raises:
        InputError: there is no such frame. MissingExtraError: matplotlib is not installed.
    """
    frames = attention.shape[2]
    if not -frames <= target < frames:
        raise InputError(f"there is no target frame {target}: the sequence has {frames}")
    maps = upsample_attention(attention, _size(sample))[:, 0, target].numpy()  # head source h w
    rows = [_strip(sample, outlined=target % frames), *(_attention_row(row, per_row) for row in maps)]
    _save(path, rows)


def write_gallery(path: Path, image: Image) -> None:
    """Write a gallery of 1 or 3 channels as PNG. Raises MissingExtraError: matplotlib is not installed."""
    _save(path, [image if image.shape[-1] == 3 else np.repeat(image, 3, axis=-1)])


def _colours(sample: Mapping[str, Any], variable: str) -> Sequence[int]:
    rgb, nir = sample["c_index_rgb"], sample["c_index_nir"]
    if rgb.ndim == 0 or (variable == "false_colour" and nir.ndim == 0):
        raise InputError(f"these data lack the bands of {variable}: choose another variable")
    red, green, blue = rgb.tolist()
    return [red, green, blue] if variable == "rgb" else [*nir.tolist(), red, green]


def _size(sample: Mapping[str, Any]) -> tuple[int, int]:
    height, width = sample["x"].shape[-2:]
    return int(height), int(width)


def _strip(sample: Mapping[str, Any], outlined: int | None = None) -> Image:
    images = sample["x"]
    strip = sequence_gallery(sample, images, "rgb", columns=len(images))
    if outlined is not None:
        width = strip.shape[1] // len(images)
        frame = strip[:, outlined * width : (outlined + 1) * width]
        for edge in (np.s_[:_LINE], np.s_[-_LINE:], np.s_[:, :_LINE], np.s_[:, -_LINE:]):
            frame[edge] = _RED
    return strip


def _attention_row(maps: NDArray[Any], per_row: bool) -> Image:
    top = _top(maps, "attention") if per_row else 1.0
    return _coloured(gallery(maps[:, None], len(maps), brightness=1 / top), "attention")


def _top(layer: NDArray[Any], variable: str) -> float:
    top = _MAPS[variable][1]
    return top if top is not None else max(float(layer.max()), 1e-12)


def _coloured(image: Image, variable: str) -> Image:
    return np.asarray(_pyplot().get_cmap(_MAPS[variable][0])(image[..., 0])[..., :3])


def _save(path: Path, rows: Sequence[Image]) -> None:
    plt = _pyplot()
    path.parent.mkdir(parents=True, exist_ok=True)
    plt.imsave(path, np.concatenate(rows))


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError("a figure", "viz") from error
    return plt
