"""Run as a script: the memory that predicting some cores takes, each in a process of its own, one line of JSON each.

Cases: `[{"core": [96, 96], "dates": [4, 4], "queries": 8, "dtype": "float32"}]`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

import torch

from sitsfusion.grid import Window
from sitsfusion.methods.tamrfsits.inference import Frames, Settings, footprint, predict_core, reach
from sitsfusion.nets.tamrfsits import TamrfsitsNet


def peak() -> int:
    """Bytes. On Linux the peak of this program only: there, getrusage starts with that of the parent process."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def frames(count: int, bands: int, core: tuple[int, int], margin: int) -> Frames:
    """The same image at every date: what is loaded is not what is measured."""
    size = core[0] + 2 * margin, core[1] + 2 * margin
    image = torch.rand(bands, *size)
    return Frames(torch.arange(count) * 3, lambda t: image, size, Window(margin, margin, *core))


def measure(case: dict) -> dict[str, int]:
    net = TamrfsitsNet().eval()
    config, core, needed = net.config, case["core"], reach(net.config)
    settings = Settings(dtype=getattr(torch, case["dtype"]))

    def predict(core: tuple[int, int], dates: list[int], queries: int) -> None:
        coarse = core[0] // config.ratio, core[1] // config.ratio
        margin = -(-needed.hr // config.ratio) * config.ratio
        lr, hr = frames(dates[0], config.lr_bands, coarse, needed.lr), frames(dates[1], config.hr_bands, core, margin)
        predict_core(net, lr, hr, torch.arange(queries), settings)

    predict((12, 12), [1, 1], 1)  # what libraries allocate once
    before = peak()
    predict(core, case["dates"], case["queries"])
    predicted = footprint(config, core, *case["dates"], case["queries"], settings.dtype)
    return {"measured": peak() - before, "predicted": predicted}


def main(cases: list[dict]) -> None:
    torch.set_num_threads(1)
    for case in cases:  # forked, because importing torch takes longer than most cases
        child = os.fork()
        if child == 0:
            print(json.dumps(measure(case)), flush=True)
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            raise SystemExit(f"{case} failed")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
