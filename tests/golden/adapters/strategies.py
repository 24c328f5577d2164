"""Masking strategies: draws of training steps, and the dates, masks and values that each strategy gives."""

from __future__ import annotations

import random

import numpy as np
import torch

from sitsfusion.series import Series
from sitsfusion.strategies import Dates, Split, StrategyOptions, TrainingPool, select_dates, split
from tests.golden import recipe
from tests.golden.adapters.series_ops import limited
from tests.golden.goldens import Golden, adapter, captured, only_entries

Arrays = dict[str, np.ndarray]
PARTS = ("lr_input", "hr_input", "lr_target", "hr_target")
# Published option -> ours.
OPTIONS = {
    "rate_for_random_strategy": "rate",
    "forecast_doy_start": "forecast_day",
    "gaps_size": "gap",
    "context_start": "context_start",
    "context_reference_size": "context_size",
    "nb_context_images": "context_count",
    "custom_dates": "custom_days",
}


def options(published: dict) -> StrategyOptions:
    return StrategyOptions(**{OPTIONS[name]: value for name, value in published.items()})


def check_draws(rows: list[list]) -> None:
    """Rows of (seed, strategy, rate, forecast day, gap); the rows of one seed follow each other."""
    rng, seed = random.Random(), None
    for row in rows:
        if row[0] != seed:
            seed = row[0]
            rng.seed(seed)
        draw = TrainingPool().draw(rng)
        assert [draw.strategy, draw.rate, draw.forecast_day, draw.gap] == row[1:]


def day_list(dates: Dates | None) -> list[float] | None:
    return None if dates is None else list(dates.days)


@adapter("tamrfsits-mae")
def mae(golden: Golden) -> None:
    """Everything of this file is in `meta`, and exact."""
    meta = golden.meta
    only_entries(golden, ("empty",))
    check_draws(meta["draws"])
    context = {
        name if name.startswith(("nb", "context")) else f"context_{name}": v for name, v in meta["context"].items()
    }
    for case in meta["splits"]:
        drawn = {"rate_for_random_strategy": case["rate"]} | {n: case[n] for n in ("forecast_doy_start", "gaps_size")}
        chosen = options(drawn | context | {"custom_dates": meta["custom_dates"]})
        found = split(case["strategy"], meta["lr_doy"], meta["hr_doy"], chosen, random.Random(meta["split_seed"]))
        for part in PARTS:
            assert day_list(getattr(found, part)) == case[part], (case["strategy"], part)


def site(golden: Golden, role: str) -> Series:
    """The series of `meta["inputs"]`: 10 * day + channel."""
    text, days = golden.meta["inputs"], torch.tensor(golden.meta["doys"][role])
    bands, times = int(captured(rf"(\d+) \({role}\)", text)), int(captured(r"(\d+)\*doy", text))
    h, w = (int(n) for n in captured(r"\(1,T,C,([\d,]+)\)", text).split(","))
    values = (times * days[:, None] + torch.arange(bands))[None, :, :, None, None].expand(-1, -1, -1, h, w)
    mask = limited(recipe.array(f"mask:{role}", (1, len(days), h, w), golden.seed), text)
    return Series(values.to(torch.int16).float(), days[None], torch.from_numpy(~mask))


def described(name: str, series: Series, role: str, text: str) -> Arrays:
    """The arrays of a series; `text` says what becomes of the temperature, and which pixel is held."""
    out = {f"{name}.doy": series.days[0].numpy(), f"{name}.mask": ~series.usable()[0].numpy()}
    if name.endswith("target"):
        row, column = (int(n) for n in captured(r"pixel \[([\d,]+)\]", text).split(","))
        values = series.values[0, :, :, row, column] / 10000
        if role == "lr":
            values[:, int(captured(r"lr band (\d+)", text))] *= float(captured(r"lr band \d+ x (\d+)", text))
        out[f"{name}.data"] = values.numpy()
    return out


@adapter("eval_strategies")
def evaluation(golden: Golden) -> None:
    series = {role: site(golden, role) for role in ("lr", "hr")}
    expected, told = dict(golden.outputs), golden.meta["tolerance"]
    limits = {kind: float(str(text).removeprefix("rtol ")) for kind, text in told.items()}
    for call in golden.meta["calls"]:
        rng = random.Random(call["python_random_seed"])
        lr_days, hr_days = (golden.meta["doys"][role] for role in ("lr", "hr"))
        found: Split = split(call["strategy"], lr_days, hr_days, options(call["parameters"]), rng)
        for part in PARTS:
            picked = select_dates(series[part[:2]], [getattr(found, part)])
            assert (picked is None) == (part in call["none"]), (call["key"], part)
            if picked is None:
                continue
            for name, ours in described(f"{call['key']}.{part}", picked, part[:2], golden.meta["after"]).items():
                rtol = limits[name.rpartition(".")[2]]
                np.testing.assert_allclose(ours, expected.pop(name), rtol=rtol, err_msg=name)
    assert not expected
    check_draws(golden.meta["mae_draws"]["rows"])
