"""What a method returned, checked before anything is written: a wrong block is a defect of the method."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sitsfusion.errors import InputError
from sitsfusion.methods.base import Block, Method, Step, Tile


def check_blocks(method: Method, tile: Tile, step: Step, blocks: Mapping[str, Block]) -> Mapping[str, Block]:
    """The blocks, if they are what the step asked for on this tile.

    Raises:
        InputError: a role too few or too many, a wrong shape or type, a valid pixel that is not finite.
    """
    name = method.card.name
    if set(blocks) != set(step.query):
        raise InputError(f"{name} returned {', '.join(blocks) or 'nothing'}; expected {', '.join(step.query)}")
    for role, block in blocks.items():
        wanted = step.query[role]
        expected = (len(wanted.dates), len(wanted.bands), *tile.output_size(wanted.per_cell))
        for what, array in (("values", block.values), ("sigma", block.sigma)):
            if array is not None and (array.shape != expected or array.dtype != np.float32):
                raise InputError(
                    f"{name} returned {role} {what} {array.dtype} {array.shape}; expected float32 {expected}"
                )
        if block.valid.shape != (expected[0], *expected[2:]) or block.valid.dtype != bool:
            found = f"{block.valid.dtype} {block.valid.shape}"
            raise InputError(f"{name} returned {role} valid {found}; expected bool {(expected[0], *expected[2:])}")
        for t, day in enumerate(wanted.dates):
            if not np.isfinite(block.values[t]).all(axis=0)[block.valid[t]].all():
                raise InputError(f"{name} returned valid {role} pixels of {day} that are not finite in every band")
    return blocks
