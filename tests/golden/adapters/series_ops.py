"""Adapters of the goldens on series operations, point spread functions, resampling and gap filling.

These files describe their inputs and options in English sentences of `meta`; the numbers are read from there.
Their masks are True where missing, ours True where usable: adapters invert on the way in and out.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sitsfusion.ops import mtf, resample, series_ops, tiles
from sitsfusion.series import Series
from tests.golden import recipe
from tests.golden.goldens import Golden, adapter

Arrays = dict[str, np.ndarray]

_NUMBER = re.compile(r"(?<![\w.\]])-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?")
_DRAW = re.compile(r"array\('([^']+)',\s*\(([\d,\s]+)\),\s*seed(?:,\s*([-\d.e]+),\s*([-\d.e]+))?\)")
_LIMIT = re.compile(r"([<>])\s*([-\d.e]+|\[[^\]]*\])")
_ASSIGNMENT = re.compile(r"\[([\d:,]+)\]\s*=\s*(True|False)")


# --- reading sentences ---------------------------------------------------------------------------------------------


def numbers(text: str) -> list[float]:
    """All numbers of a sentence, in order; not those inside words or after a closing bracket."""
    return [float(n) for n in _NUMBER.findall(text)]


def number_after(text: str, words: str) -> float:
    """The first number behind some words."""
    return numbers(text[text.index(words) + len(words) :])[0]


def bracketed(text: str, after: str = "") -> list[float]:
    """The numbers of the first `[...]` behind some words."""
    start = text.index("[", text.index(after))
    return numbers(text[start + 1 : text.index("]", start)])


def drawn(text: str, seed: int) -> np.ndarray:
    """The array that `array('name', (shape), seed, low, high)` describes."""
    match = _DRAW.search(text)
    assert match is not None, text
    name, shape, low, high = match.groups()
    sizes = tuple(int(n) for n in shape.split(",") if n.strip())
    return recipe.array(name, sizes, seed, float(low or 0.0), float(high or 1.0))


def limited(draw: np.ndarray, text: str) -> np.ndarray:
    """The mask that `< 0.4` or `> [0.2, 0.6]` (one limit per date) makes of a draw `[b t h w]`."""
    match = _LIMIT.search(text)
    assert match is not None, text
    compare = {"<": operator.lt, ">": operator.gt}[match[1]]
    limit = np.array(numbers(match[2]))
    return compare(draw, limit[:, None, None] if match[2].startswith("[") else float(limit[0]))


def assigned(mask: np.ndarray, text: str) -> np.ndarray:
    """The mask after the assignments of a sentence: `[0,:,0,0]=True, [1,0]=False`."""
    mask = mask.copy()
    for place, value in _ASSIGNMENT.findall(text):
        index = tuple(_slice(part) for part in place.split(","))
        mask[index] = value == "True"
    return mask


def _slice(part: str) -> int | slice:
    if ":" not in part:
        return int(part)
    return slice(*(int(n) if n else None for n in part.split(":")))


def series(values: np.ndarray, days: Any, missing: np.ndarray | None = None) -> Series:
    return Series(
        torch.from_numpy(values),
        torch.as_tensor(days),
        None if missing is None else torch.from_numpy(~missing),
    )


def described(meta: dict[str, Any], seed: int, note: str = "", masked: bool = True) -> Series:
    """A series from {"data": sentence, "mask": sentence, "doy": days}."""
    missing = None
    if masked:
        missing = assigned(limited(drawn(meta["mask"], seed), _DRAW.sub("", meta["mask"])), note)
    return series(drawn(meta["data"], seed), meta["doy"], missing)


def reference_mask(found: Series) -> np.ndarray:
    return (~found.usable()).numpy()


def reference(name: str, found: Series, separator: str = "_") -> Arrays:
    """Data, days and mask under the names of the files; a mask that the file does not hold is not compared."""
    return {
        f"{name}{separator}data": found.values.numpy(),
        f"{name}{separator}doy": found.days.numpy(),
        f"{name}{separator}mask": reference_mask(found),
    }


def reference_closest(source: Series, days: Tensor, rate: float = 0.5, same_day: bool = True) -> Series:
    """`closest`, but where no date is usable with the first date's mask, as published."""
    index, exists = series_ops.closest_dates(source, days, rate, same_day)
    ours = series_ops.closest(source, days, rate, same_day)
    published = series_ops.take_dates(source, index)
    assert torch.equal(ours.values, published.values)
    assert torch.equal(ours.usable()[exists], published.usable()[exists])
    assert not ours.usable()[~exists].any()
    return published


# --- container -----------------------------------------------------------------------------------------------------


@adapter("tamrfsits-sits")
def container(golden: Golden) -> Arrays:
    meta, text = golden.meta, golden.meta["outputs"]
    masks = {
        name: assigned(limited(golden.draw(name), spec["how"]), spec["how"])
        for name, spec in meta["inputs"].items()
        if "how" in spec
    }
    a = series(golden.draw("a"), meta["doy_a"], masks["ma"])
    b = series(golden.draw("b"), meta["doy_b"], masks["mb"])
    plain = Series(a.values, a.days)
    out: Arrays = {}
    out |= reference("subset", _subset(a, text["subset"]))
    out |= reference("union", series_ops.subset(plain, fill=number_after(text["union"], "fill")))
    fill = number_after(text["pad"], "fill")
    length = a.days.shape[1] + int(number_after(text["pad"], "n+"))
    out |= reference("pad", a.pad_time(length, fill, fill))
    days, exists = series_ops.unique_days(a.days, b.days)
    out |= {"unique_doy": days.numpy(), "unique_valid": exists.numpy()}
    out |= reference("combine", series_ops.combine(a, b))
    shift = number_after(text["where"], "a+")
    other = Series(a.values + shift, a.days, torch.from_numpy(~masks["mc"]))
    out |= reference("where", series_ops.where(a, other))
    out |= _closest_of_first(a, text)
    out |= _radiometry(plain, text)
    out |= _gapfilled_twice(a, text)
    return out | _crop_and_tiles(golden)


def _subset(a: Series, text: str) -> Series:
    return series_ops.subset(a, torch.tensor(bracketed(text)), number_after(text, "fill"))


def _closest_of_first(a: Series, text: dict[str, str]) -> Arrays:
    first = Series(a.values[:1], a.days[:1], a.usable()[:1])
    *days, rate = numbers(text["closest"].replace("a[0]", ""))
    out = reference("closest", reference_closest(first, torch.tensor(days), rate))
    plain = Series(first.values, first.days)
    return out | reference("closest_nosame", reference_closest(plain, plain.days, same_day=False))


def _radiometry(a: Series, text: dict[str, str]) -> Arrays:
    factor, *statistics, scale = numbers(text["standardize"])
    mean, std = torch.tensor(statistics).chunk(2)
    stored = Series(a.values * factor, a.days)
    out = reference("standardize", series_ops.standardise(stored, mean, std, scale))
    sentence = text["standardize_clip"]
    low, high = bracketed(sentence)
    gain, offset = numbers(sentence)[0], number_after(sentence, "*a-")
    stored = Series(a.values * gain - offset, a.days)
    out |= reference("standardize_clip", series_ops.standardise(stored, mean, std, scale, (low, high)))
    red, red_mean, red_std, nir, nir_mean, nir_std = numbers(text["ndvi"])
    mean, std = torch.zeros(a.values.shape[2]), torch.ones(a.values.shape[2])
    mean[[int(red), int(nir)]] = torch.tensor([red_mean, nir_mean])
    std[[int(red), int(nir)]] = torch.tensor([red_std, nir_std])
    return out | reference("ndvi", series_ops.append_ndvi(a, mean, std, int(red), int(nir)))


def _gapfilled_twice(a: Series, text: dict[str, str]) -> Arrays:
    targets = torch.tensor(numbers(text["gapfill"]))
    out = reference("gapfill", series_ops.gapfilled(a, targets))
    return out | reference("gapfill_nomask", series_ops.gapfilled(Series(a.values, a.days), targets))


def _crop_and_tiles(golden: Golden) -> Arrays:
    """The days of c and p are not in the meta; they pass through unchanged, so those of the outputs are put in."""
    text, stored = golden.meta["outputs"], golden.outputs
    values = golden.draw("c")
    c = series(values, stored["crop_doy"], np.zeros((*values.shape[:2], *values.shape[3:]), bool))
    out = reference("crop", c.crop(int(number_after(text["crop"], "by"))))
    size, margin = (int(n) for n in re.findall(r"\d+", text["patchify"])[:2])
    cut = tiles.patchify(torch.from_numpy(golden.draw("p")), size, margin)  # [rows columns 1 t c s s]
    return out | {"patchify_data": cut.flatten(0, 1)[:, 0].numpy(), "patchify_doy": stored["patchify_doy"]}


@adapter("eval_series_ops")
def helpers(golden: Golden) -> Arrays:
    text, days = golden.meta["inputs"], torch.tensor(golden.meta["doy"])
    values = torch.from_numpy(drawn(text, golden.seed))
    after_mask = text[text.index("mask =") :]
    missing = limited(drawn(after_mask, golden.seed), _DRAW.sub("", after_mask))
    masked = Series(values, days, torch.from_numpy(~missing))
    found = series_ops.subset(masked, torch.tensor(golden.meta["target_doy"]), number_after(text, "fill"))
    union = series_ops.subset(masked)
    out = reference("subset", found, ".")
    out |= {"union.doy": union.days.numpy(), "union.mask_count": reference_mask(union).sum((2, 3))}
    size, margin = (int(number_after(text, words)) for words in ("patch_size=", "margin="))
    out["patchify"] = tiles.patchify(values, size, margin).numpy()
    return out | _closest_in_two_ways(text, values[:1], days[:1], golden.seed) | _tiled(golden)


def _closest_in_two_ways(text: str, values: Tensor, days: Tensor, seed: int) -> Arrays:
    text = text[text.index("closest:") :]
    missing = limited(drawn(text, seed), _DRAW.sub("", text))
    source = Series(values, days, torch.from_numpy(~missing))
    targets, rate = torch.tensor(bracketed(text, "target days")), number_after(text, "max masked rate")
    return {
        f"closest_{same}.doy": reference_closest(source, targets, rate, same).days.numpy() for same in (True, False)
    }


def _tiled(golden: Golden) -> Arrays:
    """Tiles of the published layout, with the formula of the file in the place of a network.

    The query days of this part are in no meta. The formula adds day / 1000 to an image that is known, so they are
    recovered from the output; where the pixels of each tile go is what the comparison checks.
    """
    text, expected = golden.meta["tiled"], golden.outputs["tiled.hr"]
    inputs = {}
    for name in ("lr", "hr"):
        sentence = text[text.index(f"{name} = ") :]
        inputs[name] = series(drawn(sentence, golden.seed), np.array([bracketed(sentence, "days")]))
    hr, lr = inputs["hr"], inputs["lr"]
    size, margin = (int(number_after(text, words)) for words in ("tile width", "margin"))
    image = _formula(hr.values)
    h, w = image.shape[-2:]
    queries = ((expected[:, :h, :w] - image.numpy()) * 1000.0).mean((1, 2)).round(3)

    def predict(parts: Sequence[Series | None]) -> list[Series | None]:
        tile = parts[1]
        assert tile is not None
        of_day = _formula(tile.values)[:, None, None] + torch.tensor(queries)[:, None, None, None] / 1000.0
        fine = Series(of_day.expand(-1, -1, hr.values.shape[2], -1, -1).float(), torch.tensor(queries)[None])
        t = int(golden.outputs["tiled.lr_shape"][1])
        coarse_days = fine.days[:, :1].expand(-1, t)
        coarse = fine.values[:, :1, : lr.values.shape[2]].expand(-1, t, -1, -1, -1)
        return [Series(coarse, coarse_days), fine]

    ratio = hr.values.shape[-1] // lr.values.shape[-1]
    merged_lr, merged_hr = tiles.reference_tiling(predict, [lr, hr], [ratio, 1], size, margin)
    assert merged_lr is not None
    assert merged_hr is not None
    return {"tiled.lr_shape": np.array(merged_lr.values.shape), "tiled.hr": merged_hr.values[0, :, 0].numpy()}


def _formula(values: Tensor) -> Tensor:
    """Mean over time and channels / 10000: `[1 t c h w]` -> `[1 h w]`."""
    return values.mean((1, 2)) / 10000.0


@adapter("baseline_closest")
def closest_image(golden: Golden) -> Arrays:
    spec, text = golden.meta["hr"], golden.meta["outputs"]
    limits = np.array(spec["cover"])[:, None, None]
    source = series(drawn(spec["data"], golden.seed), spec["doy"], drawn(spec["mask"], golden.seed) < limits)
    targets = torch.tensor(golden.meta["target_doy"])
    any_day = reference_closest(source, targets, number_after(text["doy"], "rate"))
    other_day = reference_closest(source, targets, number_after(text["doy2"], "rate"), same_day=False)
    return {
        "doy": any_day.days.numpy(),
        "doy2": other_day.days.numpy(),
        "data2": other_day.values[:, :, [int(number_after(text["data2"], "channel"))]].numpy(),
    }


# --- gap filling ---------------------------------------------------------------------------------------------------


@adapter("baseline_gapfill")
def gap_filling(golden: Golden) -> Arrays:
    targets = torch.tensor(golden.meta["target_doy"])
    source = described(golden.meta["input"], golden.seed, golden.meta["note"].replace("mask", ""))
    masked = series_ops.gapfilled(source, targets)
    unmasked = series_ops.gapfilled(Series(source.values, source.days), targets)
    return {"masked": masked.values.numpy(), "unmasked": unmasked.values.numpy(), "doy": masked.days.numpy()}


@adapter("eval_linear_gapfilling")
def gap_filling_of_the_test_tool(golden: Golden) -> Arrays:
    text, targets = golden.meta["inputs"], torch.tensor(golden.meta["target_doy"])
    after_mask = text[text.index("mask =") :]
    missing = assigned(limited(drawn(after_mask, golden.seed), _DRAW.sub("", after_mask)), after_mask)
    source = series(drawn(text, golden.seed), golden.meta["doy"], missing)
    out: Arrays = {}
    for name, given in (("masked", source), ("no_mask", Series(source.values, source.days))):
        found = series_ops.gapfilled(given, targets)
        out |= {name: found.values.numpy(), f"{name}.doy": found.days.numpy()}
    return out


@adapter("baseline_naive")
def naive(golden: Golden) -> Arrays:
    meta, text = golden.meta, golden.meta["outputs"]["lr_all/hr_all/doy_all"]
    note = meta["note"].replace("mask", "")
    lr, hr = (described(meta[name], golden.seed, note) for name in ("lr", "hr"))
    factor = number_after(meta["what"], "lr_upsampling_factor=")

    def fuse(targets: Tensor) -> tuple[Series, Series]:
        coarse = series_ops.gapfilled(lr, targets)
        return series_ops.resampled(coarse, 1.0 / factor), series_ops.gapfilled(hr, targets)

    some_lr, some_hr = fuse(torch.tensor(meta["target_doy"]))
    all_lr, all_hr = fuse(series_ops.union_days(lr.days, hr.days))
    # "lr_all keeps only channels 0 and 7, hr_all only channel 0"
    kept = [[int(n) for n in numbers(part)] for part in text.split("lr_all keeps")[1].split("hr_all")]
    return {
        "lr": some_lr.values.numpy(),
        "hr": some_hr.values.numpy(),
        "lr_all": all_lr.values[:, :, kept[0]].numpy(),
        "hr_all": all_hr.values[:, :, kept[1]].numpy(),
        "doy_all": all_lr.days.numpy(),
    }


# --- point spread functions and resampling -------------------------------------------------------------------------


@adapter("tamrfsits-mtf")
def filtering(golden: Golden) -> Arrays:
    text, constants = golden.meta["outputs"], golden.meta["constants"]
    hr, lr, x = (torch.from_numpy(golden.draw(name)) for name in ("hr", "lr", "x"))
    missing = limited(golden.draw("mask"), golden.meta["inputs"]["mask"]["how"])
    pixel = number_after(text["kernel_hr"], "pixel size")
    bands = {s: (pixel, constants[f"{s}_resolution"], constants[f"{s}_mtf"]) for s in ("hr", "lr")}
    lr_series = Series(lr, torch.zeros(lr.shape[:2]), torch.from_numpy(~missing))
    down = series_ops.degraded(lr_series, mtf.psf_taps(*bands["lr"]), number_after(text["lr_down3"], "by"))
    every, step = (int(re.findall(r"::(\d+)", text[name])[0]) for name in ("highpass", "upsample3"))
    hr_kernel = mtf.psf_kernel(*bands["hr"])
    out = {
        "kernel_hr": hr_kernel,
        "kernel_lr": mtf.psf_kernel(*bands["lr"]),
        "kernel_generic": _kernel(text["kernel_generic"]),
        "kernel_highpass": _kernel(text["kernel_highpass"]),
        "hr_filtered": mtf.convolve(hr, hr_kernel),
        "lr_down3": down.values,
        "generic_down2": _generic(x, text["generic_down2"]),
        "generic_down3": _generic(x, text["generic_down3"]),
        "highpass": mtf.high_pass(hr, _taps(text["kernel_highpass"]).expand(hr.shape[2], -1))[:, :, ::every],
        "gradient_magnitude": mtf.gradient_magnitude_squared(hr)[:, :, ::every],
        "upsample3": resample.bicubic(x[None], 1.0 / number_after(text["upsample3"], "by"))[..., ::step, ::step],
    }
    return {name: value.numpy() for name, value in out.items()} | {"lr_down3_mask": reference_mask(down)}


def _psf(text: str) -> tuple[float, list[float], list[float], int | None]:
    """From "pixel 1, resolution 3, mtf 0.1, half width 3"."""
    pixel, resolution, value = (number_after(text, words) for words in ("pixel", "resolution", "mtf"))
    half = int(number_after(text, "half width")) if "half width" in text else None
    return pixel, [resolution], [value], half


def _kernel(text: str) -> Tensor:
    return mtf.psf_kernel(*_psf(text))


def _taps(text: str) -> Tensor:
    return mtf.psf_taps(*_psf(text))


def _generic(x: Tensor, text: str) -> Tensor:
    return mtf.generic_downscale(x, number_after(text, "factor"), number_after(text, "mtf"))


@adapter("baseline_resample")
def resampling(golden: Golden) -> Arrays:
    meta, text = golden.meta, golden.meta["outputs"]
    source = described(meta["input"], golden.seed)
    psf = (meta["psf"]["res"], meta["psf"]["mtf_res"], meta["psf"]["mtf_fc"])
    pixel, resolution, value = numbers(text["kernel_hp"])
    channels = source.values.shape[2]
    sharp = mtf.psf_taps(pixel, [resolution] * channels, [value] * channels)
    down_by, up_by = number_after(text["down"], "x1/"), number_after(text["up"], "bicubic x")
    resolution_g, mtf_g = (float(n) for n in re.findall(r"\[([\d.]*\d)\]", text["kernel_g"]))
    half = int(number_after(text["kernel_g"], "half width"))
    degraded = series_ops.degraded(source, mtf.psf_taps(*psf), number_after(text["mtf_down"], "x1/"))
    down, up = series_ops.resampled(source, down_by), series_ops.resampled(source, 1.0 / up_by)
    stored_dates, stored_up = golden.outputs["highpass"].shape[1], golden.outputs["up"].shape[2]
    out = {
        "kernel": mtf.psf_kernel(*psf),
        "kernel_hp": mtf.psf_kernel(pixel, [resolution], [value]),
        "kernel_g": mtf.psf_kernel(number_after(text["kernel_g"], "("), [resolution_g], [mtf_g], half),
        "highpass": mtf.high_pass(source.values[:, :stored_dates], sharp),
        "mtf_down": degraded.values,
        "down": down.values,
        "up": up.values[:, :, :stored_up],
        "generic": mtf.generic_downscale(
            source.values[0], number_after(text["generic"], "factor="), number_after(text["generic"], "mtf=")
        ),
    }
    masks = {"mtf_down_mask": degraded, "down_mask": down, "up_mask": up}
    return {n: v.numpy() for n, v in out.items()} | {n: reference_mask(s) for n, s in masks.items()}
