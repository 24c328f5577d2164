"""TAMRFSITS losses: the regression loss and masked LPIPS alone, and complete training steps with gradients."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from sitsfusion.checkpoints.tamrfsits_names import from_published, published_names
from sitsfusion.losses.fidelity import smooth_l1
from sitsfusion.losses.lpips import BLOCKS, WIDTHS, MaskedLpips
from sitsfusion.losses.regression import RegressionOptions, regression_loss, ridge_fit
from sitsfusion.losses.tamrfsits import PRESETS, Objective, ObjectiveConfig
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.ops.series_ops import standardise
from sitsfusion.series import Series
from sitsfusion.strategies import Strategy, TrainingPool, split
from sitsfusion.weights.config import SensorInput
from tests.golden import recipe
from tests.golden.adapters.series_ops import limited, number_after
from tests.golden.adapters.tamrfsits_inference import moments, statistics
from tests.golden.adapters.tamrfsits_nets import days, tensors
from tests.golden.goldens import Golden, adapter, captured, compare, only_entries

Arrays = dict[str, np.ndarray]


def recipe_lpips(seed: int) -> MaskedLpips:
    """VGG16 and the linear weights, drawn by their names."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for block, width in zip(BLOCKS, WIDTHS, strict=True):
        for i in block:
            shapes |= {f"vgg16.features.{i}.weight": (width, channels, 3, 3), f"vgg16.features.{i}.bias": (width,)}
            channels = width
    vgg = {name: torch.from_numpy(recipe.weight(name, shape, seed)) for name, shape in shapes.items()}
    linear = [
        torch.from_numpy(recipe.weight(f"lpips.lin{i}", (1, width, 1, 1), seed)).abs() for i, width in enumerate(WIDTHS)
    ]
    return MaskedLpips(vgg, linear)


# --- losses alone --------------------------------------------------------------------------------------------------


def pair(golden: Golden) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, reference (with two channels made of the prediction) and validity of the regression."""
    pred, ref = (torch.from_numpy(golden.draw(name)) for name in ("pred", "ref"))
    rules = {name: golden.meta["inputs"][name]["how"] for name in ("ref", "mask")}
    masked = torch.from_numpy(limited(golden.draw("mask"), rules["mask"]))
    part, date = (int(captured(p, rules["mask"])) for p in (r"h//(\d+)", r"date (\d+) masked"))
    masked[:, date, : masked.shape[-2] // part] = True
    found = re.search(r"([\d.]*\d)\*pred\[:, :, :(\d+)\]\+([\d.]*\d)", rules["ref"])
    assert found is not None, rules["ref"]
    gain, channels, offset = (float(n) for n in found.groups())
    ref = torch.cat([ref, gain * pred[:, :, : int(channels)] + offset], 2)
    return pred.flatten(0, 1), ref.flatten(0, 1), ~masked.flatten(0, 1)


def regression_value(golden: Golden, name: str, lpips: MaskedLpips) -> list[float]:
    """[value, sum |gradient|, sum of gradient] of `<inner loss>_mtf<mtf>_<mode>_<perdate|joint>_<lpips|plain>`."""
    inner, response, mode, how, kind = name.split("_")
    options = RegressionOptions(
        max_masked_rate=number_after(golden.meta["values_note"], "max_masked_rate"),
        high_pass=mode,
        per_date=how == "perdate",
        high_pass_mtf=None if response == "mtfNone" else float(response.removeprefix("mtf")),
    )
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mse": torch.nn.functional.mse_loss,
        "smoothl1": smooth_l1,
    }
    prediction, reference, valid = pair(golden)
    prediction.requires_grad_()
    value = regression_loss(prediction, reference, valid, options, lpips if kind == "lpips" else losses[inner])
    assert value is not None
    (gradient,) = torch.autograd.grad(value, prediction)
    return [float(value.detach()), float(gradient.abs().sum()), float(gradient.sum())]


def lpips_value(golden: Golden, name: str, lpips: MaskedLpips) -> float | None:
    first, second = (torch.from_numpy(golden.draw(name)) for name in ("img1", "img2"))
    valid = torch.ones(len(first), *first.shape[-2:], dtype=torch.bool)
    if name == "lpips_masked":
        text = golden.meta["inputs"]["validity of the LPIPS test"]
        rows, block_rows, block_columns = slices(text)
        some, other, none = (int(captured(rf"image (\d+){words}", text)) for words in (" rows", " block", " invalid"))
        valid[some, rows], valid[other, block_rows, block_columns], valid[none] = False, False, False
    elif name == "lpips_none":
        valid[:] = False
    else:
        assert name == "lpips_full"
    value = lpips(first, second, valid)
    return None if value is None else float(value)


def slices(sentence: str) -> list[slice]:
    """The slices that a sentence names: `rows :9, block [20:26, 10:14]`."""
    return [slice(int(a or 0), int(b)) for a, b in re.findall(r"(\d*):(\d+)", sentence)]


@adapter("tamrfsits-losses")
def losses(golden: Golden) -> None:
    """Not compared: decorrelation, of whose input `meta` says nothing, and a covariance that no loss uses."""
    only_entries(golden, ("regressed", "regressed_nobias", "batch_covariance"))
    lpips, limits = recipe_lpips(golden.seed), golden.tolerance()
    for name, expected in golden.meta["values"].items():
        if name in ("decorrelation", "decorrelation_small"):
            continue
        run = lpips_value if name.startswith("lpips") else regression_value
        ours = run(golden, name, lpips)
        if expected is None:
            assert ours is None, name
        else:
            np.testing.assert_allclose(ours, expected, err_msg=name, **limits)
    fit = rearrange(ridge_fit(*pair(golden)), "t c h w -> t (h w) c").numpy()
    fit = fit[:, :: int(captured(r"every (\d+)th pixel", golden.meta["outputs"]["regressed"]))]
    for name in ("regressed", "regressed_nobias"):
        np.testing.assert_allclose(fit, golden.outputs[name], err_msg=name, **limits)


# --- a training step -----------------------------------------------------------------------------------------------


def step_series(golden: Golden, inputs: tuple[SensorInput, SensorInput]) -> tuple[Series, Series]:
    """Both series, standardised, with the masks of `meta`."""
    lr_dn, hr_dn = (np.trunc(golden.draw(name)) for name in ("lr_dn", "hr_dn"))
    rules = {name: golden.meta["inputs"][name]["how"] for name in ("lst_dn", "lr_mask", "hr_mask")}
    lr_dn[:, :, int(captured(r"channel (\d+)", rules["lst_dn"]))] = np.trunc(golden.draw("lst_dn"))
    lr_mask, hr_mask = (limited(golden.draw(name), rules[name]) for name in ("lr_mask", "hr_mask"))
    for mask, name in ((lr_mask, "lr_mask"), (hr_mask, "hr_mask")):
        for date in re.findall(r"date (\d+) all masked", rules[name]):
            mask[:, int(date)] = True
    for date, widths in re.findall(r"date (\d+) rows \[:(\d+)\*lr width\]", rules["hr_mask"]):
        hr_mask[:, int(date), : int(widths) * lr_dn.shape[-1]] = True
    found = []
    for role, dn, mask, bands in zip(("lr", "hr"), (lr_dn, hr_dn), (lr_mask, hr_mask), inputs, strict=True):
        at = torch.atleast_2d(days(golden, f"{role}_doy")).expand(len(dn), -1)
        series = Series(torch.from_numpy(dn).float(), at, torch.from_numpy(~mask))
        found.append(standardise(series, *moments(bands), 10000.0))
    return found[0], found[1]


def step_config(golden: Golden, overrides: dict) -> ObjectiveConfig:
    """The published configuration with the changes of a case."""
    ours = {
        "decorrelation_loss_weight": ("decorrelation_weight", lambda v: v),
        "max_diff_for_data_loss": ("max_difference", lambda v: v),
        "cca_loss_on_predictions": ("regression_on_predictions", lambda v: v),
        "use_triplet_loss": ("triplet_weight", float),
        "scale_mae_loss": ("mae_scale", lambda v: v),
    }
    changes = {ours[name][0]: ours[name][1](value) for name, value in overrides.items()}
    base = PRESETS["spatiotemporal_fusion"].model_dump()
    return ObjectiveConfig.model_validate(
        base | {"margin": golden.meta["loss_spatial_margin"], "published_ndvi": True} | changes
    )


def published_network(golden: Golden) -> TamrfsitsNet:
    """The published architecture, in evaluation mode."""
    net = TamrfsitsNet()
    state = tensors(golden.keys("tamrfsits-model"), golden.seed)
    net.load_state_dict(from_published(state, net.config, golden.stem))
    return net.eval()


def gradients(net: TamrfsitsNet) -> dict[str, Tensor]:
    """Of the parameters, by published name; 0 where one had no part in the loss."""
    names = published_names(net.config)
    return {
        names[name][-1]: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in net.named_parameters()
        if p.requires_grad
    }


@adapter("tamrfsits-step")
def step(golden: Golden) -> None:
    net, lpips, inputs = published_network(golden), recipe_lpips(golden.seed), statistics(golden)
    lr, hr = step_series(golden, inputs)
    limits, ours = golden.tolerance(), {}
    for case, told in golden.meta["cases"].items():
        rng = random.Random(told["python_seed"])
        pool = TrainingPool(strategies=(Strategy(told["drawn"][0]),))
        splits = []
        for _ in range(len(lr.days)):
            draw = pool.draw(rng)
            splits.append(split(draw.strategy, lr.days[0].tolist(), hr.days[0].tolist(), draw.options(), rng))
        assert [draw.strategy, draw.rate, draw.forecast_day, draw.gap] == told["drawn"]
        net.zero_grad(set_to_none=True)
        terms = Objective(step_config(golden, told["overrides"]), *inputs, lpips)(net, lr, hr, splits)
        assert terms is not None
        expected = {name.partition("/")[2]: value for name, value in told["logs"].items()}
        assert set(terms) == set(expected), (case, set(terms) ^ set(expected))
        for name, value in expected.items():
            np.testing.assert_allclose(float(terms[name].detach()), value, err_msg=f"{case} {name}", **limits)
        np.testing.assert_allclose(float(terms["total_loss"].detach()), told["total"], err_msg=case, **limits)
        terms["total_loss"].backward()
        found = gradients(net)
        norm = torch.stack([g.norm() for g in found.values()]).norm()
        np.testing.assert_allclose(float(norm), told["grad_norm"], err_msg=f"{case} norm", **limits)
        ours |= {f"grad/{case}/{name}": gradient.numpy() for name, gradient in found.items()}
    compare(golden, ours)
