from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sitsfusion.errors import InputError
from sitsfusion.metrics.frequency import frr
from sitsfusion.metrics.further import Further
from sitsfusion.metrics.scoring import Pair, SensorScores, SensorScoring, inside, score_date, score_dates
from sitsfusion.metrics.spectral import ndvi_sums, sam
from sitsfusion.metrics.structure import scc_sums, ssim, uqi
from sitsfusion.metrics.sums import band_sums
from sitsfusion.ops.mtf import blur, degrade
from sitsfusion.ops.resample import bicubic
from sitsfusion.series import Series
from tests.metrics.images import drawn, mask, pairs

FINE = SensorScoring(10.0, (10.0, 20.0, 20.0), (1.0, 0.3, 0.3), margin=3)
COARSE = SensorScoring(10.0, (30.0, 30.0, 90.0), (0.3, 0.3, 0.2), factor=3, thermal=2, margin=2)


def series(seed: int, days: list[int], side: int) -> Series:
    return Series(drawn(seed, 1, len(days), 3, side, side), torch.tensor([days]), mask(seed, 1, len(days), side, side))


def score_series(
    prediction: Series, target: Series, scoring: SensorScoring, inputs: Tensor | None, others: Tensor | None = None
) -> SensorScores:
    return score_dates(pairs(prediction, target), scoring, inputs, others)


def test_a_fine_sensor_is_compared_as_it_sees() -> None:
    p, t, valid = drawn(0, 3, 24, 24), drawn(1, 3, 24, 24), mask(2, 24, 24)
    found, taps, kept = score_date(p, t, FINE, valid), FINE.taps(), inside(valid, 3)
    assert torch.equal(found.errors.rmse(), band_sums(blur(p, taps), t, kept).rmse())
    assert torch.equal(found.sam.value(), sam(blur(p, taps), blur(t, taps), kept).value())
    assert torch.equal(found.restoration.frr, frr(p[:, 3:-3, 3:-3], t[:, 3:-3, 3:-3]).frr)
    assert found.clear.value() == valid.double().mean()


def test_a_coarse_sensor_is_compared_on_its_grid_without_its_thermal_band_in_angles() -> None:
    p, t, invisible = drawn(0, 3, 36, 36), drawn(1, 3, 12, 12), mask(2, 36, 36)
    found = score_date(p, t, COARSE, None, invisible)
    seen, kept = degrade(p, COARSE.taps(), 3), inside(invisible[::3, ::3], 2)
    assert torch.equal(found.nrmse, band_sums(seen, t, kept).nrmse())
    assert torch.equal(found.sam.value(), sam(seen[:2], t[:2], kept).value())
    fine = bicubic(t, 1 / 3)[:, 2:-2, 2:-2]
    assert torch.equal(found.restoration.target, frr(fine, fine).target)


def test_rows_are_clear_then_masked() -> None:
    found = score_series(series(0, [3, 9, 20, 31], 24), series(1, [3, 9, 20, 31], 24), FINE, torch.tensor([20, 3]))
    assert found.days.tolist() == [3, 20, 9, 31]
    assert found.clear.tolist() == [True, True, False, False]
    assert found.columns["closest_doy"].tolist() == [0, 0, 6, 11]
    expected = score_date(
        drawn(0, 1, 4, 3, 24, 24)[0, 1], drawn(1, 1, 4, 3, 24, 24)[0, 1], FINE, mask(1, 1, 4, 24, 24)[0, 1]
    )
    assert torch.equal(found.columns["rmse"][2], expected.errors.rmse())
    assert torch.equal(found.columns["frr"][2], expected.restoration.frr)
    assert found.columns["brisque"].isnan().all()
    assert found.columns["brisque"].shape == (4, 3)


def test_one_date_is_in_memory_at_a_time() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def dates() -> Iterator[Pair]:
        for day in range(4):
            assert not any(one() is not None for one in alive)  # what came before is gone
            image = drawn(day, 3, 24, 24)
            alive.append(weakref.ref(image))
            yield Pair(day, image, drawn(day + 9, 3, 24, 24))
            del image

    assert len(score_dates(dates(), FINE, None).dates) == 4


def test_further_metrics_are_of_reflectances_and_the_same_functions() -> None:
    p, t, valid = drawn(0, 3, 36, 36), drawn(1, 3, 12, 12), torch.ones(12, 12, dtype=torch.bool)
    valid[0] = False
    wanted = replace(COARSE, margin=0, further=Further((0, 1), ratio=1 / 3, red=0, nir=1))
    found = score_dates([Pair(3, p, t, valid)], wanted, None).columns
    seen = degrade(p, COARSE.taps(), 3)[:2]
    assert found["ssim"][0, 2].isnan()
    assert torch.equal(found["ssim"][0, :2], ssim(seen, t[:2], valid, data_range=1.0).value())
    assert torch.equal(found["uqi"][0, :2], uqi(seen, t[:2], valid).value())
    assert torch.equal(found["scc"][0, :2], scc_sums(seen, t[:2], valid).correlation())
    assert found["ergas"][0] == band_sums(seen, t[:2], valid).ergas(1 / 3)
    assert found["ndvi_rmse"][0] == ndvi_sums(seen, t[:2], 0, 1, valid).rmse()[0]
    assert torch.equal(found["psnr"][0, :2], band_sums(seen, t[:2], valid).psnr(1.0))
    small = score_dates([Pair(3, p[:, :9, :9], t[:, :3, :3])], replace(wanted, resolution=(10.0,) * 3), None).columns
    assert small["ssim"].isnan().all()
    assert small["psnr"][0, :2].isfinite().all()


def test_published_values_differ_as_documented() -> None:
    prediction, target = series(0, [3, 9, 20, 31, 40], 24), series(1, [3, 9, 20, 31, 40], 24)
    inputs = torch.tensor([9, 40])
    right = score_series(prediction, target, FINE, inputs)
    published = score_series(prediction, target, replace(FINE, published=True), inputs)
    assert torch.equal(published.columns["frr"], right.columns["frr"][[1, 0, 4, 2, 3]])  # groups of 2 and 3
    assert torch.equal(published.prediction_profiles, right.prediction_profiles[[1, 0, 4, 2, 3]])
    assert torch.equal(published.columns["clear_pixel_rate"], right.columns["clear_pixel_rate"][[2, 0, 3, 4, 1]])
    assert torch.equal(published.columns["rmse"], right.columns["rmse"])


def test_nan_predictions_are_left_out_unless_published() -> None:
    p, t = drawn(0, 3, 24, 24), drawn(1, 3, 24, 24)
    p[:, 8:10, 8:10] = torch.nan
    right, published = score_date(p, t, FINE), score_date(p, t, replace(FINE, published=True))
    assert torch.equal(right.errors.rmse(), published.errors.rmse())
    assert (published.nrmse > right.nrmse).all()
    assert right.missing.value().item() == pytest.approx(4 / 24**2)
    everywhere = score_date(p * torch.nan, t, FINE)
    assert everywhere.errors.rmse().isnan().all()
    assert everywhere.sam.value().isnan()


def test_no_inputs_no_distances() -> None:
    prediction, target = series(0, [3, 9], 24), series(1, [3, 9], 24)
    names = ("closest_doy", "closest_joint_doy", "local_density", "local_joint_density")
    found = score_series(prediction, target, FINE, None, torch.tensor([3])).columns
    assert all(found[name].isnan().all() for name in names)
    assert not found["clear_doy"].any()
    found = score_series(prediction, target, FINE, torch.empty(0), torch.tensor([3])).columns
    assert found["closest_doy"].isnan().all()
    assert found["closest_joint_doy"].tolist() == [0, 6]


def test_margin_0_is_none_and_too_large_ones_are_refused() -> None:
    valid = mask(0, 6, 7)
    assert inside(valid, 0) is valid
    assert inside(torch.ones_like(valid), 2).sum() == 2 * 3
    p, t = drawn(0, 3, 24, 24), drawn(1, 3, 24, 24)
    assert score_date(p, t, replace(FINE, margin=0)).errors.count.tolist() == [576] * 3
    for margin in (12, -1):
        with pytest.raises(InputError, match="leaves nothing"):
            score_date(p, t, replace(FINE, margin=margin))


def test_sizes_that_do_not_match_are_refused() -> None:
    p, t = drawn(0, 3, 24, 24), drawn(1, 3, 24, 24)
    with pytest.raises(InputError, match="3 times as fine"):
        score_date(p, t, COARSE)
    with pytest.raises(InputError, match="of 3 bands"):
        score_date(p, t[:2], FINE)
    with pytest.raises(InputError, match="thermal band 3"):
        score_date(p, t, replace(FINE, thermal=3))
    with pytest.raises(InputError, match="at least one predicted date"):
        score_dates([], FINE, None)
