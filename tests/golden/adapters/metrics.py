"""Adapters of the goldens on metrics: the TAMRFSITS test tool, BRISQUE, and the metrics of three other references."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion import sensors
from sitsfusion.metrics import stf_survey
from sitsfusion.metrics.brisque import BrisqueModel, features, halved, scaled, svm_score
from sitsfusion.metrics.frequency import attenuation, frequencies, frr, profile, ring_centres
from sitsfusion.metrics.imresize import imresize
from sitsfusion.metrics.scoring import SensorScores, SensorScoring, inside, score_dates
from sitsfusion.metrics.spectral import sam
from sitsfusion.metrics.structure import gaussian_window, shifted_mae, ssim, uniform_window
from sitsfusion.metrics.sums import BandSums, band_sums
from sitsfusion.metrics.temporal import clear_rate, closest_distance, density
from sitsfusion.series import Series
from tests.golden import recipe
from tests.golden.adapters.series_ops import bracketed, drawn, number_after, numbers
from tests.golden.goldens import Golden, adapter, captured, compare
from tests.metrics.images import pairs

Arrays = dict[str, np.ndarray]


def only(golden: Golden, names: list[str]) -> Golden:
    return Golden(golden.path, golden.meta, {n: golden.outputs[n] for n in names})


def as_arrays(found: dict[str, Tensor]) -> Arrays:
    return {name: value.numpy() for name, value in found.items()}


def support_vectors(text: str, seed: int) -> BrisqueModel:
    """Both arrays that the sentence draws: vectors, coefficients."""
    vectors, coefficients = (text[m.start() :] for m in re.finditer(r"array\('brisque:(?:sv|coef)'", text))
    return BrisqueModel(torch.from_numpy(drawn(coefficients, seed)), torch.from_numpy(drawn(vectors, seed)))


# --- BRISQUE alone -------------------------------------------------------------------------------------------------


@adapter("eval_brisque")
def brisque_alone(golden: Golden) -> None:
    text, limits = golden.meta["inputs"], golden.meta["tolerance"]
    model = support_vectors(text, golden.seed)
    count = int(captured(r"\((\d+),1,n,n\)", text))
    blurred, side = (int(captured(pattern, text)) for pattern in (r"image (\d+)", r"(\d+)x\d+ mean"))
    ours: dict[str, Tensor] = {}
    for n in (int(v) for v in captured(r"for n in \(([\d, ]+)\)", text).split(",")):
        x = torch.from_numpy(recipe.array(f"brisque:{n}", (count, 1, n, n), golden.seed))
        x[blurred] = F.avg_pool2d(x[blurred], side, 1, side // 2)
        values = features(x[:, 0])
        ours |= {f"half_{n}": halved(x * 255.0), f"features_{n}": values, f"scaled_{n}": scaled(values)}
        ours[f"score_{n}"] = svm_score(scaled(values), model)
    for kind, words in (("half", "half"), ("features", "features"), ("scaled", "features"), ("score", "score")):
        names = [n for n in golden.outputs if n.startswith(kind)]
        compare(only(golden, names), as_arrays(ours), **limit(limits[words]))
    assert set(golden.outputs) <= set(ours)


def limit(text: str) -> dict[str, float]:
    """`rtol 1e-3, atol 2e-3 ...` as keywords; what is not named is 0."""
    named = {name: float(value) for name, value in re.findall(r"([ra]tol) ([\d.e-]+)", text)}
    return {"rtol": 0.0, "atol": 0.0} | named


# --- the test tool -------------------------------------------------------------------------------------------------

SENSORS = {"lr": "landsat-8-9-c2-l2", "hr": "sentinel-2-l2a"}


class Tool:
    """The inputs of `eval_metrics`, drawn as its meta says."""

    def __init__(self, golden: Golden) -> None:
        self.meta, self.seed = golden.meta, golden.seed
        text = self.meta["inputs"]["series"]
        self.range = numbers(text[text.index("seed,") : text.index("C =")])[:2]
        self.bands = {"lr": int(captured(r"C = (\d+) lr", text)), "hr": int(captured(r"(\d+) hr", text))}
        self.thermal = int(captured(r"for lr channel (\d+)", text))
        lst = text[text.index(":lr:lst") :]
        self.thermal_range = numbers(lst[lst.index("seed,") :])[:2]
        self.kelvin = number_after(text, "then x")
        self.brisque = support_vectors(self.meta["inputs"]["brisque"], self.seed)

    def days(self, sensor: str, kind: str) -> Tensor:
        return torch.tensor(self.meta["doys"][f"{sensor}_{kind}"])

    def images(self, kind: str, sensor: str) -> Tensor:
        """Targets and predictions are compared in kelvin: `[1 t c n n]`."""
        n = self.meta["hr_size" if kind == "pred" else f"{sensor}_size"]
        t = len(self.days(sensor, "out"))
        x = recipe.array(f"{kind}:{sensor}", (1, t, self.bands[sensor], n, n), self.seed, *self.range)
        if sensor == "lr":
            x[:, :, self.thermal] = recipe.array(f"{kind}:lr:lst", (1, t, n, n), self.seed, *self.thermal_range)
            x[:, :, self.thermal] *= np.float32(self.kelvin)
        return torch.from_numpy(x)

    def valid(self, kind: str, sensor: str, n: int) -> Tensor:
        t = len(self.days(sensor, "out"))
        r = recipe.array(f"mask:{kind}:{sensor}", (t, 4), self.seed)
        valid = torch.ones(1, t, n, n, dtype=torch.bool)
        for i in range(int(captured(r"dates i >= (\d+)", self.meta["inputs"]["masks"])), t):
            a, b = sorted(int(v * n) for v in r[i, :2])
            c, d = sorted(int(v * n) for v in r[i, 2:])
            valid[0, i, a : b + 1, c : d + 1] = False
        return valid

    def scores(self, sensor: str, published: bool, inputs: bool = True) -> SensorScores:
        target, days = self.images("ref", sensor), self.days(sensor, "out")
        bands = self._bands(sensor)
        scoring = SensorScoring(
            pixel_size=10.0,
            resolution=tuple(b.resolution for b in bands),
            mtf=tuple(b.mtf for b in bands),
            factor=self.meta["hr_size"] // target.shape[-1],
            thermal=self.thermal if sensor == "lr" else None,
            margin=self.meta["margin"],
            brisque=self.brisque,
            published=published,
        )
        other = {"lr": "hr", "hr": "lr"}[sensor]
        prediction = Series(self.images("pred", sensor), days[None])
        truth = Series(target, days[None], self.valid("ref", sensor, target.shape[-1]))
        return score_dates(
            pairs(prediction, truth),
            scoring,
            self.days(sensor, "in") if inputs else None,
            self.days(other, "in"),
        )

    def _bands(self, sensor: str) -> list[Any]:
        """The bands that the table's columns name, in their order."""
        labels = [c.removeprefix("rmse_") for c in self.meta["columns"][sensor] if c.startswith("rmse_")]
        known = sensors.get(SENSORS[sensor])
        return [known.band(label.upper()) for label in labels]


def tool_outputs(scores: SensorScores) -> dict[str, Tensor]:
    return scores.columns | {
        "pred_prof": scores.prediction_profiles.transpose(1, 2),
        "ref_prof": scores.target_profiles.transpose(1, 2),
        "freqs": scores.frequencies,
    }


@adapter("eval_metrics")
def evaluation(golden: Golden) -> None:
    tool, ours = Tool(golden), {}
    for sensor in ("lr", "hr"):
        for published in (False, True):
            start = f"reference.{sensor}." if published else f"{sensor}."
            ours |= {start + name: value for name, value in tool_outputs(tool.scores(sensor, published)).items()}
    ours |= {f"nohr.{name}": v for name, v in tool_outputs(tool.scores("hr", False, inputs=False)).items()}
    ours |= functions_alone(golden)
    arrays = as_arrays(ours)
    for name in ("lr.clear_doy", "hr.clear_doy"):
        arrays[name] = arrays[name].astype(bool)
    limits = golden.meta["tolerance"]
    brisque = [n for n in golden.outputs if "brisque" in n]
    spectra = [n for n in golden.outputs if re.search(r"frr|prof$", n)]
    others = [n for n in golden.outputs if n not in {*brisque, *spectra}]
    compare(only(golden, brisque), arrays, **limit(limits["brisque"]))
    compare_spectra(golden, spectra, arrays, limits["frr and profiles"])
    compare(only(golden, others), arrays, **limit(limits["default"]))


def compare_spectra(golden: Golden, names: list[str], ours: Arrays, text: str) -> None:
    """The tight tolerance for all rings without a cell on their edges, the loose one (`0.3 dB otherwise`) for others.

    On which side of an edge a cell falls depends on how the machine that made the file rounds a square root.
    """
    tight, loose = limit(text), number_after(text, ";")
    ratio = 10 ** (loose / 10) - 1
    for name in names:
        expected, found = golden.outputs[name], ours[name]
        if name.endswith("prof"):  # [n rings c], dB and without ring 0, except for amplitudes
            first = 0 if name.endswith("fft_prof") else 1
            clean = [j for j in range(expected.shape[1]) if not on_edge(j + first)]
            assert clean
            np.testing.assert_allclose(found[:, clean], expected[:, clean], err_msg=name, **tight)
        limits = {"rtol": ratio, "atol": 0.0} if name.endswith("fft_prof") else {"rtol": 0.0, "atol": loose}
        np.testing.assert_allclose(found, expected, err_msg=name, **limits)


def on_edge(ring: int) -> bool:
    """Whether a cell (a, b) off the axes lies exactly on an edge of the ring: a^2 + b^2 = m^2."""
    edges = (2 * ring, 2 * ring + 1)
    return any(math.isqrt(m * m - a * a) ** 2 == m * m - a * a for m in edges for a in range(1, m))


def functions_alone(golden: Golden) -> dict[str, Tensor]:
    text, seed = golden.meta["inputs"]["f"], golden.seed
    names = ("pred", "ref", "mask")
    prediction, target, draw = (
        torch.from_numpy(drawn(text[text.index(f"array('f:{name}'") :], seed)) for name in names
    )
    clear = draw <= number_after(text, "seed) >")
    clear[:, -1] = False
    valid = inside(clear, int(number_after(text, "margin")))
    sums = band_sums(prediction, target, valid).pooled()
    out = {"f.valid_count": sums.count, "f.rmse": sums.rmse(), "f.nrmse": sums.nrmse()}
    out["f.sam"] = sam(prediction, target, valid).pooled().value()
    out["f.rmse_with_nan"] = band_sums(with_nan(prediction, text), target, valid).pooled().rmse()
    out["f.clear_pixel_rate"] = clear_rate(clear).pooled().value()
    out["f.fft_freqs"] = ring_centres(target.shape[-1])
    date, one = (int(captured(p, text)) for p in (r"profile of pred\[:,(\d+)\]", r"batch element (\d+)"))
    out["f.fft_prof"] = profile(prediction[:, date]).transpose(-2, -1)
    out |= restorations(golden, prediction[one], target[one])
    days, others = (torch.tensor(bracketed(text, words)) for words in ("against", "closest: days"))
    out["f.closest"] = closest_distance(days, others)
    days, others = (torch.tensor(bracketed(text[text.index("density") :], words)) for words in ("of", "against"))
    out["f.density"] = density(closest_distance(days, others))
    return out


def with_nan(prediction: Tensor, text: str) -> Tensor:
    """Date, rows and columns of `pred[:,0,:,5:9,5:9] = NaN`."""
    match = re.search(r"pred\[:,(\d+),:,(\d+):(\d+),(\d+):(\d+)\] = NaN", text)
    assert match is not None, text
    date, top, bottom, left, right = (int(n) for n in match.groups())
    prediction = prediction.clone()
    prediction[:, date, :, top:bottom, left:right] = torch.nan
    return prediction


def restorations(golden: Golden, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
    """`f.frr_<patch>` and their profiles, for the patches that the file names."""
    out: dict[str, Tensor] = {}
    for patch in {n.split(".")[1].removeprefix("frr_") for n in golden.outputs if n.startswith("f.frr_")}:
        side = None if patch == "None" else int(patch)
        found = frr(prediction, target, side)
        out |= {f"f.frr_{patch}": found.frr, f"f.frr_{patch}.freqs": found.frequencies}
        out[f"f.frr_{patch}.pred_prof"] = found.prediction.transpose(-2, -1)
        # Published: rows are rolled by half their number.
        out[f"reference.f.frr_{patch}"] = found.frr.roll(len(found.frr) // 2, 0)
    assert attenuation(profile(target)).shape[-1] == len(frequencies(target.shape[-1]))
    return out


# --- other references ----------------------------------------------------------------------------------------------


@adapter("stf_metrics")
def survey(golden: Golden) -> Arrays:
    target, prediction = (torch.from_numpy(golden.outputs[name])[0] for name in ("target", "pred"))
    clipped = prediction.clamp(0, 1), target.clamp(0, 1)
    ours: dict[str, Tensor] = {"target": target[None], "pred": prediction[None]}
    for name, metric in stf_survey.METRICS.items():
        ours |= {f"raw_{name}": metric(prediction, target), f"clip_{name}": metric(*clipped)}
    sums = band_sums(*clipped)
    ours |= literature(sums, golden.meta["how"])
    angles = sam(*clipped)
    # In the golden, a spectrum of 0 counts as 90 degrees; here it does not count.
    zero = (clipped[0] == 0).all(0) | (clipped[1] == 0).all(0)
    ours["lit_SAM_deg"] = torch.rad2deg(angles.total + zero.sum() * torch.pi / 2) / zero.numel()
    arrays = as_arrays(ours)
    for name in [n for n in golden.outputs if n.startswith("filter_in_")]:
        metric_name = name.removeprefix("filter_in_")
        stream = golden.outputs[name]
        arrays |= {name: stream, f"filter_out_{metric_name}": np.array(stf_survey.recorded(stream, metric_name))}
    return arrays


def literature(sums: BandSums, how: str) -> dict[str, Tensor]:
    ratio = 1.0 / number_after(how, "100/")
    coarser = captured(r"ERGAS_(\d+) =", how)
    joint = sums.pooled(-1)
    return {
        "lit_MAE": joint.mae(),
        "lit_RMSE": joint.rmse(),
        "lit_RMSE_band_mean": sums.rmse().mean(),
        "lit_PSNR": joint.psnr(1.0),
        "lit_PSNR_band_mean": sums.psnr(1.0).mean(),
        f"lit_ERGAS_{coarser}": sums.ergas(ratio),
        "lit_ERGAS_nosc": sums.ergas(1.0),
        "lit_RASE": sums.rase(),
        "lit_UQI_global_band_mean": sums.uqi().mean(),
        "lit_CC_band_mean": sums.correlation().mean(),
        "lit_R2": joint.r2(),
        "lit_R2_band_mean": sums.r2().mean(),
    }


def same_numbers(golden: Golden, ours: dict[str, float], expected: dict[str, float]) -> None:
    """Values that lie in the meta."""
    assert set(ours) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, err_msg=f"{golden.stem}.{name}", **golden.tolerance())


def ranged(golden: Golden, name: str) -> Tensor:
    spec = golden.meta["inputs"][name]
    return torch.from_numpy(recipe.array(name, tuple(spec["shape"]), golden.seed, spec["low"], spec["high"]))


def deep_harmonization(golden: Golden) -> None:
    """The numbers of `s2l8h_metrics` by the metrics of the package (its own criteria: `deepharmo`)."""
    target = ranged(golden, "gt")
    prediction = target + ranged(golden, "err")
    sums = band_sums(prediction, target)
    found = {
        "NRMSE": float(sums.pooled(-1).nrmse()),
        "PSNR": float(sums.pooled(-1).psnr(1.0)),
        "SSIM": float(ssim(prediction, target, data_range=1.0, window=uniform_window(7, True)).value().mean()),
    }
    same_numbers(golden, found, golden.meta["metrics"])
    local = ssim(prediction, target, data_range=2.0, window=uniform_window(5, True)).value()
    per_band = {"NRMSE": sums.nrmse(), "PSNR": sums.psnr(2.0), "SSIM": local}  # the data range is theirs
    found = {f"{name}_B{b + 2}": float(v[b]) for name, v in per_band.items() for b in range(len(target))}
    same_numbers(golden, found, golden.meta["bandwise"])
    bands = {"NDVI": (3, 2), "NDWI1": (3, 4), "NDWI2": (3, 5)}
    assert set(golden.meta["derived"]) == set(bands)
    for name, (first, second) in bands.items():
        p, t = (index(x, first, second) for x in (prediction, target))
        same_numbers(golden, derived(p, t), golden.meta["derived"][name])


def index(x: Tensor, first: int, second: int) -> Tensor:
    """Normalised difference `[1 h w]`, clipped, NaN as 0."""
    a, b = x[first], x[second]
    return ((a - b) / (a + b)).clamp(-1, 1).nan_to_num(nan=0.0)[None]


def derived(p: Tensor, t: Tensor) -> dict[str, float]:
    sums = band_sums(p, t)
    local = ssim(p.clamp(0, 1), t.clamp(0, 1), data_range=1.0, window=uniform_window(7, True))
    named = {"NRMSE": sums.nrmse(), "PSNR": sums.psnr(1.0), "SSIM": local.value(), "MAE": sums.mae()}
    return {name: float(v) for name, v in named.items()} | {"Pearson C": float(sums.correlation())}


@adapter("misr_metrics")
def misr(golden: Golden) -> Arrays:
    text = golden.meta["prepare"]
    gain, side = number_after(text, "target ="), int(captured(r"(\d+)x\d+ box", text))
    rows, columns = (int(captured(pattern, text)) for pattern in (r"([+-]\d+) rows", r"([+-]\d+) col"))
    target = gain * F.avg_pool2d(ranged(golden, "hr")[None], side, 1, side // 2)[0]
    prediction = target.roll((rows, columns), (1, 2)) + noise(golden, text)
    p, t = (((x.double() + 1) * 127.5).round().clamp(0, 255) for x in (prediction, target))
    sums = band_sums(p, t).pooled(-1)
    found = {
        "psnr": sums.psnr(255.0),
        "ssim": ssim(p, t, data_range=255.0, window=uniform_window(7, True)).value().mean(),
        "mae": sums.mae(),
        "mse": sums.mse(),
        "shift_mae": shifted_mae(p, t).value().amin(-1),
    }
    same_numbers(golden, {k: float(v) for k, v in found.items()}, golden.meta["metrics"])
    same_numbers(golden, misr_losses(prediction, target), golden.meta["losses"])
    text = golden.meta["call"]
    by, channel, up_by, step = (
        int(captured(pattern, text)) for pattern in (r"by 1/(\d+)", r"channel (\d+)", r"by (\d+), stored", r"::(\d+)")
    )
    h, w = p.shape[-2:]
    down = imresize(p, (math.ceil(h / by), math.ceil(w / by))).permute(1, 2, 0)
    up = imresize(p[channel], (up_by * h, up_by * w))[::step, ::step]
    return as_arrays({"target": target, "prediction": prediction, "matlab_down": down, "matlab_up": up})


def noise(golden: Golden, text: str) -> Tensor:
    return float(captured(r"([\d.]*\d)\*err", text)) * ranged(golden, "err")


def misr_losses(p: Tensor, t: Tensor) -> dict[str, float]:
    """Their losses are these metrics of the images in [-1, 1]: one shift for a whole batch, zero padding for SSIM."""
    p2, t2 = torch.stack([p, p.flip(-1)]), torch.stack([t, t])
    found = {
        "shift_l1": shifted_mae(p, t).value().amin(-1),
        "ssim_loss_fn": padded_ssim(p, t),
        "l1": band_sums(p, t).pooled(-1).mae(),
        "shift_l1_batch2": shifted_mae(p2, t2).pooled().value().amin(-1),
        "ssim_batch2": padded_ssim(p2, t2),
    }
    return {name: float(value) for name, value in found.items()}


def padded_ssim(p: Tensor, t: Tensor) -> Tensor:
    """SSIM of x / 2 + 1 / 2 with 5 zeros around."""
    window = gaussian_window()
    p, t = (F.pad(x / 2 + 0.5, (window.size // 2,) * 4) for x in (p, t))
    return ssim(p, t, data_range=1.0, window=window).value().mean()
