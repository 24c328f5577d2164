"""Write georeferenced images: Cloud Optimized GeoTIFFs, and virtual mosaics of them.

Everything is written beside its final name and renamed at the end: a file that exists is complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from sitsfusion.errors import GridError, WriteError
from sitsfusion.grid import Window, describe
from sitsfusion.sensors import Encoding

_GDAL_TYPES = {"uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32"}
_GDAL_TYPES |= {"int32": "Int32", "float32": "Float32", "float64": "Float64"}
# GDAL keeps 5 % of the machine's memory in every process unless told otherwise.
_CACHE_MIB = 64
_BLOCK = 512


@dataclass(frozen=True)
class Layout:
    """What every image of a series has in common.

    `bands`: names written as band descriptions; `encodings`: one per band, all of one dtype and nodata number;
    `units`: one per band.
    """

    grid: GeoBox
    bands: tuple[str, ...]
    encodings: tuple[Encoding, ...]
    units: tuple[str, ...]

    @property
    def dtype(self) -> str:
        return self.encodings[0].dtype

    @property
    def nodata(self) -> float | None:
        return self.encodings[0].nodata

    @property
    def wkt(self) -> str:
        """The coordinate system.

        Raises:
            GridError: there is none.
        """
        if self.grid.crs is None:
            raise GridError(f"a GeoTIFF needs a coordinate system, this grid has none: {describe(self.grid)}")
        return str(self.grid.crs.to_wkt())

    def encode(self, values: NDArray[np.float32], what: str) -> NDArray[np.generic]:
        """Physical values [c, h, w] to stored numbers; `what` names the image in errors."""
        pairs = zip(self.bands, self.encodings, values, strict=True)
        return np.stack([encoding.encode(band, f"{what}, band {name}") for name, encoding, band in pairs])


@contextmanager
def gdal_limits() -> Iterator[None]:
    """Bound the memory that GDAL keeps for itself, in this process."""
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MIB):
        yield


def write_cog(
    path: Path,
    stored: NDArray[np.generic],
    layout: Layout,
    *,
    tags: Mapping[str, str],
    overviews: bool = True,
) -> None:
    """Write stored numbers [c, h, w] as a COG with CRS, band names, scale, offset, nodata and tags.

    Raises:
        GridError: no coordinate system.
        WriteError: the disk is full or not writable; nothing is left behind.
    """
    profile = {
        "driver": "COG",
        "count": len(layout.bands),
        "height": layout.grid.shape.y,
        "width": layout.grid.shape.x,
        "dtype": layout.dtype,
        "crs": layout.wkt,
        "transform": layout.grid.affine,
        "nodata": layout.nodata,
        **_creation_options(layout.dtype, (layout.grid.shape.y, layout.grid.shape.x), overviews),
    }
    with _put_in_place(path) as part, rasterio.open(part, "w", **profile) as image:
        image.write(stored)
        image.update_tags(**tags)
        image.descriptions = layout.bands
        image.scales = tuple(e.scale for e in layout.encodings)
        image.offsets = tuple(e.offset for e in layout.encodings)
        image.units = layout.units


def mosaic_cog(path: Path, vrt: str) -> None:
    """Copy a virtual mosaic (its XML) into one COG, block by block: memory does not grow with the image.

    Raises:
        WriteError: the disk is full or not writable, or a file of the mosaic is missing or damaged; nothing is left
            behind.
    """
    with _put_in_place(path) as part, rasterio.open(vrt) as source:
        options = _creation_options(source.dtypes[0], source.shape, overviews=True)
        rasterio.shutil.copy(source, part, driver="COG", **options)


@contextmanager
def _put_in_place(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` when all went well and is removed when not."""
    part = path.with_suffix(".part.tif")
    try:
        yield part
        _read_back(part)
        part.replace(path)
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise WriteError(f"{path} cannot be written ({error}); is the disk full, or a file damaged?") from error
    finally:
        for rest in path.parent.glob(f"{part.name}*"):  # GDAL's own temporary files too
            rest.unlink()


def _read_back(path: Path) -> None:
    """Decode every block once: what GDAL flushes when it closes a file may be lost on a full disk without an error.

    Raises:
        RasterioError: a block is missing or damaged (each carries a checksum).
    """
    with rasterio.open(path) as image:
        for _, window in image.block_windows(1):
            image.read(1, window=window)


def vrt_xml(layout: Layout, parts: Sequence[tuple[Path, Window]], tags: Mapping[str, str], base: Path | None) -> str:
    """A GDAL virtual raster over image files that tile the layout's grid.

    `parts`: each file and the pixel window it covers; paths are written relative to `base`, or absolute without it.
    """
    a = layout.grid.affine
    lines = [
        f'<VRTDataset rasterXSize="{layout.grid.shape.x}" rasterYSize="{layout.grid.shape.y}">',
        f"<SRS>{escape(layout.wkt)}</SRS>",
        f"<GeoTransform>{a.c!r}, {a.a!r}, {a.b!r}, {a.f!r}, {a.d!r}, {a.e!r}</GeoTransform>",
        "<Metadata>",
        *(f"<MDI key={quoteattr(key)}>{escape(value)}</MDI>" for key, value in tags.items()),
        "</Metadata>",
    ]
    for number in range(1, len(layout.bands) + 1):
        lines += _vrt_band(layout, number, parts, base)
    return "\n".join([*lines, "</VRTDataset>"])


def _vrt_band(layout: Layout, number: int, parts: Sequence[tuple[Path, Window]], base: Path | None) -> list[str]:
    encoding = layout.encodings[number - 1]
    lines = [
        f'<VRTRasterBand dataType="{_GDAL_TYPES[layout.dtype]}" band="{number}">',
        f"<Description>{escape(layout.bands[number - 1])}</Description>",
        f"<UnitType>{escape(layout.units[number - 1])}</UnitType>",
        f"<Offset>{encoding.offset!r}</Offset><Scale>{encoding.scale!r}</Scale>",
    ]
    if encoding.nodata is not None:
        lines.append(f"<NoDataValue>{encoding.nodata!r}</NoDataValue>")
    for path, window in parts:
        name = os.path.relpath(path, base) if base is not None else str(path)
        size = f'xSize="{window.width}" ySize="{window.height}"'
        block = _block_side((window.height, window.width))
        lines += [
            "<SimpleSource>",
            f'<SourceFilename relativeToVRT="{int(base is not None)}">{escape(name)}</SourceFilename>',
            f"<SourceBand>{number}</SourceBand>",
            # with these, a viewer opens only the files that it shows
            f'<SourceProperties RasterXSize="{window.width}" RasterYSize="{window.height}" '
            f'DataType="{_GDAL_TYPES[layout.dtype]}" BlockXSize="{block}" BlockYSize="{block}"/>',
            f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{window.col}" yOff="{window.row}" {size}/>',
            "</SimpleSource>",
        ]
    return [*lines, "</VRTRasterBand>"]


def _block_side(shape: tuple[int, int]) -> int:
    """Side of the square blocks of an image: the usual one, or what a smaller image needs (in whole 16 pixels)."""
    return min(_BLOCK, -(-max(shape) // 16) * 16)


def _creation_options(dtype: str, shape: tuple[int, int], overviews: bool) -> dict[str, str]:
    return {
        "COMPRESS": "DEFLATE",  # read by every GDAL; ZSTD is not in some builds that QGIS ships
        "PREDICTOR": "FLOATING_POINT" if dtype.startswith("float") else "STANDARD",
        "BIGTIFF": "IF_SAFER",
        "BLOCKSIZE": str(_block_side(shape)),
        "OVERVIEWS": "AUTO" if overviews else "NONE",
        "RESAMPLING": "NEAREST",  # averages would blend nodata-free and cloudy neighbours
        "NUM_THREADS": "1",
    }
