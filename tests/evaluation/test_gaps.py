"""The published evaluation: sequences with simulated gaps, filled and scored."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from sitsfusion.cli.main import app
from sitsfusion.datasets.utilise_data import gap_samples
from sitsfusion.evaluation.gaps import as_rows, network, score, trivial, trivial_fillers
from sitsfusion.methods.utilise.sequence import SequenceOptions
from sitsfusion.metrics.utilise import MetricOptions
from tests.fake.utilise import seeded_utilise, small_net
from tests.fake.utilise_archives import MASKS, earthnet_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("earthnet")


@pytest.fixture(scope="module")
def data(folder: Path) -> object:
    return earthnet_data(folder)


def test_fillers_are_scored_on_the_same_gaps(data: object) -> None:
    samples = gap_samples(data, MASKS, "test")  # type: ignore[arg-type]
    found = score(samples, {"net": network(small_net(), SequenceOptions(4)), **trivial_fillers()}, limit=2)
    assert list(found) == ["net", "last", "next", "closest", "linear_interpolation"]
    assert found["last"]["masked_mae_observed_input_pixels"] == 0
    assert found["net"]["masked_mae"] > 0
    headings, rows = as_rows(found, ["masked_mae", "unknown"])
    assert headings == ["metric", *found]
    assert rows[1] == ["unknown", *["-"] * 5]


def test_undefined_numbers_make_the_mean_undefined_or_are_left_out() -> None:
    shared = {"masks": torch.zeros(1, 1, 1, 1), "y": torch.ones(1, 1, 1, 1), "x": torch.ones(1, 1, 1, 1)}
    samples = [{**shared, "y": torch.full((1, 1, 1, 1), value)} for value in (0.5, 0.7)]
    fillers = {
        "whole": lambda batch: batch["y"] + 0.1 * (batch["y"] > 0.6),
        "half": lambda batch: torch.where(batch["y"] > 0.6, torch.nan, batch["y"]),
    }
    only = MetricOptions(ssim=False, sam=False)
    found = score(samples, fillers, only, ignore_nan=True)
    assert found["half"]["mae"] == 0
    assert found["whole"]["mae"] == pytest.approx(0.05)
    plain = score(samples, fillers, only)
    assert plain["whole"]["mae"] == pytest.approx(0.05)
    assert plain["half"]["mae"] != plain["half"]["mae"]


def test_images_of_any_size_are_filled() -> None:
    batch = {
        "x": torch.rand(1, 5, 4, 7, 9),
        "masks": torch.zeros(1, 5, 1, 7, 9),
        "position_days": torch.arange(5)[None],
    }
    assert network(small_net(), SequenceOptions(4))(batch).shape == (1, 5, 4, 7, 9)
    tiny = {**batch, "x": torch.rand(1, 5, 4, 1, 3), "masks": torch.zeros(1, 5, 1, 1, 3)}
    assert network(small_net(), SequenceOptions(4))(tiny).shape == (1, 5, 4, 1, 3)
    with_sar = {"x": batch["x"], "y": torch.rand(1, 5, 2, 7, 9), "masks": batch["masks"], "days": torch.arange(5)[None]}
    assert trivial("closest")(with_sar).shape == (1, 5, 2, 7, 9)


def test_the_command_prints_and_writes_a_table(data: object, folder: Path, tmp_path: Path) -> None:
    sections = {
        "data": yaml.safe_load(data.model_dump_json(by_alias=True, exclude_defaults=True)),  # type: ignore[attr-defined]
        "mask": yaml.safe_load(MASKS.model_dump_json()),
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(sections))
    weights = seeded_utilise(tmp_path / "weights", bands=("B02", "B03", "B04", "B8A"))
    arguments = ["score-gaps", str(tmp_path / "test.yaml"), "--weights", str(weights), "--limit", "1", "--ignore-nan"]
    done = CliRunner().invoke(app, [*arguments, "--csv", str(tmp_path / "scores.csv")])
    assert done.exit_code == 0, done.output
    assert "means over 1 sequences" in done.output
    with (tmp_path / "scores.csv").open() as file:
        assert [row["filler"] for row in csv.DictReader(file)][1:] == list(trivial_fillers())
