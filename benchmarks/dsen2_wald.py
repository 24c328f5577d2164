"""DSen2 weights against cubic interpolation on real images, by Wald's protocol.

    python benchmarks/dsen2_wald.py WEIGHTS CASES_DIR [--figure OUT.png]

Every image is degraded by two: its 20 m bands become 40 m ones, its 10 m bands 20 m ones. The network (and the cubic
interpolation) brings the 40 m bands back to 20 m, where the measured bands are the truth. The cases are
`s2_l8_belgium_a` (level 2A, clear dates), `sen12mscr_pairs_a` (clear images, 20 m bands averaged back to 20 m) and
`s2_multires_oresund` (level 1C, native resolutions). Root mean square errors are reflectance x 10000.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sitsfusion.checkpoints.dsen2 import load_dsen2
from sitsfusion.fetch import resolve
from sitsfusion.methods.dsen2.arrays import degraded, interpolated, sharpen

TWENTY = ("B05", "B06", "B07", "B8A", "B11", "B12")
Images = list[Tensor]  # 10 m group, 20 m group, reflectance


def belgium(folder: Path) -> Iterator[Images]:
    """Dates without cloud, shadow or no data in the scene classification."""
    case = np.load(folder / "s2_l8_belgium_a" / "data.npz")
    clear = np.isin(case["s2_scl"], (4, 5, 6)).mean((1, 2)) > 0.98
    tens, twenties = _ordered(case["s2_10m_bands"]), _ordered(case["s2_20m_bands"])
    for t in np.flatnonzero(clear):
        ten, twenty = case["s2_10m"][t], case["s2_20m"][t]
        if ten.min() > 0 and twenty.min() > 0:
            yield [_reflectance(ten[tens]), _reflectance(twenty[twenties])]


def sen12mscr(folder: Path) -> Iterator[Images]:
    """The clear images; their 20 m bands lie on the 10 m grid and are averaged back to 20 m."""
    clear = np.load(folder / "sen12mscr_pairs_a" / "data.npz")["clear"]
    for image in clear:  # B1 B2 B3 B4 B5 B6 B7 B8 B8A B9 B10 B11 B12
        twenty = F.avg_pool2d(_reflectance(image[[4, 5, 6, 8, 11, 12]])[None], 2)[0]
        yield [_reflectance(image[[1, 2, 3, 7]]), twenty]


def oresund(folder: Path) -> Iterator[Images]:
    """One level 1C image at its native resolutions."""
    case = np.load(folder / "s2_multires_oresund" / "data.npz")
    yield [
        _reflectance(case["b10"][_ordered(case["b10_bands"])]),
        _reflectance(case["b20"][_ordered(case["b20_bands"])]),
    ]


def errors(net: torch.nn.Module, images: Images, unit: float, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors [c] of the network and of cubic interpolation, mean over the pixels of one image."""
    rows, cols = (side // 2 * 2 for side in images[1].shape[-2:])
    ten, twenty = images[0][:, : 2 * rows, : 2 * cols], images[1][:, :rows, :cols]
    coarse = degraded([ten, twenty], 2)
    made = sharpen(net, coarse, unit=unit, method=method, tile=0)  # type: ignore[arg-type]
    cubic = interpolated(coarse, "cubic")[1]
    return tuple((x - twenty).square().mean((1, 2)).numpy() for x in (made, cubic))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("cases", type=Path)
    parser.add_argument("--figure", type=Path, help="PNG of one degraded image: cubic, network, truth")
    given = parser.parse_args()
    net, config = load_dsen2(resolve(given.weights))
    size = sum(p.numel() for p in net.parameters()) * 4 / 1e6
    print(f"{config.name}: {config.describe()}, {size:.2f} MB as float32\n")
    print(f"| case | images | | {' | '.join(TWENTY)} | all |")
    print("|---|---|---|" + "---|" * 7)
    for name, case in (
        ("s2_l8_belgium_a", belgium),
        ("sen12mscr_pairs_a", sen12mscr),
        ("s2_multires_oresund", oresund),
    ):
        found = [errors(net, images, config.unit, config.interpolation) for images in case(given.cases)]
        for label, which in (("cubic", 1), (config.name, 0)):
            squared = np.mean([pair[which] for pair in found], axis=0)
            numbers = [*np.sqrt(squared), np.sqrt(squared.mean())]
            print(f"| {name} | {len(found)} | {label} | " + " | ".join(f"{1e4 * x:.1f}" for x in numbers) + " |")
    if given.figure:
        _figure(given.figure, net, next(oresund(given.cases)), config.unit, config.interpolation)


def _figure(file: Path, net: torch.nn.Module, images: Images, unit: float, method: str) -> None:
    """Bands B8A, B11, B05 as red, green, blue: cubic, network, truth side by side; 150 pixels of 20 m."""
    import matplotlib.image

    images = [images[0][:, :300, :300], images[1][:, :150, :150]]
    coarse = degraded(images, 2)
    shown = [interpolated(coarse, "cubic")[1], sharpen(net, coarse, unit=unit, method=method, tile=0), images[1]]  # type: ignore[arg-type]
    rgb = torch.cat([x[[3, 4, 0]] for x in shown], dim=-1).permute(1, 2, 0)
    low, high = torch.quantile(rgb, 0.01), torch.quantile(rgb, 0.99)
    matplotlib.image.imsave(file, ((rgb - low) / (high - low)).clamp(0, 1).numpy())


def _ordered(names: Sequence[str]) -> list[int]:
    """Positions of the bands in the order of the network."""
    wanted = TWENTY if len(names) == 6 else ("B02", "B03", "B04", "B08")
    found = [str(name).upper() for name in names]
    found = [name if len(name) == 3 else f"B0{name[-1]}" for name in found]
    return [found.index(key) for key in wanted]


def _reflectance(stored: np.ndarray) -> Tensor:
    return torch.from_numpy(stored.astype(np.float32) / 10_000)


if __name__ == "__main__":
    main()
