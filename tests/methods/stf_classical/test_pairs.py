"""The choice of reference pairs and bands against cases worked out by hand, and what is refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from sitsfusion import methods
from sitsfusion.engine.job import Job, Resources, plan_job
from sitsfusion.engine.outputs import OutputSpec
from sitsfusion.errors import GridError, InputError, MissingBandError, PlanError
from sitsfusion.methods.stf_classical.pairs import Choice, choose, coarse_of, matching_bands
from sitsfusion.methods.stf_classical.starfm import StarfmOptions
from sitsfusion.query import query_of
from sitsfusion.scene import Scene
from tests.methods.stf_classical.places import pair_scene
from tests.scenes import cube, days

pytestmark = pytest.mark.smoke
NAMES = ("starfm", "estarfm", "fsdaf", "fit-fc", "spstfm", "efast")


def job_of(place: Scene, name: str, dates: tuple[date, ...], resolution: float | None = None, **options: object) -> Job:
    method = methods.make(name, options)
    query = query_of(place, dates, method.outputs(place), resolution=resolution)
    return plan_job(place, query, method, OutputSpec(Path("never-written"), format="zarr"), Resources(device="cpu"))


def day(number: int) -> date:
    return days(number)[0]


@pytest.mark.parametrize(
    ("wanted", "counts", "expected"),
    [
        (12, (1, 1), (10,)),
        (15, (1, 1), (10,)),  # a tie goes to the earlier pair
        (12, (1, 2), (10, 20)),
        (99, (1, 2), (40,)),  # one side only: one pair will do
        (99, (2, 2), (20, 40)),  # or the two nearest on that side
        (20, (2, 2), (10, 40)),  # the day's own image is no reference
    ],
)
def test_the_pairs_that_are_chosen(wanted: int, counts: tuple[int, int], expected: tuple[int, ...]) -> None:
    fine, coarse = days(0, 10, 20, 40), days(0, 10, 12, 15, 20, 40, 99)
    chosen = choose(day(wanted), fine, coarse, counts, 0)
    assert chosen == Choice(days(*expected), tuple(sorted({day(wanted), *days(*expected)})))


def test_a_coarse_image_may_be_some_days_away_when_asked_for() -> None:
    coarse = days(0, 8, 16)
    assert coarse_of(day(4), coarse, 3) is None
    assert coarse_of(day(4), coarse, 4) == day(0)
    assert coarse_of(day(5), coarse, 4) == day(8)
    chosen = choose(day(9), days(2, 15), coarse, (2, 2), 3)
    assert chosen == Choice(days(2, 15), days(0, 8, 16))


def test_days_that_cannot_be_predicted_say_why() -> None:
    assert "no usable coarse image" in str(choose(day(3), days(0), days(0), (1, 1), 0))
    assert "2 usable reference pair(s)" in str(choose(day(3), days(0), days(0, 3), (2, 2), 0))


def test_bands_are_matched_by_their_common_name() -> None:
    place = pair_scene((2, 2))
    assert matching_bands(place["fine"], place["coarse"], {}) == {"B02": "B02", "B03": "B03", "B8A": "B05"}
    assert matching_bands(place["fine"], place["coarse"], {"B02": "B03", "B03": "B03"}) == {"B02": "B03", "B03": "B03"}
    with pytest.raises(MissingBandError, match=r"B04 \(red\)"):
        matching_bands(place["fine"].select(bands=["B02"]), cube("coarse", (0,), (2, 2)), {})
    with pytest.raises(MissingBandError, match="has no B04"):
        matching_bands(place["fine"], place["coarse"], {"B04": "B02"})


@pytest.mark.parametrize("name", NAMES)
def test_no_pair_at_all_is_an_error_that_says_so(name: str) -> None:
    place = pair_scene((4, 4), fine=(0,), coarse=(3, 5))
    with pytest.raises(PlanError, match=r"reference pair|usable coarse image"):
        job_of(place, name, days(3))


@pytest.mark.parametrize("name", NAMES)
def test_another_resolution_than_the_fine_one_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="grid of the fine images"):
        job_of(pair_scene((4, 4)), name, days(5), resolution=15)


def test_cloudy_images_are_no_references() -> None:
    from sitsfusion.engine.survey import with_clear_shares

    place = pair_scene((6, 6))
    place = with_clear_shares(place)
    with pytest.raises(PlanError, match="there are 0"):
        job_of(place, "starfm", days(5), min_clear_share=0.95)
    assert job_of(place, "starfm", days(5), min_clear_share=0.5).used_dates()["fine"] == list(days(0, 10))


def test_references_can_be_named() -> None:
    place = pair_scene((4, 4))
    assert job_of(place, "starfm", days(5), references=days(21)).used_dates()["fine"] == list(days(21))
    with pytest.raises(InputError, match="2022-01-03"):
        job_of(place, "starfm", days(5), references=days(2))


def test_coarse_pixels_must_be_whole_where_the_method_needs_them() -> None:
    place = Scene(
        {
            "fine": cube("fine", (0, 5), (4, 4), per_cell=3, bands=("B02",)),
            "coarse": cube("coarse", (0, 3, 5), (4, 4), per_cell=2, bands=("B02",)),
        }
    )
    with pytest.raises(GridError, match="whole number of fine pixels"):
        job_of(place, "fsdaf", days(3))
    assert job_of(place, "starfm", days(3)).plan.steps


def test_a_coarse_grid_finer_than_the_fine_one_is_an_error() -> None:
    place = Scene(
        {
            "fine": cube("fine", (0, 5), (4, 4), per_cell=1, bands=("B02",)),
            "coarse": cube("coarse", (0, 3, 5), (4, 4), per_cell=2, bands=("B02",)),
        }
    )
    with pytest.raises(GridError, match="exchange the roles"):
        job_of(place, "starfm", days(3))


def test_even_windows_have_no_centre() -> None:
    with pytest.raises(ValidationError, match="odd"):
        StarfmOptions(window=10)
    with pytest.raises(InputError, match="odd"):
        methods.make("starfm", {"window": 10})


def test_halos_are_whole_real_coarse_pixels() -> None:
    place = pair_scene((8, 8), native=2)
    tiling = job_of(place, "fit-fc", days(5), window=5).tilings["s000"]
    assert tiling.align == 2  # type: ignore[union-attr]
    assert tiling.halo["fine"] % 2 == 0  # type: ignore[union-attr]
    assert np.all([tiling.halo[role] >= 1 + 8 for role in ("fine", "coarse")])  # type: ignore[union-attr]


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_predicted_from_the_core_and_its_halo(name: str) -> None:
    """It grows with the core as far as the scene goes, and counts at least the images that are loaded."""
    place = pair_scene((200, 200), clouds=False)
    job = job_of(place, name, days(5))
    step = job.plan.steps[0]
    small, large, beyond = (job.method.footprint(place, step, (n, n)) for n in (20, 150, 400))
    assert small is not None
    assert large is not None
    assert small < large
    assert beyond == job.method.footprint(place, step, (200, 200))
    assert large > 4 * 3 * (150 * 3) ** 2 * 3
