"""Adapters of the goldens on metrics: the TAMRFSITS test tool, BRISQUE, and the metrics of three other references."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion import sensors
from sitsfusion.metrics.brisque import BrisqueModel, features, halved, scaled, svm_score
from sitsfusion.metrics.frequency import attenuation, frequencies, frr, profile, ring_centres
from sitsfusion.metrics.imresize import imresize
from sitsfusion.metrics.scoring import SensorScores, SensorScoring, inside, score_series
from sitsfusion.metrics.spectral import sam
from sitsfusion.metrics.structure import gaussian_window, shifted_mae, ssim, uniform_window
from sitsfusion.metrics.sums import BandSums, band_sums
from sitsfusion.metrics.temporal import clear_rate, closest_distance, density
from sitsfusion.series import Series
from tests.golden import recipe
from tests.golden.adapters.series_ops import bracketed, drawn, number_after, numbers
from tests.golden.goldens import Golden, adapter, compare

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
    count = int(re.search(r"\((\d+),1,n,n\)", text)[1])  # type: ignore[index]
    blurred, side = (int(re.search(pattern, text)[1]) for pattern in (r"image (\d+)", r"(\d+)x\d+ mean"))  # type: ignore[index]
    ours: dict[str, Tensor] = {}
    for n in (int(v) for v in re.search(r"for n in \(([\d, ]+)\)", text)[1].split(",")):  # type: ignore[index]
        x = torch.from_numpy(recipe.array(f"brisque:{n}", (count, 1, n, n), golden.seed))
        x[blurred] = F.avg_pool2d(x[blurred], side, 1, side // 2)
        found = features(x[:, 0])
        ours |= {f"half_{n}": halved(x * 255.0), f"features_{n}": found, f"scaled_{n}": scaled(found)}
        ours[f"score_{n}"] = svm_score(scaled(found), model)
    for kind, words in (("half", "half"), ("features", "features"), ("scaled", "features"), ("score", "score")):
        names = [n for n in golden.outputs if n.startswith(kind)]
        compare(only(golden, names), as_arrays(ours), **limit(limits[words]))
    assert set(golden.outputs) <= set(ours)


def limit(text: str) -> dict[str, float]:
    """`rtol 1e-3, atol 2e-3 ...` as keywords; what is not named is 0."""
    found = {name: float(value) for name, value in re.findall(r"([ra]tol) ([\d.e-]+)", text)}
    return {"rtol": 0.0, "atol": 0.0} | found


# --- the test tool -------------------------------------------------------------------------------------------------

SENSORS = {"lr": "landsat-8-9-c2-l2", "hr": "sentinel-2-l2a"}


class Tool:
    """The inputs of `eval_metrics`, drawn as its meta says."""

    def __init__(self, golden: Golden) -> None:
        self.meta, self.seed = golden.meta, golden.seed
        text = self.meta["inputs"]["series"]
        self.range = numbers(text[text.index("seed,") : text.index("C =")])[:2]
        self.bands = dict(zip(("lr", "hr"), (int(n) for n in re.search(r"C = (\d+) lr / (\d+) hr", text).groups()), strict=True))  # type: ignore[union-attr]  # fmt: skip
        self.thermal = int(re.search(r"for lr channel (\d+)", text)[1])  # type: ignore[index]
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
        for i in range(1, t):
            a, b = sorted(int(v * n) for v in r[i, :2])
            c, d = sorted(int(v * n) for v in r[i, 2:])
            valid[0, i, a : b + 1, c : d + 1] = False
        return valid

    def scores(self, sensor: str, published: bool, inputs: bool = True) -> SensorScores:
        target, days = self.images("ref", sensor), self.days(sensor, "out")
        bands = [b for b in self._bands(sensor)]
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
        return score_series(
            Series(self.images("pred", sensor), days[None]),
            Series(target, days[None], self.valid("ref", sensor, target.shape[-1])),
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
    compare(only(golden, spectra), arrays, **limit(limits["frr and profiles"]))
    compare(only(golden, others), arrays, **limit(limits["default"]))


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
    out["f.fft_prof"] = profile(prediction[:, 0]).transpose(-2, -1)
    out |= restorations(golden, prediction[0], target[0])
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
