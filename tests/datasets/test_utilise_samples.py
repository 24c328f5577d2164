"""Samples of sequences with gaps, batches of them, and files of simulated gaps."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sitsfusion.datasets.utilise_data import gap_samples, simulate_file
from sitsfusion.datasets.utilise_gaps import Draws
from sitsfusion.datasets.utilise_options import CropSettings, DataSettings, FilterSettings, MaskSettings, SampleSettings
from sitsfusion.datasets.utilise_samples import GapSamples, collate
from sitsfusion.datasets.utilise_sequences import GapSequence, OpticalBands, Place, draw_place, prepared
from sitsfusion.errors import InputError, ReadError
from tests.fake.utilise_archives import FILTER, MASKS, earthnet_data, sen12_data


class InMemory:
    """Two sequences of one tile, 20 frames of which every third is not good."""

    bands = OpticalBands((0, 1, 2), (2, 1, 0), None)

    def __init__(self, size: tuple[int, int] = (12, 10), frames: int = 20, sar: bool = False) -> None:
        self.names, self.sar, self.frames, self.size = ["t/a", "t/b"], sar, frames, size

    def read(self, name: str) -> GapSequence:
        rng = np.random.default_rng(len(name))
        dates = tuple(date(2020, 11, 3) + timedelta(days=5 * n) for n in range(self.frames))
        return GapSequence(
            optical=rng.random((self.frames, 3, *self.size)).astype(np.float32),
            cloud_mask=self.clouds(name),
            dates=dates,
            valid=np.arange(self.frames) % 3 != 2,
            frames=np.arange(self.frames),
            sar=rng.random((self.frames, 2, *self.size)).astype(np.float32) if self.sar else None,
            sar_dates=dates if self.sar else None,
        )

    def clouds(self, name: str) -> np.ndarray:
        masks = np.zeros((self.frames, 1, *self.size), np.float32)
        masks[2::3, :, : self.size[0] // 2] = 1
        return masks

    def tile(self, name: str) -> str:
        return "t"


RULE = SampleSettings(filter_settings=FILTER, max_seq_length=8)


def test_a_sample_hides_what_its_mask_says() -> None:
    samples = GapSamples(InMemory(sar=True), RULE, MASKS, mask_channel=True, seed=3)
    sample = samples[0]
    assert samples.num_channels == sample["x"].shape[1] == 3 + 1 + 2
    assert sample["x"].shape[:2] == (8, 6)
    hidden = sample["masks"].bool().expand(-1, 3, -1, -1)
    assert hidden.any()
    assert (sample["x"][:, :3][hidden] == 1).all()
    assert torch.equal(sample["x"][:, :3][~hidden], sample["y"][~hidden])
    assert torch.equal(sample["x"][:, 3:4], sample["masks"])
    assert not sample["masks"][0].any()  # the first frame never has a gap
    assert sample["masks_valid_obs"].tolist() == [1] * 8
    assert (sample["days"][0], sample["filepath"], sample["sample_index"]) == (0, "t/a", 0)
    assert sample["c_index_rgb"].tolist() == [2, 1, 0]
    assert sample["c_index_nir"].isnan()
    sar = InMemory(sar=True).read("t/a").sar
    assert sar is not None
    assert any(np.array_equal(sample["x"][0, 4:], frame) for frame in sar)  # never masked


def test_what_is_drawn_depends_on_seed_epoch_and_index_alone() -> None:
    samples = GapSamples(InMemory((12, 12)), RULE, MASKS, augment=True, seed=1)
    first, other = samples[0], samples[1]
    again = pickle.loads(pickle.dumps(samples))  # as a worker process has it
    assert torch.equal(again[1]["x"], other["x"])
    assert torch.equal(again[0]["x"], first["x"])
    samples.set_epoch(1)
    assert not torch.equal(samples[0]["x"], first["x"])
    samples.set_epoch(0)
    assert torch.equal(samples[0]["x"], first["x"])


def test_without_gaps() -> None:
    sample = GapSamples(InMemory(), RULE, None)[1]
    assert not sample["masks"].any()
    assert torch.equal(sample["x"], sample["y"])


def test_all_frames_with_their_validity() -> None:
    every = FILTER.model_copy(update={"return_valid_obs_only": False})
    settings = SampleSettings(filter_settings=every, return_acquisition_dates=True)
    sample = GapSamples(InMemory(), settings, MaskSettings(ratio_masked_frames=1, fixed_masking_ratio=True))[0]
    assert sample["masks_valid_obs"].tolist() == [float(n % 3 != 2) for n in range(20)]
    masked = sample["masks"].flatten(1).any(1)
    assert masked.tolist() == [n % 3 != 2 for n in range(20)]
    assert sample["S2_dates"][0] == "2020-11-03"
    assert "S1_dates" not in sample


def test_own_clouds_as_gaps() -> None:
    settings = SampleSettings(render_occluded_above_p=0.4)
    sample = GapSamples(InMemory(), settings, MaskSettings(mask_type="real_clouds"))[0]
    assert len(sample["x"]) == 20
    assert sample["masks"].mean(dim=(1, 2, 3)).tolist() == [float(n % 3 == 2) for n in range(20)]
    assert torch.equal(sample["masks"], sample["cloud_mask"])


def test_frames_hidden_whole() -> None:
    whole = MaskSettings(ratio_masked_frames=0.5, ratio_fully_masked_frames=0.25, fixed_masking_ratio=True)
    masks = GapSamples(InMemory(), RULE, whole)[0]["masks"].mean(dim=(1, 2, 3))
    assert ((masks > 0).sum(), (masks == 1).sum()) == (4, 2)


def test_no_good_frame_is_an_error() -> None:
    sequence = replace(InMemory().read("t/a"), valid=np.zeros(20, bool))
    with pytest.raises(InputError, match="none of 20 frames passes the filter"):
        prepared(sequence, RULE, Draws(0))


def test_frames_of_the_longest_run() -> None:
    sequence = InMemory().read("t/a")
    consecutive = SampleSettings(filter_settings=FilterSettings(type="cloud-free_consecutive", min_length=2))
    assert prepared(sequence, consecutive, Draws(0)).frames.tolist() == [0, 1]
    close = SampleSettings(filter_settings=FilterSettings(max_t_sampling=10))
    assert len(prepared(sequence, close, Draws(0))) == 14
    short = SampleSettings(filter_settings=FilterSettings(max_t_sampling=5))
    assert prepared(sequence, short, Draws(0)).frames.tolist() == [0, 1]


def test_parts_of_a_sequence_must_agree() -> None:
    sequence = InMemory().read("t/a")
    with pytest.raises(InputError, match="cloud_mask has 19 entries"):
        replace(sequence, cloud_mask=sequence.cloud_mask[1:])
    with pytest.raises(InputError, match="dates has 3 entries"):
        replace(sequence, dates=sequence.dates[:3])
    with pytest.raises(InputError, match="bring them to one grid"):
        replace(sequence, cloud_mask=sequence.cloud_mask[..., 1:])


# -- where a sample lies -----------------------------------------------------------------------------------------------


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(6, 12), st.integers(6, 12)),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    augment=st.booleans(),
    kind=st.sampled_from(["random", "center"]),
    seed=st.integers(0, 99),
)
def test_a_crop_is_a_part_of_the_image(
    size: tuple[int, int], shape: tuple[int, int], augment: bool, kind: str, seed: int
) -> None:
    crop = CropSettings(enabled=True, type=kind, shape=shape)  # type: ignore[arg-type]
    place = draw_place(size, crop, augment, Draws(seed))
    image = np.arange(size[0] * size[1]).reshape(1, *size)
    cut = place.cut(image)
    assert cut.shape == (1, *shape)
    assert len(np.unique(cut)) == cut.size
    assert place == draw_place(size, crop, augment, Draws(seed))


def test_turning_is_drawn_for_each_sample() -> None:
    places = {draw_place((8, 8), None, True, Draws(0, 0, n)) for n in range(60)}
    assert len(places) == 16
    assert all(place.turns % 2 == 0 for n in range(30) if (place := draw_place((8, 9), None, True, Draws(0, 0, n))))


def test_turns_are_counter_clockwise() -> None:
    image = np.array([[1, 2], [3, 4]])
    assert Place(turns=1).cut(image).tolist() == [[2, 4], [1, 3]]
    assert Place(upside_down=True).cut(image).tolist() == [[3, 4], [1, 2]]
    assert Place(mirrored=True).cut(image).tolist() == [[2, 1], [4, 3]]


def test_a_crop_larger_than_the_images_is_refused() -> None:
    with pytest.raises(InputError, match=r"crop_settings.shape \(64, 64\) is larger"):
        draw_place((12, 99), CropSettings(enabled=True), False, Draws(0))


def test_cropped_samples() -> None:
    settings = RULE.model_copy(update={"crop_settings": CropSettings(enabled=True, shape=(4, 6))})
    samples = GapSamples(InMemory(), settings, MASKS, augment=True)
    found = [samples[0], samples[1]]
    assert {sample["x"].shape for sample in found} == {(8, 3, 4, 6)}


# -- batches -----------------------------------------------------------------------------------------------------------


def test_a_batch_is_padded_at_its_end() -> None:
    samples = GapSamples(InMemory(), RULE, MASKS)
    long = samples[0]
    short = {k: v[:5] if k in ("x", "y", "masks", "cloud_mask", "days", "position_days", "masks_valid_obs") else v
             for k, v in samples[1].items()}  # fmt: skip
    batch = collate([long, short])
    assert batch["x"].shape == (2, 8, 3, 12, 10)
    assert batch["masks_valid_obs"].sum(1).tolist() == [8, 5]
    assert not batch["x"][1, 5:].any()
    assert not batch["position_days"][1, 5:].any()
    assert batch["sample_index"].tolist() == [0, 1]
    assert batch["filepath"] == ["t/a", "t/b"]
    assert batch["c_index_rgb"].shape == (2, 3)


def test_batches_that_do_not_fit() -> None:
    samples = GapSamples(InMemory(), RULE, MASKS)
    with pytest.raises(InputError, match="at least one sample"):
        collate([])
    with pytest.raises(InputError, match="different entries"):
        collate([samples[0], {"x": torch.zeros(1)}])
    with pytest.raises(InputError, match="crop them to one size"):
        collate([samples[0], {**samples[1], "y": torch.zeros(8, 3, 4, 4)}])


# -- files of simulated gaps -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def earthnet(tmp_path_factory: pytest.TempPathFactory) -> DataSettings:
    return earthnet_data(tmp_path_factory.mktemp("earthnet"))


def test_a_ready_data_set_of_each_phase(earthnet: DataSettings) -> None:
    train, val, test = (gap_samples(earthnet, MASKS, phase) for phase in ("train", "val", "test"))  # type: ignore[arg-type]
    assert (train.augment, val.augment, test.augment) == (True, False, False)
    stored, again = val[0], val[0]
    val.set_epoch(5)
    assert torch.equal(stored["x"], again["x"])
    assert torch.equal(stored["x"], val[0]["x"])  # stored gaps are not drawn anew
    assert len(val[0]["x"]) == 8
    assert len(test[0]["x"]) > 8
    assert train[0]["x"].shape == (8, 4, 16, 16)


def test_sen12_with_and_without_sar(tmp_path: Path) -> None:
    data = sen12_data(tmp_path, size=(16, 16))
    for phase in ("train", "val", "test"):
        samples = gap_samples(data, MASKS, phase)  # type: ignore[arg-type]
        assert samples[0]["x"].shape[1] == samples.num_channels == 15
        assert samples[0]["y"].shape[1] == 13
    without = gap_samples(data.model_copy(update={"include_s1": False}), MASKS, "val")[0]
    assert without["x"].shape[1] == 13
    with h5py.File(tmp_path / "val_simulation.hdf5", "r+") as file:
        del file[without["filepath"]]["S1"]
    with pytest.raises(ReadError, match="has no SAR images: simulate gaps with"):
        gap_samples(data, MASKS, "val")[0]


def test_more_masks_in_the_same_file(earthnet: DataSettings, tmp_path: Path) -> None:
    data = earthnet.of_phase("val").model_copy(update={"preprocessed": False, "hdf5_file": "train.hdf5"})
    file = tmp_path / "gaps.hdf5"
    whole = MASKS.model_copy(update={"ratio_fully_masked_frames": 0.25})
    few = MASKS.model_copy(update={"ratio_masked_frames": 0.2})
    own = MASKS.model_copy(update={"mask_type": "real_clouds"})
    groups = [simulate_file(data, masks, file, seed=4).group for masks in (MASKS, whole, few, own)]
    assert groups == [*("ratio_masked_0.5", "ratio_masked_0.5_fully_masked_0.25", "ratio_masked_0.2", groups[0])]
    with pytest.raises(InputError, match=r"ratio_masked_0.5/masks_random_clouds already"):
        simulate_file(data, MASKS, file)
    assert [path.name for path in tmp_path.iterdir()] == ["gaps.hdf5"]
    with h5py.File(file) as content:
        name = content["path_samples_val"].asstr()[0]
        sample = content[name]
        assert sample[groups[0]]["t_masked"][()].tolist() == sample[groups[1]]["t_masked"][()].tolist()
        full = sample[groups[1]]["t_fully_masked"][()]
        assert set(full) <= set(sample[groups[1]]["t_masked"][()])
        assert sample[groups[1]]["masks_random_clouds"][()][full].all()
        assert "masks_real_clouds" in sample[groups[0]]
    stored = data.model_copy(update={"preprocessed": True, "root": tmp_path, "hdf5_file": "gaps.hdf5"})
    assert gap_samples(stored, whole, "val")[0]["masks"].flatten(1).all(1).sum() == len(full)
    for masks in (few, own):
        assert gap_samples(stored, masks, "val")[0]["x"].shape == (8, 4, 16, 16)
    assert not gap_samples(stored, None, "val")[0]["masks"].any()
    with pytest.raises(ReadError, match=r"ratio_masked_0\.7"):
        gap_samples(stored, MASKS.model_copy(update={"ratio_masked_frames": 0.7}), "val")[0]


def test_masks_for_other_images_are_refused(earthnet: DataSettings, tmp_path: Path) -> None:
    data = earthnet.of_phase("val").model_copy(update={"preprocessed": False, "hdf5_file": "train.hdf5"})
    file = tmp_path / "gaps.hdf5"
    simulate_file(data, MASKS, file)
    with h5py.File(file, "r+") as content:
        name = content["path_samples_val"].asstr()[0]
        content[name]["frames_target"][0] = 0.125
    with pytest.raises(InputError, match="are not those of the data"):
        simulate_file(data, MASKS.model_copy(update={"ratio_masked_frames": 0.2}), file)


@pytest.mark.parametrize("listed", ["path_samplesiid_test_split", None])
def test_published_lists_of_tests_are_found(earthnet: DataSettings, tmp_path: Path, listed: str | None) -> None:
    (tmp_path / "iid.hdf5").write_bytes((earthnet.root / "iid_simulation.hdf5").read_bytes())
    with h5py.File(tmp_path / "iid.hdf5", "r+") as file:
        if listed is not None:
            file[listed] = file["path_samples_iid_test_split"]
        del file["path_samples_iid_test_split"]
    data = earthnet.model_copy(update={"root": tmp_path, "hdf5_file": "iid.hdf5"})
    assert len(gap_samples(data, MASKS, "test")) == 3


def test_the_same_seed_gives_the_same_file(earthnet: DataSettings, tmp_path: Path) -> None:
    data = earthnet.of_phase("test").model_copy(update={"preprocessed": False, "hdf5_file": None})
    cropped = data.model_copy(update={"crop_settings": CropSettings(enabled=True, shape=(8, 8))})
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        file = simulate_file(cropped, MASKS, tmp_path / f"{name}.hdf5", seed=seed).file
        with h5py.File(file) as content:
            first = content["path_samples_iid_test_split"].asstr()[0]
            group = content[first]
            assert group["frames_target"].shape[-2:] == (8, 8)
            found.append(group["ratio_masked_0.5/masks_random_clouds"][()])
    np.testing.assert_array_equal(found[0], found[1])
    assert found[0].shape != found[2].shape or not np.array_equal(found[0], found[2])


def test_frame_numbers_beyond_127(tmp_path: Path) -> None:
    from sitsfusion.datasets.utilise_hdf5 import frame_indices

    assert frame_indices(np.array([3, 200]), 210).tolist() == [3, 200]
    assert frame_indices(np.array([3, 9]), 10).dtype == np.int8
