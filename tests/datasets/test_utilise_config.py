"""Published YAML files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sitsfusion.datasets.utilise_config import default_sections, merged, read_config
from sitsfusion.datasets.utilise_options import DataSettings
from sitsfusion.errors import InputError, ReadError

RUN = """
data:
  dataset: earthnet2021
  root: /data
  hdf5_file: {train: train.hdf5, val: earthnet2021_val_simulation.hdf5}
  preprocessed: true
  split: train
  channels: bgr-nir
  crop_settings: {shape: "${tuple:32,48}"}
misc: {checkpoint_every_n_epochs: 2}
"""


def written(folder: Path, text: str, name: str = "run.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_training_file_is_laid_over_the_defaults(tmp_path: Path) -> None:
    found = read_config(written(tmp_path, RUN), defaults=True)
    assert found.data.crop_settings is not None
    assert found.data.crop_settings.shape == (32, 48)
    assert not found.data.crop_settings.enabled
    assert found.data.render_occluded_above_p == 0.9
    assert found.mask is not None
    assert found.mask.non_masked_frames == (0,)
    assert found.sections["misc"]["checkpoint_every_n_epochs"] == 2
    assert found.sections["misc"]["logstep_train"] == 100
    assert found.seed == 0
    assert found.data.file("val").name == "earthnet2021_val_simulation.hdf5"
    with pytest.raises(InputError, match="none for test"):
        found.data.file("test")


def test_a_test_file_replaces_what_it_names(tmp_path: Path) -> None:
    test = written(tmp_path, "data: {hdf5_file: iid.hdf5, split: iid, max_seq_length: null}\nmask:\n", "test.yaml")
    found = read_config(written(tmp_path, RUN), test, defaults=True)
    assert (found.data.split, found.data.max_seq_length) == ("iid", None)
    assert found.data.file("test") == Path("/data/iid.hdf5")
    assert found.mask is not None


def test_values_given_on_the_command_line(tmp_path: Path) -> None:
    changes = {"data.filter_settings.max_t_sampling": 28, "mask.ratio_masked_frames": None, "misc.random_seed": 7}
    found = read_config(written(tmp_path, RUN), defaults=False, changes=changes)
    assert found.data.filter_settings is not None
    assert found.data.filter_settings.max_t_sampling == 28
    assert (found.mask, found.seed) == (None, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {channel: rgb}", r"data.channel: Extra inputs"),
        ("dataa: {}", r"unknown section\(s\) \['dataa'\]"),
        ("[1, 2]", "expected sections"),
        ("data: {root: '${oc.env:HOME}'}", r"data.root: '\$\{oc.env:HOME\}' cannot be resolved"),
        ("mask: {ratio_masked_frames: 2}", "mask.ratio_masked_frames: Input should be less than or equal to 1"),
        ("data: {split: val}", "split 'val' of earthnet2021 is not one of train, iid"),
        ("data: {channels: all}", "channels 'all' of earthnet2021"),
        ("data: {include_S1: true}", "include_s1: not an option of earthnet2021"),
        ("data: {split: iid, return_class_map: true}", "only the split train has these"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_config(written(tmp_path, RUN), written(tmp_path, text, "own.yaml"), defaults=True)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"none\.yaml"):
        read_config(tmp_path / "none.yaml", defaults=True)
    with pytest.raises(ReadError, match="as YAML"):
        read_config(written(tmp_path, "a: [1"), defaults=True)


def test_the_defaults_are_not_changed_by_merging() -> None:
    assert merged(default_sections(), {"data": {"filter_settings": {"min_length": 9}}}) != default_sections()
    assert default_sections()["data"]["filter_settings"]["type"] == "cloud-free"


@pytest.mark.parametrize(
    ("options", "phase", "part", "file"),
    [
        ({"dataset": "earthnet2021", "split": "train", "mode": "val"}, "val", "val", "train.hdf5"),
        ({"dataset": "earthnet2021", "split": "train"}, "train", "train", "train.hdf5"),
        ({"dataset": "earthnet2021", "split": "ood"}, "test", "ood_test_split", "ood_test_split.hdf5"),
        ({"dataset": "sen12mscrts", "split": "val"}, "val", "val", "val.hdf5"),
        ({"dataset": "sen12mscrts", "split": "test"}, "test", "test", "test.hdf5"),
        ({"dataset": "greenearthnet", "split": "ood-t_chopped"}, "test", "ood-t_chopped", "ood-t_chopped"),
    ],
)
def test_parts_and_phases(options: dict[str, str], phase: str, part: str, file: str) -> None:
    data = DataSettings(root="/data", channels="bgr", **options)
    assert (data.phase, data.part, data.file(data.phase).name) == (phase, part, file)
    for each in ("train", "val", "test"):
        assert data.of_phase(each).phase == each  # type: ignore[arg-type]
    assert data.of_phase(data.phase).part == part
    stored = data.model_copy(update={"preprocessed": True})
    assert stored.reads_simulated == (phase != "train")
