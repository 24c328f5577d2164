"""The harmonisation on a real scene: `l8_pan_thoothukudi`, whose panchromatic grid begins 15 m inside.

    python benchmarks/deepharmo_scene.py WEIGHTS CASES_DIR OUT.png

WEIGHTS as in `deepharmo-unet` (a folder, or a name of the hub). Fuses the first date, and draws the Landsat image
(cubic, 10 m), the panchromatic band and the result side by side; prints how near the result, averaged back to 30 m, is
to the Landsat image, and how well its mean of blue, green and red follows the panchromatic band.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

import matplotlib.image
import numpy as np
import torch
import torch.nn.functional as F
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfusion import fuse, sensors
from sitsfusion.cube import Cube
from sitsfusion.ops.resample import bicubic
from sitsfusion.scene import Scene


def scene(folder: Path) -> Scene:
    """Three dates, multispectral and panchromatic, each on its own pixels."""
    case = np.load(folder / "l8_pan_thoothukudi" / "data.npz")
    days = [date.fromisoformat(str(day)) for day in case["date"]]
    order = np.argsort(days)
    cubes = {}
    for role, name, keys, values in (
        ("coarse", "landsat-8-9-c2-l2", ("B02", "B03", "B04", "B05", "B06", "B07"), case["sr"]),
        ("pan", "landsat-8-9-c2-l1", ("B08",), case["pan"][:, None]),
    ):
        sensor = sensors.get(name)
        transform = Affine(*case["sr_transform" if role == "coarse" else "pan_transform"])
        rule = sensor.rule("QA_PIXEL")
        valid = rule.clear(case["qa"])[order] if role == "coarse" and rule else None
        cubes[role] = Cube.from_array(
            values[order], sensor=sensor, bands=keys, grid=GeoBox(values.shape[-2:], transform, str(case["crs"])),
            dates=sorted(days), valid=valid, encodings=sensor.stored(keys),
        )  # fmt: skip
    return Scene(cubes, name="thoothukudi")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("cases", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    place = scene(given.cases)
    day = place["coarse"].dates[0]
    found = fuse(place, [day], method="deepharmo-unet", weights=given.weights)
    image = torch.from_numpy(found["fine"].frame(0).values)
    coarse = torch.from_numpy(place["coarse"].frame(0).values)
    pan = torch.from_numpy(place["pan"].frame(0).values)
    print(f"{day}: {tuple(coarse.shape)} and {tuple(pan.shape)} -> {tuple(image.shape)}; cells {place.size}")
    back = F.avg_pool2d(image[None], 3)[0]
    for key, a, b in zip(found["fine"].bands, back, coarse, strict=True):
        print(f"  {key}: averaged to 30 m, RMSE {1e4 * float((a - b).square().mean().sqrt()):.0f}, "
              f"correlation {float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]):.3f}")  # fmt: skip
    detail = bicubic(pan, 2 / 3)[0]
    visible = image[:3].mean(0)
    both = torch.stack(
        [(x - bicubic(F.avg_pool2d(x[None, None], 3), 1 / 3)[0, 0]).flatten() for x in (visible, detail)]
    )
    print(f"  detail below 30 m follows the panchromatic band: correlation {float(torch.corrcoef(both)[0, 1]):.3f}")
    panels = [bicubic(coarse, 1 / 3)[[2, 1, 0]], detail.expand(3, -1, -1), image[[2, 1, 0]]]
    shown = []
    for panel in panels:
        low, high = torch.quantile(panel, 0.02), torch.quantile(panel, 0.98)
        shown.append(((panel - low) / (high - low)).clamp(0, 1)[:, :300, :300])
    matplotlib.image.imsave(given.out, torch.cat(shown, dim=-1).permute(1, 2, 0).numpy())


if __name__ == "__main__":
    main()
