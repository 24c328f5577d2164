"""The sensor files: they load, their names are unambiguous, their numbers convert both ways, their bits are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitsfusion import sensors
from sitsfusion.errors import EncodingError, MissingBandError, SensorError
from sitsfusion.sensors import Band, BitTest, Encoding, QualityRule, Sensor

EVERY = [sensors.get(name) for name in sensors.names()]
BANDS = [pytest.param(sensor, band, id=f"{sensor.name}-{band.key}") for sensor in EVERY for band in sensor.bands]
BANDS_ONLY = st.sampled_from([band for sensor in EVERY for band in sensor.bands])
GIVEN = """
name: my-camera
title: A camera of mine
product: level 2
platforms: [drone]
source: its manual
defaults:
  stored: {dtype: uint16, scale: 1.0e-4, nodata: 0}
  output: {dtype: int16, scale: 1.0e-4, nodata: -32768}
  mtf: 0.3
  plausible: [0, 1]
bands:
  - {key: R, common_name: red, wavelength: 650, resolution: 2}
  - {key: N, common_name: nir, wavelength: 850, resolution: 2, aliases: [NIR1]}
quality:
  - {layer: clouds, source: its manual, invalid_classes: [1]}
"""


def bits(*numbers: int) -> int:
    return sum(1 << n for n in numbers)


def test_the_sensors_of_the_library() -> None:
    assert set(sensors.names()) == {
        "hls-l30", "hls-s30", "landsat-4-7-c2-l2", "landsat-8-9-c2-l1", "landsat-8-9-c2-l2", "modis-mcd43a4",
        "modis-mod09", "sentinel-2-l1c", "sentinel-2-l2a", "sentinel-3-syn", "viirs-vnp09",
    }  # fmt: skip
    assert [sensor.name for sensor in EVERY] == list(sensors.names())  # file name = name inside


@pytest.mark.parametrize("sensor", EVERY, ids=lambda s: s.name)
def test_every_name_of_a_band_leads_to_it(sensor: Sensor) -> None:
    for band in sensor.bands:
        for name in (band.key, band.key.lower(), *band.aliases):
            assert sensor.band(name) is band
    common = [band.common_name for band in sensor.bands]
    for band in sensor.bands:
        if common.count(band.common_name) == 1:
            assert sensor.band(band.common_name) is band


@pytest.mark.parametrize("sensor", EVERY, ids=lambda s: s.name)
def test_wavelengths_fit_the_common_names(sensor: Sensor) -> None:
    """Ranges of the common names of the STAC electro-optical extension (nm)."""
    ranges = {
        "blue": (450, 530), "green": (500, 600), "red": (600, 700), "nir": (750, 1000), "nir08": (750, 900),
        "nir09": (850, 1050), "coastal": (390, 450), "cirrus": (1350, 1400), "swir16": (1550, 1750),
        "swir22": (2080, 2350), "lwir": (10400, 12500), "lwir11": (10400, 11500), "lwir12": (11500, 12500),
    }  # fmt: skip
    for band in sensor.bands:
        low, high = ranges.get(band.common_name, (300, 13000))
        assert band.wavelength is not None
        assert low <= band.wavelength <= high, band.key


@pytest.mark.parametrize(("sensor", "band"), BANDS)
def test_plausible_values_can_be_written(sensor: Sensor, band: Band) -> None:
    """The output encoding of every band holds its plausible range, with a step much finer than the range."""
    low, high = band.plausible
    values = np.linspace(low, high, 1001)
    back = band.output.decode(band.output.encode(values, f"{sensor.name} {band.key}"))
    np.testing.assert_allclose(back, values, atol=0.5 * band.output.scale + 1e-6 * abs(high))
    assert band.output.scale <= (high - low) / 1000
    stored_low, stored_high = band.stored.limits()
    assert stored_low <= high
    assert stored_high >= low


@given(band=BANDS_ONLY, data=st.data())
def test_stored_numbers_come_back(band: Band, data: st.DataObject) -> None:
    for encoding in (band.stored, band.output):
        info = np.iinfo(encoding.dtype)
        numbers = data.draw(st.lists(st.integers(int(info.min), int(info.max)), min_size=1, max_size=20))
        stored = np.array([n for n in [*numbers, info.min, info.max] if n != encoding.nodata], encoding.dtype)
        values = encoding.decode(stored)
        assert values.dtype == np.float32
        # float32 has 24 bits: a 16-bit number survives scale and offset
        np.testing.assert_array_equal(encoding.encode(values.astype(np.float64)), stored)


@given(band=BANDS_ONLY)
def test_fill_is_nan_and_back(band: Band) -> None:
    for encoding in (band.stored, band.output):
        assert encoding.nodata is not None
        fill = np.array([[encoding.nodata]], encoding.dtype)
        assert np.isnan(encoding.decode(fill)).all()
        np.testing.assert_array_equal(encoding.encode(np.full((1, 1), np.nan)), fill)


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(EncodingError, match="does not fit int16"):
        Encoding(dtype="int16", scale=1e-4, nodata=-32768).encode(np.array([3.4]))
    with pytest.raises(EncodingError, match="NaN"):
        Encoding(dtype="uint8").encode(np.array([np.nan]))


@pytest.mark.parametrize(
    ("name", "key", "stored", "physical"),
    [
        ("landsat-8-9-c2-l2", "B04", 7273, 0.0000075),
        ("landsat-8-9-c2-l2", "SR_B5", 18182, 0.300005),
        ("landsat-4-7-c2-l2", "ST_B6", 44177, 299.99787),
        ("landsat-8-9-c2-l1", "pan", 10000, 0.1),
        ("hls-l30", "B10", 2515, 298.3),
        ("hls-s30", "B8A", 4321, 0.4321),
        ("modis-mod09", "sur_refl_b02_1", 3000, 0.3),
        ("modis-mcd43a4", "Nadir_Reflectance_Band7", 123, 0.0123),
        ("viirs-vnp09", "SurfReflect_M11_1", -50, -0.005),
        ("sentinel-3-syn", "SDR_Oa17", 9000, 0.9),
        ("sentinel-2-l1c", "B10", 15, 0.0015),
    ],
)
def test_scales_as_documented(name: str, key: str, stored: int, physical: float) -> None:
    encoding = sensors.get(name).band(key).stored
    assert encoding.decode(np.array([stored], encoding.dtype))[0] == pytest.approx(
        physical, abs=2e-3 * encoding.scale + 2e-5
    )


@pytest.mark.parametrize(
    ("name", "layer", "clear", "unusable"),
    [
        ("sentinel-2-l2a", "SCL", [4, 5, 6, 11], [0, 1, 2, 3, 7, 8, 9, 10]),
        ("sentinel-2-l1c", "MSK_CLASSI_OPAQUE", [0], [1]),
        ("sentinel-2-l1c", "MSK_CLASSI_CIRRUS", [0], [1]),
        # 21824 clear, 22280 cloud, 1 fill: values as they occur in products
        ("landsat-8-9-c2-l2", "QA_PIXEL", [21824, 21952, bits(5)], [1, 22280, bits(1), bits(2), bits(4)]),
        ("landsat-8-9-c2-l2", "QA_RADSAT", [0, bits(7), bits(8)], [bits(0), bits(6), bits(11)]),
        # high aerosol counts only where the retrieval is valid
        ("landsat-8-9-c2-l2", "SR_QA_AEROSOL", [1, bits(6, 7), bits(1, 7), bits(1, 6)], [bits(1, 6, 7), 255]),
        ("landsat-8-9-c2-l1", "BQA", [bits(6)], [bits(3)]),
        ("landsat-4-7-c2-l2", "QA_PIXEL", [5440, bits(2)], [1, bits(1), bits(3), bits(4)]),
        ("landsat-4-7-c2-l2", "QA_RADSAT", [0, bits(5), bits(8)], [bits(4), bits(6), bits(9)]),
        ("hls-l30", "Fmask", [0, bits(0), bits(4), bits(5), bits(6, 7)], [bits(1), bits(2), bits(3), 255]),
        ("hls-s30", "Fmask", [64, 224], [66, 68, 72, 255]),
        ("modis-mcd43a4", "BRDF_Albedo_Band_Mandatory_Quality_Band3", [0, 1], [255]),
        ("modis-mod09", "state_1km_1", [0, 3, 1 << 3, 1 << 8, bits(12)],
         [1, 2, bits(2), 2 << 8, 3 << 8, bits(10), bits(13), 65535]),
        ("modis-mod09", "QC_500m", [0, 1, 8 << 2, 1 << 30], [2, 3, 15 << 2, 11 << 14, 14 << 26, 2**32 - 1]),
        ("viirs-vnp09", "SurfReflect_QF1_1", [0, 3, 1 << 2, 3 << 6], [2 << 2, 3 << 2, bits(4), bits(5)]),
        ("viirs-vnp09", "QF2", [0, 5, bits(5)], [bits(3), bits(4), bits(6), bits(7)]),
    ],
)  # fmt: skip
def test_quality_rules(name: str, layer: str, clear: list[int], unusable: list[int]) -> None:
    rule = sensors.get(name).rule(layer)
    assert rule is not None
    dtype = np.uint32 if max(clear + unusable) > 65535 else np.uint16
    assert rule.clear(np.array(clear, dtype)).tolist() == [True] * len(clear)
    assert rule.clear(np.array([unusable], dtype)).tolist() == [[False] * len(unusable)]


def test_every_rule_has_been_tried() -> None:
    marks = test_quality_rules.pytestmark  # type: ignore[attr-defined]
    tried = {sensors.get(case[0]).rule(case[1]) for mark in marks for case in mark.args[1]}
    assert {rule.layer for sensor in EVERY for rule in sensor.quality} == {rule.layer for rule in tried if rule}


@given(shift=st.integers(0, 24), width=st.integers(1, 7), other=st.integers(0, 2**32 - 1), data=st.data())
def test_a_field_is_read_whatever_the_other_bits_are(shift: int, width: int, other: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, 2**width - 1))
    rule = QualityRule(
        layer="q", source="test", invalid_bits=(BitTest(name="f", shift=shift, width=width, values=(value,)),)
    )
    others = other & ~(((1 << width) - 1) << shift)
    assert not rule.clear(np.array([others | value << shift], np.uint32))[0]
    assert rule.clear(np.array([others | (value ^ 1) << shift], np.uint32))[0]


def test_sentinel_2_offset_is_a_matter_of_the_baseline() -> None:
    for name in ("sentinel-2-l2a", "sentinel-2-l1c"):
        sensor = sensors.get(name)
        for baseline, offset in ((None, 0.0), ("02.14", 0.0), ("03.01", 0.0), ("04.00", -0.1), ("N05.11", -0.1)):
            encodings = sensor.stored(["B04", "B11"], baseline)
            assert [e.offset for e in encodings] == pytest.approx([offset, offset])
            assert encodings[0].decode(np.array([2500], np.uint16))[0] == pytest.approx(0.25 + offset)
            assert np.isnan(encodings[0].decode(np.array([0], np.uint16))[0])
    assert sensors.get("landsat-8-9-c2-l2").stored(["B04"], "05.09")[0].offset == -0.2


def test_users_own_sensor(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(GIVEN)
    sensor = sensors.get(file)
    assert sensor == sensors.get(str(file))
    assert sensor.keys == ("R", "N")
    assert sensor.resolve(["nir1", "red"]) == ("N", "R")
    assert sensor.band("N").mtf == 0.3
    rule = sensor.rule("CLOUDS")
    assert rule is not None
    assert rule.clear(np.array([0, 1])).tolist() == [True, False]
    assert sensor.rule("shadows") is None
    with pytest.raises(MissingBandError, match="no band 'swir16'; it has R, N"):
        sensor.band("swir16")


@pytest.mark.parametrize(
    ("find", "replace", "message"),
    [
        ("mtf: 0.3", "mtf: 1.3", "bands.0.mtf"),
        ("resolution: 2}", "resolution: 2, gain: 3}", "bands.0.gain"),
        ("dtype: uint16", "dtype: uint12", "bands.0.stored.dtype"),
        ("defaults:", "default:", "bands.0.plausible"),
        ("  mtf: 0.3", "  mtg: 0.3", "unknown defaults .'mtg'"),
        ("aliases: [NIR1]", "aliases: [r]", "r names both R and N"),
        ("invalid_classes: [1]", "invalid_classes: []", "either invalid_classes or invalid_bits"),
        ("invalid_classes: [1]", "invalid_bits: [{name: x, shift: 0, values: [2]}]", "do not fit a field of 1 bit"),
        ("bands:", "bandes:", "list `bands`"),
        ("name: my-camera", "name: [", "not valid YAML"),
    ],
)
def test_errors_in_a_users_file_say_where(tmp_path: Path, find: str, replace: str, message: str) -> None:
    assert find in GIVEN
    file = tmp_path / "wrong.yaml"
    file.write_text(GIVEN.replace(find, replace, 1))
    with pytest.raises(SensorError, match=message) as caught:
        sensors.get(file)
    assert "wrong.yaml" in str(caught.value)


def test_unknown_and_missing_sensors(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="known: hls-l30"):
        sensors.get("landsat-8")
    with pytest.raises(SensorError, match=r"none\.yaml cannot be read"):
        sensors.get(tmp_path / "none.yaml")
    with pytest.raises(MissingBandError, match="several bands called 'red'"):
        sensors.get("viirs-vnp09").band("red")
