"""EarthNet2021: from the distributed archive to sequences."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pytest

from sitsfusion.datasets import earthnet2021_convert
from sitsfusion.datasets.earthnet2021 import EarthNet2021Sequences, frame_dates
from sitsfusion.datasets.earthnet2021_convert import convert_earthnet2021, train_tiles
from sitsfusion.datasets.utilise_options import DataSettings, FilterSettings
from sitsfusion.errors import DateError, InputError, ReadError
from tests.fake.utilise_archives import FILTER, write_earthnet

CUBE = "29SND_2017-06-20_2017-11-16_2105_2233_2873_3001_32_112_44_124"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_earthnet(tmp_path_factory.mktemp("earthnet"), size=(12, 16))


def settings(root: Path, **options: object) -> DataSettings:
    return DataSettings(**{"dataset": "earthnet2021", "root": root, "channels": "bgr-nir", "mode": "all", **options})


def test_dates_of_frames() -> None:
    dates = frame_dates(f"/val/29SND/{CUBE}")
    assert (len(dates), dates[0], dates[-1]) == (30, date(2017, 6, 24), date(2017, 11, 16))
    with pytest.raises(DateError, match="TILE_START_END"):
        frame_dates("cube")


def test_tiles_are_for_training_or_for_validation(archive: Path) -> None:
    everything = train_tiles(archive / "train", "all")
    assert {tile: len(cubes) for tile, cubes in everything.items()} == {"29SND": 2, "33UVP": 1}
    for keep in range(4):
        train, val = (train_tiles(archive / "train", mode, keep=keep) for mode in ("train", "val"))  # type: ignore[arg-type]
        assert not set(train) & set(val)
        assert set(train) | set(val) == set(everything)
        assert sum(map(len, train.values())) >= 3 - keep
    assert not train_tiles(archive / "train", "train", keep=3)


def test_the_draw_of_tiles_is_the_published_one() -> None:
    counts = [3, 1, 4, 1, 5, 9, 2, 6]
    np.random.seed(0)
    names, probability, drawn = list(range(8)), [n / 31 for n in counts], set()
    while sum(counts[n] for n in drawn) < 31 - 10:
        at = np.random.choice(np.arange(len(names)), replace=False, p=probability)
        drawn.add(names.pop(at))
        probability = np.delete(probability, at)
        probability = probability / probability.sum()
    assert earthnet2021_convert._drawn_for_training(counts, 10) == drawn


def test_conversion_and_reading(archive: Path, tmp_path: Path) -> None:
    done = convert_earthnet2021(archive, tmp_path, "train", "all")
    assert (done.samples, done.usable, done.file) == (3, 3, tmp_path / "train.hdf5")
    sequences = EarthNet2021Sequences(done.file, settings(tmp_path, channels="rgb", filter_settings=FILTER))
    assert sequences.names == sorted(sequences.names)
    assert (sequences.bands.rgb, sequences.bands.nir) == ((0, 1, 2), None)
    name = sequences.names[0]
    sequence = sequences.read(name)
    with np.load(archive / "train/29SND" / f"{name.rpartition('/')[2]}.npz") as stored:
        cube = stored["highresdynamic"]
    expected = np.clip(np.nan_to_num(cube[:, :, [2, 1, 0]].astype(np.float32)), 0, 1).transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(sequence.optical, expected)
    assert not sequence.valid[7]
    assert sequence.cloud_mask[7].all()
    assert sequence.cloud_probability is not None
    assert 0 <= sequence.cloud_probability.min() < sequence.cloud_probability.max() <= 1
    assert sequence.scene_class is not None
    np.testing.assert_array_equal(sequences.clouds(name)[[1, 2]], sequence.cloud_mask[[1, 2]])
    with h5py.File(done.file) as file:
        cloudy, impaired = (file[name][f"idx_{kind}_frames"][()] for kind in ("cloudy", "impaired"))
        assert set(impaired) - set(cloudy) == {7}
        assert file[name]["highresdynamic"].compression == "gzip"


def test_parts_of_train_go_into_one_file(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earthnet2021_convert.train_tiles, "__defaults__", (1,))
    for mode in ("train", "val"):
        convert_earthnet2021(archive, tmp_path, "train", mode)  # type: ignore[arg-type]
    with h5py.File(tmp_path / "train.hdf5") as file:
        assert sorted(file) == ["path_samples_train", "path_samples_val", "train", "val"]
    both = EarthNet2021Sequences(tmp_path / "train.hdf5", settings(tmp_path))
    assert len(both.names) == 3
    both.reader.close()
    with pytest.raises(InputError, match="holds val already"):
        convert_earthnet2021(archive, tmp_path, "train", "val")


def test_context_and_target_are_joined(archive: Path, tmp_path: Path) -> None:
    done = convert_earthnet2021(archive, tmp_path, "iid")
    sequences = EarthNet2021Sequences(done.file, settings(tmp_path, split="iid", mode=None, filter_settings=FILTER))
    sequence = sequences.read(sequences.names[0])
    assert (len(sequence), sequence.cloud_probability, sequence.scene_class) == (30, None, None)
    assert sequences.names[0].startswith("/iid_test_split/29SND/29SND_")


@pytest.mark.parametrize(
    ("rule", "count"),
    [
        (None, 3),
        (FilterSettings(type="cloud-free_consecutive", min_length=3), 3),
        (FilterSettings(type="cloud-free_consecutive", min_length=29), 0),
    ],
)
def test_filters_without_a_list(archive: Path, tmp_path: Path, rule: FilterSettings | None, count: int) -> None:
    file = convert_earthnet2021(archive, tmp_path, "train").file
    with h5py.File(file, "r+") as content:
        del content["path_samples_all"]
    if count:
        assert len(EarthNet2021Sequences(file, settings(tmp_path, filter_settings=rule)).names) == count
    else:
        with pytest.raises(ReadError, match="no sequence of all that passes the filter"):
            EarthNet2021Sequences(file, settings(tmp_path, filter_settings=rule))


def test_longest_invalid_stretch_is_a_filter(archive: Path, tmp_path: Path) -> None:
    file = convert_earthnet2021(archive, tmp_path, "train").file
    with h5py.File(file, "r+") as content:
        del content["path_samples_all"]
    rule = FilterSettings(min_length=1, max_num_consec_invalid=0)
    with pytest.raises(ReadError, match="passes the filter"):
        EarthNet2021Sequences(file, settings(tmp_path, filter_settings=rule))


def test_damaged_archives_are_named(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="is missing: give the folder"):
        convert_earthnet2021(tmp_path, tmp_path, "train")
    copy = write_earthnet(tmp_path / "copy")
    cube = next((copy / "train/29SND").glob("*.npz"))
    cube.write_bytes(cube.read_bytes()[:200])
    with pytest.raises(ReadError, match=cube.name):
        convert_earthnet2021(copy, tmp_path / "out", "train")
    assert not list((tmp_path / "out").iterdir())  # nothing half done is left
    np.savez(cube, highresdynamic=np.zeros((4, 4, 6, 30), np.float16))
    with pytest.raises(ReadError, match=r"expected \(h, w, 5 or 7, t\)"):
        convert_earthnet2021(copy, tmp_path / "out", "train")
    next((copy / "iid_test_split/target/33UVP").glob("*.npz")).unlink()
    with pytest.raises(ReadError, match="target_33UVP"):
        convert_earthnet2021(copy, tmp_path / "out", "iid")


def test_damaged_files_are_named(archive: Path, tmp_path: Path) -> None:
    file = tmp_path / "train.hdf5"
    with pytest.raises(ReadError, match="is missing"):
        EarthNet2021Sequences(file, settings(tmp_path))
    file.write_bytes(b"no HDF5 file")
    with pytest.raises(ReadError, match="cannot be read"):
        EarthNet2021Sequences(file, settings(tmp_path))
    file.unlink()
    convert_earthnet2021(archive, tmp_path, "train")
    sequences = EarthNet2021Sequences(file, settings(tmp_path))
    with pytest.raises(ReadError, match="nowhere"):
        sequences.read("/all/29SND/nowhere_2017-06-20_2017-11-16")
    sequences.reader.close()
    with h5py.File(file, "r+") as content:
        del content[sequences.names[0]]["valid_obs"]
        content[sequences.names[0]]["valid_obs"] = np.ones(29)
    with pytest.raises(InputError, match="valid has 29 entries"):
        sequences.read(sequences.names[0])
