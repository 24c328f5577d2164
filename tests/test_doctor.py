"""The doctor: true about good places, and about every kind of broken one, without crashing."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sitsfusion import doctor
from sitsfusion.cube import Cube
from sitsfusion.doctor import check_radiometry
from sitsfusion.doctor.report import Finding, Report
from sitsfusion.doctor.sampling import sample, sample_windows
from sitsfusion.errors import InputError
from sitsfusion.grid import Window
from sitsfusion.io import RoleSource, open_scene
from sitsfusion.io.scene_file import SceneFile, write_scene_file
from sitsfusion.scene import Scene
from sitsfusion.simulate import simulate_scene
from tests.fake.geotiffs import CLOUD, L8, S2, VEGETATION, cube, grid, write_image

DAYS = ("20220105", "20220110", "20220120", "20220130", "20220204", "20220214")
BANDS = ("B02", "B03", "B04", "B08")
LAND = np.array([0.04, 0.07, 0.06, 0.30])
SIZE = 24


def land(seed: int, shift: float = 0.0) -> NDArray:
    """Reflectance [c, h, w] of vegetation with some texture."""
    rng = np.random.default_rng(seed)
    texture = rng.normal(1, 0.1, (SIZE, SIZE)) * LAND[:, None, None]
    return np.clip(texture + rng.normal(0, 0.002, (4, SIZE, SIZE)), 0.005, None) + shift


def write_s2(folder: Path, days: Sequence[str] = DAYS, offset: float = 0.0, cloudy: int = 1, **tags: Any) -> None:
    """Stored as Sentinel-2 does, with SCL; image number `cloudy` is half covered by cloud."""
    for i, day in enumerate(days):
        values, classes = land(i, offset), np.full((SIZE, SIZE), VEGETATION, np.uint8)
        if i == cloudy:
            values[:, : SIZE // 2] = 0.6
            classes[: SIZE // 2] = CLOUD
        stored = np.rint(values * 10000).astype(np.uint16)
        write_image(folder / f"S2_{day}.tif", stored, names=BANDS, nodata=0, **tags)
        write_image(folder / f"S2_{day}_SCL.tif", classes)


def write_l8(folder: Path, shift: float = 0.0, scale: float = 2.75e-5, offset: float = -0.2) -> None:
    for i, day in enumerate(DAYS[:3]):
        stored = np.rint((land(i)[:, ::3, ::3] - offset) / scale).astype(np.uint16)
        for name, image in zip(("SR_B2", "SR_B3", "SR_B4", "SR_B5"), stored, strict=True):
            write_image(folder / f"LC08_{day}_{name}.tif", image, grid(8, 8, 30, (shift, shift)), nodata=0)
        quality = np.full((8, 8), 21824, np.uint16)
        write_image(folder / f"LC08_{day}_QA_PIXEL.tif", quality, grid(8, 8, 30, (shift, shift)))


def found(report: Report, code: str, level: str | None = None) -> Finding:
    """The one finding of a code (and level)."""
    hits = [f for f in report.findings if f.code == code and level in (None, f.level)]
    assert len(hits) == 1, f"{code}: {[f.message for f in hits]} among {[f.code for f in report.findings]}"
    return hits[0]


def codes(report: Report) -> set[str]:
    return {f.code for f in report.findings if f.level != "note"}


def scene_of(place: Path, **options: Any) -> Path:
    """A scene.yaml with the options for a folder `s2` beside it."""
    source = RoleSource(path=place / "s2", reader="geotiff", sensor=S2, options={"offset": 0.0, **options})
    write_scene_file(SceneFile(roles={"fine": source}), place / "scene.yaml")
    return place / "scene.yaml"


# -- good places -------------------------------------------------------------------------------------------------------


def test_a_good_scene_has_no_complaint(tmp_path: Path) -> None:
    write_s2(tmp_path / "s2")
    write_l8(tmp_path / "l8")
    scene = SceneFile(
        roles={
            "fine": RoleSource(path=tmp_path / "s2", sensor=S2, options={"offset": 0.0}),
            "coarse": RoleSource(path=tmp_path / "l8", sensor=L8),
        }
    )
    write_scene_file(scene, tmp_path / "scene.yaml")
    report = doctor.inspect(tmp_path)
    assert codes(report) == set()
    assert not report.has_errors
    fine, coarse = report.roles
    assert (fine.role, fine.sensor, fine.dates, fine.first, fine.bands) == ("fine", S2, 6, date(2022, 1, 5), BANDS)
    assert (fine.stored, fine.crs, fine.pixel, fine.quality) == ("uint16, no data: 0", "EPSG:32631", 10, True)
    assert [day.clear for day in fine.days] == [1, 0.5, 1, 1, 1, 1]
    assert fine.looked_at == "all pixels of every date"
    assert coarse.absent_bands == ("B01", "B06", "B07")
    assert doctor.check_radiometry(open_scene(tmp_path)) == []


def test_report_as_json_and_text(tmp_path: Path) -> None:
    write_s2(tmp_path / "s2")
    report = doctor.inspect(scene_of(tmp_path))
    assert json.loads(report.to_json())["roles"][0]["dates"] == 6
    assert Report.model_validate_json(report.to_json()) == report
    text = "\n".join(report.lines())
    assert "6 dates, 2022-01-05 to 2022-02-14" in text
    assert "looked at all pixels of every date" in text
    assert text.endswith("0 errors, 0 warnings, 2 notes")
    assert max(map(len, report.lines())) <= 116


def test_an_open_scene(tmp_path: Path) -> None:
    scene = Scene({"fine": cube([date(2022, 1, 5)], clouds=0.5)}, name="fields")
    report = doctor.inspect(scene)
    assert [role.place for role in report.roles] == ["fields"]
    assert report.suggestion is None
    with pytest.raises(InputError, match="one open scene alone"):
        doctor.inspect(scene, tmp_path)
    with pytest.raises(InputError, match="give one or more places"):
        doctor.inspect()


# -- what goes wrong when opening --------------------------------------------------------------------------------------


def test_folders_as_users_have_them(tmp_path: Path) -> None:
    """Unknown baseline, Landsat half a pixel off: all is said at once, and the suggestion opens."""
    write_s2(tmp_path / "s2")
    write_l8(tmp_path / "l8", shift=-15)
    report = doctor.inspect(tmp_path)
    assert codes(report) == {"baseline", "sensor", "nesting"}
    assert "6 date(s) is not known" in found(report, "baseline").message
    assert "offset=-0.1 if it must" in found(report, "baseline").remedy
    nesting = found(report, "nesting")
    assert (nesting.role, nesting.level) == ("coarse", "error")
    assert "pixel edges never meet (fine start at 500000, coarse start at 499985)" in nesting.message
    assert "resample: {onto: fine}" in nesting.remedy
    path = tmp_path / "scene.yaml"
    write_scene_file(doctor.suggest_scene(tmp_path), path)
    scene = open_scene(path)
    assert {role: len(c) for role, c in scene.cubes.items()} == {"fine": 6, "coarse": 3}
    assert codes(doctor.inspect(path)) == set()


@pytest.mark.parametrize(("held", "offset"), [(0.0, 0.0), (0.1, -0.1)])
def test_the_offset_is_measured_where_the_baseline_is_unknown(tmp_path: Path, held: float, offset: float) -> None:
    write_s2(tmp_path, offset=held)
    report = doctor.inspect(tmp_path)
    measured = found(report, "offset", "note")
    assert ("seem to hold the offset" in measured.message) == bool(held)
    suggested = doctor.suggest_scene(tmp_path)
    assert suggested.roles["fine"].options == {"offset": offset}
    values = open_scene(suggested)["fine"].frame(0).values
    np.testing.assert_allclose(np.median(values, axis=(1, 2)), LAND, atol=0.02)


def test_duplicates_and_incomplete_dates(tmp_path: Path) -> None:
    write_s2(tmp_path / "s2")
    write_image(tmp_path / "s2" / "S2_20220105b.tif", np.full((4, SIZE, SIZE), 900, np.uint16), names=BANDS, nodata=0)
    write_image(tmp_path / "s2" / "S2_20220105b_SCL.tif", np.full((SIZE, SIZE), VEGETATION, np.uint8))
    (tmp_path / "s2" / "S2_20220214_SCL.tif").unlink()
    report = doctor.inspect(scene_of(tmp_path))
    assert codes(report) == {"duplicates", "bands"}
    assert "2022-01-05: S2_20220105, S2_20220105b" in found(report, "duplicates").message
    assert found(report, "duplicates").remedy.startswith("merge them")
    assert "2022-02-14 lacks SCL" in found(report, "bands", "error").message
    assert (report.roles[0].dates, report.roles[0].images) == (5, 6)
    assert doctor.suggest_scene(tmp_path / "scene.yaml").roles["fine"].options["duplicates"] == "merge"


def test_broken_files(tmp_path: Path) -> None:
    write_s2(tmp_path / "s2")
    (tmp_path / "s2" / "S2_20220110.tif").write_bytes(b"no image")
    (tmp_path / "s2" / "S2_20220110_SCL.tif").write_bytes(b"")
    damaged = tmp_path / "s2" / "S2_20220130_SCL.tif"
    write_image(damaged, np.full((SIZE, SIZE), VEGETATION, np.uint8), compress="deflate")
    content = bytearray(damaged.read_bytes())
    start = content.index(zlib.compress(b"")[:1])  # the pixels; the header stays whole
    content[start : start + 8] = b"\xff" * 8
    damaged.write_bytes(content)
    report = doctor.inspect(scene_of(tmp_path))
    files = [finding for finding in report.findings if finding.code == "file"]
    assert len(files) == 2
    assert "2 files cannot be used (S2_20220110.tif, S2_20220110_SCL.tif)" in files[0].message
    assert files[1].message.startswith("2022-01-30: ")
    assert "S2_20220130_SCL.tif" in files[1].message
    assert report.roles[0].dates == 5


def test_mixed_grids_and_missing_coordinate_systems(tmp_path: Path) -> None:
    write_s2(tmp_path / "s2")
    image, classes = np.full((4, SIZE, SIZE), 900, np.uint16), np.full((SIZE, SIZE), VEGETATION, np.uint8)
    moved = grid(SIZE, SIZE, 10, (4, 0))
    write_image(tmp_path / "s2" / "S2_20220110.tif", image, moved, names=BANDS, nodata=0)
    write_image(tmp_path / "s2" / "S2_20220110_SCL.tif", classes, moved)
    write_image(tmp_path / "s2" / "S2_20220120.tif", image, names=BANDS, nodata=0, crs=None)
    report = doctor.inspect(scene_of(tmp_path))
    assert codes(report) == {"file", "bands", "grids"}  # without its image, 2022-01-20 has only a quality layer
    assert "S2_20220120.tif has no coordinate system" in found(report, "file").message
    assert "S2_20220110 of 2022-01-10" in found(report, "grids").message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "absent", "does not exist"),
        (lambda p: p, "no reader knows"),
        (lambda p: _text(p / "scene.yaml", "roles: ["), "not valid YAML"),
        (lambda p: _text(p / "scene.yaml", "roles: {fine: {path: s2, sensr: x}}"), "roles.fine.sensr"),
        (lambda p: _text(p / "scene.yaml", "roles: {fine: {path: gone}}"), "gone does not exist"),
    ],
)
def test_places_that_cannot_be_opened(tmp_path: Path, make: Any, message: str) -> None:
    place = make(tmp_path)
    report = doctor.inspect(place)
    assert report.has_errors
    assert message in report.findings[0].message
    assert report.suggestion is None
    with pytest.raises(InputError, match="nothing can be read"):
        doctor.suggest_scene(place)


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# -- what is wrong with the numbers ------------------------------------------------------------------------------------


def test_wrong_scale(tmp_path: Path) -> None:
    """Collection 1 numbers read as Collection 2."""
    write_l8(tmp_path / "l8", scale=1e-4, offset=0.0)
    report = doctor.inspect(tmp_path / "l8")
    assert "with scale 0.0001 and offset 0" in found(report, "scale").remedy
    suggested = doctor.suggest_scene(tmp_path / "l8")
    options = suggested.roles["coarse"].options
    assert (options["scale"], options["offset"]) == (1e-4, 0.0)
    assert doctor.check_radiometry(open_scene(suggested)) == []


def test_numbers_that_no_product_explains(tmp_path: Path) -> None:
    values = np.float32(100.0) ** np.arange(4, dtype=np.float32)
    image = np.broadcast_to(values[:, None, None], (4, SIZE, SIZE))
    for day in DAYS:
        write_image(tmp_path / "s2" / f"S2_{day}.tif", image, names=BANDS)
    report = doctor.inspect(scene_of(tmp_path))
    finding = found(report, "implausible")
    assert finding.level == "error"
    assert "100% of the clear pixels of B03 lie outside -0.1 to 1.6" in finding.message


def test_offset_jump(tmp_path: Path) -> None:
    """Baseline 04.00 came in between: from then on every band is 0.1 higher."""
    write_s2(tmp_path / "s2", DAYS[:3], cloudy=-1)
    write_s2(tmp_path / "s2", DAYS[3:], offset=0.1, cloudy=-1)
    finding = found(doctor.inspect(scene_of(tmp_path)), "offset-jump")
    assert "2022-01-20 to 2022-01-30: +0.10" in finding.message
    assert "processing baseline" in finding.remedy
    scene = open_scene(tmp_path)
    assert [f.code for f in doctor.check_radiometry(scene)] == ["offset-jump"]


def test_seasons_and_haze_are_no_jump(tmp_path: Path) -> None:
    write_s2(tmp_path / "s2", cloudy=-1)
    grown = np.rint(land(9) * np.array([1, 1, 1, 1.5])[:, None, None] * 10000).astype(np.uint16)
    write_image(tmp_path / "s2" / f"S2_{DAYS[3]}.tif", grown, names=BANDS, nodata=0)
    hazy = np.rint(land(8, 0.1) * 10000).astype(np.uint16)
    write_image(tmp_path / "s2" / f"S2_{DAYS[4]}.tif", hazy, names=BANDS, nodata=0)
    assert "offset-jump" not in codes(doctor.inspect(scene_of(tmp_path)))


def test_wrapped_numbers(tmp_path: Path) -> None:
    write_s2(tmp_path / "s2")
    stored = np.rint(land(2) * 10000).astype(np.uint16)
    stored[0, 3:5, 3:5] = 65500
    write_image(tmp_path / "s2" / f"S2_{DAYS[2]}.tif", stored, names=BANDS, nodata=0)
    finding = found(doctor.inspect(scene_of(tmp_path)), "wrapped")
    assert "B02" in finding.message
    assert "B03" not in finding.message
    suggested = doctor.suggest_scene(tmp_path / "scene.yaml")
    assert suggested.roles["fine"].options["valid_range"] == [0, 32767]
    assert np.isnan(open_scene(suggested)["fine"].frame(2).values[0, 3, 3])


def test_undeclared_nodata(tmp_path: Path) -> None:
    stored = np.rint(land(2) * 10000).astype(np.uint16)
    stored[:, :5] = 0
    for day in DAYS:
        write_image(tmp_path / "s2" / f"S2_{day}.tif", stored, names=BANDS, scale=1e-4)
    finding = found(doctor.inspect(scene_of(tmp_path)), "nodata")
    assert "6 image(s) hold zeros in every band (20.8% of pixels)" in finding.message


# -- what is wrong with the images -------------------------------------------------------------------------------------


def test_inverted_mask(tmp_path: Path) -> None:
    write_s2(tmp_path / "s2")
    for i, day in enumerate(DAYS):
        values, mask = land(i), np.ones((SIZE, SIZE), np.uint8)
        values[:, :8] = 0.6
        mask[:8] = 0  # 1 = usable, the opposite of what is expected
        stored = np.rint(values * 10000).astype(np.uint16)
        write_image(tmp_path / "s2" / f"S2_{day}.tif", stored, names=BANDS, nodata=0)
        write_image(tmp_path / "s2" / f"{day}_clear.tif", mask)
    finding = found(doctor.inspect(scene_of(tmp_path, mask_pattern="*_clear.tif")), "mask")
    assert "clouds seem to be taken for clear sky" in finding.message
    assert "mask" not in codes(doctor.inspect(scene_of(tmp_path, exclude=["*_clear.tif"])))


def test_empty_partial_and_repeated_images(tmp_path: Path) -> None:
    write_s2(tmp_path / "s2")
    stored = np.rint(land(3) * 10000).astype(np.uint16)
    empty, part = np.zeros_like(stored), stored.copy()
    part[:, :, :6] = 0
    write_image(tmp_path / "s2" / f"S2_{DAYS[2]}.tif", empty, names=BANDS, nodata=0)
    write_image(tmp_path / "s2" / f"S2_{DAYS[4]}.tif", part, names=BANDS, nodata=0)
    write_image(tmp_path / "s2" / f"S2_{DAYS[5]}.tif", part, names=BANDS, nodata=0)
    report = doctor.inspect(scene_of(tmp_path))
    assert "1 image(s) hold no data in any pixel looked at: 2022-01-20" in found(report, "empty").message
    assert "2022-02-04 75%, 2022-02-14 75%" in found(report, "partial").message
    assert "2022-02-04 and 2022-02-14" in found(report, "repeated").message


def test_no_quality_layer_and_gaps(tmp_path: Path) -> None:
    write_s2(tmp_path / "s2", (*DAYS, "20220601"))
    report = doctor.inspect(scene_of(tmp_path, quality=[]))
    assert "clouds too" in found(report, "quality").message
    assert "no clear image for 107 days, from 2022-02-14 to 2022-06-01" in found(report, "gap").message


def test_dates_that_do_not_meet(tmp_path: Path) -> None:
    early = cube([date(2020, 1, 1)], grid(12, 12))
    late = cube([date(2022, 1, 1)], grid(4, 4, 30), sensor=L8, bands=["B04"])
    report = doctor.inspect(Scene({"fine": early, "coarse": late}))
    messages = [finding.message for finding in report.findings if finding.code == "dates"]
    assert len(messages) == 2
    assert "2020-01-01 to 2020-01-01) do not overlap" in messages[0]


def test_two_places_for_one_role(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_s2(tmp_path / name, tags={"PROCESSING_BASELINE": "02.08"})
    report = doctor.inspect(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert [role.role for role in report.roles] == ["fine", "coarse"]
    assert "c holds fine images too" in found(report, "roles").message


# -- sampling ----------------------------------------------------------------------------------------------------------


def test_large_images_are_sampled_in_windows() -> None:
    windows = sample_windows((1000, 2000), 5)
    assert len(windows) == 5
    assert windows[0] == Window(452, 952, 96, 96)
    assert all(w.clipped((1000, 2000)) == w for w in windows)
    assert sample_windows((1000, 2000), 0) == windows[:1]
    assert sample_windows((200, 100), 1) == [Window(0, 0, 200, 100)]


def test_reads_are_limited() -> None:
    class Counting:
        reads = 0

        def read(self, t: int, bands: Sequence[int], window: Window) -> Any:
            Counting.reads += 1
            return small.source.read(0, bands, Window(0, 0, window.height, window.width))

        def fingerprint(self, t: int) -> dict[str, object]:
            return {}

    small = cube([date(2022, 1, 1)], grid(96, 96))
    days = tuple(date.fromordinal(738000 + n) for n in range(50))
    long = Cube(small.sensor, small.bands, grid(2000, 2000), days, Counting())
    seen = sample(long, reads=20)
    assert Counting.reads == len(seen.images) <= 20
    assert seen.looked_at == "1 window(s) of 96 x 96 pixels (0.2%) of one date in 3"


def test_reflectance_and_temperature_in_one_cube_are_judged_apart() -> None:
    """An LS2S2 site keeps temperature among the Landsat bands: 290 is no reflectance, and need not be."""
    landsat = simulate_scene(60, seed=4).scene["coarse"]
    assert {band.unit for band in landsat.band_info()} == {"reflectance", "kelvin"}
    assert [f for f in check_radiometry(Scene({"coarse": landsat})) if f.level == "error"] == []
    numbers, valid = landsat.to_numpy()
    numbers[:, -1] /= 10
    wrong = Cube.from_array(
        numbers, sensor=landsat.sensor, bands=landsat.bands, grid=landsat.grid, dates=landsat.dates, valid=valid
    )
    (found,) = [f for f in check_radiometry(Scene({"coarse": wrong})) if f.level == "error"]
    assert "LST" in found.message
