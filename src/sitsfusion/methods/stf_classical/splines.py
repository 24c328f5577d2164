"""Surfaces through the values of coarse pixels: thin plate spline, and inverse distance weighting.

Positions are in coarse pixels, (row, column), counted so that pixel (i, j) of the coarse lattice has its centre at
(i, j).
"""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK = 2**20  # kernel values computed at a time


def thin_plate(points: Tensor, values: Tensor) -> Tensor:
    """Coefficients [n + 3, b] of the interpolating spline (kernel d^2 ln d, affine part) through `values [n b]` at
    `points [n 2]`; float64. With fewer than three points, or all on one line, the flattest of the possible surfaces.
    """
    n = len(points)
    affine = torch.cat([torch.ones(n, 1).to(points), points], 1)  # [n 3]
    system = torch.zeros(n + 3, n + 3, dtype=torch.float64)
    system[:n, :n], system[:n, n:], system[n:, :n] = _kernel(points, points), affine, affine.T
    right = torch.cat([values, values.new_zeros(3, values.shape[1])])
    if torch.linalg.matrix_rank(affine) < affine.shape[1]:
        return torch.matmul(torch.linalg.pinv(system, hermitian=True), right)
    found: Tensor = torch.linalg.solve(system, right)
    return found


def evaluate(coefficients: Tensor, points: Tensor, at: Tensor) -> Tensor:
    """The spline at positions `at [m 2]`: [m b]."""
    n = len(points)
    found = [
        _kernel(part, points) @ coefficients[:n] + coefficients[n] + part @ coefficients[n + 1 :]
        for part in torch.split(at, max(1, _CHUNK // n))
    ]
    return torch.cat(found)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    square = (a[:, None] - b[None]).square().sum(-1)
    return torch.where(square > 0, 0.5 * square * square.log(), 0.0)


def inverse_distance(blocks: Tensor, ratio: int, size: tuple[int, int], reach: int) -> Tensor:
    """Mean of the coarse pixels `[b h' w']` within `reach` pixels, weighted by 1 / d^2, on the fine grid: [b h w].

    NaN pixels are left out; a fine pixel at a coarse centre has its value. NaN where no pixel is in reach.
    """
    height, width = size
    rows, columns = (torch.arange(n, device=blocks.device) for n in size)
    around = torch.nn.functional.pad(blocks, (reach,) * 4, value=torch.nan)
    total, weight = blocks.new_zeros(len(blocks), height, width), blocks.new_zeros(len(blocks), height, width)
    y, x = (((n + 0.5) / ratio - 0.5 - n // ratio).to(blocks) for n in (rows, columns))  # from the own block's centre
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            value = around[:, rows // ratio + reach + dy][..., columns // ratio + reach + dx]
            share = 1 / ((y - dy).square()[:, None] + (x - dx).square()).clamp(min=1e-6)
            total += (share * value).nan_to_num(0.0)
            weight += share * value.isfinite()
    return total / weight
