"""Names, digests and archives."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sitsfusion.errors import ReadError
from sitsfusion.io.files import file_prints, gdal_path, listing, read_bytes, relative, sampled_digest, tree_digest
from tests.fake.geotiffs import numbers, write_image


def test_sampled_digest_sees_size_and_three_places(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(1_000_000)
    path = tmp_path / "file"

    def digest(changed: bytes) -> str:
        path.write_bytes(changed)
        return sampled_digest(path)

    original = digest(content)
    assert digest(content) == original
    for at in (0, 500_000, 999_999):
        assert digest(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]) != original
    assert digest(content[:-1]) != original
    assert digest(b"") != original
    with pytest.raises(ReadError, match="absent cannot be read"):
        sampled_digest(tmp_path / "absent")


def test_prints_name_files_relative_to_the_place(tmp_path: Path) -> None:
    for name in ("b", "a/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    prints = file_prints(tmp_path, [tmp_path / "b", tmp_path / "a" / "c", tmp_path / "b"])
    assert [(file["path"], file["size"]) for file in prints] == [("a/c", 3), ("b", 1)]
    assert relative(tmp_path / "b", tmp_path / "b") == "b"
    assert relative(tmp_path / "b", tmp_path / "a") == "../b"


def test_tree_digest_sees_every_file(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder / "c").mkdir(parents=True)
        (tmp_path / folder / "zarr.json").write_text("{}")
        (tmp_path / folder / "c" / "0").write_bytes(b"pixels")
    assert tree_digest(tmp_path / "one") == tree_digest(tmp_path / "two")
    (tmp_path / "two" / "c" / "0").write_bytes(b"pixelz")
    assert tree_digest(tmp_path / "one") != tree_digest(tmp_path / "two")


@pytest.mark.parametrize("kind", ["folder", "a.zip", "a.tar", "a.tar.gz"])
def test_folders_and_archives_are_alike(tmp_path: Path, kind: str) -> None:
    image = numbers(1, 5, 6)
    write_image(tmp_path / "folder" / "deep" / "image.tif", image)
    (tmp_path / "folder" / "notes.txt").write_text("hello")
    place = tmp_path / kind
    if kind == "a.zip":
        with zipfile.ZipFile(place, "w") as archive:
            for name in ("deep/image.tif", "notes.txt"):
                archive.write(tmp_path / "folder" / name, name)
    elif kind != "folder":
        with tarfile.open(place, "w:gz" if kind.endswith("gz") else "w") as tar:
            tar.add(tmp_path / "folder", ".")
    assert listing(place) == ("deep/image.tif", "notes.txt")
    assert read_bytes(place, "notes.txt") == b"hello"
    with rasterio.open(gdal_path(place, "deep/image.tif")) as file:
        np.testing.assert_array_equal(file.read(1), image)
    with pytest.raises(ReadError, match=r"absent\.txt in .* cannot be read"):
        read_bytes(place, "absent.txt")


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_damaged_archives(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not an archive" * 50)
    with pytest.raises(ReadError, match="cannot be listed"):
        listing(tmp_path / name)
    with pytest.raises(ReadError, match="cannot be read"):
        read_bytes(tmp_path / name, "x")
