"""The landscape on its own points: the same parcels as on 10 m pixels."""

from __future__ import annotations

import numpy as np
import pytest

from sitsfusion.errors import InputError
from sitsfusion.simulate.landscape import make_fine_landscape, make_landscape


def test_fine_pixels_hold_the_parcels_of_coarse_ones() -> None:
    coarse, fine = make_landscape((18, 15), seed=4), make_fine_landscape((72, 60), seed=4)
    assert fine.shape == (72, 60)
    assert fine.ranks == (72 * 60,)  # no pixel is a mixture
    shares = fine.cover_shares()
    blocks = shares.reshape(len(shares), 18, 4, 15, 4).mean((2, 4))
    np.testing.assert_allclose(blocks, coarse.cover_shares(), atol=1e-6)
    np.testing.assert_array_equal(fine.tint, coarse.tint)
    assert abs(float(fine.elevation.mean() - coarse.elevation.mean())) < 0.5


def test_sides_that_hold_no_whole_pixels_are_refused() -> None:
    with pytest.raises(InputError, match="multiples of 4"):
        make_fine_landscape((10, 12), seed=0)
