"""Adapters of the classical methods that need no pair of coarse and fine images."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import torch

from sitsfusion.grid import Window
from sitsfusion.methods.dms import sharpener as dms
from sitsfusion.methods.dms.upsampling import Enlargement
from sitsfusion.methods.sen2like import fusion
from sitsfusion.methods.sen2like.method import fractional_year
from sitsfusion.methods.stair.fusion import difference_fusion
from sitsfusion.methods.temporal import harmonic, spline, whittaker
from sitsfusion.methods.temporal.base import Pixels
from sitsfusion.ops import nbar, sbaf, series_ops
from sitsfusion.ops.resample import bicubic, bilinear, nearest
from sitsfusion.series import Series
from tests.golden import recipe
from tests.golden.adapters.series_ops import Arrays, described, number_after
from tests.golden.adapters.stf_classical import efast_outputs
from tests.golden.goldens import Golden, adapter, captured, only_entries

_CALL = re.compile(r"array\(\s*('[^)]*?)\s*,\s*\(([\d,\s]+)\)\s*,\s*seed(?:\s*,\s*([-\d.]+)\s*,\s*([-\d.]+))?\s*\)")


def _draw(text: str, seed: int, name: str | None = None) -> np.ndarray:
    """The array of the first `array('name'[/'other'], (shape), seed, low, high)` of a text, or one named so."""
    match = _CALL.search(text)
    assert match is not None, text
    names, shape, low, high = match.groups()
    sizes = tuple(int(n) for n in shape.split(",") if n.strip())
    return recipe.array(name or names.split("'")[1], sizes, seed, float(low or 0), float(high or 1))


# --- STAIR and Sen2Like --------------------------------------------------------------------------------------------


@adapter("baseline_stair")
def stair(golden: Golden) -> Arrays:
    meta = golden.meta
    lr, hr = (described(meta[name], golden.seed, note) for name, note in (("lr", ""), ("hr", meta["note"])))
    factor = number_after(meta["what"], "lr_upsampling_factor=")
    coarse = bicubic(lr.values, 1 / factor)
    made, days = [], []
    for b in range(len(hr.values)):
        common = torch.tensor([d for d in hr.days[b].tolist() if d in lr.days[b].tolist()])
        fine = (hr.values[b], None if hr.valid is None else hr.valid[b], hr.days[b])
        made.append(difference_fusion(fine, (coarse[b], lr.days[b]), common).nan_to_num(nan=0.0))
        days.append(common)
    channels = golden.outputs["lr_up"].shape[2]
    return {
        "hr": torch.stack(made).numpy(),
        "hr_doy": torch.stack(days).numpy(),
        "lr_up": coarse[:, :, :channels].numpy(),
    }


@adapter("baseline_sen2like")
def sen2like(golden: Golden) -> Arrays:
    meta, options = golden.meta, golden.meta["config"]
    factor, rate, mtf = (options[k] for k in ("lr_upsampling_factor", "max_masked_rate_for_fusion", "mtf_for_hpf"))
    lr = described(meta["lr"], golden.seed)
    limits = np.array(meta["hr"]["cover"])[:, None, None]
    hr = described(meta["hr"] | {"mask": meta["hr"]["mask"].replace("cover[date]", "0")}, golden.seed)
    missing = _draw(meta["hr"]["mask"], golden.seed) < limits
    coarse, lr_valid = bilinear(lr.values, 1 / factor), nearest(lr.usable(), 1 / factor)
    out, masks = torch.zeros_like(coarse), torch.ones_like(lr_valid)
    for b in range(len(out)):
        usable = torch.from_numpy(missing[b].mean((1, 2)) <= rate)
        for t, day in enumerate(lr.days[b]):
            at = (usable & (hr.days[b] <= day)).nonzero()[:, 0][-2:]
            if len(at) == 2:
                older, newer = at.tolist()
                pair = fusion.References(
                    hr.values[b, newer], hr.values[b, older], float(hr.days[b, newer]), float(hr.days[b, older])
                )
                masks[b, t] = ~lr_valid[b, t] | torch.from_numpy(missing[b, newer] | missing[b, older])
                fused = fusion.reference_fusion(coarse[b, t], pair, float(day), mtf)
                out[b, t] = fused.masked_fill(masks[b, t], 0.0)
    channels = golden.outputs["lr_up"].shape[2]
    return {"hr": out.numpy(), "mask": masks.numpy(), "lr_up": coarse[:, :, :channels].numpy()}


@adapter("baseline_sen2like_original")
def sen2like_processor(golden: Golden) -> Arrays:
    text, seed = golden.meta["inputs"], golden.seed
    older_year, newer_year, year = (fractional_year(date.fromisoformat(day)) for day in golden.meta["dates"])
    older, newer = (torch.from_numpy(_draw(text["hi1,hi2"], seed, f"sf.hi{i}")) for i in (1, 2))
    limit = float(text["valid"].split("<")[1].split("(")[0])
    seen_older, seen_newer = (
        torch.from_numpy(recipe.array(f"sf.m{i}", tuple(older.shape), seed, 0, 1) < limit) for i in (1, 2)
    )
    coarse = torch.from_numpy(_draw(text["l8"], seed))
    ratio = older.shape[-1] // coarse.shape[-1]
    upsampled = fusion.mirrored_bilinear(coarse, ratio)
    out: Arrays = {}
    stacked, seen = torch.stack([newer, older]), torch.stack([seen_newer, seen_older])
    pictures = {"high": stacked, "low": fusion.low_resolution(stacked, ratio)}
    for name, x in pictures.items():
        pair = fusion.References(x[0], x[1], newer_year, older_year)
        out[f"pred_{name}"] = fusion.predict(pair, year, (seen_newer, seen_older)).nan_to_num(nan=0.0).numpy()
        out[f"comp_{name}"] = fusion.composite(x, seen).nan_to_num(nan=0.0).numpy()
    for name, mode in (("fused", "pred"), ("fused_comp", "comp")):
        out[name] = upsampled.numpy() + out[f"{mode}_high"] - out[f"{mode}_low"]
    return out


# --- NBAR and SBAF -------------------------------------------------------------------------------------------------

# Names of the sen2like processor -> common names.
_COMMON = {"BLUE": "blue", "GREEN": "green", "RED": "red", "NIR": "nir", "SWIR1": "swir16", "SWIR2": "swir22"}


@adapter("baseline_nbar")
def nadir_reflectance(golden: Golden) -> Arrays:
    meta, seed = golden.meta, golden.seed
    shape = tuple(golden.outputs["kgeo"].shape)
    ranges = {
        name: [float(n) for n in re.findall(r"-?[\d.]+", meta["inputs"][name].split("seed,")[-1].split(")")[0])]
        for name in ("sza", "vza", "saa", "vaa")
    }
    sza, vza, saa, vaa = (
        torch.from_numpy(recipe.array(f"nb.{name}", shape, seed, *found)).double() for name, found in ranges.items()
    )
    angles, latitude = nbar.Angles(sza, vza, saa - vaa), meta["latitude"]
    zero = torch.zeros((), dtype=torch.float64)
    normal = nbar.Angles(nbar.mean_sun_zenith(latitude), zero, zero)
    out = {"theta_norm": normal.sun_zenith}
    for suffix, where in (("", angles), ("_norm", normal)):
        out[f"kgeo{suffix}"] = nbar.li_sparse_reciprocal(where)
        out[f"kvol{suffix}"] = nbar.ross_thick(where)
        out[f"kvol_hotspot{suffix}"] = nbar.ross_thick(where, hot_spot=True)
    for name, found in meta["coef"].items():
        assert tuple(found) == tuple(nbar.ROY[_COMMON[name]])
        out[f"c_{name}"] = nbar.c_factor(angles, latitude, nbar.ROY[_COMMON[name]])
    low, high = (float(n) for n in meta["inputs"]["rho"].split("seed,")[1].rstrip(")").split(","))
    rho = torch.from_numpy(recipe.array("nb.rho", shape, seed, low, high)).double()
    out["nbar_red"] = nbar.nbar(rho, out["c_RED"])
    listed = re.findall(r"\[(.*)\]", meta["outputs"]["theta_of_lat"])[0]
    out["theta_of_lat"] = nbar.mean_sun_zenith(torch.tensor([float(n) for n in listed.split(",")], dtype=torch.float64))
    return {name: np.asarray(value) for name, value in out.items()}


_LANDSAT = dict(zip([f"B0{i}" for i in range(1, 8)], sbaf.STATIC, strict=True))


@adapter("baseline_sbaf")
def band_adjustment(golden: Golden) -> Arrays:
    meta = golden.meta
    rho, ndvi = (torch.from_numpy(_draw(meta[name], golden.seed)) for name in ("rho", "ndvi"))
    for row, col in re.findall(r"rho\[(\d+),(\d+)\]=0", meta["rho"]):
        rho[int(row), int(col)] = 0
    seen = torch.where(rho == 0, torch.nan, rho)  # 0 is "no data" there, and stays 0
    out: Arrays = {}
    for key, name in _LANDSAT.items():
        adaptive = tuple(_LANDSAT[b] for b in meta["adaptive_bands"].split("(")[0].replace(" ", "").split(","))
        out[f"static_{key}"] = sbaf.static_adjustment(seen, name).nan_to_num(nan=0.0).numpy()
        out[f"adaptive_{key}"] = sbaf.adaptive_adjustment(seen, ndvi, name, adaptive).nan_to_num(nan=0.0).numpy()
    return out


# --- series of one sensor ------------------------------------------------------------------------------------------


@adapter("baseline_temporal")
def curves(golden: Golden) -> Arrays:
    meta, seed = golden.meta, golden.seed
    ours = _whittaker(meta["whittaker"], seed)
    observed, splines = _observed(meta["harmonic"], seed), meta["splines"]
    targets = torch.tensor(_days_of(meta["harmonic"]), dtype=torch.float64)
    for name in golden.outputs:
        if name.startswith("harmonic"):
            ours[name] = harmonic.fit(observed, targets, harmonic.Waves(int(name[8:]))).values[:, 0, 0].numpy()
        elif name in splines.lower() or name == "cubic":
            ours[name] = spline.interpolate(observed, targets, name)[:, 0, 0].numpy()
    return ours | efast_outputs(golden)


def _whittaker(text: str, seed: int) -> Arrays:
    order = int(number_after(text, "order"))
    y, share = _draw(text, seed), _draw(text[text.index("observed") :], seed)
    limit = float(text[text.index("observed") :].split("<")[1].split(";")[0])
    penalties = [float(n) for n in text.split("lambda")[1].split(",")]
    nodes = torch.arange(y.shape[1], dtype=torch.float64)
    values, weights = (torch.from_numpy(a.T[:, None].astype(float)) for a in (y, share < limit))  # [g 1 n]
    curve = whittaker.smooth(values, weights, nodes, torch.tensor(penalties).double()[None], order)
    return {"whittaker": curve[:, 0].T.numpy()}


def _observed(text: str, seed: int) -> Pixels:
    days = torch.from_numpy(np.sort(_draw(text, seed, "ha.t"))).double()
    y = torch.from_numpy(_draw(text[text.index("y=") :], seed)).double()
    return Pixels(y[:, None, None], torch.ones(len(y), 1, dtype=torch.bool), days)


def _days_of(text: str) -> list[float]:
    """From "... at 0,15,..,360"."""
    first, second, _, last = text.split(" at ")[1].split(",")
    step = float(second) - float(first)
    return list(np.arange(float(first), float(last) + step / 2, step))


# --- DMS -----------------------------------------------------------------------------------------------------------


def _one_tree(rules: dms.Rules, **changes: object) -> dms.Rules:
    one = {"trees": 1, "bootstrap": False} | changes
    return replace(rules, local=replace(rules.local, **one), overall=replace(rules.overall, **one))


def _dms_scene(meta: dict, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Bands [c H W], temperature x 10 [h w], good [h w], true temperature x 10 [H W]: the scene of the file's text."""
    h, w, r = meta["h"], meta["w"], meta["ratio"]

    def draw(name: str, *shape: int) -> np.ndarray:
        return recipe.array(f"dms.{name}", shape, seed)

    def up(a: np.ndarray) -> np.ndarray:
        return a.repeat(r, -2).repeat(r, -1)

    text = meta["scene"]
    bands = int(captured(r"'dms\.base',\((\d+),h,w", text))
    base, detail, amp = draw("base", bands, h, w), draw("detail", bands, r * h, r * w), draw("amp", 1, h, w)
    low_dn, of_base, least, of_amp = _numbers(r"round\((\d+)\+(\d+)\*up\(base\)\+\((\d+)\+(\d+)\*up\(amp\)\)", text)
    high = np.round(low_dn + of_base * up(base) + (least + of_amp * up(amp)) * (detail - np.float32(0.5)))
    high = high.astype(np.uint16)
    x = high.astype(np.float64) / 10000
    t0, t1, t2, bend, t3 = _numbers(r"T=(\d+)\+(\d+)\*x0-(\d+)\*max\(x3-([\d.]*\d),0\)\+(\d+)\*x1\*x2", text)
    noise, bad = _numbers(r"\+ (\d+)\*A\('dms\.noise'.*\n.*A\('dms\.q',\(h,w\)\)<([\d.]*\d)", text)
    truth = t0 + t1 * x[0] - t2 * np.maximum(x[3] - bend, 0) + t3 * x[1] * x[2]
    mean = (truth**4).reshape(h, r, w, r).mean((1, 3)) ** 0.25
    low = np.floor(mean + noise * draw("noise", h, w)).astype(np.uint16)
    return high.astype(np.float64), low.astype(np.float64), draw("q", h, w) >= bad, truth


def _numbers(pattern: str, text: str) -> list[int | float]:
    """The groups of a pattern; whole numbers stay such, so that float32 stays float32."""
    match = re.search(pattern, text)
    assert match is not None, (pattern, text)
    return [float(n) if "." in n else int(n) for n in match.groups()]


def _dms_rules(config: dict) -> dms.Rules:
    rules = {
        "linear": config["perLeafLinearRegression"],
        "extrapolation": config["linearRegressionExtrapolationRatio"],
    }
    return dms.Rules(
        local=replace(dms.Rules().local, **rules),
        overall=replace(dms.Rules().overall, **rules),
        window=config["movingWindowSize"],
        fewest=config["minimumSampleNumber"],
        temperature=config["disaggregatingTemperature"],
    )


def _sharpened(
    samples: dms.Samples, high: np.ndarray, ratio: int, rules: dms.Rules, seed: int = 0
) -> tuple[dms.Models, np.ndarray]:
    shape = samples.cv.shape
    models = dms.train(samples, rules, (seed,))
    place = dms.Place(Window(0, 0, *shape), shape, ratio)
    return models, dms.sharpen(models, samples.temperature, high, place, rules)


# The arrays of `baseline_dms`, every one compared.
_DMS = (
    *("mean", "std", "cv", "counts", "local", "weight_sum", "w_last"),
    *("single", "single_corr", "single_res", "global", "noleaf"),
    *("bag_mean", "bag_std", "bag_rmse", "bag_rmse_raw"),
)


@adapter("baseline_dms")
def sharpening(golden: Golden) -> None:
    """Trees may split exact ties in another way: compared pixel by pixel with the tolerances of the file's text."""
    meta, expected = golden.meta, golden.outputs
    only_entries(golden, _DMS)
    every = int(captured(r"every (\d+)th row", meta["outputs"]["single"]))
    limits = meta["tolerance"]["mean/std/cv/weights"]
    pixels = _pixel_limits(meta["tolerance"]["single*"])
    high, low, good, truth = _dms_scene(meta, golden.seed)
    ratio, default = meta["ratio"], _dms_rules(meta["config"])
    means, stds, cv = dms.aggregate(high, ratio)
    samples = dms.Samples(means, cv, low, good)
    rows = expected["mean"].shape[0]
    for name, got in (("mean", means), ("std", stds)):
        np.testing.assert_allclose(got.transpose(1, 2, 0)[:rows], expected[name], **limits)
    np.testing.assert_allclose(cv, expected["cv"], **limits)
    _check_training(samples, default, expected, limits)
    one = _one_tree(default)
    _, single = _sharpened(samples, high, ratio, one)
    after, left = dms.corrected(low, single, Enlargement(ratio), one)
    same_pixels(single[::every, ::every], expected["single"], pixels)
    same_pixels(after[::every, ::every], expected["single_corr"], pixels)
    same_pixels(left, expected["single_res"], pixels)
    for name, rules in (("global", replace(one, window=0)), ("noleaf", _one_tree(default, linear=False))):
        same_pixels(_sharpened(samples, high, ratio, rules)[1][::every, ::every], expected[name], pixels)
    _check_bagging(samples, high, truth, default, golden, every)


def _check_training(
    samples: dms.Samples, rules: dms.Rules, expected: dict[str, np.ndarray], limits: dict[str, float]
) -> None:
    shape, use = samples.cv.shape, samples.usable()
    places = [dms.sampling_window(cell, rules.window, shape) for cell in dms.cells(shape, rules.window)]
    places.append((slice(0, shape[0]), slice(0, shape[1])))
    picked = [samples.cv[place][use[place]] for place in places if use[place].sum() >= rules.fewest]
    weights = [dms.homogeneity_weights(cv) for cv in picked]
    np.testing.assert_array_equal([len(cv) for cv in picked], expected["counts"])
    np.testing.assert_allclose([w.sum() for w in weights], expected["weight_sum"], **limits)
    np.testing.assert_allclose(weights[-1], expected["w_last"], **limits)
    local = [True] * (len(picked) - 1) + [False]
    np.testing.assert_array_equal(local, expected["local"])


@dataclass(frozen=True)
class _PixelLimits:
    """That share of the pixels within a limit, and the median."""

    share: float
    limit: float
    median: float


def _pixel_limits(text: str) -> _PixelLimits:
    """`99% of pixels within 0.05, median difference < 1e-3`; without a median, the limit is that of the median."""
    share, limit = captured(r"(\d+)% of pixels", text), captured(r"within ([\d.e-]*\d)", text)
    median = captured(r"median difference < ([\d.e-]*\d)", text) if "median" in text else limit
    return _PixelLimits(float(share) / 100, float(limit), float(median))


def same_pixels(got: np.ndarray, expected: np.ndarray, limits: _PixelLimits) -> None:
    """Within the limits, gaps at the same places."""
    assert got.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    away = np.abs(got - expected)[~np.isnan(expected)]
    assert np.mean(away <= limits.limit) >= limits.share, np.sort(away)[-20:]
    assert np.median(away) <= limits.median


def _check_bagging(
    samples: dms.Samples, high: np.ndarray, truth: np.ndarray, rules: dms.Rules, golden: Golden, every: int
) -> None:
    """`|mean of >=4 own runs - bag_mean| < 4*bag_std+1 for 95% of pixels; rmse within 3% of mean(bag_rmse)`."""
    expected, ratio, text = golden.outputs, golden.meta["ratio"], golden.meta["tolerance"]["bag"]
    patterns = (r">=(\d+) own", r"< (\d+)\*bag_std", r"bag_std\+(\d+)", r"for (\d+)%", r"within (\d+)%")
    runs, times, more, percent, rmse = (int(captured(pattern, text)) for pattern in patterns)
    made = []
    for seed in range(runs):
        _, raw = _sharpened(samples, high, ratio, rules, seed)
        made.append((raw, dms.corrected(samples.temperature, raw, Enlargement(ratio), rules)[0]))
    mean = np.mean([after for _, after in made], 0)[::every, ::every]
    within = np.abs(mean - expected["bag_mean"]) < times * expected["bag_std"] + more
    assert within[~np.isnan(expected["bag_mean"])].mean() >= percent / 100
    for i, name in enumerate(("bag_rmse_raw", "bag_rmse")):
        found = [np.sqrt(np.nanmean((pair[i] - truth) ** 2)) for pair in made]
        np.testing.assert_allclose(np.mean(found), expected[name].mean(), rtol=rmse / 100)


@adapter("baseline_dms_wrapper")
def sharpened_series(golden: Golden) -> None:
    """One tree without bootstrap, as the file's text says; sizes of pixels from the shapes."""
    meta, seed, expected = golden.meta, golden.seed, golden.outputs
    only_entries(golden, ("corr", "raw", "mask", "doy"))
    every, limits = int(captured(r"::(\d+)", meta["outputs"]["mask"])), _pixel_limits(meta["tolerance"]["note"])
    hr, hr_mask, lst, lst_mask = _wrapper_inputs(meta, seed)
    ratio = int(re.findall(r"rep(\d+)", meta["hr"]["data"])[0])  # of the 90 m grid
    third = lst.shape[-1] * ratio // hr.shape[-1]
    days = torch.tensor(meta["lst"]["doy"][0])
    fine = Series(torch.from_numpy(hr)[None], torch.tensor(meta["hr"]["doy"]), torch.from_numpy(~hr_mask)[None])
    chosen = series_ops.closest_dates(fine, days)[0][0]
    rules = _one_tree(dms.Rules())
    out: dict[str, list[np.ndarray]] = {"corr": [], "raw": [], "mask": []}
    for t, i in enumerate(chosen.tolist()):
        high, low = (
            a.astype(np.uint16).astype(float) for a in (hr[i], bicubic(torch.from_numpy(lst[t]), third)[0].numpy())
        )
        bad = hr_mask[i, ::ratio, ::ratio] | lst_mask[t, ::third, ::third]
        means, _, cv = dms.aggregate(high, ratio)
        _, raw = _sharpened(dms.Samples(means, cv, low, ~bad), high, ratio, rules)
        fine_per_lst = hr.shape[-1] // lst.shape[-1]
        seen = lst_mask[t].repeat(fine_per_lst, 0).repeat(fine_per_lst, 1)
        out["raw"].append(raw)
        out["corr"].append(dms.corrected(low, raw, Enlargement(ratio), rules)[0])
        out["mask"].append(np.isnan(out["corr"][-1]) | hr_mask[i] | seen)
    np.testing.assert_array_equal(np.stack(out["mask"])[:, ::every, ::every], expected["mask"])
    np.testing.assert_array_equal(days[None].numpy(), expected["doy"])
    for name in ("corr", "raw"):
        got = np.stack(out[name])[:, ::every, ::every] / 10000
        same_pixels(got, expected[name], limits)


def _wrapper_inputs(meta: dict, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Bands [t c H W] and mask [t H W], temperatures [t 1 h w] and mask [t h w] (True = missing)."""

    def parts(text: str) -> list[tuple[np.ndarray, int]]:
        """Each drawing of a sentence and how often it is repeated along both axes."""
        found = re.findall(r"(?:rep(\d+)\()?A\('([^']+)',\(([\d,]+)\)\)", text)
        shapes = [(int(n or 1), name, tuple(int(k) for k in shape.split(","))) for n, name, shape in found]
        return [(recipe.array(name, shape, seed), n) for n, name, shape in shapes]

    def rep(a: np.ndarray, n: int) -> np.ndarray:
        return a.repeat(n, -2).repeat(n, -1)

    base, detail = parts(meta["hr"]["data"])
    low, of_base, of_detail = _numbers(r"round\((\d+)\+(\d+)\*rep.*?\)\)\+(\d+)\*\(", meta["hr"]["data"])
    hr = np.round(low + of_base * rep(*base) + of_detail * (detail[0] - np.float32(0.5))).astype(np.int16)
    warm, own = parts(meta["lst"]["data"])
    low, of_warm, of_own = _numbers(r"round\((\d+)\+(\d+)\*rep.*?\)\)\+(\d+)\*A", meta["lst"]["data"])
    lst = np.round(low + of_warm * rep(*warm) + of_own * own[0]).astype(np.int16)
    (clouds, n), (haze, m) = parts(meta["hr"]["mask"])[0], parts(meta["lst"]["mask"])[0]
    limits = np.array(meta["hr"]["cover"])[:, None, None]
    share = float(meta["lst"]["mask"].split("<")[1].split(")")[0])
    return hr[0].astype(np.float32), rep(clouds, n)[0] < limits, lst[0].astype(np.float32), rep(haze, m)[0] < share
