"""The orthonormal Haar transform of images, one level, differentiable.

Of each 2x2 block [a b; c d]: A = (a+b+c+d)/2, H = (a+b-c-d)/2, V = (a-b+c-d)/2, D = (a-b-c+d)/2. The transform is its
own inverse up to the order of the numbers.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor

from sitsfusion.errors import InputError


def haar(x: Tensor) -> Tensor:
    """`[n c h w]`, even sides -> sub-bands A, H, V, D `[4 n c h/2 w/2]`.

    Raises:
        InputError: an odd side.
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise InputError(f"a Haar transform needs even sides, found {tuple(x.shape[-2:])} pixels: pad the image")
    return _butterfly(rearrange(x, "n c (h i) (w j) -> (i j) n c h w", i=2, j=2))


def inverse_haar(bands: Tensor) -> Tensor:
    """Sub-bands A, H, V, D `[4 n c h w]` -> `[n c 2h 2w]`."""
    return rearrange(_butterfly(bands), "(i j) n c h w -> n c (h i) (w j)", i=2, j=2)


def _butterfly(x: Tensor) -> Tensor:
    """Half the 4 x 4 Hadamard matrix along the first axis; it is symmetric and its own inverse."""
    signs = x.new_tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) / 2
    return (signs @ x.flatten(1)).reshape(x.shape)
