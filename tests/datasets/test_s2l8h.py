"""Patch pairs of Deep-Harmonization: the table, the HDF5 files, cutting, and training on them."""

from __future__ import annotations

import csv
import json
from datetime import date
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sitsfusion.datasets.s2l8h import find_patch, nearest_size, read_metadata, read_patch, split_box
from sitsfusion.errors import InputError, ReadError
from sitsfusion.metrics.deepharmo import write_scores
from sitsfusion.training import families
from sitsfusion.training.compose import compose

COLUMNS = ("patch_id", "pair_path", "location", "date", "geometry", "pair_type", "ssim", "psnr", "Field_counts")


def write_patches(folder: Path, count: int = 4) -> Path:
    """A table and its files; the last row is cloudy. Returns the table."""
    rng = np.random.default_rng(0)
    table = folder / "metadata.csv"
    with table.open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(COLUMNS)
        for i in range(count):
            kind = ("Train", "Train", "Validation", "Test")[i % 4]
            ssim = 0.5 if i == count - 1 and count > 4 else 0.9
            rows.writerow([f"p{i}", "", f"33UU{i % 2}", f"2021-05-{i + 1:02d}", "POLYGON", kind, ssim, 30.0, i])
            file = folder / "patches" / "33UUU" / "2021" / f"p{i}_pair.h5"
            file.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(file, "w") as out:
                out["s2_image"] = rng.integers(-20, 6000, (6, 255, 258)).astype(np.int16)
                out["l8_image"] = rng.integers(7000, 20000, (6, 85, 86)).astype(np.uint16)
                out["l8_pan"] = rng.uniform(-0.01, 0.4, (171, 172)).astype(np.float32)
    return table


def test_the_table_is_filtered(tmp_path: Path) -> None:
    table = write_patches(tmp_path, 6)
    assert [row.patch_id for row in read_metadata(table)] == ["p0", "p1", "p2", "p3", "p4"]
    assert [row.patch_id for row in read_metadata(table, pair_type="Train", locations=["33UU0"])] == ["p0", "p4"]
    assert [row.patch_id for row in read_metadata(table, dates=[date(2021, 5, 2)], min_fields=1)] == ["p1"]
    with pytest.raises(InputError, match="6 rows"):
        read_metadata(table, min_fields=100)
    with pytest.raises(ReadError, match="no metadata"):
        read_metadata(tmp_path / "nothing.csv")
    table.write_text("patch_id,date\np0,yesterday\n")
    with pytest.raises(ReadError, match="line 2"):
        read_metadata(table)


def test_patches_are_scaled_resized_and_never_negative(tmp_path: Path) -> None:
    write_patches(tmp_path)
    file = find_patch(tmp_path / "patches", "p0")
    patch = read_patch(file)
    assert patch.s2.shape == (6, 256, 256)
    assert patch.l8.shape == (6, 86, 86)
    assert patch.pan.shape == (1, 171, 172)
    assert min(patch.s2.min(), patch.l8.min(), patch.pan.min()) == 0
    with h5py.File(file) as content:
        np.testing.assert_allclose(patch.l8[:, 0, 0], content["l8_image"][:, 0, 0] * 2.75e-5 - 0.2, rtol=1e-5)
        assert read_patch(file, scaled=False).s2.max() == content["s2_image"][()].max()
    with pytest.raises(ReadError, match="p9"):
        find_patch(tmp_path / "patches", "p9")
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(ReadError, match="HDF5"):
        read_patch(file)


@given(rows=st.integers(1, 40), cols=st.integers(1, 40), side=st.integers(1, 50))
def test_nearest_takes_the_pixel_below(rows: int, cols: int, side: int) -> None:
    x = np.arange(rows * cols, dtype=np.float32).reshape(rows, cols)
    out = nearest_size(x, side)
    i = np.floor(np.arange(side) * rows / side + 1e-9).astype(int)
    j = np.floor(np.arange(side) * cols / side + 1e-9).astype(int)
    np.testing.assert_array_equal(out, x[np.ix_(i, j)])


@given(width=st.integers(10, 60), size=st.integers(1, 10), overlap=st.integers(0, 9))
def test_patches_cover_the_box_and_stay_inside(width: int, size: int, overlap: int) -> None:
    if overlap >= size:
        with pytest.raises(InputError, match="overlap"):
            split_box((0, 0, width, width), (size, size), (overlap, overlap))
        return
    boxes = split_box((0, 0, width, width), (size, size), (overlap, overlap))
    assert boxes[:, :2].min() == 0
    assert boxes[:, 2:].max() == width
    lefts = sorted(set(boxes[:, 0]))
    assert all(b - a <= size - overlap for a, b in pairwise(lefts))
    with pytest.raises(InputError, match="do not fit"):
        split_box((0, 0, width, width), (width + 1, size))


def test_a_training_batch_of_patches(tmp_path: Path) -> None:
    table = write_patches(tmp_path)
    config = compose([
        "experiment=deepharmo-5depth-upsample", "trainer=cpu", "network.depth=2", "network.growth_factor=1",
        f"datamodule.metadata={table}", f"datamodule.folder={tmp_path / 'patches'}", "datamodule.num_workers=0",
        "training_module.high_pass=true",
    ])  # fmt: skip
    family = families.get("deepharmo")
    module, data = family.module(config, tmp_path), family.data(config)
    batch = data.collate([data.train[0], data.train[1]])  # type: ignore[attr-defined]
    assert module.predicted(batch).shape == batch["target"].shape == (2, 6, 256, 256)  # type: ignore[attr-defined]
    assert module.trivial(batch).shape == batch["target"].shape  # type: ignore[attr-defined]
    assert len(data.test) == 1  # type: ignore[attr-defined]


def test_scores_are_written_in_the_published_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    target = torch.rand(6, 16, 16)
    files = write_scores(tmp_path, "5up", {"p0": (target + 0.01, target), "p1": (target, target)})
    assert {file.name for file in files} == {
        "5up_metrics_bandpass.json", "5up_band_metrics_bandpass.json",
        *(f"5up_metrics_bandpass_{index}.json" for index in ("NDVI", "NDWI1", "NDWI2")),
    }  # fmt: skip
    scores = json.loads((tmp_path / "5up_metrics_bandpass.json").read_text())
    assert scores["p0"]["PSNR"] == pytest.approx(40, abs=1e-3)
    assert scores["p1"]["SSIM"] == pytest.approx(1)
