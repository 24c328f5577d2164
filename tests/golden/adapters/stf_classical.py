"""Adapters of the goldens on coarse/fine pairs: STARFM, ESTARFM, FSDAF, Fit-FC; and EFAST out of `baseline_temporal`.

`baseline_stf` describes its scene and options in sentences; shapes, draws and numbers are read from there. Options that
a sentence leaves out are those of the first output of the same method.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import repeat
from torch import Tensor

from sitsfusion.methods.stf_classical import efast, fitfc, fsdaf, splines
from sitsfusion.methods.stf_classical.blocks import block_means, spread
from sitsfusion.methods.stf_classical.estarfm import EstarfmOptions, estarfm
from sitsfusion.methods.stf_classical.fsdaf_classes import Purest, class_fractions
from sitsfusion.methods.stf_classical.images import Pair
from sitsfusion.methods.stf_classical.starfm import StarfmOptions, starfm
from tests.golden import recipe
from tests.golden.adapters.series_ops import numbers
from tests.golden.goldens import Golden, adapter, captured, only_entries

Arrays = dict[str, np.ndarray]
_DRAW = r"A\('{name}',\(([\d,]+)\),(-?[\d.]*\d),(-?[\d.]*\d)\)"


def _int(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    assert match is not None, (pattern, text)
    return int(match[1])


@dataclass(frozen=True)
class _Scene:
    """Images of the dates 0, 1 (wanted) and 2: fine [b h w], coarse blocks [b h' w'], classes from 0, valid [h w]."""

    fine: list[Tensor]
    blocks: list[Tensor]
    classes: Tensor
    valid: Tensor
    ratio: int

    @classmethod
    def of(cls, golden: Golden) -> _Scene:
        text = golden.meta["scene"]
        height, width = (int(n) for n in re.search(r"grid (\d+)x(\d+)", text).groups())  # type: ignore[union-attr]
        ratio, count = _int(r"ratio (\d+)", text), _int(r"1\+floor\((\d+)\*", text)

        def draw(name: str) -> np.ndarray:
            match = re.search(_DRAW.format(name=re.escape(name)), text)
            assert match is not None, name
            shape = tuple(int(n) for n in match[1].split(",") if n)
            return recipe.array(name, shape, golden.seed, float(match[2]), float(match[3])).astype(np.float64)

        noise = re.sub(r"stf\.noise<t>", "stf.noise", text)
        match = re.search(_DRAW.format(name="stf.noise"), noise)
        valid = re.search(r"A\('stf\.valid',\(([\d,]+)\),[\d.]+,[\d.]+\)>([\d.]*\d)", text)
        assert match is not None
        assert valid is not None
        shape = tuple(int(n) for n in match[1].split(","))
        times = _int(r"nearest x(\d+)\); base", text)
        drawn = repeat(draw("stf.cls"), "h w -> (h i) (w j)", i=times, j=times)
        classes = np.floor(count * drawn)[:height, :width].astype(int)
        base = draw("stf.classmean")  # [date class band]
        fine, blocks = [], []
        for t in range(len(base)):
            drawn = recipe.array(f"stf.noise{t}", shape, golden.seed, float(match[2]), float(match[3]))
            fine.append(torch.from_numpy(np.round(np.moveaxis(base[t][classes], -1, 0) + drawn.astype(np.float64))))
            blocks.append((block_means(fine[-1], ratio) + torch.from_numpy(draw("stf.bias"))).round())
        seen = recipe.array("stf.valid", (height, width), golden.seed).astype(np.float64) > float(valid[2])
        return cls(fine, blocks, torch.from_numpy(classes), torch.from_numpy(seen), ratio)

    def masked(self, sentence: str, image: Tensor) -> Tensor:
        return image.masked_fill(~self.valid, torch.nan) if "valid mask" in sentence else image

    def pair(self, t: int, sentence: str) -> Pair:
        coarse = spread(self.blocks[t], self.ratio, self.fine[t])
        return Pair(self.masked(sentence, self.fine[t]), self.masked(sentence, coarse))

    def wanted(self, sentence: str) -> Tensor:
        return self.pair(1, sentence).coarse

    def std(self, t: int, sentence: str) -> Tensor:
        """Over the usable pixels of the whole image [b]."""
        values = self.fine[t][:, self.valid] if "valid mask" in sentence else self.fine[t].flatten(1)
        return values.std(1, correction=0)


@adapter("baseline_stf")
def stf(golden: Golden) -> None:
    """Some pixels may differ, as many as the file says."""
    made = _all_methods(golden)
    limits, note = golden.tolerance(), golden.meta["tolerance"]["note"]
    share = float(captured(r"[Uu]p to ([\d.]*\d)% of pixels", note)) / 100
    only_entries(golden, made)
    for name, expected in golden.outputs.items():
        assert made[name].shape == expected.shape, name
        away = ~np.isclose(made[name], expected, equal_nan=True, **limits)
        assert away.mean() <= share, (name, away.mean())


def _all_methods(golden: Golden) -> Arrays:
    scene, outputs = _Scene.of(golden), golden.meta["outputs"]
    single = outputs["starfm_single"]
    made: dict[str, Tensor] = {}
    for name in ("starfm_single", "starfm_double", "starfm_strict_log"):
        made[name] = _starfm(scene, f"{outputs[name]}, {single}" if name != "starfm_single" else single, outputs[name])
    for name in ("estarfm", "estarfm_range"):
        made[name] = _estarfm(scene, outputs[name])
    made |= _fitfc(scene, outputs["fitfc_rm/fitfc_sf/fitfc"])
    made |= _fsdaf(scene, outputs["fsdaf"], golden)
    return {name: value.nan_to_num(0.0).numpy() for name, value in made.items()}


def _starfm(scene: _Scene, sentence: str, own: str) -> Tensor:
    dates = (0, 2) if own.startswith("pairs 1 and 3") else (0,)
    sigma = float(re.search(r"sigma_t=sigma_s=([\d.]*\d)", sentence)[1])  # type: ignore[index]
    log = re.search(r"log scale ([\d.]*\d)", own)
    options = StarfmOptions(
        window=_int(r"win (\d+)", sentence),
        classes=_int(r"classes (\d+)", sentence),
        sigma_temporal=sigma,
        sigma_spectral=sigma,
        strict="strict" in own,
        log_scale=float(log[1]) if log else 0.0,
    )
    std = torch.stack([scene.std(t, own) for t in dates])
    return starfm([scene.pair(t, own) for t in dates], scene.wanted(own), std, options)


def _estarfm(scene: _Scene, sentence: str) -> Tensor:
    found = re.search(r"data range (-?[\d.]*\d)\.\.(-?[\d.]*\d)", sentence)
    options = EstarfmOptions(
        window=_int(r"win (\d+)", sentence),
        classes=_int(r"classes (\d+)", sentence),
        data_range=(float(found[1]), float(found[2])) if found else None,
    )
    std = torch.stack([scene.std(t, sentence) for t in (0, 2)])
    level = scene.fine[0].mean((1, 2))
    return estarfm([scene.pair(t, sentence) for t in (0, 2)], scene.wanted(sentence), std, level, options)


def _fitfc(scene: _Scene, sentence: str) -> dict[str, Tensor]:
    assert "3x3 coarse regression" in sentence
    window, similar = _int(r"win (\d+)", sentence), _int(r"(\d+) neighbours", sentence)
    moved, residual = fitfc.regression_model(scene.fine[0], scene.blocks[0], scene.blocks[1], scene.ratio)
    filtered = fitfc.spatial_filter(scene.fine[0], torch.stack([moved, residual]), window, similar)
    return {"fitfc_rm": moved, "fitfc_sf": filtered[0], "fitfc": filtered.sum(0)}


def _fsdaf(scene: _Scene, sentence: str, golden: Golden) -> dict[str, Tensor]:
    half, similar, purest = (_int(p, sentence) for p in (r"w=(\d+)", r"(\d+) similar", r"(\d+) pure"))
    low, high = (float(n) for n in re.search(r"range (-?[\d.]*\d)\.\.(-?[\d.]*\d)", sentence).groups())  # type: ignore[union-attr]
    fine, (first, second), count = scene.fine[0], scene.blocks[:2], int(scene.classes.max()) + 1
    fractions = class_fractions(scene.classes, count, scene.ratio).flatten(1).T
    rates = torch.from_numpy(Purest(fractions.numpy(), (second - first).flatten(1).T.numpy()).rates(purest))
    temporal = fine + rates[scene.classes].permute(2, 0, 1)
    limits = [torch.cat([x.flatten(1) for x in (second, temporal)], 1).aminmax(dim=1)]
    scales = fsdaf.Scales(rates, scene.std(0, ""), limits[0].min.clamp(min=low), limits[0].max.clamp(max=high))
    centres = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in second.shape[1:]))
    places = ((torch.arange(n, dtype=torch.float64) + 0.5) / scene.ratio - 0.5 for n in fine.shape[1:])
    coefficients = splines.thin_plate(centres, second.flatten(1).T)
    surface = splines.evaluate(coefficients, centres, torch.cartesian_prod(*places)).T.reshape(fine.shape)
    found = fsdaf.fsdaf_change(fine, (first, second), scene.classes, surface, scales, half)
    options = fsdaf.FsdafOptions(half_window=half, similar=similar, purest=purest, data_range=(low, high))
    made = {
        "fsdaf": fsdaf.smoothed(fine, found.change, spread(second - first, scene.ratio, fine), scales, options),
        "fsdaf_rate": rates,
        "fsdaf_temporal": found.temporal,
        "fsdaf_tps": surface,
        "fsdaf_het": found.homogeneity,
        "fsdaf_change": found.change,
    }
    # Of the intermediate images, the file holds the first bands only.
    return {k: v[: golden.outputs[k].shape[0]] if v.ndim == 3 else v for k, v in made.items()}


def efast_outputs(golden: Golden) -> Arrays:
    """The outputs `efast` and `efast_selected` of `baseline_temporal`."""
    meta = golden.meta["efast"]
    coarse, fine, score = (_efast_draw(meta[key], golden.seed) for key in ("L", "H", "score"))
    days, coarse_days = (torch.tensor(meta[key]).double() - meta["pred"] for key in ("hd", "ld"))
    options = efast.EfastOptions(
        max_days=meta["max_days"],
        sigma_days=meta["sigma"],
        cloud_ramp=meta["D"],
        min_importance=meta["minimum_acquisition_importance"],
    )
    near = days.abs() <= options.max_days
    share = efast.weights(score[near], days[near], options)
    kept = efast.kept_images(share.mean((1, 2)).numpy(), options.min_importance)
    used = coarse_days.abs() <= 1.5 * options.max_days
    targets = torch.cat([days[near][kept], days.new_zeros(1)])
    series = efast.interpolate(coarse[used], coarse_days[used], targets)
    made = efast.efast(fine[near][kept], share[kept], series[:-1], series[-1], meta["ratio"])
    selected = np.zeros(len(days), bool)
    selected[np.flatnonzero(near.numpy())[kept]] = True
    return {"efast": made.numpy(), "efast_selected": selected}


def _efast_draw(sentence: str, seed: int) -> Tensor:
    """What `recipe.array('name',(shape),seed,low,high)` describes; NaN where a second array is below a limit."""
    calls: list[Any] = re.findall(
        r"array\('([^']+)',\s*(?:\(([\d,\s]+)\),\s*seed(?:,([-\d.]+),([-\d.]+))?|\.\.\.)\)", sentence
    )
    name, shape, low, high = calls[0]
    sizes = [int(n) for n in shape.split(",")]
    values = torch.from_numpy(recipe.array(name, tuple(sizes), seed, float(low or 0), float(high or 1))).double()
    if len(calls) > 1:
        mask = [int(n) for n in calls[1][1].split(",")] if calls[1][1] else [sizes[0], *sizes[2:]]
        drawn = torch.from_numpy(recipe.array(calls[1][0], tuple(mask), seed))
        values = values.masked_fill((drawn < numbers(sentence.split("<")[-1])[0])[:, None], torch.nan)
    return values
