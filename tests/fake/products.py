"""Tiny copies of what the archives deliver: real layouts, file names and metadata, made-up pixels.

All pixels follow from a name and a seed. Corners lie in UTM zone 31 N, as those of tile 31TCJ.
"""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.fake.rasters import noise, write_jp2, write_tiff

LEFT, TOP = 651360.0, 4870440.0

# -- LS2S2 ----------------------------------------

S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")


@dataclass(frozen=True)
class FakeDate:
    """A line of an LS2S2 index; `absolute` writes its paths as old indices do."""

    day: str
    valid: bool = True
    rate: float = 0.8
    absolute: bool = False


def days(*texts: str) -> tuple[FakeDate, ...]:
    return tuple(FakeDate(text) for text in texts)


def write_ls2s2(
    root: Path,
    s2: Sequence[FakeDate],
    landsat: Sequence[FakeDate],
    pan: Sequence[FakeDate] = (),
    side: int = 180,
    seed: int = 0,
) -> Path:
    """A site of `side` metres (a multiple of 30); each image has a row of masked pixels and one pixel that is 0."""
    site = root / "31TCJ_12"
    _ls2s2_sensor(site / "sentinel2", "sentinel2", ("bands", "mask"), s2, (10, side // 10, 10), seed)
    _ls2s2_sensor(site / "landsat", "landsat", ("bands", "mask"), landsat, (8, side // 30, 30), seed)
    if pan:
        _ls2s2_sensor(site / "landsat", "landsat", ("pan", "pan_mask"), pan, (1, side // 15, 15), seed)
    return site


def ls2s2_values(kind: str, day: str, bands: int, size: int, seed: int = 0) -> NDArray:
    values = noise(f"{kind}{day}", (bands, size, size), 1, 6000, seed, "int16")
    values[bands // 2, -1, -1] = 0
    return values


def _ls2s2_sensor(
    folder: Path, name: str, kinds: tuple[str, str], dates: Sequence[FakeDate], shape: tuple[int, int, int], seed: int
) -> None:
    count, size, step = shape
    head = ["product_id", "product_id", "acquisition_date", "clear_pixel_rate", "valid", "bands", "mask", "snow_mask"]
    lines = [head]
    for date in dates:
        day = date.day.replace("-", "")
        files = [f"{day}/{name}_{kind}_{day}.tif" for kind in kinds] if date.valid else ["", ""]
        if date.valid:
            mask = np.zeros((1, size, size), np.uint8)
            mask[0, int(noise(f"mask{day}", (1,), 0, size, seed)[0])] = 1
            values = ls2s2_values(kinds[0] + name, day, count, size, seed)
            write_tiff(folder / files[0], values, step, (LEFT, TOP), nodata=-10000)
            write_tiff(folder / files[1], mask, step, (LEFT, TOP), nodata=0)
        if date.absolute:
            files = [f"/data/elsewhere/{name}/{file}" for file in files]
        lines.append([f"{name}_{day}", f"{name}_{day}", date.day, str(date.rate), str(date.valid), *files, ""])
    index = folder / ("index_pan.csv" if kinds[0] == "pan" else "index.csv")
    index.parent.mkdir(parents=True, exist_ok=True)
    index.write_text("".join("\t".join(line) + "\n" for line in lines))


# -- archives ----------------------------------------


def pack_tar(folder: Path) -> Path:
    """The files of a product folder in `<folder>.tar`, without the folder's name, as USGS delivers them."""
    archive = folder.with_name(f"{folder.name}.tar")
    with tarfile.open(archive, "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, arcname=file.name)
    return archive


def pack_zip(folder: Path) -> Path:
    """A product folder in `<name>.zip`, with the folder's name, as Copernicus delivers them."""
    archive = folder.with_name(f"{folder.stem}.zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            file.write(path, path.relative_to(folder.parent))
    return archive


# -- USGS Collection 2 level 2 ----------------------------------------

OLI, TM = ("B1", "B2", "B3", "B4", "B5", "B6", "B7"), ("B1", "B2", "B3", "B4", "B5", "B7")


@dataclass(frozen=True)
class FakeLandsat:
    """A product; `row` and `shift` (pixels east and south) say where its frame lies."""

    id: str = "LC08_L2SP_198029_20220105_20220114_02_T1"
    time: str = "10:40:12.3456780Z"
    height: int = 8
    width: int = 7
    shift: tuple[int, int] = (0, 0)
    step: tuple[float, float] = (30.0, 30.0)
    crs: str = "EPSG:32631"
    metadata: tuple[str, ...] = ("json", "xml", "txt")
    seed: int = 0

    @property
    def corner(self) -> tuple[float, float]:
        return LEFT + self.shift[0] * self.step[0], TOP - self.shift[1] * self.step[1]

    @property
    def reflective(self) -> tuple[str, ...]:
        return OLI if self.id[2:4] in ("08", "09") else TM

    @property
    def thermal(self) -> str:
        return "B10" if self.reflective is OLI else "B6"

    def values(self, layer: str) -> NDArray:
        """A layer as stored; the last column is fill, the first row is cloud in QA_PIXEL."""
        low, high, fill, dtype = 7000, 30000, 0, "uint16"
        if layer.startswith("ST_"):
            low, high = 40000, 46000
        values = noise(self.id + layer, (self.height, self.width), low, high, self.seed, dtype)
        if layer == "QA_PIXEL":
            values[:], fill = 21824, 1
            values[0] = 22280
        elif layer == "QA_RADSAT":
            values[:] = 0
            values[1, 0] = 1 << 3
        elif layer == "SR_QA_AEROSOL":
            values = np.full(values.shape, 66, np.uint8)
            values[1, 1], fill = 226, 1
        values[:, -1] = fill
        if layer.startswith("ST_"):
            values[2, 2] = 0  # temperature is missing where the reflectance is not
        return values

    def layers(self) -> list[str]:
        sr = [f"SR_{band}" for band in self.reflective]
        st = [f"ST_{self.thermal}"] if "L2SP" in self.id else []
        aerosol = ["SR_QA_AEROSOL"] if self.reflective is OLI else []
        return [*sr, *st, "QA_PIXEL", "QA_RADSAT", *aerosol]


def write_landsat(root: Path, product: FakeLandsat) -> Path:
    """The folder of a product, with its files in it."""
    folder = root / product.id
    for layer in product.layers():
        file = folder / f"{product.id}_{layer}.TIF"
        write_tiff(file, product.values(layer), product.step, product.corner, product.crs)
    for kind in product.metadata:
        text = {"json": _mtl_json, "xml": _mtl_xml, "txt": _mtl_txt}[kind](_mtl(product))
        (folder / f"{product.id}_MTL.{kind}").write_text(text)
    return folder


def _mtl(product: FakeLandsat) -> dict[str, dict[str, str]]:
    day = product.id.split("_")[3]
    return {
        "PRODUCT_CONTENTS": {
            "LANDSAT_PRODUCT_ID": product.id,
            "PROCESSING_LEVEL": product.id.split("_")[1],
            "COLLECTION_NUMBER": "02",
        },
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": f"LANDSAT_{int(product.id[2:4])}",
            "WRS_PATH": product.id[10:13].lstrip("0"),
            "WRS_ROW": product.id[13:16].lstrip("0"),
            "DATE_ACQUIRED": f"{day[:4]}-{day[4:6]}-{day[6:]}",
            "SCENE_CENTER_TIME": product.time,
            "CLOUD_COVER": "12.50",
            "SUN_AZIMUTH": "158.25000000",
            "SUN_ELEVATION": "21.50000000",
        },
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {"REFLECTANCE_MULT_BAND_1": "2.75e-05"},
    }


def _mtl_json(groups: Mapping[str, Mapping[str, str]]) -> str:
    return json.dumps({"LANDSAT_METADATA_FILE": groups})


def _mtl_xml(groups: Mapping[str, Mapping[str, str]]) -> str:
    inner = "".join(
        f"<{name}>{''.join(f'<{k}>{v}</{k}>' for k, v in group.items())}</{name}>" for name, group in groups.items()
    )
    return f'<?xml version="1.0" encoding="UTF-8"?><LANDSAT_METADATA_FILE>{inner}</LANDSAT_METADATA_FILE>'


def _mtl_txt(groups: Mapping[str, Mapping[str, str]]) -> str:
    quoted = {"SPACECRAFT_ID", "SCENE_CENTER_TIME", "LANDSAT_PRODUCT_ID", "PROCESSING_LEVEL"}
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for name, group in groups.items():
        lines.append(f"  GROUP = {name}")
        lines += [f'    {k} = "{v}"' if k in quoted else f"    {k} = {v}" for k, v in group.items()]
        lines.append(f"  END_GROUP = {name}")
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])


# -- Sentinel-2 SAFE ----------------------------------------

PHYSICAL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
NATIVE = {"B01": 60, "B09": 60, "B10": 60, **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 20)}


@dataclass(frozen=True)
class FakeSafe:
    """A product of `side` metres (a multiple of 60). `offset` None: the metadata name no offset (old baselines)."""

    level: str = "2A"
    datatake: str = "20220205T105229"
    baseline: str = "0400"
    tile: str = "31TCJ"
    orbit: int = 51
    sensing: str = "2022-02-05T10:56:30.123Z"
    side: int = 120
    offset: int | None = -1000
    quantification: int = 10000
    cloud: float = 20.0
    masks: bool = True
    crs: str = "EPSG:32631"
    seed: int = 0

    @property
    def name(self) -> str:
        return f"S2A_MSIL{self.level}_{self.datatake}_N{self.baseline}_R{self.orbit:03d}_T{self.tile}_20220205T130000"

    def keys(self, resolution: int) -> list[str]:
        every = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
        if self.level == "2A":
            every.remove("B10")
        if resolution == 10 or self.level == "1C":
            return [key for key in every if NATIVE.get(key, 10) == resolution]
        return [key for key in every if NATIVE.get(key, 10) <= resolution and key != "B08"]

    def values(self, key: str, resolution: int) -> NDArray:
        size = self.side // resolution
        values = noise(f"{self.name}{key}{resolution}", (size, size), 1001, 9000, self.seed, "uint16")
        if key == "SCL":
            values = np.full((size, size), 4, np.uint8)
            values[0, 0] = 9
        values[-1, -1] = 0
        return values


def write_safe(root: Path, product: FakeSafe) -> Path:
    """The folder `<name>.SAFE`."""
    folder = root / f"{product.name}.SAFE"
    granule = folder / "GRANULE" / f"L{product.level}_T{product.tile}_A034588_{product.datatake}"
    for resolution in (10, 20, 60):
        for key in product.keys(resolution):
            _write_jp2(granule, product, key, resolution)
        if product.level == "2A" and resolution > 10:
            _write_jp2(granule, product, "SCL", resolution)
    if product.level == "1C" and product.masks:
        size = product.side // 60
        mask = np.zeros((3, size, size), np.uint8)
        mask[0, 0, 0] = mask[1, 0, 1] = mask[2, 1, 0] = 1  # opaque, cirrus, snow
        write_jp2(granule / "QI_DATA" / "MSK_CLASSI_B00.jp2", mask, 60, (LEFT, TOP), product.crs)
    # a detector footprint, whose name ends like that of an image
    write_jp2(granule / "QI_DATA" / "MSK_DETFOO_B02.jp2", np.full((2, 2), 7, np.uint8), 60, (LEFT, TOP), product.crs)
    (folder / f"MTD_MSIL{product.level}.xml").write_text(_mtd(product))
    (granule / "MTD_TL.xml").write_text(_mtd_tile(product))
    return folder


def _write_jp2(granule: Path, product: FakeSafe, key: str, resolution: int) -> None:
    name = f"T{product.tile}_{product.datatake}_{key}"
    images = granule / "IMG_DATA"
    path = images / f"R{resolution}m" / f"{name}_{resolution}m.jp2" if product.level == "2A" else images / f"{name}.jp2"
    write_jp2(path, product.values(key, resolution), resolution, (LEFT, TOP), product.crs)


def _mtd(product: FakeSafe) -> str:
    kind = "BOA" if product.level == "2A" else "RADIO"
    offsets = "".join(f'<{kind}_ADD_OFFSET band_id="{i}">{product.offset}</{kind}_ADD_OFFSET>' for i in range(13))
    listed = {"BOA": "BOA_ADD_OFFSET_VALUES_LIST", "RADIO": "Radiometric_Offset_List"}[kind]
    scale = f'<{"BOA_" if kind == "BOA" else ""}QUANTIFICATION_VALUE unit="none">{product.quantification}'
    scale += f"</{'BOA_' if kind == 'BOA' else ''}QUANTIFICATION_VALUE>"
    bands = "".join(f'<Spectral_Information bandId="{i}" physicalBand="{b}"/>' for i, b in enumerate(PHYSICAL))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><n1:Level-{product.level}_User_Product '
        f'xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{product.level}.xsd">'
        f"<n1:General_Info><Product_Info><PRODUCT_URI>{product.name}.SAFE</PRODUCT_URI>"
        f"<PROCESSING_BASELINE>{product.baseline[:2]}.{product.baseline[2:]}</PROCESSING_BASELINE>"
        "<Datatake><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME></Datatake></Product_Info>"
        "<Product_Image_Characteristics><Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>"
        f"<SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>{scale}"
        f"<Spectral_Information_List>{bands}</Spectral_Information_List>"
        f"{f'<{listed}>{offsets}</{listed}>' if product.offset is not None else ''}"
        "</Product_Image_Characteristics></n1:General_Info><n1:Quality_Indicators_Info>"
        f"<Cloud_Coverage_Assessment>{product.cloud}</Cloud_Coverage_Assessment></n1:Quality_Indicators_Info>"
        f"</n1:Level-{product.level}_User_Product>"
    )


def _mtd_tile(product: FakeSafe) -> str:
    view = "".join(
        f'<Mean_Viewing_Incidence_Angle bandId="{i}"><ZENITH_ANGLE unit="deg">{6 + i / 10}</ZENITH_ANGLE>'
        f'<AZIMUTH_ANGLE unit="deg">{(355 + 10 * i) % 360}</AZIMUTH_ANGLE></Mean_Viewing_Incidence_Angle>'
        for i in range(3)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><n1:Level-{product.level}_Tile_ID '
        f'xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{product.level}_Tile_Metadata.xsd">'
        f'<n1:General_Info><SENSING_TIME metadataLevel="Standard">{product.sensing}</SENSING_TIME></n1:General_Info>'
        "<n1:Geometric_Info><Tile_Angles><Mean_Sun_Angle>"
        '<ZENITH_ANGLE unit="deg">62.5</ZENITH_ANGLE><AZIMUTH_ANGLE unit="deg">160.25</AZIMUTH_ANGLE></Mean_Sun_Angle>'
        f"<Mean_Viewing_Incidence_Angle_List>{view}</Mean_Viewing_Incidence_Angle_List></Tile_Angles>"
        f"</n1:Geometric_Info></n1:Level-{product.level}_Tile_ID>"
    )


# -- HLS ----------------------------------------

L30 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09", "B10", "B11")
S30 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


@dataclass(frozen=True)
class FakeHls:
    """A granule of `size` pixels of 30 m."""

    kind: str = "L30"
    time: str = "2022005T105341"
    tile: str = "31TCJ"
    size: int = 6
    crs: str = "EPSG:32631"
    seed: int = 0

    @property
    def id(self) -> str:
        return f"HLS.{self.kind}.T{self.tile}.{self.time}.v2.0"

    def values(self, layer: str) -> NDArray:
        """A layer as stored: first row cloud, last column fill."""
        if layer == "Fmask":
            values, fill = np.full((self.size, self.size), 64, np.uint8), 255
            values[0] = 66
        else:
            values, fill = noise(self.id + layer, (self.size, self.size), -50, 6000, self.seed, "int16"), -9999
        values[:, -1] = fill
        return values


def write_hls(root: Path, granule: FakeHls, angles: bool = True) -> Path:
    """The folder of a granule: one file per band, Fmask and (not read) angle files."""
    sensing = datetime.strptime(granule.time, "%Y%jT%H%M%S")
    source = "LC08_L1TP_198029_20220105_20220114_02_T1" if granule.kind == "L30" else "S2B_MSIL1C_20220105T105329_N0301"
    tags = {
        "SENSING_TIME": f"{sensing:%Y-%m-%dT%H:%M:%S}.1234567Z",
        "LANDSAT_PRODUCT_ID" if granule.kind == "L30" else "PRODUCT_URI": source,
        "cloud_coverage": "37",
        "MEAN_SUN_AZIMUTH_ANGLE": "160.5",
        "MEAN_SUN_ZENITH_ANGLE": "67.25",
    }
    folder = root / granule.id
    layers = [*(L30 if granule.kind == "L30" else S30), "Fmask", *(("SZA", "VAA") if angles else ())]
    for layer in layers:
        write_tiff(
            folder / f"{granule.id}.{layer}.tif", granule.values(layer), 30, (LEFT, TOP), granule.crs, None, tags
        )
    return folder
