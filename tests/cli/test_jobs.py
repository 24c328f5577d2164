"""fuse and plan, as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import rasterio

DATES = "2022-06-01/2022-06-21/10d"


def places(folders: Path) -> list[str]:
    return [f"fine={folders / 'sentinel2'}", f"coarse={folders / 'landsat'}"]


def test_fuse_writes_images_that_open(run, folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "fused"
    ran = run("fuse", *places(folders), "--dates", DATES, "--method", "naive", "--out", out)
    assert ran.code == 0, ran.err
    with rasterio.open(out / "fine" / "fine_20220611.tif") as image:
        assert image.crs.to_epsg() == 32631
        assert image.descriptions[:3] == ("B02", "B03", "B04")
        assert image.tags()["DATE"] == "2022-06-11"
        assert image.shape == (60, 60)
    with rasterio.open(out / "thermal" / "thermal_20220611.tif") as image:  # came with the Landsat folder
        assert image.descriptions == ("LST",)
        assert image.res == (10.0, 10.0)
    assert (out / "index.html").exists()
    again = run("fuse", *places(folders), "--dates", DATES, "--method", "naive", "--out", out, "--json", "--no-page")
    assert json.loads(again.out)["done"] == 0


def test_another_plan_is_refused_and_overwrite_replaces_it(run, folders: Path, tmp_path: Path) -> None:
    words = [
        "fuse",
        *places(folders),
        "--method",
        "closest",
        "--out",
        tmp_path / "o",
        "--no-page",
        "--bands",
        "fine=B02",
    ]
    assert run(*words, "--dates", "2022-06-01").code == 0
    refused = run(*words, "--dates", "2022-06-02")
    assert refused.code == 4
    assert "another plan" in refused.err
    assert run(*words, "--dates", "2022-06-02", "--overwrite").code == 0
    assert not (tmp_path / "o" / "fine" / "fine_20220601.tif").exists()


def test_plan_writes_nothing(run, folders: Path, tmp_path: Path) -> None:
    words = ["plan", *places(folders), "--every", "30d", "--method", "naive", "--out", tmp_path / "o"]
    ran = run(*words)
    assert ran.code == 0, ran.err
    assert "peak memory" in ran.out
    assert not (tmp_path / "o").exists()
    planned = json.loads(run(*words, "--json").out)
    assert planned["tasks"] == 1
    assert planned["seconds"] > 0


def test_parts_of_a_scene(run, folders: Path, tmp_path: Path) -> None:
    words = ["fuse", *places(folders), "--dates", "2022-06-01", "--method", "naive", "--no-page", "--bands", "fine=red"]
    sizes = {}
    aoi = tmp_path / "aoi.geojson"
    inside = [[3.0315, 50.8], [3.0320, 50.8], [3.0320, 50.8002], [3.0315, 50.8]]
    aoi.write_text(json.dumps({"type": "Polygon", "coordinates": [inside]}))
    for name, value in {"size": "1,2,5,6", "bbox": "502200,5627850,502350,5628000", "aoi": str(aoi)}.items():
        ran = run(*words, f"--{name}", value, "--out", tmp_path / name)
        assert ran.code == 0, ran.err
        with rasterio.open(tmp_path / name / "fine" / "fine_20220601.tif") as image:
            sizes[name] = image.shape
            assert image.count == 1
    assert sizes["size"] == (15, 18)
    assert sizes["bbox"] == (15, 15)
    assert sizes["aoi"][0] < 60


def test_a_damaged_file_fails_its_tiles_only(run, folders: Path, tmp_path: Path) -> None:
    """The other dates are written, the exit code says so, and mending the file completes the job."""
    images = tmp_path / "images"
    shutil.copytree(folders, images)
    victim = sorted((images / "sentinel2").glob("S2_202206??.tif"))[0]
    good = victim.read_bytes()
    data = bytearray(good)
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)  # same header and size, pixels gone
    victim.write_bytes(bytes(data))
    day = victim.stem.removeprefix("S2_")
    words = ["fuse", f"fine={images / 'sentinel2'}", "--method", "closest", "--set", "max_masked_share=1"]
    words += ["--dates", f"{day},2022-01-20", "--out", tmp_path / "o", "--no-page"]
    ran = run(*words)
    assert ran.code in (1, 3)
    assert victim.name in ran.err


def test_wrong_use_is_explained(run, folders: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "o", "--no-page"]
    cases = {
        "no date asked for": ["--method", "naive"],
        "is not a date": ["--method", "naive", "--dates", "yesterday"],
        "unknown method": ["--method", "magic", "--dates", "2022-06-01"],
        "known options": ["--method", "closest", "--set", "colour=red", "--dates", "2022-06-01"],
        "does not divide": ["--method", "naive", "--dates", "2022-06-01", "--resolution", "7"],
        "cannot predict fine B01": ["--method", "naive", "--dates", "2022-06-01", "--bands", "fine=B01"],
        "has no --max-dates": ["--method", "naive", "--dates", "2022-06-01", "--max-dates", "3"],
    }
    for message, words in cases.items():
        ran = run("fuse", *places(folders), *words, *out)
        assert ran.code == 3, (message, ran)
        assert message in ran.err
        assert "Traceback" not in ran.err
        assert not (tmp_path / "o").exists()


def test_numbers_that_are_no_reflectances_are_refused(run, folders: Path, tmp_path: Path) -> None:
    """A scale that was not applied: refused before anything is written, with the scale that would fit."""
    words = [f"fine={folders / 'sentinel2'}", "--read", "fine.scale=1", "--read", "fine.offset=0"]
    ran = run("fuse", *words, "--method", "naive", "--dates", "2022-06-01", "--out", tmp_path / "o")
    assert ran.code == 3
    assert "scale" in ran.err
    assert "0.0001" in ran.err
    assert not (tmp_path / "o").exists()


def test_published_weights_that_are_not_here_say_how_to_get_them(
    run, folders: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("SITSFUSION_HOME", str(tmp_path / "home"))
    words = ["fuse", *places(folders), "--dates", "2022-06-01", "--out", tmp_path / "o"]
    ran = run(*words, "--set", "weights=tamrfsits-v2")
    assert ran.code == 3
    assert "sitsfusion fetch tamrfsits-v2" in ran.err


def test_the_default_needs_no_download(run, folders: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SITSFUSION_HOME", str(tmp_path / "home"))
    ran = run("fuse", *places(folders), "--dates", "2022-06-01", "--out", tmp_path / "o")
    assert ran.code == 0
    assert '"weights": "tamrfsits-sim"' in (tmp_path / "o" / "prediction.json").read_text()


def test_too_little_memory_is_refused_before_the_run(run, folders: Path, tmp_path: Path) -> None:
    words = ["fuse", *places(folders), "--dates", "2022-06-01", "--method", "naive", "--out", tmp_path / "o"]
    ran = run(*words, "--memory", "0.01")
    assert ran.code == 4
    assert "memory" in ran.err
    assert not (tmp_path / "o").exists()
