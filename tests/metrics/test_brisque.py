from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sitsfusion.errors import CheckpointError, InputError, ReadError
from sitsfusion.metrics.brisque import BrisqueModel, brisque, features, load_brisque
from tests.metrics.images import drawn

MODEL = BrisqueModel(torch.linspace(-50, 50, 6), drawn(9, 6, 36) * 2 - 1)


def test_scores_do_not_depend_on_the_batch() -> None:
    images = drawn(0, 2, 9, 16, 15)
    together = brisque(images, MODEL)
    apart = torch.stack([brisque(image, MODEL) for image in images.flatten(0, 1)]).reshape(2, 9)
    torch.testing.assert_close(together, apart)
    assert together.isfinite().all()


def test_only_the_image_without_score_is_nan() -> None:
    images = drawn(0, 3, 20, 20)
    images[1] = 0.0
    assert brisque(images, MODEL).isnan().tolist() == [False, True, False]
    assert features(images)[1].isnan().all()


def test_nan_is_black_and_values_are_clipped() -> None:
    image = drawn(0, 20, 20)
    image[2:6, 3] = torch.nan
    image[8, 8] = 7.0
    assert torch.equal(brisque(image, MODEL), brisque(image.nan_to_num(nan=-3.0).clamp(0, 1), MODEL))


def test_no_model_no_score() -> None:
    assert brisque(drawn(0, 2, 20, 20), None).isnan().all()


def test_support_vectors_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "brisque_svm_weights.pt"
    torch.save((MODEL.coefficients, MODEL.support_vectors), file)
    image = drawn(0, 20, 20)
    torch.testing.assert_close(brisque(image, load_brisque(file)), brisque(image, MODEL))


def test_other_files_are_refused_and_say_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="piq's brisque_svm_weights"):
        load_brisque(tmp_path / "absent.pt")
    contents = {
        "dict.pt": {"a": torch.zeros(2)},
        "swapped.pt": (MODEL.support_vectors, MODEL.coefficients),
        "columns.pt": (MODEL.coefficients, MODEL.support_vectors.T.contiguous()),
        "nan.pt": (MODEL.coefficients * torch.nan, MODEL.support_vectors),
    }
    for name, content in contents.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(CheckpointError, match=name):
            load_brisque(tmp_path / name)
    torch.save((Path("x"),), tmp_path / "code.pt")
    with pytest.raises(CheckpointError, match="coefficients"):
        load_brisque(tmp_path / "code.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    with pytest.raises(ReadError, match="coefficients"):
        load_brisque(tmp_path / "empty.pt")


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(InputError, match="at least 2 x 2"):
        brisque(torch.zeros(1, 5), MODEL)
