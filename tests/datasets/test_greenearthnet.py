"""GreenEarthNet minicubes, and the user's own cubes, as sequences."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from sitsfusion import sensors
from sitsfusion.cube import Cube
from sitsfusion.datasets.greenearthnet import GreenEarthNetSequences
from sitsfusion.datasets.utilise_cubes import CubeSequences
from sitsfusion.datasets.utilise_data import gap_samples, simulate_file
from sitsfusion.datasets.utilise_options import DataSettings, FilterSettings, SampleSettings
from sitsfusion.datasets.utilise_samples import GapSamples
from sitsfusion.errors import InputError, ReadError
from tests.fake.utilise_archives import FILTER, MASKS, green_cube, write_green
from tests.scenes import cube as scene_cube
from tests.scenes import days, grid


def settings(root: Path, **options: object) -> DataSettings:
    common = {"dataset": "greenearthnet", "root": root, "channels": "bgr-nir", "filter_settings": FILTER}
    return DataSettings(**{**common, **options})


def test_minicubes(tmp_path: Path) -> None:
    write_green(tmp_path)
    sequences = GreenEarthNetSequences(tmp_path / "train", settings(tmp_path))
    assert sequences.names == ["29SND/29SND_0", "29SND/29SND_1", "33UVP/33UVP_0"]
    sequence = sequences.read("29SND/29SND_0")
    assert (len(sequence), sequence.dates[0], sequence.dates[1]) == (30, date(2019, 3, 5), date(2019, 3, 10))
    assert not sequence.valid[3]  # missing
    assert sequence.cloud_mask[3].all()
    assert sequence.valid[:2].all()
    cube = green_cube()
    np.testing.assert_allclose(sequence.optical[0, 3], cube["s2_B8A"].to_numpy()[4])
    cloudy = cube["s2_dlmask"].to_numpy()[4::5] >= 1
    np.testing.assert_array_equal(sequences.clouds("29SND/29SND_0")[:, 0], cloudy)


def test_the_scene_class_hides_what_the_mask_missed(tmp_path: Path) -> None:
    cube = green_cube()
    cube["s2_SCL"][4, 0, 0] = 3  # cloud shadow
    path = tmp_path / "train/a/b.nc"
    path.parent.mkdir(parents=True)
    cube.to_netcdf(path, engine="h5netcdf")
    for layer, expected in (("s2_dlmask", 1), ("s2_mask", 0)):
        found = GreenEarthNetSequences(tmp_path / "train", settings(tmp_path, cloud_layer=layer)).clouds("a/b")
        assert found[0, 0, 0, 0] == expected


def test_minicubes_with_simulated_gaps(tmp_path: Path) -> None:
    write_green(tmp_path, {"29SND": 1})
    (tmp_path / "train").rename(tmp_path / "val_chopped")
    data = settings(tmp_path, split="val_chopped", max_seq_length=6)
    simulate_file(data, MASKS, tmp_path / "val.hdf5")
    stored = data.model_copy(update={"hdf5_file": "val.hdf5", "preprocessed": True})
    sample = gap_samples(stored, MASKS, "val")[0]
    assert sample["x"].shape == (6, 4, 16, 24)
    assert sample["masks"].any()


def test_damaged_minicubes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="holds 0 minicubes"):
        GreenEarthNetSequences(tmp_path / "train", settings(tmp_path))
    path = tmp_path / "train/a/b.nc"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nothing")
    with pytest.raises(ReadError, match="cannot be read as a minicube"):
        GreenEarthNetSequences(tmp_path / "train", settings(tmp_path))
    green_cube().drop_vars("s2_dlmask").to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ReadError, match="lacks s2_dlmask"):
        GreenEarthNetSequences(tmp_path / "train", settings(tmp_path))


# -- the user's own cubes ----------------------------------------------------------------------------------------------


def own_cube(shape: tuple[int, int] = (20, 17), bands: tuple[str, ...] = ("B02", "B03", "B04", "B8A")) -> Cube:
    """Twelve dates; the left half of every third one is cloudy, a corner of the fifth was never observed."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0.01, 1.2, (12, len(bands), *shape)).astype(np.float32)
    valid = np.ones((12, *shape), bool)
    valid[2::3, :, :8] = False
    values[5, :, :2, :2] = np.nan
    return Cube.from_array(
        values, sensor=sensors.get("sentinel-2-l2a"), bands=bands, grid=grid(shape, 10), dates=days(*range(0, 60, 5)),
        valid=valid,
    )  # fmt: skip


def test_patches_of_a_cube_are_sequences() -> None:
    sequences = CubeSequences({"mine": own_cube()}, 8, filter_settings=FILTER)
    assert sequences.names == ["mine/0_0", "mine/0_1", "mine/1_0", "mine/1_1"]
    assert (sequences.bands.rgb, sequences.bands.nir) == ((2, 1, 0), 3)
    left, right = sequences.read("mine/0_0"), sequences.read("mine/1_1")
    assert left.valid.tolist() == [n % 3 != 2 for n in range(12)]
    assert right.valid.all()
    assert left.optical[5, :, :2, :2].max() == 0
    assert (left.cloud_mask[5, 0, :2, :2] == 1).all()
    assert left.optical.max() == 1
    np.testing.assert_array_equal(sequences.clouds("mine/0_0"), left.cloud_mask)
    values, _ = own_cube().to_numpy()
    np.testing.assert_array_equal(right.optical, np.clip(values[:, :, 8:16, 8:16], 0, 1))


def test_training_on_the_users_own_cube() -> None:
    sequences = CubeSequences({"mine": own_cube()}, 8, filter_settings=FILTER)
    rule = SampleSettings(filter_settings=FILTER, max_seq_length=6)
    sample = GapSamples(sequences, rule, MASKS, augment=True)[3]
    assert sample["x"].shape == (6, 4, 8, 8)
    assert sample["masks"].any()
    assert sample["position_days"].tolist() == sorted(sample["position_days"].tolist())


def test_cubes_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match="same bands"):
        CubeSequences({"a": own_cube(), "b": own_cube(bands=("B02",))}, 8)
    with pytest.raises(InputError, match=r"\['LST'\] are no reflectance"):
        CubeSequences({"a": scene_cube("coarse", (0, 5), (20, 20))}, 8)
    with pytest.raises(InputError, match="ask for less"):
        CubeSequences({"a": own_cube()}, 64)
    with pytest.raises(InputError, match="passes the filter"):
        CubeSequences({"a": own_cube()}, 8, filter_settings=FilterSettings(min_length=13))
