"""SEN12MS-CR-TS: from the distributed archive to sequences, with clouds from files or from a detector."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import h5py
import numpy as np
import pytest

from sitsfusion.datasets.sen12mscrts import TEST_TILES, TILES, VALIDATION_TILES, Sen12MsCrTsSequences, split_tiles
from sitsfusion.datasets.sen12mscrts_clouds import CloudFiles, S2Cloudless, detect_clouds, mask_of
from sitsfusion.datasets.sen12mscrts_convert import convert_sen12mscrts, natural, patches
from sitsfusion.datasets.utilise_options import DataSettings
from sitsfusion.errors import InputError, ReadError
from tests.fake.utilise_archives import FILTER, ROI, ROI_TILES, write_sen12

SIZE = (16, 20)
PATCH = f"/{ROI}/22/{ROI}_22_patch_2"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sen12(tmp_path_factory.mktemp("sen12"), size=SIZE)


@pytest.fixture
def converted(archive: Path, tmp_path: Path) -> Path:
    file = convert_sen12mscrts(archive, tmp_path, "val").file
    detect_clouds(file, CloudFiles(archive / "clouds"))
    return file


def settings(root: Path, **options: object) -> DataSettings:
    common = {"dataset": "sen12mscrts", "root": root, "split": "val", "channels": "all", "filter_settings": FILTER}
    return DataSettings(**{**common, **options})


def test_splits_divide_the_tiles() -> None:
    assert {split: sum(map(len, split_tiles(split).values())) for split in ("train", "val", "test")} == {
        "train": 35,
        "val": 5,
        "test": 13,
    }
    for roi, tiles in TILES.items():
        parts = [*TEST_TILES.get(roi, ()), *VALIDATION_TILES.get(roi, ()), *split_tiles("train").get(roi, ())]
        assert sorted(parts) == sorted(tiles)


def test_natural_order() -> None:
    assert [path.name for path in natural(map(Path, ("10", "9", "a2", "0"[:1])))] == ["0", "9", "10", "a2"]


def test_conversion(archive: Path, tmp_path: Path) -> None:
    done = convert_sen12mscrts(archive, tmp_path, "val", regions=[ROI])
    assert (done.samples, done.missing) == (2, (f"{ROI}/117",))
    with h5py.File(done.file) as file:
        patch = file[PATCH]
        assert (patch["S2/S2"].dtype, patch["S2/S2"].shape) == (np.uint16, (10, 13, *SIZE))
        assert (patch["S1/S1"].dtype, patch["S1/S1"].shape) == (np.float32, (10, 2, *SIZE))
        dates = [patch[f"{sensor}/{sensor}_dates"].asstr()[0] for sensor in ("S2", "S1")]
        assert dates == ["2018-01-01", "2018-01-03"]
        assert sorted(file[f"{ROI}/22"]) == [f"{ROI}_22_patch_10", f"{ROI}_22_patch_2"]
    with pytest.raises(InputError, match=f"holds {ROI} already"):
        convert_sen12mscrts(archive, tmp_path, "val", regions=[ROI])


def test_conversion_without_sar(archive: Path, tmp_path: Path) -> None:
    file = convert_sen12mscrts(archive, tmp_path, "val", sar=False).file
    detect_clouds(file, CloudFiles(archive / "clouds"))
    sequences = Sen12MsCrTsSequences(file, settings(tmp_path))
    assert sequences.read(sequences.names[0]).sar is None
    sequences.reader.close()
    with_sar = Sen12MsCrTsSequences(file, settings(tmp_path, include_S1=True))
    with pytest.raises(ReadError, match="has no SAR images"):
        with_sar.read(with_sar.names[0])
    with_sar.reader.close()
    with h5py.File(file, "r+") as content:
        del content["path_samples"]
    with pytest.raises(ReadError, match="and has SAR images"):
        Sen12MsCrTsSequences(file, settings(tmp_path, include_S1=True))


def test_reading(converted: Path, archive: Path) -> None:
    sequences = Sen12MsCrTsSequences(converted, settings(converted.parent, channels="bgr-nir", include_S1=True))
    assert (sequences.bands.stored, sequences.bands.rgb, sequences.bands.nir) == ((1, 2, 3, 7), (2, 1, 0), 3)
    sequence = sequences.read(PATCH)
    with h5py.File(converted) as file:
        numbers, decibel = file[PATCH]["S2/S2"][()], file[PATCH]["S1/S1"][()]
        probability = file[PATCH]["S2/cloud_prob"][()]
    np.testing.assert_allclose(sequence.optical, np.clip(numbers[:, [1, 2, 3, 7]] / 10_000, 0, 1), rtol=1e-6)
    assert sequence.sar is not None
    np.testing.assert_allclose(sequence.sar, (np.clip(decibel, -25, 0) + 25) / 25, rtol=1e-5, atol=1e-6)
    assert sequence.sar_dates is not None
    assert (sequence.sar_dates[0] - sequence.dates[0]).days == 2
    assert set(np.unique(probability)) == {0, np.float32(0.9)}
    assert sequences.tile(PATCH) == f"/{ROI}/22"


def test_lists_of_the_detection(archive: Path, tmp_path: Path) -> None:
    file = convert_sen12mscrts(archive, tmp_path, "val").file
    with pytest.raises(InputError, match=r"patch_10 has no cloud mask: give a folder"):
        detect_clouds(file)
    done = detect_clouds(file, CloudFiles(archive / "clouds"), max_days=28)
    assert (done.samples, done.new_masks) == (2, 2)
    assert detect_clouds(file).new_masks == 0
    with h5py.File(file) as content:
        assert len(content["path_samples"]) == done.usable
        listed = "path_samples_max_t_sampling_28_wo_black_images"
        names = content[listed].asstr()[()].tolist()
    rule = FILTER.model_copy(update={"max_t_sampling": 28})
    wanted = settings(tmp_path, filter_settings=rule, ignore_seq_with_black_images=True)
    by_list = Sen12MsCrTsSequences(file, wanted)
    assert by_list.names == names
    by_list.reader.close()
    with h5py.File(file, "r+") as content:
        del content[listed]
        content[names[0]]["S2/S2"][3] = 0
    assert Sen12MsCrTsSequences(file, wanted).names == names[1:]


def test_training_filters_a_list_again(converted: Path) -> None:
    rule = FILTER.model_copy(update={"max_t_sampling": 8})  # images are nine days apart
    assert Sen12MsCrTsSequences(converted, settings(converted.parent, filter_settings=rule)).names
    with pytest.raises(ReadError, match="passes the filter"):
        Sen12MsCrTsSequences(converted, settings(converted.parent, filter_settings=rule, split="train"))


def test_clouds_must_be_detected_first(archive: Path, tmp_path: Path) -> None:
    file = convert_sen12mscrts(archive, tmp_path, "val").file
    with pytest.raises(ReadError, match="run sitsfusion detect-clouds"):
        Sen12MsCrTsSequences(file, settings(tmp_path))


def test_cloud_files_are_checked(archive: Path, tmp_path: Path) -> None:
    detector = CloudFiles(archive / "clouds")
    images = np.zeros((10, 13, *SIZE), np.uint16)
    probability, mask = detector(PATCH, images)
    assert probability.shape == mask.shape == (10, 1, *SIZE)
    with pytest.raises(ReadError, match="expected"):
        detector(PATCH, np.zeros((10, 13, 8, 8), np.uint16))
    with pytest.raises(ReadError, match="holds 0 cloud files of"):
        detector(PATCH.replace("patch_2", "patch_3"), images)


def test_masks_follow_from_probabilities() -> None:
    probability = np.zeros((1, 1, 40, 41), np.float32)
    assert not mask_of(probability).any()
    probability[..., 10:30, 10:30] = 1
    mask = mask_of(probability)[0, 0]
    assert mask[20, 20] == 1
    assert mask[20, 8] == 1  # grown by two pixels beyond where the average is above the threshold
    assert mask[20, 5] == 0
    probability[:] = 0
    probability[..., 20, 20] = 1  # a single pixel is averaged away
    assert not mask_of(probability).any()


def test_the_users_own_detector(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    class Detector(SimpleNamespace):
        def get_cloud_probability_maps(self, reflectance: np.ndarray) -> np.ndarray:
            asked.append((reflectance.shape, reflectance.max() <= 1))
            return reflectance[..., 0]

        def get_mask_from_prob(self, probability: np.ndarray) -> np.ndarray:
            return probability > self.threshold

    module = ModuleType("s2cloudless")
    module.S2PixelCloudDetector = Detector  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "s2cloudless", module)
    file = convert_sen12mscrts(archive, tmp_path, "val").file
    detector = S2Cloudless()
    assert vars(detector.detector) == {"threshold": 0.4, "average_over": 4, "dilation_size": 2, "all_bands": True}
    assert detect_clouds(file, detector).new_masks == 2
    assert asked == [((10, *SIZE, 13), True)] * 2
    with h5py.File(file) as content:
        np.testing.assert_array_equal(content[PATCH]["S2/cloud_mask"][()], content[PATCH]["S2/cloud_prob"][()] > 0.4)


def test_the_detector_is_not_part_of_this_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s2cloudless", None)
    with pytest.raises(InputError, match="CC BY-SA"):
        S2Cloudless()


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="holds no tile of split val"):
        convert_sen12mscrts(tmp_path, tmp_path, "val")
    with pytest.raises(InputError, match="ROIs9"):
        convert_sen12mscrts(tmp_path, tmp_path, "val", regions=["ROIs9"])
    copy = write_sen12(tmp_path / "copy", frames=3, size=(8, 8))
    folder = copy / ROI / str(ROI_TILES["val"][0]) / "S2"
    image = next((folder / "1").glob("*_patch_2.tif"))
    content = image.read_bytes()
    image.write_bytes(content[:100])
    with pytest.raises(ReadError, match=image.name):
        convert_sen12mscrts(copy, tmp_path / "out", "val")
    assert not list((tmp_path / "out").iterdir())
    image.unlink()
    with pytest.raises(ReadError, match="holds 1 patches"):
        patches(folder)
    (image.parent / "other.tif").write_bytes(content)
    with pytest.raises(ReadError, match="not named like"):
        patches(folder)
    with pytest.raises(ReadError, match="holds no images"):
        patches(tmp_path)
