"""Sparse coding of patches, and a pair of dictionaries that share the codes.

Patches are columns [d n], dictionaries [d k] with atoms as columns, codes [k n]; float64 throughout, so that which
atoms a patch uses does not depend on how many patches are coded together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_ITERATIONS = 60
_DEBIASING = 12
_STAGES = (8.0, 4.0, 2.0, 1.0)  # continuation: from strong to the wanted sparsity
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Dictionaries:
    """Atoms of coarse and of fine change, [d k] each; code of the one is code of the other."""

    coarse: Tensor
    fine: Tensor


def sparse_codes(dictionary: Tensor, patches: Tensor, sparsity: float = 0.1) -> Tensor:
    """Codes x of min 1/2 |p - D x|^2 + tau |x|_1 with tau = sparsity max |D' p|, then least squares on the atoms used.

    Proximal gradient with momentum (Beck and Teboulle 2009), with a falling tau; the solution is that of gradient
    projection (Figueiredo et al. 2007). Patches of zeros have codes of zeros.
    """
    gram, match = dictionary.T @ dictionary, dictionary.T @ patches  # [k k], [k n]
    step = 1 / torch.linalg.matrix_norm(gram, 2).clamp(min=_TINY)
    tau = sparsity * match.abs().amax(0)
    codes = torch.zeros_like(match)
    for stage in _STAGES:
        codes = _descend(gram, match, codes, step, tau * stage, _ITERATIONS // len(_STAGES))
    return _debiased(gram, match, codes)


def _descend(gram: Tensor, match: Tensor, codes: Tensor, step: Tensor, tau: Tensor, rounds: int) -> Tensor:
    ahead, momentum = codes, 1.0
    for _ in range(rounds):
        moved = ahead - step * (gram @ ahead - match)
        found = moved.sign() * (moved.abs() - step * tau).clamp(min=0)
        faster = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead, codes, momentum = found + (momentum - 1) / faster * (found - codes), found, faster
    return codes


def _debiased(gram: Tensor, match: Tensor, codes: Tensor) -> Tensor:
    """A few steps of conjugate gradients towards the least squares solution on the atoms that each code uses."""
    used = (codes != 0).to(codes)
    residual = used * (match - gram @ codes)
    direction, size = residual, residual.square().sum(0)
    for _ in range(_DEBIASING):
        along = used * (gram @ direction)
        length = size / (direction * along).sum(0).clamp(min=_TINY)
        codes, residual = codes + length * direction, residual - length * along
        smaller = residual.square().sum(0)
        direction, size = residual + smaller / size.clamp(min=_TINY) * direction, smaller
    return codes


def learn(coarse: Tensor, fine: Tensor, atoms: int, rounds: int, seed: int) -> Dictionaries:
    """Coupled dictionaries of training patches [d n] each: coding of the coarse patches alternates with an update of
    the atoms of both (the approximate K-SVD of Rubinstein et al. 2008). Atoms start as random patches; there are at
    most as many as patches.
    """
    chosen = torch.randperm(coarse.shape[1], generator=torch.Generator().manual_seed(seed))[:atoms]
    size = coarse[:, chosen].norm(dim=0).clamp(min=_TINY)
    found = Dictionaries(coarse[:, chosen] / size, fine[:, chosen] / size)
    for _ in range(rounds):
        found = _updated(found, coarse, fine, sparse_codes(found.coarse, coarse))
    return found


def _updated(old: Dictionaries, coarse: Tensor, fine: Tensor, codes: Tensor) -> Dictionaries:
    """Each atom in turn becomes the best one for what the others leave, its codes likewise."""
    split, codes = len(coarse), codes.clone()
    both, atoms = torch.cat([coarse, fine]), torch.cat([old.coarse, old.fine])
    residual = both - atoms @ codes
    for k in range(atoms.shape[1]):
        users = codes[k].nonzero()[:, 0]
        if not len(users):
            continue
        left = residual[:, users] + atoms[:, k, None] * codes[k, users]
        atom = left @ codes[k, users]
        size = atom[:split].norm()  # unit length where it is coded
        if size < _TINY:
            continue
        atom = atom / size
        codes[k, users] = (atom @ left) / atom.square().sum()
        residual[:, users] = left - atom[:, None] * codes[k, users]
        atoms[:, k] = atom
    return Dictionaries(atoms[:split], atoms[split:])
