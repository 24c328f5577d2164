"""Tiny archives of EarthNet2021, SEN12MS-CR-TS and GreenEarthNet as distributed, and data sets made of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

from sitsfusion.datasets.earthnet2021_convert import convert_earthnet2021
from sitsfusion.datasets.sen12mscrts_clouds import CloudFiles, detect_clouds
from sitsfusion.datasets.sen12mscrts_convert import convert_sen12mscrts
from sitsfusion.datasets.utilise_data import simulate_file
from sitsfusion.datasets.utilise_options import DataSettings, FilterSettings, MaskSettings
from sitsfusion.dates import every

TILES = {"29SND": 2, "33UVP": 1}
MASKS = MaskSettings(ratio_masked_frames=0.5, non_masked_frames=(0,))
FILTER = FilterSettings(type="cloud-free", min_length=5, return_valid_obs_only=True)
ROI, ROI_TILES = "ROIs2017", {"train": (8,), "val": (22,), "test": (108,)}


def landscape(frames: int, bands: int, size: tuple[int, int], seed: int) -> np.ndarray:
    """Fields of slowly changing reflectance [t, c, h, w] in [0, 1]."""
    rng = np.random.default_rng(seed)
    fields = np.kron(rng.uniform(0.1, 0.5, (bands, 4, 4)), np.ones((1, -(-size[0] // 4), -(-size[1] // 4))))
    season = 0.1 * np.sin(np.linspace(0, 3, frames))[:, None, None, None]
    return (fields[None, :, : size[0], : size[1]] + season).astype(np.float32)


def clouds(frames: int, size: tuple[int, int], seed: int, share: float = 0.4) -> np.ndarray:
    """Cloud masks [t, h, w]: `share` of the frames have a cloud of half their rows, none of the first two."""
    rng = np.random.default_rng([seed, 1])
    masks = np.zeros((frames, *size), np.float32)
    for t in range(2, frames):
        if rng.random() < share:
            top = rng.integers(0, size[0] // 2)
            masks[t, top : top + size[0] // 2] = 1
    return masks


# -- EarthNet2021 ------------------------------------------------------------------------------------------------------


def earthnet_cube(name_seed: int, size: tuple[int, int] = (16, 16), frames: int = 30) -> np.ndarray:
    """`highresdynamic` [h, w, 7, t] float16; frame 7 is missing."""
    images, mask = landscape(frames, 4, size, name_seed), clouds(frames, size, name_seed)
    images = np.where(mask[:, None] > 0, 0.9, images)
    mask[7] = 1
    layers = [images, *(layer[:, None] for layer in (mask * 80, np.full_like(mask, 4), mask))]
    cube = np.concatenate(layers, axis=1)
    cube[7, :4] = np.nan
    return cube.transpose(2, 3, 1, 0).astype(np.float16)


def write_earthnet(folder: Path, size: tuple[int, int] = (16, 16), tiles: dict[str, int] | None = None) -> Path:
    """The archives of split train and iid, as unpacked."""
    for tile, count in (tiles or TILES).items():
        for n in range(count):
            name = f"{tile}_2017-06-20_2017-11-16_{n}_{n + 128}_0_128_0_80_0_80"
            cube = earthnet_cube(sum(tile.encode()) + n, size)
            test = cube[:, :, [0, 1, 2, 3, 6]]
            _npz(folder / "train" / tile / f"{name}.npz", cube)
            _npz(folder / "iid_test_split/context" / tile / f"context_{name}.npz", test[..., :10])
            _npz(folder / "iid_test_split/target" / tile / f"target_{name}.npz", test[..., 10:])
    (folder / "train/LICENSE").write_text("a file beside the tiles")
    return folder


def _npz(path: Path, cube: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, highresdynamic=cube, mesostatic=np.zeros(1))


# -- SEN12MS-CR-TS -----------------------------------------------------------------------------------------------------


def write_sen12(
    folder: Path, *, frames: int = 10, patches: Sequence[int] = (2, 10), size: tuple[int, int] = (32, 32)
) -> Path:
    """Archives with one tile per split, and cloud probabilities (percent) in `<folder>/clouds`."""
    for tile in (tile for tiles in ROI_TILES.values() for tile in tiles):
        for patch in patches:
            seed = 1000 * tile + patch
            mask = clouds(frames, size, seed)
            s2 = np.where(mask[:, None] > 0, 9000, landscape(frames, 13, size, seed) * 10_000).astype(np.uint16)
            s1 = np.random.default_rng(seed).uniform(-30, 3, (frames, 2, *size)).astype(np.float32)
            for t in range(frames):
                day = date(2018, 1, 1) + timedelta(days=9 * t)
                probability = (90 * mask[t : t + 1]).astype(np.uint8)
                tail = f"{ROI}/{tile}/{{0}}/{t}/{{1}}_{ROI}_{tile}_ImgNo_{t}_{{2}}_patch_{patch}.tif"
                _tif(folder / tail.format("S2", "s2", day), s2[t])
                _tif(folder / tail.format("S1", "s1", day + timedelta(days=2)), s1[t])
                _tif(folder / "clouds" / tail.format("S2", "prob", day), probability)
    return folder


def _tif(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = image.shape
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": image.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile, crs="EPSG:32631", transform=from_origin(0, 0, 10, 10)) as file:
            file.write(image)


# -- data sets that are ready to train on ------------------------------------------------------------------------------


def earthnet_data(folder: Path, size: tuple[int, int] = (16, 16)) -> DataSettings:
    """A converted EarthNet2021 with files train.hdf5, val_simulation.hdf5 and iid_simulation.hdf5 in `folder`.

    Validation tiles equal training tiles: there are too few to divide.
    """
    archive = write_earthnet(folder / "archive", size)
    convert_earthnet2021(archive, folder, "train", "all")
    _as_parts(folder / "train.hdf5")
    convert_earthnet2021(archive, folder, "iid")
    names = {"train": "train.hdf5", "val": "val_simulation.hdf5", "test": "iid_simulation.hdf5"}
    common = {"dataset": "earthnet2021", "root": folder, "channels": "bgr-nir", "filter_settings": FILTER}
    for phase, most in (("val", 8), ("test", None)):
        part = DataSettings(**common, max_seq_length=most).of_phase(phase)
        simulate_file(part, MASKS, folder / names[phase])
    return DataSettings(**common, hdf5_file=names, preprocessed=True, max_seq_length=8)


def _as_parts(path: Path) -> None:
    """Split `all` of a converted file into `train` and `val` that hold the same."""
    import h5py

    with h5py.File(path, "r+") as file:
        for part in ("train", "val"):
            file.copy("all", part)
            names = [name.replace("/all/", f"/{part}/") for name in file["path_samples_all"].asstr()[()]]
            file[f"path_samples_{part}"] = np.array(names, object)
        del file["all"], file["path_samples_all"]


def sen12_data(folder: Path, *, sar: bool = True, size: tuple[int, int] = (32, 32)) -> DataSettings:
    """A converted SEN12MS-CR-TS with files train.hdf5, val_simulation.hdf5 and test_simulation.hdf5 in `folder`."""
    archive = write_sen12(folder / "archive", size=size)
    rule = FILTER.model_copy(update={"max_t_sampling": 28})
    common = {"dataset": "sen12mscrts", "root": folder, "channels": "all", "include_s1": sar, "filter_settings": rule}
    for split in ROI_TILES:
        convert_sen12mscrts(archive, folder, split, regions=[ROI])  # type: ignore[arg-type]
        detect_clouds(folder / f"{split}.hdf5", CloudFiles(archive / "clouds"))
        if split != "train":
            part = DataSettings(**common, split=split)  # type: ignore[arg-type]
            simulate_file(part, MASKS, folder / f"{split}_simulation.hdf5")
    names = {"train": "train.hdf5", "val": "val_simulation.hdf5", "test": "test_simulation.hdf5"}
    return DataSettings(**common, hdf5_file=names, preprocessed=True, ignore_seq_with_black_images=True)


# -- GreenEarthNet -----------------------------------------------------------------------------------------------------


def green_cube(frames: int = 30, size: tuple[int, int] = (16, 24), seed: int = 0) -> xr.Dataset:
    """A minicube: daily, Sentinel-2 on every fifth day, which of them are missing in frame 3."""
    days = 5 * frames
    images, mask = landscape(frames, 4, size, seed), clouds(frames, size, seed)
    images[3] = np.nan
    daily = np.full((days, 4, *size), np.nan, np.float32)
    daily[4::5] = images
    masks = np.full((days, *size), np.nan, np.float32)
    masks[4::5] = mask
    dims = ("time", "lat", "lon")
    bands = {f"s2_{band}": (dims, daily[:, n]) for n, band in enumerate(("B02", "B03", "B04", "B8A"))}
    scene = np.where(np.isnan(masks), np.nan, np.where(masks > 0, 9, 4)).astype(np.float32)
    layers = {"s2_mask": (dims, masks), "s2_dlmask": (dims, masks), "s2_SCL": (dims, scene)}
    times = np.array(every(date(2019, 3, 1), date(2019, 3, 1) + timedelta(days=days - 1), 1), "datetime64[ns]")
    return xr.Dataset({**bands, **layers}, coords={"time": times})


def write_green(folder: Path, tiles: dict[str, int] | None = None) -> Path:
    """Minicubes of split train, as unpacked."""
    for tile, count in (tiles or TILES).items():
        for n in range(count):
            path = folder / "train" / tile / f"{tile}_{n}.nc"
            path.parent.mkdir(parents=True, exist_ok=True)
            green_cube(seed=n).to_netcdf(path, engine="h5netcdf")
    return folder
