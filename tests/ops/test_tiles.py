"""Padding to a size rule, and the published tile layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.errors import InputError
from sitsfusion.ops import tiles
from sitsfusion.series import Series

SIDES = st.integers(1, 13)


@given(SIDES, SIDES, st.integers(1, 16))
def test_pad_to_multiple_mirrors_and_crop_undoes_it(h, w, multiple):
    x = torch.rand(2, h, w)
    padded = tiles.pad_to_multiple(x, multiple)
    assert padded.shape[-2] % multiple == padded.shape[-1] % multiple == 0
    assert padded.shape[-2] - h < multiple
    assert torch.equal(tiles.crop_to(padded, h, w), x)
    expected = np.pad(x.numpy(), ((0, 0), (0, padded.shape[-2] - h), (0, padded.shape[-1] - w)), mode="reflect")
    np.testing.assert_array_equal(padded.numpy(), expected)


def test_padding_and_cropping_refuse_what_cannot_be():
    with pytest.raises(InputError, match="multiples of 0"):
        tiles.pad_to_multiple(torch.rand(1, 4, 4), 0)
    with pytest.raises(InputError, match="5 x 4"):
        tiles.crop_to(torch.rand(1, 4, 4), 5, 4)


@given(SIDES, SIDES, st.integers(1, 6), st.integers(0, 3))
def test_tiles_are_windows_of_the_zero_padded_image(h, w, size, margin):
    x = torch.rand(2, h, w)
    cut = tiles.patchify(x, size, margin)
    rows, columns = -(-h // size), -(-w // size)
    assert cut.shape == (rows, columns, 2, size + 2 * margin, size + 2 * margin)
    padded = np.pad(x.numpy(), ((0, 0), (margin, size + margin), (margin, size + margin)))
    for i, j in np.ndindex(rows, columns):
        window = padded[:, i * size : i * size + size + 2 * margin, j * size : j * size + size + 2 * margin]
        np.testing.assert_array_equal(cut[i, j].numpy(), window)


@given(SIDES, SIDES, st.integers(1, 6))
def test_unpatchify_undoes_patchify(h, w, size):
    x = torch.rand(2, 3, h, w)
    assert torch.equal(tiles.crop_to(tiles.unpatchify(tiles.patchify(x, size, 0)), h, w), x)


def test_patchify_shares_memory():
    cut = tiles.patchify(torch.rand(1, 40, 40), 10, 5)
    assert cut.untyped_storage().nbytes() == 50 * 50 * 4


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 2), st.integers(0, 2))
@settings(deadline=None)
def test_reference_tiling_puts_every_pixel_back(rows, columns, size, margin):
    """A prediction without neighbourhood: the fine image plus the repeated coarse one."""
    coarse = Series(torch.rand(2, 1, 3, rows, columns), torch.tensor([[4], [5]]))
    fine = Series(torch.rand(2, 1, 3, 3 * rows, 3 * columns), torch.tensor([[7], [8]]))
    order = []

    def predict(parts):
        order.append(float(parts[1].values.sum()))
        up = parts[0].values.repeat_interleave(3, -1).repeat_interleave(3, -2)
        return [None, Series(parts[1].values + up, parts[1].days)]

    nothing, out = tiles.reference_tiling(predict, [coarse, fine], [3, 1], 3 * size, 3 * margin)
    assert nothing is None
    expected = fine.values + coarse.values.repeat_interleave(3, -1).repeat_interleave(3, -2)
    assert torch.equal(tiles.crop_to(out.values, 3 * rows, 3 * columns), expected)
    assert out.days.tolist() == [[7], [8]]
    sums = tiles.patchify(fine.values, 3 * size, 3 * margin).sum((2, 3, 4, 5, 6)).flatten()
    torch.testing.assert_close(torch.tensor(order), sums)


def test_reference_tiling_with_one_sensor():
    fine = Series(torch.rand(1, 2, 1, 6, 6), torch.zeros(1, 2))
    (out,) = tiles.reference_tiling(lambda parts: [parts[1]], [None, fine], [3, 1], 3, 3)
    assert out is not None
    assert torch.equal(out.values, fine.values)


@pytest.mark.parametrize(("size", "margin"), [(4, 3), (3, 2)])
def test_tiles_that_cut_coarse_pixels_are_refused(size, margin):
    fine = Series(torch.rand(1, 1, 1, 6, 6), torch.zeros(1, 1))
    with pytest.raises(InputError, match="ratios"):
        tiles.reference_tiling(lambda parts: parts, [None, fine], [3, 1], size, margin)


def test_inputs_of_different_extent_are_refused():
    fine = Series(torch.rand(1, 1, 1, 6, 6), torch.zeros(1, 1))
    with pytest.raises(InputError, match="extent"):
        tiles.reference_tiling(lambda parts: parts, [fine, fine], [3, 1], 3, 3)
    with pytest.raises(InputError, match="extent"):
        tiles.reference_tiling(lambda parts: parts, [None, None], [3, 1], 3, 3)
    with pytest.raises(InputError, match="margin"):
        tiles.patchify(torch.rand(1, 4, 4), 2, -1)
