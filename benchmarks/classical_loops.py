"""STARFM and ESTARFM as one would first write them: pixel by pixel, in pure Python, and with NumPy windows.

Section 12 of the specification with the defaults of `starfm` (two pairs, 40 classes, sigma 50) and `estarfm` (4
classes, no data range); no masks. Each function computes the pixels `where` and returns [n, bands].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sitsfusion.methods.stair.gaps import Search
from sitsfusion.methods.stf_classical.significance import critical_r2

Image = NDArray[Any]
Pairs = Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]
Where = Sequence[tuple[int, int]]

SIGMA, STARFM_CLASSES, ESTARFM_CLASSES = 50.0, 40, 4
SIGMA_DT, SIGMA_DS = SIGMA * math.sqrt(2), SIGMA * math.sqrt(2)
SIGMA_C = math.hypot(SIGMA_DT, SIGMA_DS)


def starfm_numpy(pairs: Pairs, coarse: NDArray[Any], std: NDArray[Any], window: int, where: Where) -> NDArray[Any]:
    radius, (bands, height, width) = window // 2, coarse.shape
    spectral = [np.abs(c - f) for f, c in pairs]
    change = [np.abs(c - coarse) for _, c in pairs]
    shifted = [f + coarse - c for f, c in pairs]
    out = np.empty((len(where), bands), np.float32)
    for n, (row, column) in enumerate(where):
        top, left = max(row - radius, 0), max(column - radius, 0)
        here = slice(top, row + radius + 1), slice(left, column + radius + 1)
        ys, xs = np.ogrid[top : min(row + radius + 1, height), left : min(column + radius + 1, width)]
        spatial = 1 + 2 * np.sqrt((ys - row) ** 2 + (xs - column) ** 2).astype(np.float32) / window
        for b in range(bands):
            t0 = min(t[b, row, column] for t in change) + SIGMA_DT
            s0 = min(s[b, row, column] for s in spectral) + SIGMA_DS
            total = weight = 0.0
            for k, (fine, _) in enumerate(pairs):
                t, s = change[k][b][here], spectral[k][b][here]
                near = np.abs(fine[b][here] - fine[b, row, column]) < 2 * std[k, b] / STARFM_CLASSES
                near &= (t < t0) | (s < s0)
                combined = (1 + t) * (1 + s)
                w = np.where(combined < SIGMA_C, 1, 1 / (combined * spatial)) * near
                total += (w * shifted[k][b][here]).sum()
                weight += w.sum()
            centre = np.mean([v[b, row, column] for v in shifted])
            out[n, b] = total / weight if weight > 0 else centre
    return out


def starfm_python(pairs: Pairs, coarse: NDArray[Any], std: NDArray[Any], window: int, where: Where) -> NDArray[Any]:
    radius, (bands, height, width) = window // 2, coarse.shape
    fine = [f.tolist() for f, _ in pairs]
    spectral = [np.abs(c - f).tolist() for f, c in pairs]
    change = [np.abs(c - coarse).tolist() for _, c in pairs]
    shifted = [(f + coarse - c).tolist() for f, c in pairs]
    out = []
    for row, column in where:
        values = []
        for b in range(bands):
            t0 = min(t[b][row][column] for t in change) + SIGMA_DT
            s0 = min(s[b][row][column] for s in spectral) + SIGMA_DS
            total = weight = 0.0
            for k in range(len(pairs)):
                f, t, s, v = fine[k][b], change[k][b], spectral[k][b], shifted[k][b]
                centre, limit = f[row][column], 2 * std[k, b] / STARFM_CLASSES
                for y in range(max(row - radius, 0), min(row + radius + 1, height)):
                    for x in range(max(column - radius, 0), min(column + radius + 1, width)):
                        if abs(f[y][x] - centre) < limit and (t[y][x] < t0 or s[y][x] < s0):
                            combined = (1 + t[y][x]) * (1 + s[y][x])
                            w = 1.0
                            if combined >= SIGMA_C:
                                w = 1 / (combined * (1 + 2 * math.hypot(y - row, x - column) / window))
                            total += w * v[y][x]
                            weight += w
            centre = sum(v[b][row][column] for v in shifted) / len(pairs)
            values.append(total / weight if weight > 0 else centre)
        out.append(values)
    return np.array(out)


def _agreement(pairs: Pairs) -> NDArray[np.float64]:
    """Correlation of fine with coarse values over bands and dates [h w]; 1 where either is constant."""
    fine = np.concatenate([f for f, _ in pairs]).astype(np.float64)
    coarse = np.concatenate([c for _, c in pairs]).astype(np.float64)
    fine, coarse = fine - fine.mean(0), coarse - coarse.mean(0)
    spread = np.sqrt((fine**2).sum(0) * (coarse**2).sum(0))
    return np.where(spread > 0, (fine * coarse).sum(0) / np.where(spread > 0, spread, 1), 1.0)


def _slope(x: NDArray[Any], y: NDArray[Any], limits: NDArray[np.float64]) -> float:
    n = len(x)
    dx, dy = x - x.mean(), y - y.mean()
    xx, xy, yy = (dx**2).sum(), (dx * dy).sum(), (dy**2).sum()
    if xx == 0 or yy == 0 or xy**2 / (xx * yy) < limits[n]:
        return 1.0
    slope = float(xy / xx)
    return slope if 0 <= slope <= 5 else 1.0


def estarfm_numpy(pairs: Pairs, coarse: NDArray[Any], std: NDArray[Any], window: int, where: Where) -> NDArray[Any]:
    radius, (bands, height, width) = window // 2, coarse.shape
    apart, limits = 1 - _agreement(pairs), critical_r2(2 * window**2)
    bound = 2 * std / ESTARFM_CLASSES
    out = np.empty((len(where), bands), np.float32)
    for n, (row, column) in enumerate(where):
        top, left = max(row - radius, 0), max(column - radius, 0)
        here = slice(top, row + radius + 1), slice(left, column + radius + 1)
        ys, xs = np.ogrid[top : min(row + radius + 1, height), left : min(column + radius + 1, width)]
        near = np.ones((ys.size, xs.size), bool)
        for k, (f, _) in enumerate(pairs):
            for b in range(bands):
                near &= np.abs(f[b][here] - f[b, row, column]) <= bound[k, b]
        spatial = 1 + 2 * np.sqrt((ys - row) ** 2 + (xs - column) ** 2) / window
        w = 1 / (apart[here][near] * spatial[near] + 1e-7)
        w = w / w.sum()
        for b in range(bands):
            c, target = [c[b][here] for _, c in pairs], coarse[b][here]
            t = np.array([1 / (abs(float((target - ck).sum(dtype=np.float64))) + 1e-10) for ck in c])
            t /= t.sum()
            centre = [f[b, row, column] for f, _ in pairs]
            if near.sum() <= 5:
                out[n, b] = t @ centre
                continue
            x = np.concatenate([ck[near] for ck in c]).astype(np.float64)
            y = np.concatenate([f[b][here][near] for f, _ in pairs]).astype(np.float64)
            slope = _slope(x, y, limits)
            moved = [f0 + slope * (w * (target - ck)[near]).sum() for f0, ck in zip(centre, c, strict=True)]
            out[n, b] = t @ moved
    return out


def estarfm_python(pairs: Pairs, coarse: NDArray[Any], std: NDArray[Any], window: int, where: Where) -> NDArray[Any]:
    radius, (bands, height, width) = window // 2, coarse.shape
    fine, low, target = [f.tolist() for f, _ in pairs], [c.tolist() for _, c in pairs], coarse.tolist()
    apart, limits = (1 - _agreement(pairs)).tolist(), critical_r2(2 * window**2)
    bound = (2 * std / ESTARFM_CLASSES).tolist()
    out = []
    for row, column in where:
        near, weights = [], []
        sums = [[0.0] * bands for _ in pairs]
        for y in range(max(row - radius, 0), min(row + radius + 1, height)):
            for x in range(max(column - radius, 0), min(column + radius + 1, width)):
                similar = True
                for k in range(2):
                    for b in range(bands):
                        sums[k][b] += target[b][y][x] - low[k][b][y][x]
                        if similar and abs(fine[k][b][y][x] - fine[k][b][row][column]) > bound[k][b]:
                            similar = False
                if similar:
                    near.append((y, x))
                    weights.append(1 / (apart[y][x] * (1 + 2 * math.hypot(y - row, x - column) / window) + 1e-7))
        norm = sum(weights)
        values = []
        for b in range(bands):
            t = [1 / (abs(s[b]) + 1e-10) for s in sums]
            centre = [f[b][row][column] for f in fine]
            if len(near) <= 5:
                values.append((t[0] * centre[0] + t[1] * centre[1]) / sum(t))
                continue
            x = np.array([c[b][i][j] for c in low for i, j in near])
            y = np.array([f[b][i][j] for f in fine for i, j in near])
            slope, moved = _slope(x, y, limits), []
            for k in range(2):
                change = sum(w * (target[b][i][j] - low[k][b][i][j]) for w, (i, j) in zip(weights, near, strict=True))
                moved.append(centre[k] + slope * change / norm)
            values.append((t[0] * moved[0] + t[1] * moved[1]) / sum(t))
        out.append(values)
    return np.array(out)


def fit_fc_numpy(fine: Image, images: Image, window: int, similar: int, where: Where) -> Image:
    """The spatial filter of Fit-FC: `images [c h w]` averaged over the most similar pixels of `fine [b h w]`."""
    radius = window // 2
    searched, averaged = (
        np.pad(a, ((0, 0), (radius, radius), (radius, radius)), mode="reflect") for a in (fine, images)
    )
    ys, xs = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    near = 1 / (1 + np.hypot(ys, xs).ravel() / radius)
    out = np.empty((len(where), len(images)))
    for n, (row, column) in enumerate(where):
        here = slice(row, row + window), slice(column, column + window)
        apart = np.abs(searched[:, *here] - fine[:, row, column, None, None]).mean(0).ravel()
        best = np.argsort(apart, kind="stable")[:similar]
        out[n] = averaged[:, *here].reshape(len(images), -1)[:, best] @ near[best] / near[best].sum()
    return out


def fsdaf_numpy(fine: Image, change: Image, limit: Image, radius: int, similar: int, where: Where) -> Image:
    """Step 7 of FSDAF: `fine [b h w]` plus the mean change of similar pixels; `limit [b]`. No data range."""
    _, height, width = fine.shape
    out = np.empty((len(where), len(fine)))
    for n, (row, column) in enumerate(where):
        top, left = max(row - radius, 0), max(column - radius, 0)
        here = slice(top, row + radius + 1), slice(left, column + radius + 1)
        ys, xs = np.ogrid[top : min(row + radius + 1, height), left : min(column + radius + 1, width)]
        centre = fine[:, row, column, None, None]
        apart = np.abs(fine[:, *here] - centre)
        alike = (apart < limit[:, None, None]).all(0)
        score = np.where(alike, (apart / np.abs(centre).clip(min=1)).sum(0), np.inf).ravel()
        best = np.argsort(score, kind="stable")[:similar]
        weight = 1 / ((1 + np.hypot(ys - row, xs - column).ravel()[best] / radius) * (1 + score[best]))
        mean = change[:, *here].reshape(len(change), -1)[:, best] @ weight / weight.sum()
        out[n] = fine[:, row, column] + mean
    return out


def stair_numpy(image: Image, other: Image, classes: Image, line: Image, search: Search, where: Where) -> Image:
    """Gaps of `image [b h w]` at `where` filled from `other`, with `line [k b 2]` of each class."""
    slope, offset = (line[classes, :, i].transpose(2, 0, 1) for i in (0, 1))
    expected = slope * other + offset
    errors = image - expected
    seen = np.isfinite(errors).all(0)
    out = np.empty((len(where), len(image)))
    for n, (row, column) in enumerate(where):
        for radius in search.radii:
            top, left = max(row - radius, 0), max(column - radius, 0)
            here = slice(top, row + radius + 1), slice(left, column + radius + 1)
            alike = seen[here] & (classes[here] == classes[row, column])
            if alike.sum() >= search.neighbours:
                break
        apart = ((other[:, *here] - other[:, row, column, None, None]) ** 2).sum(0)[alike]
        best = np.argsort(apart, kind="stable")[: search.neighbours]
        mean = errors[:, *here][:, alike][:, best].mean(1) if len(best) else 0.0
        out[n] = expected[:, row, column] + mean
    return out


LOOPS: dict[tuple[str, str], Callable[..., NDArray[Any]]] = {
    ("starfm", "numpy"): starfm_numpy,
    ("starfm", "python"): starfm_python,
    ("estarfm", "numpy"): estarfm_numpy,
    ("estarfm", "python"): estarfm_python,
}
