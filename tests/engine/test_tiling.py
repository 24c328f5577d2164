"""Cores, what each reads, and the lattice of patches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfusion.engine.tiling import TileGrid, alignment, choose, patch_starts, patches_over, reach, taper
from sitsfusion.errors import InputError, PlanError
from sitsfusion.grid import Window
from sitsfusion.methods.base import Local, Patches, Whole

pytestmark = pytest.mark.smoke
sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))
lattices = st.integers(1, 25).flatmap(lambda size: st.builds(Patches, st.just(size), st.integers(1, size)))

cores = st.builds(Window, st.integers(0, 59), st.integers(0, 59), st.integers(1, 60), st.integers(1, 60))


def free(core: tuple[int, int]) -> int:
    """Any core fits."""
    return 0


@settings(deadline=None)
@given(size=sizes, height=st.integers(1, 70), width=st.integers(1, 70))
def test_cores_cover_every_cell_once(size: tuple[int, int], height: int, width: int) -> None:
    tiles = TileGrid(size, height, width)
    seen = np.zeros(size, int)
    names = []
    for name, core in tiles:
        names.append(name)
        seen[core.slices] += 1
        assert core.height <= tiles.largest[0] <= size[0]
        assert core.width <= tiles.largest[1] <= size[1]
    assert (seen == 1).all()
    assert len(set(names)) == len(names) == len(tiles) == tiles.shape[0] * tiles.shape[1]


@settings(deadline=None)
@given(size=sizes, tile=st.integers(1, 900), per_cell=st.sampled_from([1, 2, 3, 4, 6, 12]), align=st.integers(1, 6))
def test_cores_start_at_alignments_and_whole_blocks(
    size: tuple[int, int], tile: int, per_cell: int, align: int
) -> None:
    tiles = choose(size, [Local(align=align)], [per_cell], free, 0, tile)
    for _, core in tiles:
        assert core.row % align == core.col % align == 0
        assert core.row * per_cell % 16 == core.col * per_cell % 16 == 0


@settings(deadline=None)
@given(size=sizes, lattice=lattices)
def test_tiles_of_patchwise_methods_are_multiples_of_the_stride(size: tuple[int, int], lattice: Patches) -> None:
    tiles = choose(size, [lattice], [3], free, 0)
    assert tiles.height % lattice.stride == tiles.width % lattice.stride == 0


def test_the_usual_core_is_480_pixels() -> None:
    tiles = choose((5000, 5000), [Local()], [3, 1], free, 0)
    assert (tiles.height, tiles.width) == (160, 160)
    assert choose((5000, 5000), [Local(align=100)], [3], free, 0).height == 400, "1200 pixels: the nearest multiple"


def test_the_core_shrinks_to_the_budget_and_no_further() -> None:
    def peak(core: tuple[int, int]) -> int:
        return core[0] * core[1]

    assert choose((999, 999), [Local()], [3], peak, 100 * 100).height == 96
    with pytest.raises(PlanError, match=r"even the smallest tile \(16 x 16 cells\) needs .* raise --memory"):
        choose((999, 999), [Local()], [3], peak, 255)
    assert choose((9, 9), [Local()], [3], peak, 255).largest == (9, 9), "a scene smaller than the smallest tile"
    with pytest.raises(InputError, match="0 pixels is not possible"):
        choose((9, 9), [Local()], [3], peak, 255, 0)


def test_a_whole_scene_is_one_tile_or_refused_with_the_numbers() -> None:
    assert len(choose((50, 70), [Whole(), Local()], [3], free, 0)) == 1
    with pytest.raises(
        PlanError, match=r"whole scene of 50 x 70 cells at once, which needs 4 MiB .* the budget is 3 MiB"
    ):
        choose((50, 70), [Whole()], [3], lambda core: 4 * 2**20, 3 * 2**20)


def test_alignment_is_common_to_all_steps_and_outputs() -> None:
    assert alignment([Local(align=3), Patches(20, 10)], [3, 1]) == 240
    assert alignment([Whole()], [16]) == 1


@settings(deadline=None)
@given(size=sizes, core=cores, halo=st.integers(0, 80))
def test_reach_is_the_halo_clipped_to_the_scene(size: tuple[int, int], core: Window, halo: int) -> None:
    inside = core.clipped(size)
    if inside.empty:
        return
    found = reach(inside, Local({"fine": halo}), "fine", size)
    assert found.clipped(size) == found
    assert found == Window(
        inside.row - halo, inside.col - halo, inside.height + 2 * halo, inside.width + 2 * halo
    ).clipped(size)
    assert reach(inside, Local({"fine": halo}), "coarse", size) == inside
    assert reach(inside, Whole(), "fine", size) == Window(0, 0, *size)


@settings(deadline=None, max_examples=40)
@given(size=st.tuples(st.integers(1, 30), st.integers(1, 30)), lattice=lattices, tile=st.integers(3, 35))
def test_patches_cover_every_cell_and_lie_in_what_is_read(size: tuple[int, int], lattice: Patches, tile: int) -> None:
    lattice_of_scene = {
        Window(r, c, lattice.size, lattice.size).clipped(size)
        for r in patch_starts(size[0], lattice)
        for c in patch_starts(size[1], lattice)
    }
    used = set()
    for _, core in TileGrid(size, tile, tile):
        patches = list(patches_over(core, lattice, size))
        window = reach(core, lattice, "fine", size)
        seen = np.zeros(size, bool)
        for patch in patches:
            assert (patch.height, patch.width) == (min(lattice.size, size[0]), min(lattice.size, size[1]))
            assert patch.clipped(size) == patch
            inside = patch.relative_to(window)
            assert inside.clipped((window.height, window.width)) == inside
            seen[patch.slices] = True
        assert seen[core.slices].all()
        assert set(patches) <= lattice_of_scene
        assert patches == sorted(patches, key=lambda p: (p.row, p.col))
        used.update(patches)
    assert used == lattice_of_scene, "a patch that no tile needs would be a gap in the lattice"


@settings(deadline=None)
@given(lattice=lattices, height=st.integers(1, 30), width=st.integers(1, 30), n=st.sampled_from([1, 2, 3]))
def test_blending_weights_fall_to_the_edge_and_never_to_zero(lattice: Patches, height: int, width: int, n: int) -> None:
    weights = taper(Window(0, 0, height, width), lattice, n)
    assert weights.shape == (height * n, width * n)
    assert weights.dtype == np.float32
    assert (weights > 0).all()
    assert (weights <= 1).all()
    np.testing.assert_array_equal(weights, weights[::-1])
    np.testing.assert_array_equal(weights, weights[:, ::-1])
    assert (np.diff(weights[: (height * n + 1) // 2], axis=0) >= 0).all()


@pytest.mark.parametrize(("size", "stride"), [(4, 5), (4, 0), (0, 1), (-1, -1)])
def test_patches_that_leave_gaps_are_refused(size: int, stride: int) -> None:
    with pytest.raises(InputError, match="pixels would belong to no patch"):
        Patches(size, stride)


@pytest.mark.parametrize("bad", [{"align": 0}, {"halo": {"fine": -1}}])
def test_impossible_halos_and_alignments_are_refused(bad: dict) -> None:
    with pytest.raises(InputError, match="1 or more cells, halos 0 or more"):
        Local(**bad)
