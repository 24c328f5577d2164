from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.losses.tamrfsits import PRESETS, Objective, ObjectiveConfig, RegressionTerm
from sitsfusion.nets.tamrfsits import TamrfsitsNet
from sitsfusion.series import Series, collate
from sitsfusion.strategies import PUBLISHED_POOL, Dates, Split, StrategyOptions, split
from sitsfusion.weights.config import BandInput, SensorInput
from tests.losses.vgg import random_lpips
from tests.nets.small import images, small_net

LR_DAYS, HR_DAYS = [3, 18, 40, 41], [5, 18, 30, 39, 60]


def sensor(name: str, **resolutions: float) -> SensorInput:
    bands = tuple(
        BandInput(key=key, scale=1.0, resolution=r, mtf=1.0 if r == 10 else 0.3, mean=0.2 + 0.1 * i, std=0.1 + 0.02 * i)
        for i, (key, r) in enumerate(resolutions.items())
    )
    return SensorInput(sensor=name, bands=bands)


LR = sensor("coarse", B04=30, LST=90)
HR = sensor("fine", B04=10, B05=20, B08=10)


def config(**options: Any) -> ObjectiveConfig:
    return ObjectiveConfig.model_validate({"margin": 3, "lpips": "off"} | options)


def site(seed: int = 0, h: int = 10, w: int = 11) -> tuple[Series, Series]:
    """Two series of one place with clouds, one HR date entirely cloudy."""
    lr_valid, hr_valid = images(seed + 2, 1, 4, h, w) > -1, images(seed + 3, 1, 5, 3 * h, 3 * w) > -1
    hr_valid[0, 2] = False
    return (
        Series(images(seed, 1, 4, 2, h, w), torch.tensor([LR_DAYS]), lr_valid),
        Series(images(seed + 1, 1, 5, 3, 3 * h, 3 * w), torch.tensor([HR_DAYS]), hr_valid),
    )


def drawn(strategy: str, seed: int = 0, lr_days: list[int] = LR_DAYS, hr_days: list[int] = HR_DAYS) -> Split:
    options = StrategyOptions(forecast_day=30, gap=15)
    return split(strategy, lr_days, hr_days, options, random.Random(seed))


def gradient(net: TamrfsitsNet, value: Tensor) -> Tensor:
    found = torch.autograd.grad(value, list(net.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


@pytest.mark.parametrize("strategy", sorted(set(PUBLISHED_POOL)))
def test_the_total_is_the_sum_of_its_tasks(strategy: str) -> None:
    net, (lr, hr) = small_net(), site()
    terms = Objective(config(decorrelation_weight=0.5), LR, HR)(net, lr, hr, [drawn(strategy)])
    assert terms is not None
    tasks = [terms[f"weighted_{task}_loss"] for task in ("mae", "clr") if f"weighted_{task}_loss" in terms]
    torch.testing.assert_close(terms["total_loss"], sum(tasks) + 0.5 * terms["decorrelation_loss"])
    assert tasks
    assert all(value.requires_grad == (name == "total_loss") for name, value in terms.items())
    assert gradient(net, terms["total_loss"]).isfinite().all()


def test_a_task_is_weighted_by_its_share_of_dates() -> None:
    net, (lr, hr) = small_net(), site()
    terms = Objective(config(mae_scale=None), LR, HR)(net, lr, hr, [drawn("NOHR")])
    assert terms is not None
    lr_share, hr_share = 4 / 9, 5 / 9
    clr = lr_share * (terms["lr_clr_loss"] + terms["lr_clr_triplet_loss"])
    mae = hr_share * (terms["hr_mae_loss"] + terms["hr_mae_triplet_loss"] + terms["mae_cca_loss"])
    torch.testing.assert_close(terms["total_loss"].detach(), clr + mae)
    values = [terms[f"mae_cca_10.0_{r}.0_loss"] for r in (20, 30, 90)]
    torch.testing.assert_close(terms["mae_cca_loss"], torch.stack(values).mean())
    assert not any(name.startswith(("lr_mae", "hr_clr", "clr_cca")) for name in terms)


def test_a_batch_is_the_mean_of_its_elements() -> None:
    """Each with its own days, number of dates and split; padding is no date."""
    net, objective = small_net(), Objective(config(), LR, HR)
    first, second = site(0), site(50)
    second = tuple(Series(s.values[:, :3], s.days[:, :3] + 2, s.valid[:, :3]) for s in second)  # type: ignore[index]
    splits = [drawn("RANDOM"), drawn("NOLR", 0, [d + 2 for d in LR_DAYS[:3]], [d + 2 for d in HR_DAYS[:3]])]
    together = objective(net, *(collate(pair) for pair in zip(first, second, strict=True)), splits)
    alone = [objective(net, *one, [s]) for one, s in zip((first, second), splits, strict=True)]
    assert together is not None
    assert alone[0] is not None
    assert alone[1] is not None
    assert set(together) == set(alone[0]) | set(alone[1])
    for name, value in together.items():
        expected = torch.stack([one[name] for one in alone if one and name in one]).mean()
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
    gradients = [gradient(net, terms["total_loss"]) for terms in (together, *alone) if terms]
    torch.testing.assert_close(gradients[0], (gradients[1] + gradients[2]) / 2, rtol=1e-3, atol=1e-5)


def test_elements_without_a_loss_do_not_count() -> None:
    net, (lr, hr) = small_net(), site()
    blind = tuple(Series(s.values, s.days, torch.zeros_like(s.usable())) for s in (lr, hr))
    objective, parts = Objective(config(), LR, HR), [drawn("RANDOM"), drawn("RANDOM")]
    alone = objective(net, lr, hr, parts[:1])
    both = objective(net, collate([lr, blind[0]]), collate([hr, blind[1]]), parts)
    assert alone is not None
    assert both is not None
    torch.testing.assert_close(both["total_loss"], alone["total_loss"])
    assert objective(net, *blind, parts[:1]) is None


def test_a_split_without_targets_has_no_loss() -> None:
    net, (lr, hr) = small_net(), site()
    everything = drawn("ALL")
    assert Objective(config(), LR, HR)(net, lr, hr, [Split(everything.lr_input, None, None, Dates((), ()))]) is None


@pytest.mark.parametrize("strategy", ["NOHR", "FORECAST", "RANDOM"])
def test_nan_under_masks_of_hidden_dates_never_matters(strategy: str) -> None:
    net, (lr, hr) = small_net(), site()
    part = drawn(strategy)
    objective = Objective(config(triplet_weight=0.0), LR, HR)
    expected = objective(net, lr, hr, [part])
    poisoned = [hidden_nan(s, dates) for s, dates in ((lr, part.lr_input), (hr, part.hr_input))]
    terms = objective(net, *poisoned, [part])
    assert expected is not None
    assert terms is not None
    torch.testing.assert_close(terms["total_loss"], expected["total_loss"], rtol=1e-4, atol=1e-5)
    whole = Objective(config(), LR, HR)(net, *poisoned, [part])
    assert whole is not None
    assert gradient(net, whole["total_loss"]).isfinite().all()


def hidden_nan(series: Series, given_dates: Dates | None) -> Series:
    """NaN under the masks of dates that are not given to the network."""
    hidden = torch.ones(series.days.shape[1], dtype=torch.bool)
    hidden[list(given_dates.positions if given_dates else ())] = False  # type: ignore[arg-type]
    cloudy = ~series.usable() & hidden[None, :, None, None]
    return Series(series.values.masked_fill(cloudy[:, :, None], torch.nan), series.days, series.valid)


def test_no_input_date_at_all() -> None:
    net, (lr, hr) = small_net(), site()
    whole = drawn("ALL")
    part = Split(Dates((), ()), Dates((), ()), whole.lr_target, whole.hr_target)
    terms = Objective(config(decorrelation_weight=1.0), LR, HR)(net, lr, hr, [part])
    assert terms is not None
    assert "weighted_clr_loss" not in terms
    assert gradient(net, terms["total_loss"]).isfinite().all()
    with pytest.raises(InputError, match="neither sensor"):
        Objective(config(), LR, HR)(net, lr, hr, [Split(None, None, whole.lr_target, None)])


def test_margin_0_judges_every_pixel() -> None:
    net, (lr, hr) = small_net(), site()
    fine = Objective(config(margin=0, triplet_weight=0, regression_weight=0), LR, HR)
    everywhere = Series(hr.values, hr.days)
    terms = fine(net, lr, everywhere, [drawn("ALLHR2ALLHR")])
    assert terms is not None
    assert set(terms) == {"hr_clr_loss", "weighted_hr_clr_loss", "weighted_clr_loss", "total_loss"}
    far = everywhere.values.clone()
    far[..., 0, 0] += 10
    other = fine(net, lr, Series(far, hr.days), [drawn("ALLHR2ALLHR")])
    assert other is not None
    assert other["total_loss"] > terms["total_loss"]


def test_hidden_temperature_is_judged_by_regression_only() -> None:
    """Bands coarser than the coarse grid: fidelity where the image was given, no triplet loss."""
    net, (lr, hr) = small_net(), site()
    other = Series(lr.values.clone(), lr.days, lr.valid)
    other.values[:, :, 1] += 1
    objective = Objective(config(regression_weight=0), LR, HR)
    mae = [objective(net, s, hr, [drawn("NOLR")]) for s in (lr, other)]
    assert mae[0] is not None
    assert mae[1] is not None
    torch.testing.assert_close(mae[0]["lr_mae_loss"], mae[1]["lr_mae_loss"])
    torch.testing.assert_close(mae[0]["lr_mae_triplet_loss"], mae[1]["lr_mae_triplet_loss"])


def test_ndvi_takes_the_statistics_of_its_bands() -> None:
    net, (lr, hr) = small_net(), site()
    names = ("correct", "published")
    found = {
        name: Objective(config(published_ndvi=name == "published"), LR, HR)(net, lr, hr, [drawn("RANDOM")])
        for name in names
    }
    ours, theirs = (found[name] for name in names)
    assert ours is not None
    assert theirs is not None
    assert ours["clr_cca_10.0_90.0_loss"] != theirs["clr_cca_10.0_90.0_loss"]
    assert ours["clr_cca_10.0_30.0_loss"] == theirs["clr_cca_10.0_30.0_loss"]


def test_the_reference_may_be_the_prediction() -> None:
    net, (lr, hr) = small_net(), site()
    terms = Objective(config(regression_on_predictions=True), LR, HR)(net, lr, hr, [drawn("RANDOM")])
    assert terms is not None
    assert "pred_cca_loss" in terms
    assert not any(name.startswith(("mae_cca", "clr_cca")) for name in terms)


def test_a_coarser_reference_is_compared_on_its_pixels() -> None:
    net, (lr, hr) = small_net(), site()
    terms = (RegressionTerm(pred_resolution=30.0, ref_resolution=20.0),)
    found = Objective(config(regression_terms=terms), LR, HR)(net, lr, hr, [drawn("RANDOM")])
    assert found is not None
    assert any(name.endswith("cca_20.0_30.0_loss") for name in found)


def test_lpips_is_used_unless_switched_off() -> None:
    net, (lr, hr) = small_net(), site()
    objective = Objective(config(lpips=True, margin=0), LR, HR, random_lpips())
    terms = objective(net, lr, hr, [drawn("NOHR")])
    plain = Objective(config(margin=0), LR, HR)(net, lr, hr, [drawn("NOHR")])
    assert terms is not None
    assert plain is not None
    assert terms["mae_cca_loss"] != plain["mae_cca_loss"]
    assert not objective.state_dict()
    assert not list(objective.parameters())


def test_reduced_precision_is_for_the_network_only() -> None:
    net, (lr, hr) = small_net(), site()
    objective = Objective(config(), LR, HR)
    expected = objective(net, lr, hr, [drawn("RANDOM")])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = objective(net, lr, hr, [drawn("RANDOM")])
    assert terms is not None
    assert expected is not None
    assert {value.dtype for value in terms.values()} == {torch.float32}
    torch.testing.assert_close(terms["total_loss"], expected["total_loss"], rtol=0.03, atol=0)


def test_presets_and_what_they_need() -> None:
    with pytest.raises(InputError, match="lpips='off'"):
        Objective(PRESETS["spatiotemporal_fusion"], LR, HR)
    net, (lr, hr) = small_net(), site(h=12, w=12)
    terms = Objective(PRESETS["temporal_interpolation"], LR, HR)(net, lr, hr, [drawn("RANDOM")])
    assert terms is not None
    assert "decorrelation_loss" in terms
    assert not any("cca" in name or "triplet" in name for name in terms)


def test_configs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError, match="weight"):
        config(weight=1)
    with pytest.raises(InputError, match="needs HR bands"):
        Objective(config(regression_terms=(RegressionTerm(pred_resolution=60.0),)), LR, HR)
    with pytest.raises(InputError, match="ndvi_bands"):
        Objective(config(ndvi_bands=("B04", "B05")), LR, HR)
    lr, hr = site()
    with pytest.raises(InputError, match="one per element"):
        Objective(config(), LR, HR)(small_net(), lr, hr, [])
