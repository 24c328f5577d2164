"""TAMRFSITS inference on digital numbers: in one go, in the published tiles, and by the fast path of the method."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sitsfusion.methods.tamrfsits.reference import optics, predict_series, predict_tiled
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.ops.mtf import residual_compensation
from sitsfusion.ops.series_ops import standardise, unstandardise
from sitsfusion.series import Series
from sitsfusion.weights.config import SensorInput, sensor_input
from tests.golden.adapters.tamrfsits_nets import network
from tests.golden.goldens import Golden, adapter, captured, index
from tests.methods.tamrfsits.windows import predict_in_cores

Arrays = dict[str, np.ndarray]
Pair = tuple[Series | None, Series | None]


def statistics(golden: Golden) -> tuple[SensorInput, SensorInput]:
    """Bands of both sensors, with the constants of the file."""
    constants = golden.meta["constants"]

    def of(role: str) -> dict[str, list[float]]:
        return {k: constants[f"{role}_{k}"] for k in ("mean", "std", "mtf", "resolution") if f"{role}_{k}" in constants}

    return sensor_input("lr", **of("lr")), sensor_input("hr", **of("hr"))


def digital_numbers(golden: Golden, name: str) -> Tensor:
    return torch.from_numpy(golden.draw(name).astype(np.int16))


def series(numbers: Tensor, golden: Golden, role: str) -> Series:
    return Series(numbers.float() / 10000, days(golden, f"{role}_doy", len(numbers)))


def days(golden: Golden, name: str, batch: int) -> Tensor:
    """`[b, t]`, whether the file has days for each batch element or for all."""
    return torch.atleast_2d(torch.tensor(golden.meta[name])).expand(batch, -1)


def thinned(values: Tensor, golden: Golden, name: str) -> np.ndarray:
    """Every n-th row and column, as many as the file has."""
    sides = zip(values.shape[-2:], golden.outputs[name].shape[-2:], strict=True)
    rows, cols = (math.ceil(ours / kept) for ours, kept in sides)
    return values[..., ::rows, ::cols].numpy()


def values(predicted: Series | None) -> Tensor:
    assert predicted is not None
    return predicted.values


def moments(bands: SensorInput) -> tuple[Tensor, Tensor]:
    return torch.tensor([b.mean for b in bands.bands]), torch.tensor([b.std for b in bands.bands])


def fast(net: TamrfsitsNet, stats: tuple[SensorInput, SensorInput], lr: Series, hr: Series, query: Tensor) -> Pair:
    """`predict_series` by the fast path, in cores that do not divide the image."""
    inputs = [standardise(s, *moments(b), 1.0).values for s, b in zip((lr, hr), stats, strict=True)]
    outputs = [
        predict_in_cores(net, (inputs[0][i], lr.days[i]), (inputs[1][i], hr.days[i]), query[i], side=(3 + 2 * i, 5))
        for i in range(len(query))
    ]
    coarse, fine = torch.stack(outputs).split([net.config.lr_bands, net.config.hr_bands], dim=2)
    found = zip((coarse, fine), stats, strict=True)
    return tuple(unstandardise(Series(v, query), *moments(b), 1.0) for v, b in found)  # type: ignore[return-value]


def check_fast(golden: Golden, net: TamrfsitsNet, expected: Pair, lr: Series, hr: Series) -> None:
    """The fast path gives each sensor's expected images within the tolerance of the file."""
    for i, one in enumerate(expected):
        assert one is not None
        found = values(fast(net, statistics(golden), lr, hr, one.days)[i])
        torch.testing.assert_close(found, one.values, **golden.tolerance())


@adapter("tamrfsits-predict")
def predict(golden: Golden) -> Arrays:
    net, stats = network(golden), statistics(golden)
    lr_numbers, hr_numbers = digital_numbers(golden, "lr_dn"), digital_numbers(golden, "hr_dn")
    inputs = golden.meta["inputs"]
    lr_numbers[:, :, int(captured(r"channel (\d+)", inputs["lst_dn"]["how"]))] = digital_numbers(golden, "lst_dn")
    where, value = (captured(p, inputs["hr_dn"]["how"]) for p in (r"then \[(.*?)\] =", r"\] = (-?\d+)"))
    hr_numbers[index(where)] = int(value)
    lr, hr = series(lr_numbers, golden, "lr"), series(hr_numbers, golden, "hr")
    batch = len(lr_numbers)
    query = days(golden, "lr_query_doy", batch), days(golden, "hr_query_doy", batch)
    whole = predict_series(net, stats, (lr, hr), query)
    check_fast(golden, net, whole, lr, hr)
    small = predict_series(net, stats, (lr, hr), query, downscale=True)
    at_lr, _ = predict_series(net, stats, (lr, hr), (lr.days, None))
    compensated = residual_compensation(values(at_lr), lr.values, optics(stats[0]), net.config.ratio)
    found = dict(zip(("lr", "hr", "lr_downscaled", "hr_downscaled"), map(values, (*whole, *small)), strict=True))
    found["lr_rescomp"] = compensated
    return {name: thinned(image, golden, name) for name, image in found.items()}


@adapter("tamrfsits-tiled")
def tiled(golden: Golden) -> Arrays:
    net, stats = network(golden), statistics(golden)
    lr = series(digital_numbers(golden, "tile_lr_dn"), golden, "lr")
    hr = series(digital_numbers(golden, "tile_hr_dn"), golden, "hr")
    at = days(golden, "query_doy", len(lr.values))
    whole = predict_series(net, stats, (lr, hr), (at, at))
    check_fast(golden, net, whole, lr, hr)
    tiles = predict_tiled(net, stats, (lr, hr), (at, at), golden.meta["tile_width"], golden.meta["margin"])
    found = dict(zip(("lr", "hr", "lr_whole", "hr_whole"), map(values, (*tiles, *whole)), strict=True))
    return {name: thinned(image, golden, name) for name, image in found.items()}
