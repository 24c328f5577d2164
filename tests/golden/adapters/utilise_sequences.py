"""U-TILISE beyond the network: losses, metrics, trivial baselines, windows in time."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from sitsfusion.losses.utilise import UtiliseLossConfig, utilise_loss
from sitsfusion.methods.utilise.frames import frames_at, pick
from sitsfusion.methods.utilise.sequence import join_windows, windows_in_time
from sitsfusion.methods.utilise.trivial import CopyMode, fill_trivially, source_dates
from sitsfusion.metrics.utilise import MetricOptions, dssim, sequence_metrics
from tests.golden.adapters.series_ops import described, number_after
from tests.golden.adapters.utilise_nets import Arrays, drawn
from tests.golden.goldens import Golden, adapter, captured


def close(found: dict[str, Any], expected: dict[str, float], golden: Golden) -> None:
    """Numbers of `meta`, all of them and no others, within the file's tolerance."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(float(found[name]), value, err_msg=name, **golden.tolerance())


@adapter("utilise_losses_metrics")
def losses_metrics(golden: Golden) -> Arrays:
    text = golden.meta["inputs"]
    shares = (r'masks"[^<]*< ([\d.]*\d)', r'cloud_mask"[^<]*< ([\d.]*\d)')
    hidden, cloudy, error = (float(captured(pattern, text)) for pattern in (*shares, r"y \+ ([\d.]*\d)\*"))
    cleared = int(captured(r"frame (\d+) cleared", text))
    for name, case in golden.meta["cases"].items():
        (b, t, c, h, w), seed = case["shape"], golden.seed
        y = drawn(f"metrics.{name}.y", [b, t, c, h, w], seed, 0, 1)
        predicted = (y + error * drawn(f"metrics.{name}.error", [b, t, c, h, w], seed)).clamp(0, 1)
        masks = (drawn(f"metrics.{name}.masks", [b, t, 1, h, w], seed, 0, 1) < hidden).float()
        masks[:, cleared] = 0
        clouds = None
        if case["cloud_mask"]:
            clouds = (drawn(f"metrics.{name}.cloud_mask", [b, t, 1, h, w], seed, 0, 1) < cloudy).float()
        real = torch.tensor(case["masks_valid_obs"])
        options = MetricOptions(**case["metric_settings"])
        close(sequence_metrics(predicted, y, masks, real, clouds, options), case["metrics"], golden)
        config = UtiliseLossConfig(**case["loss_settings"])
        close(utilise_loss(config, predicted, y, masks, real, clouds), case["losses"], golden)
        if "default_loss" in case:
            close(utilise_loss(UtiliseLossConfig(), predicted, y, masks, real, clouds), case["default_loss"], golden)
    shape = list(golden.outputs["ssim/dssim_map"].shape)
    a, b_ = (drawn(f"ssim.{k}", shape, golden.seed, 0, 1) for k in ("a", "b"))
    of_a, of_b = (float(captured(p, golden.meta["outputs"])) for p in (r"([\d.]*\d)a\+", r"\+([\d.]*\d)b"))
    near = of_a * a + of_b * b_
    return {"ssim/dssim_map": dssim(a, b_).numpy(), "ssim/dssim_map_near": dssim(a, near).numpy()}


@adapter("utilise_trivial_baselines")
def trivial(golden: Golden) -> Arrays:
    text = golden.meta["inputs"]
    b, t, _, h, w = shape = golden.meta["shape"]
    images = drawn("trivial.images", shape, golden.seed, 0, 1)
    masks = (
        drawn("trivial.masks", [b, t, 1, h, w], golden.seed, 0, 1) < float(captured(r"< ([\d.]*\d)", text))
    ).float()
    row, column = (int(n) for n in captured(r"pixel \(([\d,]+)\)", text).split(","))
    masks[..., row, column] = 1
    days = torch.tensor(golden.meta["days"])
    out = {"linear_interpolation/out": fill_trivially(images, masks, days, "linear_interpolation").numpy()}
    for mode in get_args(CopyMode):
        given = days if mode == "closest" else None
        out[f"{mode}/out"] = fill_trivially(images, masks, given, mode).numpy()
        out[f"{mode}/source_index"] = source_dates(masks, given, mode).numpy()
    for mode, name in (("last", "last_visible"), ("next", "next_visible")):
        out[f"linear_interpolation/{name}"] = source_dates(masks, None, mode).numpy()
    return out


def stub(text: str, x: Tensor, days: Tensor) -> Tensor:
    """`0.5 x + 0.5 mean over time of x ... + 0.05 sin(0.1 pos[b,t])`."""
    patterns = (r"= ([\d.]*\d) x", r"([\d.]*\d) mean", r"([\d.]*\d) sin", r"sin\(([\d.]*\d) pos")
    of_x, of_mean, of_sine, speed = (float(captured(pattern, text)) for pattern in patterns)
    return of_x * x + of_mean * x.mean(1, keepdim=True) + of_sine * torch.sin(speed * days)[:, :, None, None, None]


@adapter("utilise_sliding_window")
def sliding_window(golden: Golden) -> Arrays:
    out: Arrays = {}
    for name, case in golden.meta["cases"].items():
        b, t, c, h, w = golden.outputs[f"{name}/out"].shape
        level = drawn(f"sliding.{name}.level", [t], golden.seed, 0, 1) * case["level"]
        masks = drawn(f"sliding.{name}.masks", [b, t, 1, h, w], golden.seed, 0, 1) < level[:, None, None, None]
        masks[:, int(captured(r"frame (\d+) cleared", golden.meta["inputs"]))] = False
        x = drawn(f"sliding.{name}.x", [b, t, c, h, w], golden.seed, 0, 1).masked_fill(masks, 1.0)
        days = torch.tensor(case["positions"])
        coverage = masks.float().mean((0, 2, 3, 4))
        np.testing.assert_allclose(coverage, case["coverage"], **golden.tolerance())
        windows = windows_in_time(coverage, case["window"])
        assert windows == [(first, min(last, t)) for first, last in case["windows"]], name

        def predict(first: int, last: int, x: Tensor = x, days: Tensor = days) -> Tensor:
            return stub(golden.meta["stub_model"], x[:, first:last], days[:, first:last])

        series, switches = join_windows(predict, windows)
        assert list(switches) == case["switch"], name
        out[f"{name}/out"] = series.numpy()
        if not case["reference_equals_sorted"]:
            out[f"{name}/out_reference_order"] = join_windows(predict, windows, published_order=True)[0].numpy()
    return out


@adapter("baseline_utilise_wrapper")
def wrapper(golden: Golden) -> Arrays:
    """The network of the comparison in TAMRFSITS is a formula; it sees the clouds, and dates as days of the job."""
    formula = golden.meta["what"].partition("f(x,position_days,masks)=")[2]  # A*x+position_days/B+C*masks
    of_x, days_over = number_after(formula, ""), number_after(formula, "position_days/")
    of_masks = number_after(formula.rpartition("+")[2], "")
    series, wanted = described(golden.meta["hr"], golden.seed), torch.tensor(golden.meta["target_doy"])
    frames = frames_at(series, wanted, hide=False)
    filled = of_x * frames.x + frames.days[:, :, None, None, None] / days_over + of_masks * frames.masks
    found = pick(filled, frames.days, wanted)
    nothing_missing = np.zeros((*found.shape[:2], *found.shape[3:]), bool)
    return {"data": found.numpy(), "doy": wanted[None].numpy(), "mask": nothing_missing}
