"""Per-image scores of super-resolution, and LPIPS with AlexNet features."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from sitsfusion.errors import CheckpointError, InputError, ReadError
from sitsfusion.losses.misr import l1_and_ssim, shifted_l1
from sitsfusion.metrics.lpips_alex import AlexLpips, load_alex_lpips
from sitsfusion.metrics.misr import COLUMNS, image_scores

SHAPES = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}


def alex() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    found = {}
    for k, (i, (outputs, inputs, side)) in enumerate(SHAPES.items()):
        found[f"features.{i}.weight"] = 0.05 * torch.randn(outputs, inputs, side, side)
        found[f"features.{i}.bias"] = torch.zeros(outputs)
        found[f"lin{k}.model.1.weight"] = torch.rand(1, outputs, 1, 1)
    return found


@pytest.fixture(scope="module")
def lpips(tmp_path_factory: pytest.TempPathFactory) -> AlexLpips:
    folder = tmp_path_factory.mktemp("lpips")
    state = alex()
    torch.save({n: w for n, w in state.items() if n.startswith("features")}, folder / "alexnet.pth")
    torch.save({n: w for n, w in state.items() if n.startswith("lin")}, folder / "alex.pth")
    return load_alex_lpips([folder / "alexnet.pth", folder / "alex.pth"])


def test_equal_images_have_the_best_scores(lpips: AlexLpips) -> None:
    image = torch.rand(3, 40, 48) * 2 - 1
    found = image_scores(image, image, lpips)
    assert list(found) == list(COLUMNS)
    assert math.isinf(found["psnr"])
    assert found["ssim"] == pytest.approx(1)
    assert found["lpips"] == found["mae"] == found["mse"] == found["shift_mae"] == 0
    assert "lpips" not in image_scores(image, image)


def test_a_shifted_image_has_no_error_up_to_a_shift() -> None:
    image = torch.rand(3, 30, 30) * 2 - 1
    found = image_scores(image.roll((2, -3), (1, 2)), image)
    assert found["mae"] > 10
    assert found["shift_mae"] == 0
    assert float(shifted_l1(image.roll((1, 1), (1, 2))[None], image[None])) == 0


def test_losses_have_gradients() -> None:
    made = torch.rand(2, 3, 16, 16, requires_grad=True)
    (shifted_l1(made, torch.rand(2, 3, 16, 16)) + l1_and_ssim(made, torch.rand(2, 3, 16, 16))).backward()
    assert made.grad is not None
    assert bool(made.grad.isfinite().all())


def test_lpips_is_a_distance_of_images(lpips: AlexLpips) -> None:
    a, b = (torch.rand(2, 3, 40, 40) * 2 - 1 for _ in range(2))
    found = lpips(a, b)
    assert found.shape == (2,)
    assert bool((found > 0).all())
    torch.testing.assert_close(lpips(b, a), found)
    with pytest.raises(InputError, match="31 pixels"):
        lpips(a[..., :20, :20], b[..., :20, :20])


def test_lpips_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="nowhere"):
        load_alex_lpips([tmp_path / "nowhere.pth"])
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="lin0"):
        load_alex_lpips([tmp_path / "other.pth"])
