"""Adapters of the classical methods that need no pair of coarse and fine images."""

from __future__ import annotations

import re
from datetime import date

import numpy as np
import torch

from sitsfusion.methods.sen2like import fusion
from sitsfusion.methods.sen2like.method import fractional_year
from sitsfusion.methods.stair import difference_fusion
from sitsfusion.methods.temporal import harmonic, spline, whittaker
from sitsfusion.methods.temporal.base import Pixels
from sitsfusion.ops import nbar, sbaf
from sitsfusion.ops.resample import bicubic, bilinear, nearest
from tests.golden import recipe
from tests.golden.adapters.series_ops import Arrays, described, number_after
from tests.golden.goldens import Golden, adapter, compare

_CALL = re.compile(r"array\(\s*('[^)]*?)\s*,\s*\(([\d,\s]+)\)\s*,\s*seed(?:\s*,\s*([-\d.]+)\s*,\s*([-\d.]+))?\s*\)")


def _draw(text: str, seed: int, name: str | None = None) -> np.ndarray:
    """The array of the first `array('name'[/'other'], (shape), seed, low, high)` in a sentence, by another name if given."""
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
def curves(golden: Golden) -> None:
    """EFAST, in the same file, is checked by the adapters of the methods with coarse and fine pairs."""
    meta, seed = golden.meta, golden.seed
    ours = _whittaker(meta["whittaker"], seed)
    observed, splines = _observed(meta["harmonic"], seed), meta["splines"]
    targets = torch.tensor(_days_of(meta["harmonic"]), dtype=torch.float64)
    for name in golden.outputs:
        if name.startswith("harmonic"):
            ours[name] = harmonic.fit(observed, targets, harmonic.Waves(int(name[8:]))).values[:, 0, 0].numpy()
        elif name in splines.lower() or name == "cubic":
            ours[name] = spline.interpolate(observed, targets, name)[:, 0, 0].numpy()
    rest = {name: value for name, value in golden.outputs.items() if not name.startswith("efast")}
    compare(Golden(golden.path, meta, rest), ours)


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

    base, detail, amp = draw("base", 4, h, w), draw("detail", 4, r * h, r * w), draw("amp", 1, h, w)
    high = np.round(500 + 3000 * up(base) + (100 + 900 * up(amp)) * (detail - np.float32(0.5))).astype(np.uint16)
    x = high.astype(np.float64) / 10000
    truth = 2900 + 300 * x[0] - 900 * np.maximum(x[3] - 0.2, 0) + 400 * x[1] * x[2]
    mean = (truth**4).reshape(h, r, w, r).mean((1, 3)) ** 0.25
    low = np.floor(mean + 20 * draw("noise", h, w)).astype(np.uint16)
    return high.astype(np.float64), low.astype(np.float64), draw("q", h, w) >= 0.1, truth


@adapter("baseline_dms")
def sharpening(golden: Golden) -> None:
    pass
