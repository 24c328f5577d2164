"""Moving windows, surfaces, clusters, codes against plain loops and known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.methods.stf_classical import splines
from sitsfusion.methods.stf_classical.blocks import block_means, local_regression, spread
from sitsfusion.methods.stf_classical.efast import cloud_distance, interpolate, kept_images
from sitsfusion.methods.stf_classical.significance import critical_r2
from sitsfusion.methods.stf_classical.sparse import learn, sparse_codes
from sitsfusion.methods.stf_classical.spstfm import joined, patch_starts, patches
from sitsfusion.methods.stf_classical.windows import box_sum, mirrored, most_similar, padded, rings
from sitsfusion.ops.clusters import classify, gap_count, k_means

pytestmark = pytest.mark.smoke
SIDES = st.integers(1, 12)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rings_hold_every_offset_once() -> None:
    offsets = [o for ring in rings(3) for o in ring.offsets]
    assert len(offsets) == len(set(offsets)) == 49
    for ring in rings(3):
        assert {round(float(np.hypot(*o)), 9) for o in ring.offsets} == {round(ring.distance, 9)}


@settings(max_examples=20, deadline=None)
@given(SIDES, SIDES, st.integers(0, 5))
def test_box_sums(height: int, width: int, radius: int) -> None:
    image = drawn(1, height, width)
    expected = [
        [image[0, max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1].sum() for x in range(width)]
        for y in range(height)
    ]
    torch.testing.assert_close(box_sum(image, radius)[0], torch.tensor(expected, dtype=torch.float64))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 20))
def test_mirrors_are_those_of_numpy(height: int, width: int, reach: int) -> None:
    image = drawn(height, width)
    np.testing.assert_array_equal(mirrored(image, reach, reach + 1), np.pad(image, (reach, reach + 1), mode="reflect"))


@settings(max_examples=15, deadline=None)
@given(SIDES, SIDES, st.integers(1, 30), st.integers(0, 9))
def test_the_most_similar_neighbours(height: int, width: int, count: int, seed: int) -> None:
    """Whole numbers, so that there are many ties: they keep the order of the window."""
    radius = 2
    image = (drawn(1, height, width, seed=seed) * 4).floor()
    whole = padded(image, radius, torch.nan)
    for block, found in most_similar(whole, count, radius, lambda a, b: (a - b).abs().sum(0)):
        values = found.take(block.around(whole))[0]  # [n p]
        for p in range(values.shape[1]):
            y, x = divmod(p, width)
            window = whole[0, y + block.rows.start : y + block.rows.start + 5, x : x + 5].flatten()
            away = (window - image[0, y + block.rows.start, x]).abs().nan_to_num(torch.inf)
            order = away.argsort(stable=True)[: len(values)]
            usable = away[order].isfinite()
            torch.testing.assert_close(values[usable, p], window[order][usable])
            assert not found.score[~usable, p].isfinite().any()


def test_blocks_may_be_cut_short_and_have_gaps() -> None:
    image = torch.arange(15.0).reshape(1, 3, 5)
    image[0, 0, 0] = torch.nan
    expected = torch.tensor([[[(1 + 5 + 6) / 3, 5.0, 6.5], [10.5, 12.5, 14.0]]])
    torch.testing.assert_close(block_means(image, 2), expected)
    assert spread(expected, 2, image).shape == image.shape


def test_a_local_regression_finds_a_line() -> None:
    x = drawn(2, 5, 6)
    slope, offset, residual = local_regression(x, 3 * x - 1)
    torch.testing.assert_close(slope, torch.full_like(x, 3.0))
    torch.testing.assert_close(offset, torch.full_like(x, -1.0))
    torch.testing.assert_close(residual, torch.zeros_like(x))


def test_surfaces_go_through_their_points() -> None:
    values = drawn(2, 4, 5)
    points = torch.cartesian_prod(torch.arange(4.0), torch.arange(5.0)).double()
    made = splines.evaluate(splines.thin_plate(points, values.flatten(1).T), points, points)
    torch.testing.assert_close(made, values.flatten(1).T)
    weighted = splines.inverse_distance(values, 3, (12, 15), 2)
    torch.testing.assert_close(weighted[:, 1::3, 1::3], values, atol=1e-4, rtol=0)


def test_a_plane_is_its_own_spline_and_one_point_a_constant() -> None:
    points = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
    plane = (2 + points @ torch.tensor([[0.5], [-1.0]], dtype=torch.float64)).double()
    at = drawn(9, 2) * 3
    found = splines.evaluate(splines.thin_plate(points, plane), points, at)
    torch.testing.assert_close(found, 2 + at @ torch.tensor([[0.5], [-1.0]], dtype=torch.float64))
    one = splines.thin_plate(torch.zeros(1, 2).double(), torch.full((1, 1), 7.0).double())
    torch.testing.assert_close(
        splines.evaluate(one, torch.zeros(1, 2).double(), torch.zeros(1, 2).double())[0, 0].item(), 7.0
    )


def test_clusters_are_found_and_few_samples_make_few() -> None:
    samples = np.concatenate([np.full((30, 2), c) + drawn(30, 2).numpy() * 0.1 for c in (0.0, 5.0, 9.0)])
    centres = k_means(samples, 3, seed=1)
    np.testing.assert_allclose(centres[:, 0], [0.05, 5.05, 9.05], atol=0.05)
    assert len(k_means(np.ones((8, 2)), 3, seed=0)) == 1
    image = torch.tensor([[[0.0, 9.0, torch.nan]], [[0.1, 8.0, 1.0]]])
    assert classify(image, torch.from_numpy(centres)).tolist() == [[0, 2, -1]]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_gap_statistic_counts_heaps(count: int) -> None:
    rng = np.random.default_rng(count)
    middles = np.array([[0.0, 0.0], [8.0, 1.0], [1.0, 9.0], [9.0, 10.0]])[:count]
    samples = np.concatenate([m + rng.normal(0, 0.3, (60, 2)) for m in middles])
    assert gap_count(samples, 6, seed=0) == count
    assert gap_count(np.ones((9, 2)), 6, seed=0) == 1


def test_the_significance_of_a_correlation_is_that_of_tables() -> None:
    """Critical correlations of two-sided t tests at 5 %."""
    found = np.sqrt(critical_r2(102))
    np.testing.assert_allclose(
        found[[3, 4, 12, 27, 102]], [0.996917, 0.950000, 0.575983, 0.380863, 0.194604], atol=2e-5
    )
    assert (critical_r2(5)[:3] > 1).all()


def test_sparse_codes_find_the_atoms() -> None:
    dictionary = torch.linalg.qr(drawn(20, 8)).Q
    codes = torch.zeros(8, 2, dtype=torch.float64)
    codes[1, 0], codes[[2, 5], 1] = 2.0, torch.tensor([1.0, -3.0], dtype=torch.float64)
    torch.testing.assert_close(sparse_codes(dictionary, dictionary @ codes), codes, atol=1e-6, rtol=0)
    assert (sparse_codes(dictionary, torch.zeros(20, 1).double()) == 0).all()


def test_dictionaries_learn_a_linear_relation() -> None:
    coarse = drawn(10, 4) @ drawn(4, 60, seed=1) - 1
    made = learn(coarse, 2 * coarse, atoms=12, rounds=3, seed=0)
    torch.testing.assert_close(made.fine, 2 * made.coarse)
    assert len(learn(coarse[:, :3], coarse[:, :3], atoms=12, rounds=1, seed=0).coarse.T) == 3


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30))
def test_patches_cover_the_image_and_join_again(height: int, width: int) -> None:
    image = drawn(height, width)
    rows, columns = (patch_starts(0, side, side) for side in (height, width))
    torch.testing.assert_close(joined(patches(image, rows, columns), rows, columns, (height, width)), image)


def test_a_window_sees_the_patches_of_the_whole_image() -> None:
    assert patch_starts(0, 20, 20) == [0, 5, 10, 13]
    assert patch_starts(4, 16, 20) == [1, 6, 9]
    assert patch_starts(0, 14, 20) == [0, 5]


def test_distances_to_clouds() -> None:
    cloudy = torch.zeros(6, 7, dtype=torch.bool)
    cloudy[1, 2] = True
    expected = np.minimum(np.hypot(*np.meshgrid(np.arange(6) - 1, np.arange(7) - 2, indexing="ij")), 4)
    np.testing.assert_allclose(cloud_distance(cloudy, 4), expected, rtol=1e-6)


def test_lines_in_time_go_on_and_need_more_than_three_values() -> None:
    days = torch.tensor([0.0, 1, 4, 6, 9]).double()
    values = (3 * days + 1).reshape(-1, 1).repeat(1, 2)
    values[2, 0] = torch.nan
    values[1:3, 1] = torch.nan
    found = interpolate(values, days, torch.tensor([-2.0, 4.0, 6.0, 11.0]))
    torch.testing.assert_close(found[:, 0], torch.tensor([-5.0, 13.0, 19.0, 34.0]).double())
    assert found[:, 1].isnan().all()


def test_the_most_important_image_is_always_kept() -> None:
    assert kept_images(np.array([0.2, 0.5, 0.3]), 0.9).tolist() == [1]
    assert kept_images(np.array([0.2, 0.5, 0.4]), 0.9).tolist() == [1, 2]
    assert kept_images(np.array([1.0]), 2).tolist() == [0]
