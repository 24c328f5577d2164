"""The heart of the methods on two series, of SPSTFM and of DMS, against loops over pixels with NumPy, and peers.

Each row: a name, ours on a whole made-up image, a loop of the same arithmetic over some pixels, and, where there is
one, a peer of a permissive licence. `pixel` may be a patch (SPSTFM).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import sparse_encode
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from classical_scene import seconds
from sitsfusion.methods.dms.upsampling import Enlargement, upsample
from sitsfusion.methods.sen2like.fusion import References, reference_fusion
from sitsfusion.methods.stair.fusion import difference_fusion
from sitsfusion.methods.stf_classical import efast, sparse
from sitsfusion.methods.temporal.coregionalisation import Kernel, Observed, predicted, start
from sitsfusion.ops.gapfill import linear_gapfill
from sitsfusion.ops.mtf import psf_taps

Array = NDArray[np.float64]
BANDS, DATES = 6, 20


@dataclass(frozen=True)
class Row:
    """`ours()` makes `count` pixels; `loop(i)` one of them; `peer` (name, function of i), or None."""

    name: str
    count: int
    ours: Callable[[], Any]
    loop: Callable[[int], Any]
    peer: tuple[str, Callable[[int], Any]] | None = None


def measure_fusions(size: int, sample: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Name and figures of each row; the loops compute `sample` pixels (0: all)."""
    for row in _rows(size):
        row.ours()
        took, _ = seconds(row.ours)
        found = {"pixels_per_second": row.count / took}
        some = np.linspace(0, row.count - 1, min(sample or row.count, row.count)).astype(int).tolist()
        for kind, one in (("numpy", row.loop), row.peer or ("", None)):
            if one is not None:
                loop_took, _ = seconds(partial(_each, one, some))
                found[f"{kind}_pixels_per_second"] = len(some) / loop_took
                found[f"times_{kind}"] = (loop_took / len(some)) / (took / row.count)
        yield row.name, found


def _each(one: Callable[[int], Any], some: list[int]) -> None:
    for i in some:
        one(i)


def _rows(size: int) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    fine = rng.normal(0.3, 0.05, (DATES, BANDS, size, size))
    coarse = fine + rng.normal(0, 0.01, fine.shape)
    valid = rng.random((DATES, size, size)) > 0.4
    days = np.arange(0.0, 10 * DATES, 10)
    yield _naive(fine, valid, days)
    yield _stair(fine, coarse, valid, days)
    yield _sen2like(fine, coarse)
    yield _efast(fine, size)
    yield _spstfm(rng)
    yield _dms(rng, size)
    yield _joint_gp(rng, size)


def _naive(fine: Array, valid: NDArray[np.bool_], days: Array) -> Row:
    values, seen, t = torch.from_numpy(fine), torch.from_numpy(valid), torch.from_numpy(days)
    width, targets = fine.shape[-1], np.arange(5.0, 195, 5)

    def one(i: int) -> list[Array]:
        at = np.s_[:, i // width, i % width]
        clear = valid[at]
        return [np.interp(targets, days[clear], band[at][clear]) for band in fine.swapaxes(0, 1)]

    return Row("naive", width**2, lambda: linear_gapfill(values, seen, t, torch.from_numpy(targets)), one)


def _stair(fine: Array, coarse: Array, valid: NDArray[np.bool_], days: Array) -> Row:
    """Reference mode: one date hidden, the difference of the sensors interpolated to it."""
    width, target, kept = fine.shape[-1], days[DATES // 2], np.arange(DATES) != DATES // 2
    a = (torch.from_numpy(fine), torch.from_numpy(valid), torch.from_numpy(days))
    b = (torch.from_numpy(coarse), torch.from_numpy(days))

    def one(i: int) -> list[float]:
        row, column = divmod(i, width)
        clear, made = valid[kept, row, column], []
        for band in range(BANDS):
            f, c = fine[kept, band, row, column], coarse[:, band, row, column]
            difference = np.interp(days[kept], days[kept][clear], f[clear]) - c[kept]
            made.append(c[DATES // 2] + np.interp(target, days[kept], difference))
        return made

    return Row("stair", width**2, lambda: difference_fusion(a, b, torch.tensor([target])), one)


def _sen2like(fine: Array, coarse: Array) -> Row:
    """Reference mode: the line through two images, its detail within 3 x 3 pixels."""
    width, taps = fine.shape[-1], psf_taps(1.0, [1.0], [0.4])[0].numpy()
    kernel = np.outer(taps, taps)
    images = References(torch.from_numpy(fine[1]), torch.from_numpy(fine[0]), 10.0, 0.0)
    wide = [np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="reflect") for image in fine[:2]]

    def one(i: int) -> Array:
        row, column = divmod(i, width)
        older, newer = (image[:, row : row + 3, column : column + 3] for image in wide)
        line = newer + (newer - older) / 10.0 * 4.0
        made: Array = coarse[0, :, row, column] + line[:, 1, 1] - (line * kernel).sum((1, 2))
        return made

    return Row("sen2like", width**2, lambda: reference_fusion(torch.from_numpy(coarse[0]), images, 14.0, 0.4), one)


def _efast(fine: Array, size: int) -> Row:
    """Four fine images moved by the change of their coarse pixels (bilinear), weighted."""
    ratio, n = 4, 4
    low = fine[:, :, : size // ratio, : size // ratio]
    share = np.random.default_rng(1).random((n, *low.shape[2:]))
    a = [torch.from_numpy(x) for x in (fine[:n], share, low[:n], low[n])]

    def up(image: Array, row: int, column: int) -> Array:
        y, x = ((i + 0.5) / ratio - 0.5 for i in (row, column))
        y, x = (min(max(v, 0), image.shape[-1] - 1) for v in (y, x))
        i, j = min(int(y), image.shape[-2] - 2), min(int(x), image.shape[-1] - 2)
        top, low = (image[..., k, j] * (1 - x + j) + image[..., k, j + 1] * (x - j) for k in (i, i + 1))
        made: Array = top * (1 - y + i) + low * (y - i)
        return made

    def one(i: int) -> Array:
        row, column = divmod(i, size)
        weight = up(share, row, column)
        change = fine[:n, :, row, column] - up(low[:n], row, column)
        made: Array = up(low[n], row, column) + weight @ change / weight.sum()
        return made

    return Row("efast", size**2, lambda: efast.efast(*a, ratio), one)


def _spstfm(rng: np.random.Generator) -> Row:
    """Sparse codes of patches, 256 atoms; the loop codes one patch at a time, the peer is scikit-learn (BSD-3)."""
    dictionary = rng.normal(size=(49, 256))
    dictionary /= np.linalg.norm(dictionary, axis=0)
    patches = rng.normal(size=(49, 1000))
    d, p = torch.from_numpy(dictionary), torch.from_numpy(patches)

    def peer(i: int) -> Any:
        tau = 0.1 * np.abs(dictionary.T @ patches[:, i]).max()
        warnings.simplefilter("ignore", ConvergenceWarning)  # a gap of 1e-6 left is near enough
        return sparse_encode(patches[:, i][None], dictionary.T, algorithm="lasso_cd", alpha=tau, max_iter=1000)

    return Row(
        "spstfm (codes of patches)",
        1000,
        lambda: sparse.sparse_codes(d, p),
        lambda i: _codes(dictionary, patches[:, i]),
        ("scikit-learn", peer),
    )


def _codes(dictionary: Array, patch: Array) -> Array:
    """Proximal gradient without momentum, as many steps as ours."""
    gram, match = dictionary.T @ dictionary, dictionary.T @ patch
    step, tau, codes = 1 / np.linalg.norm(gram, 2), 0.1 * np.abs(match).max(), np.zeros(len(match))
    for stage in (8.0, 4.0, 2.0, 1.0):
        for _ in range(15):
            moved = codes - step * (gram @ codes - match)
            codes = np.sign(moved) * np.maximum(np.abs(moved) - step * tau * stage, 0)
    used = codes != 0
    codes[used] = np.linalg.lstsq(dictionary[:, used], patch, rcond=None)[0]
    return codes


def _dms(rng: np.random.Generator, size: int) -> Row:
    """The resampler of the residuals, where DMS spends its time beside scikit-learn's trees; factor 9."""
    ratio, side = 9, max(8, size // 9)
    low = rng.normal(300, 5, (side, side))

    def cubic(f: float) -> Array:
        return np.array([-f + 2 * f**2 - f**3, 2 - 5 * f**2 + 3 * f**3, f + 4 * f**2 - 3 * f**3, -(f**2) + f**3]) / 2

    def one(i: int) -> float:
        row, column = divmod(i, side * ratio)
        y, x = (row + 0.5) / ratio - 0.5, (column + 0.5) / ratio - 0.5
        i0, j0 = int(np.floor(y)), int(np.floor(x))
        if 1 <= i0 < side - 2 and 1 <= j0 < side - 2:
            return float(cubic(y - i0) @ low[i0 - 1 : i0 + 3, j0 - 1 : j0 + 3] @ cubic(x - j0))
        rows, columns = (np.clip([v, v + 1], 0, side - 1) for v in (i0, j0))
        return float(np.array([1 - y + i0, y - i0]) @ low[np.ix_(rows, columns)] @ np.array([1 - x + j0, x - j0]))

    return Row(
        "dms (residuals upsampled)",
        (side * ratio) ** 2,
        lambda: upsample(low, Enlargement(ratio), (side * ratio, side * ratio)),
        one,
    )


def _joint_gp(rng: np.random.Generator, size: int) -> Row:
    """Mean and sigma at 20 days from both series with given parameters; the peer, scikit-learn (BSD-3), takes one."""
    times = np.sort(rng.uniform(0, 200, 2 * DATES))
    values, targets = rng.normal(size=(size**2, 2 * DATES)), np.linspace(0, 200, 20)
    series = torch.arange(2 * DATES) % 2
    kernel = Kernel.of(start())
    data = Observed(
        torch.from_numpy(values), torch.ones(size**2, 2 * DATES, dtype=torch.bool), torch.from_numpy(times), series
    )
    t, q, fine = torch.from_numpy(times), torch.from_numpy(targets), torch.zeros(20, dtype=torch.long)
    covariance = kernel.covariance((t, t), (series, series)).numpy() + np.diag(kernel.noise[series].numpy())
    cross = kernel.covariance((t, q), (series, fine)).numpy()
    given = ConstantKernel(1.0, "fixed") * Matern(30.0, "fixed", nu=1.5) + WhiteKernel(0.05, "fixed")

    def one(i: int) -> tuple[Array, Array]:
        gain = np.linalg.solve(covariance, cross)
        return gain.T @ values[i], (cross * gain).sum(0)

    def peer(i: int) -> Any:
        return (
            GaussianProcessRegressor(given, optimizer=None)
            .fit(times[:, None], values[i])
            .predict(targets[:, None], return_std=True)
        )

    return Row("joint-gp", size**2, lambda: predicted(kernel, data, q), one, ("scikit-learn", peer))
