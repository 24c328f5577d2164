"""Adapters of the U-TILISE goldens about data: detection, frame sampling, filling, and files end to end."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import torch

from sitsfusion.datasets.earthnet2021_convert import convert_earthnet2021
from sitsfusion.datasets.sen12mscrts_clouds import detect_clouds
from sitsfusion.datasets.utilise_data import gap_samples, simulate_file
from sitsfusion.datasets.utilise_detection import impaired_frames
from sitsfusion.datasets.utilise_gaps import Draws, dilate, fill, sample_indices
from sitsfusion.datasets.utilise_options import DataSettings, MaskSettings
from sitsfusion.datasets.utilise_positions import positions
from sitsfusion.evaluation.utilise_figures import gallery, upsample_attention
from tests.golden import recipe
from tests.golden.goldens import Golden, adapter, captured

Arrays = dict[str, np.ndarray]


def _first(counts: list[int], height: int, width: int, value: float) -> np.ndarray:
    """[t, 1, h, w]: the first counts[t] pixels of frame t hold `value`, the others 0."""
    index = np.arange(height * width).reshape(1, 1, height, width)
    return np.where(index < np.array(counts).reshape(-1, 1, 1, 1), value, 0).astype(np.float32)


def _check_detection(meta: dict[str, Any], text: str, seed: int) -> None:
    height, width = meta["H"], meta["W"]
    mask = _first(meta["mask_counts"], height, width, 1)
    percent, channels = int(captured(r"set to (\d+) \(percent\)", text)), int(captured(r"\(T,(\d+),H,W\)", text))
    probability = _first(meta["probability_counts"], height, width, percent)
    seq = recipe.array("detect.seq", (len(mask), channels, height, width), seed)
    seq[meta["nan_frames"]] = np.nan
    found = {
        "with_probability": impaired_frames(seq, mask, probability),
        "with_probability_strong": impaired_frames(seq, mask, probability, strict=True),
        "mask_only": impaired_frames(seq, mask),
    }
    for name, expected in meta["expected_impaired"].items():
        assert np.flatnonzero(found[name]).tolist() == expected, name


def _check_half(meta: dict[str, Any]) -> None:
    mask = _first(meta["mask_counts"], meta["H"], meta["W"], 1)
    seq, probability = np.zeros_like(mask), np.full_like(mask, int(captured(r"(\d+) everywhere", meta["probability"])))
    for name, expected in meta["expected_impaired"].items():
        dtype = np.float16 if name.endswith("half") else np.float32
        percent = probability.astype(dtype) if name.startswith("with_probability") else None
        found = impaired_frames(seq.astype(dtype), mask.astype(dtype), percent)
        assert np.flatnonzero(found).tolist() == expected, name


def _check_positions(meta: dict[str, Any]) -> None:
    dates = [date.fromisoformat(day) for day in meta["dates"]]
    for strategy in set(meta) - {"dates"}:
        found = positions(dates, strategy)  # type: ignore[arg-type]
        assert found.tolist() == meta[strategy], strategy
        assert found.dtype == (np.int64 if strategy == "enumeration" else np.float32)


def _check_sampling(cases: list[dict[str, Any]]) -> None:
    for case in cases:
        settings = dict(case["settings"])
        valid = range(settings.pop("T"))
        found = sample_indices(valid, MaskSettings(**settings), Draws(case["seed"]))
        assert found.masked.tolist() == case["indices_masked"], case
        assert found.fully.tolist() == case["indices_fully_masked"], case


@adapter("utilise_gap_pieces")
def gap_pieces(golden: Golden) -> Arrays:
    meta = golden.meta
    _check_detection(meta["detect"], meta["inputs"], golden.seed)
    _check_half(meta["detect_half"])
    _check_positions(meta["positions"])
    _check_sampling(meta["sample_indices"])
    shape = tuple(meta["fill"]["seq"])
    images = recipe.array("fill.seq", shape, golden.seed)
    share = float(captured(r"< ([\d.]*\d)$", meta["inputs"]))
    value = float(captured(r"fill/value: fill ([\d.]*\d)", meta["outputs"]))
    masks = (recipe.array("fill.masks", (shape[0], 1, *shape[2:]), golden.seed) < share).astype(np.int8)
    valid, draws = np.array(meta["fill"]["mask_valid"]), Draws(0)
    grown = dilate(masks)
    return {
        "fill/value": fill(images, masks, "fill_value", value, draws),
        "fill/dilated": fill(images, grown, "fill_value", value, draws),
        "fill/dilated_masks": grown,
        "fill/mean": fill(images, masks, "mean", value, draws, valid),
    }


# -- end to end on tiny data -------------------------------------------------------------------------------------------


def _thinned(values: Any, name: str, text: str) -> np.ndarray:
    """What `<name> rows and columns 0,n,..` or `<name> whole` keeps."""
    found = re.search(rf"{name}\b[^;]*? (?:whole|rows and columns 0,(\d+),)", text)
    assert found is not None, (name, text)
    step = int(found[1] or 1)
    return np.asarray(values[..., ::step, ::step])


def _draws(text: str, name: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Shape and range of the first array("<...>/name", (shape), seed, low, high) in a sentence."""
    match = re.search(rf'array\([^()]*/{name}",\(([\d,]+)\)(?:,seed,(-?[\d.]*\d),(-?[\d.]*\d))?\)', text)
    assert match is not None, (name, text)
    limits = tuple(float(n) for n in match.groups()[1:] if n is not None)
    return tuple(int(n) for n in match[1].split(",") if n), limits


def _cube(text: str, name: str, seed: int) -> np.ndarray:
    """A cube of EarthNet2021 [h, w, 7, t] as the sentence describes it."""

    def draw(part: str) -> np.ndarray:
        shape, limits = _draws(text, part)
        return recipe.array(f"cube/{name}/{part}", shape, seed, *limits)

    level = draw("cover")
    clear = level < float(captured(r"below ([\d.]*\d) set to 0", text))
    mask = (draw("mask") < np.where(clear, 0, level)).astype(np.float32)
    reflectance, scene = draw("reflectance"), np.floor(draw("scl"))
    probability = mask * int(captured(r"probability = (\d+)", text))
    frame = int(captured(r"frame (\d+):", text))
    reflectance[..., frame], mask[..., frame] = np.nan, 1
    layers = [reflectance, *(layer[:, :, None] for layer in (probability, scene, mask))]
    return np.concatenate(layers, axis=2).astype(np.float16)


def _write_archive(golden: Golden, folder: Path) -> None:
    text = golden.meta["inputs"]
    kept = [int(n) for n in captured(r"iid split channels ([\d,]+), frames", text).split(",")]
    context = int(captured(r"frames 0-(\d+) as context", text)) + 1
    for tile, names in golden.meta["cubes"].items():
        for name in names:
            cube = _cube(text, name, golden.seed)
            test = cube[:, :, kept]
            files = {f"train/{tile}/{name}": cube}
            files |= {f"iid_test_split/context/{tile}/context_{name}": test[..., :context]}
            files |= {f"iid_test_split/target/{tile}/target_{name}": test[..., context:]}
            for file, values in files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                np.savez(folder / f"{file}.npz", highresdynamic=values)


def _same_arrays(file: h5py.File, samples: dict[str, Any], lists: tuple[str, ...]) -> None:
    for path, expected in samples.items():
        group = file[path]
        for name, (dtype, shape) in expected.get("dtypes", {}).items():
            assert (str(group[name].dtype), list(group[name].shape)) == (dtype, shape), (path, name)
        for name in lists:
            found = group[name].asstr()[()] if name.endswith("dates") else group[name][()]
            assert found.tolist() == expected[name], (path, name)


def _same_simulation(path: Path, expected: dict[str, Any], key: str, arrays: Arrays) -> None:
    """Check types, dates, indices and the rules of masks; masks go to `arrays`."""
    with h5py.File(path) as file:
        wanted = expected.get("path_list_key", "path_samples")
        listed = re.sub("path_samples(?=[a-z])", "path_samples_", wanted)  # published without the underscore
        assert file[listed].asstr()[()].tolist() == list(expected["samples"])
        for name, sample in expected["samples"].items():
            group = next(k.rpartition("/")[0] for k in sample["dtypes"] if k.endswith("t_masked"))
            dates = [k for k in ("dates", "S2_dates", "S1_dates") if k in sample]
            _same_arrays(file, {name: {k: v for k, v in sample.items() if k not in dates}}, ("t_sampled",))
            for day in dates:
                inside = day if day == "dates" else f"{day[:2]}/{day}"
                assert file[name][inside].asstr()[()].tolist() == sample[day]
            assert file[name][group]["t_masked"][()].tolist() == sample["t_masked"]
            arrays[f"{key}{name}/masks"] = file[name][group]["masks_random_clouds"][()]


# Published simulation settings (specification of U-TILISE, section 6.7), which `steps` only names.
_FILTER = {"type": "cloud-free", "min_length": 5, "return_valid_obs_only": True}


@adapter("utilise_earthnet2021_data")
def earthnet2021_data(golden: Golden) -> Arrays:
    arrays: Arrays = {}
    common = {"dataset": "earthnet2021", "channels": "bgr-nir"}
    steps = golden.meta["steps"]
    longest, above = (
        int(captured(r"max_seq_length (\d+)", steps)),
        float(captured(r"occluded_above_p ([\d.]*\d)", steps)),
    )
    masks = MaskSettings(
        ratio_masked_frames=float(captured(r"ratio ([\d.]*\d)", steps)),
        non_masked_frames=(int(captured(r"never frame (-?\d+)", steps)),),
    )
    seed = int(captured(r"random seed (\d+)", steps))
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_archive(golden, folder)
        convert_earthnet2021(folder, folder, "train", "val")
        convert_earthnet2021(folder, folder, "iid")
        parts = {
            "val": DataSettings(
                root=folder, split="train", mode="val", filter_settings=_FILTER, max_seq_length=longest, **common
            ),
            "iid": DataSettings(root=folder, split="iid", filter_settings=_FILTER, **common),
        }
        for key, data in parts.items():
            expected = golden.meta[key]
            with h5py.File(data.file(data.phase)) as file:
                assert sorted(file) == expected["root_keys"]
                assert file[f"path_samples_{data.part}"].asstr()[()].tolist() == expected["path_samples"]
                lists = ("idx_impaired_frames", "idx_cloudy_frames", "idx_good_frames", "valid_obs")
                _same_arrays(file, expected["samples"], lists)
            simulate_file(data, masks, folder / f"{key}_simulation.hdf5", seed=seed)
            _same_simulation(folder / f"{key}_simulation.hdf5", expected["simulation"], key, arrays)
        stored = parts["val"].model_copy(update={"preprocessed": True, "hdf5_file": "val_simulation.hdf5"})
        loaded = gap_samples(stored, masks, "val")[0]
        common["channels"] = captured(r"channels ([\w-]+)", steps)
        clouds = DataSettings(root=folder, split="iid", render_occluded_above_p=above, **common)
        real = gap_samples(clouds, MaskSettings(mask_type="real_clouds"), "test")[0]
    _same_sample(loaded, golden.meta["loader"])
    _same_sample(real, golden.meta["real_clouds"])
    return arrays | {
        f"{key}/{name}": _thinned(sample[name], f"{key}/{name}", golden.meta["outputs"])
        for key, sample in (("loader", loaded), ("real_clouds", real))
        for name in ("x", "masks")
    }


def _same_sample(sample: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(sample) == set(expected.get("keys", sample))
    for name in ("days", "position_days", "c_index_rgb", "c_index_nir", "masks_valid_obs"):
        if name in expected:
            assert np.asarray(sample[name]).ravel().tolist() == np.ravel(expected[name]).tolist(), name
    for name in ("x", "y"):
        if f"{name}_shape" in expected:
            assert list(sample[name].shape) == expected[f"{name}_shape"]
    if "filepath" in expected:
        assert sample["filepath"] == expected["filepath"]


def _write_patches(golden: Golden, path: Path) -> None:
    text = golden.meta["inputs"]
    threshold, high = (float(captured(p, text)) for p in (r"below ([\d.]*\d) set to 0", r"cloud_prob = ([\d.]*\d)"))
    gap_at, gap_days = (int(captured(p, text)) for p in (r"gaps\[(\d+)\]=", r"gaps\[\d+\]=(\d+)"))
    days = {"one": 1, "two": 2, "three": 3}[captured(r"S1 dates (\w+) days later", text)]
    start = date.fromisoformat(captured(r"(\d{4}-\d\d-\d\d)", text))
    with h5py.File(path, "w") as file:
        for patch in golden.meta["patches"]:
            levels: Arrays = {}
            for part in ("S2", "cover", "cloud_mask", "S1", "gaps"):
                match = re.search(rf'array\(P\+"/{part}",\(([\d,]+)\)(?:,seed,(-?[\d.]*\d),(-?[\d.]*\d))?\)', text)
                assert match is not None, part
                shape = tuple(int(n) for n in match[1].split(",") if n)
                limits = [float(n) for n in match.groups()[1:] if n is not None]
                levels[part] = recipe.array(f"{patch}/{part}", shape, golden.seed, *limits)
            cover = np.where(levels["cover"] < threshold, 0, levels["cover"])
            mask = levels["cloud_mask"] < cover[:, None, None, None]
            gaps = np.floor(levels["gaps"])
            gaps[gap_at] = gap_days
            offsets = np.cumsum(gaps) - gaps[0]
            late = {"S2": 0, "S1": days}
            dates = {sensor: [str(start + timedelta(days=int(n) + late[sensor])) for n in offsets] for sensor in late}
            assert dates["S2"] == golden.meta["dates"][patch]
            group = file.create_group(patch)
            group["S2/S2"] = np.floor(levels["S2"]).astype(np.uint16)
            group["S2/cloud_mask"] = mask.astype(np.int8)
            group["S2/cloud_prob"] = np.where(mask, high, 0).astype(np.float32)
            group["S1/S1"] = levels["S1"]
            for sensor, listed in dates.items():
                group[f"{sensor}/{sensor}_dates"] = np.array(listed, object)


@adapter("utilise_sen12mscrts_data")
def sen12mscrts_data(golden: Golden) -> Arrays:
    arrays: Arrays = {}
    meta, steps = golden.meta, golden.meta["steps"]
    masks, seed = MaskSettings(non_masked_frames=(0,)), int(captured(r"seed (\d+)", steps))
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_patches(golden, folder / "val.hdf5")
        detect_clouds(folder / "val.hdf5")
        with h5py.File(folder / "val.hdf5") as file:
            assert file["path_samples"].asstr()[()].tolist() == meta["path_samples"]
            _same_arrays(
                file, meta["detected"], ("idx_impaired_frames", "idx_cloudy_frames", "idx_good_frames", "valid_obs")
            )
        longest, days = (int(captured(rf"{key} (\d+)", steps)) for key in ("max_seq_length", "max_t_sampling"))
        rule = {**_FILTER, "max_t_sampling": days}
        common = {"dataset": "sen12mscrts", "root": folder, "channels": "all", "include_s1": True}
        data = DataSettings(split="val", max_seq_length=longest, filter_settings=rule, **common)
        simulate_file(data, masks, folder / "simulated.hdf5", seed=seed)
        with h5py.File(folder / "simulated.hdf5") as file:
            assert sorted(file) == meta["simulation"]["root_keys"]
        _same_simulation(folder / "simulated.hdf5", meta["simulation"], "", arrays)
        stored = data.model_copy(update={"preprocessed": True, "hdf5_file": "simulated.hdf5"})
        for key, sar in (("loader_with_s1", True), ("loader_without_s1", False)):
            samples = gap_samples(stored.model_copy(update={"include_s1": sar}), masks, "val")
            assert (len(samples), samples.num_channels) == (meta[key]["n"], meta[key]["num_channels"])
            _same_sample(samples[0], meta[key])
            if sar:
                arrays["loader/x"] = _thinned(samples[0]["x"], "loader/x", golden.meta["outputs"])
    return arrays


@adapter("utilise_gallery")
def galleries(golden: Golden) -> Arrays:
    shapes = golden.meta["shapes"]
    attention, images = (recipe.array(f"gallery.{n}", tuple(shapes[n]), golden.seed) for n in ("att", "images"))
    larger = upsample_attention(torch.from_numpy(attention), tuple(golden.meta["target"]))
    text = golden.meta["outputs"]
    found = gallery(
        images,
        golden.meta["ncols"],
        border=int(captured(r"border (\d+)", text)),
        colour=captured(r"(black|white) border", text),  # type: ignore[arg-type]
        brightness=float(captured(r"brightness factor ([\d.]*\d)", text)),
    )
    assert found.dtype == np.float64
    return {"upsampled": larger.numpy(), "gallery": found.astype(np.float32)}
