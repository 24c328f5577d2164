"""Galleries of frames and figures of attention."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from sitsfusion.errors import InputError
from sitsfusion.evaluation.utilise_figures import (
    attention_of_heads,
    attention_over_time,
    gallery,
    sequence_gallery,
    upsample_attention,
    write_gallery,
)

HEIGHT, WIDTH, FRAMES = 6, 8, 3
SAMPLE = {
    "x": torch.rand(FRAMES, 4, HEIGHT, WIDTH, generator=torch.manual_seed(0)),
    "c_index_rgb": torch.tensor([2, 1, 0]),
    "c_index_nir": torch.tensor([3]),
}
ATTENTION = torch.rand(2, 1, FRAMES, FRAMES, 3, 4, generator=torch.manual_seed(1)).softmax(3)


def test_frames_lie_in_rows() -> None:
    frames = np.full((5, 1, 2, 3), 0.25)
    found = gallery(frames, 2, border=1, colour="white", brightness=2)
    assert found.shape == (3 * 4, 2 * 5, 1)
    assert found[1:3, 1:4].max() == 0.5
    assert found[0].min() == 1
    assert found[8:, 5:].min() == 1  # the place of a sixth frame
    assert gallery(frames, 7)[:, 5 * 7 :].max() == 0
    with pytest.raises(InputError, match=r"\[t, c, h, w\]"):
        gallery(frames[0])


def test_colours() -> None:
    natural = sequence_gallery(SAMPLE, SAMPLE["x"], brightness=1)
    np.testing.assert_allclose(natural[2:-2, 2 : WIDTH + 2], SAMPLE["x"][0, [2, 1, 0]].permute(1, 2, 0), rtol=1e-6)
    false = sequence_gallery(SAMPLE, SAMPLE["x"], "false_colour", brightness=1)
    np.testing.assert_allclose(false[2:-2, 2 : WIDTH + 2, 0], SAMPLE["x"][0, 3], rtol=1e-6)
    mask = sequence_gallery(SAMPLE, (SAMPLE["x"][:, :1] > 0.5).float(), "mask")
    assert set(np.unique(mask)) == {0, 1}
    error = sequence_gallery(SAMPLE, SAMPLE["x"] * 1e-3, "error", columns=FRAMES)
    assert error.shape == (HEIGHT + 4, FRAMES * (WIDTH + 4), 3)
    with pytest.raises(InputError, match="lack the bands of false_colour"):
        sequence_gallery({**SAMPLE, "c_index_nir": torch.tensor(torch.nan)}, SAMPLE["x"], "false_colour")


def test_attention_sums_to_one_at_any_size() -> None:
    larger = upsample_attention(ATTENTION, (HEIGHT, WIDTH))
    assert larger.shape == (2, 1, FRAMES, FRAMES, HEIGHT, WIDTH)
    np.testing.assert_allclose(larger.sum(3), 1, rtol=1e-5)


def test_figures_of_attention(tmp_path: Path) -> None:
    attention_over_time(SAMPLE, ATTENTION, 1, tmp_path / "time.png", per_row=True)
    attention_of_heads(SAMPLE, ATTENTION, -1, tmp_path / "heads.png")
    write_gallery(tmp_path / "gallery.png", gallery(SAMPLE["x"][:, :1].numpy()))
    shapes = {name: matplotlib.image.imread(tmp_path / f"{name}.png").shape for name in ("time", "heads", "gallery")}
    row, wide = HEIGHT + 4, FRAMES * (WIDTH + 4)
    assert shapes["time"][:2] == ((1 + FRAMES) * row, wide)
    assert shapes["heads"][:2] == ((1 + 2) * row, wide)
    assert shapes["gallery"][:2] == (row, 10 * (WIDTH + 4))
    heads = matplotlib.image.imread(tmp_path / "heads.png")
    np.testing.assert_allclose(heads[0, -(WIDTH + 4) :, :3], np.tile([1, 0, 0], (WIDTH + 4, 1)))  # outlined in red
    with pytest.raises(InputError, match="no target frame 3"):
        attention_of_heads(SAMPLE, ATTENTION, FRAMES, tmp_path / "none.png")
