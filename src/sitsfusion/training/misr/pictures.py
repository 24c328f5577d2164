"""The images of a test as 8-bit PNG files, in the published folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sitsfusion.io.png import write_png
from sitsfusion.metrics.misr import to_8_bit
from sitsfusion.nets.srdiff import SrDiff


def write_test(folder: Path, batch: Mapping[str, Tensor], made: Tensor, net: torch.nn.Module) -> None:
    """Write the images of a batch: `SR` (predicted), `HR` (target), `UP` (bicubic enlargement), `LR` (what went in: of
    a series a file for each view) and, behind a diffusion, `RRDB` (what its frozen backbone alone predicts).

    The first three bands are shown, or the first alone in grey.

    Args:
        folder: gets the folders.
        batch: as the network takes it.
        made: predictions `[b c H W]`, [-1, 1].
        net: that made them.
    """
    sets = {"SR": made, "HR": batch["hr"], "UP": batch["base"]}
    if isinstance(net, SrDiff) and net.backbone is not None:
        with torch.no_grad():
            sets["RRDB"] = net.backbone.eval()(batch["views"], batch["days"], batch["present"])
    for i, number in enumerate(batch["id"].tolist()):
        for name, images in sets.items():
            _write(folder / name / f"{number}.png", images[i])
        views = batch["views"][i]
        for v, view in enumerate(views):
            _write(folder / "LR" / (f"{number}.png" if len(views) == 1 else f"{number}_{v}.png"), view)


def _write(file: Path, image: Tensor) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    bands = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    write_png(file, np.ascontiguousarray(to_8_bit(bands).permute(1, 2, 0).cpu().numpy().astype(np.uint8)))
