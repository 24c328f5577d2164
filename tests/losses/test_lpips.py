from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sitsfusion.errors import CheckpointError, InputError, ReadError
from sitsfusion.losses.lpips import BLOCKS, MaskedLpips, load_lpips
from tests.losses.vgg import linear_weights, random_lpips, vgg_weights
from tests.nets.small import images

VGG, LINEAR = vgg_weights(), linear_weights()


@pytest.fixture(scope="module")
def lpips() -> MaskedLpips:
    return random_lpips()


def plain_features(x: Tensor) -> list[Tensor]:
    out = []
    for n, block in enumerate(BLOCKS):
        x = F.max_pool2d(x, 2) if n else x
        for i in block:
            x = F.relu(F.conv2d(x, VGG[f"features.{i}.weight"], VGG[f"features.{i}.bias"], padding=1))
        out.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
    return out


def literal(first: Tensor, second: Tensor, valid: Tensor) -> Tensor:
    """The definition: unknown pixels are NaN in the reference, features that become NaN are unknown."""
    known, total, sums = 0, 0, torch.zeros(len(first))
    second = second.masked_fill(~valid[:, None], torch.nan)
    for weight, ours, theirs in zip(LINEAR, plain_features(first), plain_features(second), strict=True):
        seen = ~theirs.isnan()
        squares = weight * (ours - theirs.nan_to_num()).square() * seen
        sums += (squares.sum((2, 3)) / seen.sum((2, 3)).clamp(min=1e-6)).sum(1)
        known, total = known + int(seen.sum()), total + seen.numel()
    return total / known * sums.mean()


def test_with_everything_valid_it_is_lpips(lpips: MaskedLpips) -> None:
    first, second = images(0, 2, 3, 20, 23), images(1, 2, 3, 20, 23)
    pairs = zip(LINEAR, plain_features(first), plain_features(second), strict=True)
    expected = sum((w * (a - b).square()).sum(1).mean() for w, a, b in pairs)
    value = lpips(first, second, torch.ones(2, 20, 23, dtype=torch.bool))
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)


def test_masked_it_is_its_definition_with_the_same_gradient(lpips: MaskedLpips) -> None:
    """Images with few, half, single and no unknown pixels: they leave at different blocks."""
    first, second = images(0, 4, 3, 33, 38).requires_grad_(), images(1, 4, 3, 33, 38)
    valid = torch.ones(4, 33, 38, dtype=torch.bool)
    valid[0] = images(2, 33, 38) > -1.3
    valid[1, :16] = False
    valid[2, 0, 0] = False
    value, expected = lpips(first, second, valid), literal(first, second, valid)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
    ours, theirs = (torch.autograd.grad(v, first)[0] for v in (value, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-7)


def test_one_channel_stands_for_three(lpips: MaskedLpips) -> None:
    first, second, valid = images(0, 2, 1, 18, 18), images(1, 2, 1, 18, 18), images(2, 2, 18, 18) > -1.5
    three = lpips(first.expand(-1, 3, -1, -1), second.expand(-1, 3, -1, -1), valid)
    torch.testing.assert_close(lpips(first, second, valid), three, rtol=1e-4, atol=1e-6)


def test_what_is_not_valid_never_matters(lpips: MaskedLpips) -> None:
    first, second = images(0, 1, 1, 20, 20), images(1, 1, 1, 20, 20)
    valid = torch.ones(1, 20, 20, dtype=torch.bool)
    valid[0, :3] = False
    expected = lpips(first, second, valid)
    second[0, 0, :3] = torch.nan
    torch.testing.assert_close(lpips(first, second, valid), expected)
    first[0, 0, 0] = torch.nan
    value = lpips(first.requires_grad_(), second, valid)
    value.backward()
    assert value.isfinite()
    assert first.grad is not None
    assert first.grad.isfinite().all()


def test_equal_images_have_distance_0(lpips: MaskedLpips) -> None:
    x = torch.zeros(1, 1, 16, 16, requires_grad=True)
    value = lpips(x, x, torch.ones(1, 16, 16, dtype=torch.bool))
    value.backward()
    assert float(value.detach()) == 0
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_nothing_to_compare_is_none(lpips: MaskedLpips) -> None:
    x, valid = images(0, 2, 1, 16, 16), torch.zeros(2, 16, 16, dtype=torch.bool)
    assert lpips(x, x, valid) is None
    assert lpips(x[:0], x[:0], valid[:0]) is None


def test_its_weights_are_fixed_and_not_saved(lpips: MaskedLpips) -> None:
    assert not list(lpips.parameters())
    assert not lpips.state_dict()


def test_small_or_unequal_images_are_refused(lpips: MaskedLpips) -> None:
    with pytest.raises(InputError, match="at least 16 pixels a side, found 15 x 20"):
        lpips(images(0, 1, 1, 15, 20), images(0, 1, 1, 15, 20), torch.ones(1, 15, 20, dtype=torch.bool))
    with pytest.raises(InputError, match="compares images"):
        lpips(images(0, 1, 2, 16, 16), images(0, 1, 2, 16, 16), torch.ones(1, 16, 16, dtype=torch.bool))


# --- files -----------------------------------------------------------------------------------------------------------


def saved(folder: Path, kind: str) -> tuple[Path, Path]:
    """The two files, as torchvision and PIQ name their content, or as arrays."""
    if kind == "npz":
        vgg, linear = folder / "vgg.npz", folder / "lpips.npz"
        np.savez(vgg, **{f"vgg16.{name}": weight.numpy() for name, weight in VGG.items()})
        np.savez(linear, **{f"lpips.lin{i}": weight.numpy() for i, weight in enumerate(LINEAR)})
        return vgg, linear
    vgg, linear = folder / "vgg.pth", folder / "lpips.pt"
    torch.save({**VGG, "classifier.0.bias": torch.zeros(4)}, vgg)
    torch.save(LINEAR, linear)
    return vgg, linear


@pytest.mark.parametrize("kind", ["torch", "npz"])
def test_weights_come_from_two_files(tmp_path: Path, kind: str, lpips: MaskedLpips) -> None:
    read = dict(load_lpips(*saved(tmp_path, kind)).named_buffers())
    for name, weight in lpips.named_buffers():
        torch.testing.assert_close(read[name], weight)


def test_missing_files_are_both_named(tmp_path: Path) -> None:
    files = tmp_path / "vgg.pth", tmp_path / "lpips.pt"
    with pytest.raises(ReadError, match=rf"{re.escape(str(files[0]))} and {re.escape(str(files[1]))} cannot be found"):
        load_lpips(*files)


def test_files_of_other_content_are_refused(tmp_path: Path) -> None:
    vgg, linear = saved(tmp_path, "torch")
    with pytest.raises(CheckpointError, match="the VGG16 file"):
        load_lpips_after(vgg, linear, {"features.0.weight": torch.zeros(3)}, LINEAR)
    with pytest.raises(CheckpointError, match="expected the state dict"):
        load_lpips_after(vgg, linear, [torch.zeros(3)], LINEAR)
    with pytest.raises(CheckpointError, match="the LPIPS file"):
        load_lpips_after(vgg, linear, VGG, LINEAR[:4])
    with pytest.raises(CheckpointError, match="expected a list of five tensors"):
        load_lpips_after(vgg, linear, VGG, ["a"])
    with pytest.raises(CheckpointError, match="more than tensors"):
        load_lpips_after(vgg, linear, VGG, [Path("x")])
    for damaged in (vgg, vgg.with_suffix(".npz")):
        damaged.write_bytes(b"PK\x03\x04 cut")
        with pytest.raises(ReadError, match="download it again"):
            load_lpips(damaged, linear)


def load_lpips_after(vgg: Path, linear: Path, state: object, weights: object) -> MaskedLpips:
    torch.save(state, vgg)
    torch.save(weights, linear)
    return load_lpips(vgg, linear)
