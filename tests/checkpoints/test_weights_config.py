from __future__ import annotations

import subprocess
import sys
from datetime import date

import pytest
from pydantic import ValidationError

from sitsfusion.errors import InputError
from sitsfusion.nets.tamrfsits_config import TamrfsitsConfig
from sitsfusion.sensors import registry
from sitsfusion.weights.config import (
    SensorInput,
    TamrfsitsWeights,
    catalogue,
    sensor_input,
    standardised_inputs,
)


def weights(**changes: object) -> TamrfsitsWeights:
    lr, hr = standardised_inputs("ls2s2_all")
    values = {"name": "x", "architecture": TamrfsitsConfig(), "lr": lr, "hr": hr, "day_origin": "first_valid_hr"}
    return TamrfsitsWeights.model_validate(values | {"licence": "not stated", "source": "test"} | changes)


def test_bands_of_the_named_sets() -> None:
    lr, hr = standardised_inputs("ls2s2_2022")
    assert lr.keys == ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "LST")
    assert hr.keys == ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    assert (lr.bands[7].mean, lr.bands[7].std, lr.bands[7].scale) == (0.29776597, 0.02458386, 0.001)
    assert (hr.bands[6].mean, hr.bands[6].resolution, hr.bands[6].mtf) == (0.28025445, 10, 1.0)
    assert (hr.fill, hr.clip, hr.optional_bands) == (-1.0, None, ())
    assert {*catalogue().standardisation} == {"ls2s2_2022", "ls2s2_all", "ls2s2_wwmy"}
    assert [len({len(v) for v in s.values()}) for s in catalogue().standardisation.values()] == [2, 2, 2]


@pytest.mark.parametrize("role", ["lr", "hr"])
def test_bands_exist_in_the_sensor_registry(role: str) -> None:
    spec = getattr(catalogue(), role)
    known = {band.key for band in registry.get(spec.sensor).bands}
    assert {band.key for band in spec.bands} <= known


def test_published_records() -> None:
    published = catalogue().published
    assert published["tamrfsits-v2"].file == "968639_s1t3.ckpt"
    assert published["tamrfsits-v1"].day_origin == date(2022, 1, 1)
    assert {r.standardisation for r in published.values()} <= {*catalogue().standardisation}


def test_unknown_set_and_wrong_lengths() -> None:
    with pytest.raises(InputError, match="ls2s2_wwmy"):
        standardised_inputs("mars")
    with pytest.raises(InputError, match="lr mtf has 1 values, expected one per band: 8"):
        sensor_input("lr", [0.0] * 8, [1.0] * 8, mtf=[0.3])


def test_json_round_trip() -> None:
    for origin in ("first_valid_hr", "2022-01-01"):
        config = weights(day_origin=origin)
        assert TamrfsitsWeights.model_validate_json(config.model_dump_json()) == config
    assert weights(day_origin="2022-01-01").day_origin == date(2022, 1, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extra": 1}, "extra"),
        ({"day_origin": "someday"}, "day_origin"),
        ({"architecture": TamrfsitsConfig(hr_bands=4)}, "takes 8 LR and 4 HR bands"),
        ({"architecture": TamrfsitsConfig(out_bands=4)}, "gives 4"),
    ],
)
def test_unfit_configs(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        weights(**changes)


def test_unfit_bands() -> None:
    band = standardised_inputs("ls2s2_all")[1].bands[0]
    with pytest.raises(ValidationError, match="twice"):
        SensorInput(sensor="x", bands=(band, band))
    with pytest.raises(ValidationError, match="optional_bands"):
        SensorInput(sensor="x", bands=(band,), optional_bands=("LST",))
    with pytest.raises(ValidationError, match="std"):
        SensorInput(sensor="x", bands=(band.model_dump() | {"std": 0},))


def test_reading_weights_configs_imports_no_torch() -> None:
    code = "import sys, sitsfusion.weights.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
