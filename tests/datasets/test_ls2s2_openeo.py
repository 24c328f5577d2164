"""Cubes of LS2S2 sites from a local stand-in of an openEO service, through the real client."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sitsfusion.cli.download import download as commands
from sitsfusion.datasets import ls2s2_openeo
from sitsfusion.datasets.ls2s2_extract import CUBES
from sitsfusion.datasets.ls2s2_openeo import JOBS, Outcome, connect, download, read_jobs, submit
from sitsfusion.errors import FetchError, MissingExtraError, ReadError
from sitsfusion.fetch import Retry
from sitsfusion.fetch.lock import sole_writer
from tests import openeo_standin as server
from tests.fake.ls2s2_cubes import AOI
from tests.openeo_standin import Standin
from tests.zenodo_standin import drop_at, status

OTHER = AOI.model_copy(update={"name": "31TCJ_1"})
QUICK = Retry(attempts=3, first_wait_s=0.0, longest_wait_s=0.01, timeout_s=60.0)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Standin]:
    log_in = {
        "METHOD": "client_credentials", "CLIENT_ID": server.CLIENT, "CLIENT_SECRET": server.SECRET,
    }  # fmt: skip
    for name, value in log_in.items():
        monkeypatch.setenv(f"OPENEO_AUTH_{name}", value)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):  # where the client keeps settings and tokens
        monkeypatch.setenv(name, str(tmp_path / "client"))
    monkeypatch.setenv("no_proxy", "*")
    for collection in server.COLLECTIONS:
        server.made(collection)
    with server.serving(Standin()) as standin:
        yield standin


def joined(service: Standin) -> Any:
    return connect(service.url + server.ROOT, retry=QUICK)


def states(outcomes: Iterator[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


# --- submit


def test_what_is_asked_for(service: Standin, tmp_path: Path) -> None:
    outcomes = list(submit(joined(service), [AOI], tmp_path, max_cloud_cover=60))
    assert [(o.site, o.cube, o.state) for o in outcomes] == [(AOI.name, name, "submitted") for name in CUBES]
    assert [job.title for job in service.jobs.values()] == [
        f"{what}_{AOI.name}" for what in ("Sentinel2", "Landsat", "Landsat_pan")
    ]
    assert {job.status for job in service.jobs.values()} == {"queued"}
    site = tmp_path / AOI.name
    assert json.loads((site / JOBS).read_text()) == {"sentinel2": "j-0", "landsat": "j-1", "landsat_pan": "j-2"}
    assert (site / f"{AOI.name}.json").read_text() == AOI.model_dump_json() + "\n"
    left, bottom, right, top = AOI.aoi
    for job, step, bands in zip(service.jobs.values(), (10, 30, 15), (16, 13, 1), strict=True):
        load, resample, save = (
            job.graph[name]["arguments"] for name in ("loadcollection1", "resamplespatial1", "saveresult1")
        )
        box = {"west": left, "south": bottom, "east": right, "north": top, "crs": 32631}
        assert load["spatial_extent"] == box
        assert load["temporal_extent"] == ["2022-01-01", "2023-01-01"]
        assert len(load["bands"]) == bands
        cloudy = load["properties"]["eo:cloud_cover"]["process_graph"]["lte1"]
        assert (cloudy["process_id"], cloudy["arguments"]["y"]) == ("lte", 60)
        assert (resample["resolution"], resample["projection"]) == (step, 32631)
        assert save["format"] == "NetCDF"


def test_a_second_submit_asks_for_nothing_new(service: Standin, tmp_path: Path) -> None:
    assert states(submit(joined(service), [AOI], tmp_path, ["landsat"])) == ["submitted"]
    assert (
        states(submit(joined(service), [AOI, OTHER], tmp_path))
        == ["submitted", "kept", "submitted"] + ["submitted"] * 3
    )
    assert len(service.jobs) == 6
    assert states(submit(joined(service), [AOI], tmp_path, ["landsat"], again="always")) == ["submitted"]
    assert read_jobs(tmp_path / AOI.name)["landsat"] == "j-6"


def test_a_job_that_was_not_started_is_started(service: Standin, tmp_path: Path) -> None:
    service.refuse["POST /jobs/j-0/results"] = (500, "Internal", "Out of order.")
    (outcome,) = submit(joined(service), [AOI], tmp_path, ["landsat"])
    assert outcome.state == "failed"
    assert "Out of order" in outcome.detail
    service.refuse.clear()
    assert list(submit(joined(service), [AOI], tmp_path, ["landsat"])) == [
        Outcome(AOI.name, "landsat", "submitted", "job j-0")
    ]
    assert [job.status for job in service.jobs.values()] == ["queued"]


def test_what_failed_is_submitted_again_only_on_request(service: Standin, tmp_path: Path) -> None:
    connection = joined(service)
    list(submit(connection, [AOI], tmp_path))
    service.jobs["j-1"].status, service.jobs["j-1"].message = "error", "Out of memory."
    (_, failed, _) = download(connection, [AOI], tmp_path)
    assert failed == Outcome(AOI.name, "landsat", "failed", "job j-1: error (Out of memory.); submit it again")
    assert states(submit(connection, [AOI], tmp_path)) == ["kept"] * 3
    assert states(submit(connection, [AOI], tmp_path, again="failed")) == ["kept", "submitted", "kept"]
    assert read_jobs(tmp_path / AOI.name)["landsat"] == "j-3"


def test_a_refused_cube_does_not_stop_the_others(service: Standin, tmp_path: Path) -> None:
    service.refuse["GET /collections/LANDSAT8-9_L2"] = (404, "CollectionNotFound", "Gone.")
    outcomes = list(submit(joined(service), [AOI], tmp_path))
    assert [outcome.state for outcome in outcomes] == ["submitted", "failed", "submitted"]
    assert "Gone." in outcomes[1].detail


# --- download


def test_cubes_are_brought_once_they_are_made(service: Standin, tmp_path: Path) -> None:
    connection = joined(service)
    list(submit(connection, [AOI], tmp_path))
    assert states(download(connection, [AOI], tmp_path)) == ["waiting"] * 3
    service.jobs["j-1"].status = "finished"
    assert states(download(connection, [AOI], tmp_path)) == ["waiting", "downloaded", "waiting"]
    service.finish()
    told: list[tuple[str, str, int, int | None]] = []

    def progress(site: str, cube: str) -> Any:
        return lambda done, total: told.append((site, cube, done, total))

    assert states(download(connection, [AOI], tmp_path, progress=progress)) == ["downloaded", "kept", "downloaded"]
    site = tmp_path / AOI.name
    assert (site / "landsat.nc").read_bytes() == server.made("LANDSAT8-9_L2")
    size = (site / "sentinel2.nc").stat().st_size
    assert {each[:2] for each in told} == {(AOI.name, "sentinel2"), (AOI.name, "landsat_pan")}
    assert (AOI.name, "sentinel2", size, size) in told
    assert not list(site.glob("*.part*"))
    assert not list(site.glob("*.new*"))
    # without jobs, as in a published copy: what is there needs no service
    (site / JOBS).unlink()
    asked = len(service.seen)
    assert states(submit(connection, [AOI], tmp_path)) == ["kept"] * 3
    assert states(download(connection, [AOI], tmp_path)) == ["kept"] * 3
    assert len(service.seen) == asked


def test_waiting_for_the_service(service: Standin, tmp_path: Path) -> None:
    connection = joined(service)
    list(submit(connection, [AOI, OTHER], tmp_path, ["landsat_pan"]))
    service.patience = 1
    found = states(download(connection, [AOI, OTHER], tmp_path, ["landsat_pan"], poll_s=0))
    assert found == ["waiting", "waiting", "downloaded", "downloaded"]


def test_an_interrupted_download_goes_on(service: Standin, tmp_path: Path) -> None:
    connection = joined(service)
    list(submit(connection, [AOI], tmp_path, ["landsat"]))
    service.finish()
    service.faults["openEO.nc"] = [drop_at(5000), status(404)]
    (first,) = download(connection, [AOI], tmp_path, ["landsat"], retry=QUICK)
    assert first.state == "failed"
    assert (tmp_path / AOI.name / "landsat.nc.new.part").stat().st_size == 5000
    (second,) = download(connection, [AOI], tmp_path, ["landsat"], retry=QUICK)
    assert second.state == "downloaded"
    assert [each.headers.get("Range") for each in service.seen if "openEO.nc" in each.path] == [
        None, "bytes=5000-", "bytes=5000-",
    ]  # fmt: skip
    assert (tmp_path / AOI.name / "landsat.nc").read_bytes() == server.made("LANDSAT8-9_L2")


def test_only_the_service_learns_who_we_are(service: Standin, tmp_path: Path) -> None:
    connection = joined(service)
    list(submit(connection, [AOI], tmp_path, ["landsat"]))
    service.finish()
    ours = {each.headers.get("Authorization") for each in service.seen if "/jobs" in each.path}
    assert ours == {"Bearer oidc/egi/let-me-in"}
    with server.serving(Standin(jobs=service.jobs)) as store:
        service.elsewhere = store.url
        assert states(download(connection, [AOI], tmp_path, ["landsat"])) == ["downloaded"]
        service.elsewhere, service.redirects = "", store.url
        assert states(download(connection, [AOI], tmp_path, ["landsat"], override=True)) == ["downloaded"]
        assert [each.status for each in store.seen] == [200, 200]
        assert not any("Authorization" in each.headers for each in store.seen)
    assert "Authorization" in next(each for each in service.seen if "/files/" in each.path).headers


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"openEO.nc": b"<html>log in</html>"}, "no NetCDF-4 file"),
        ({"a.nc": b"\x89HDF", "b.nc": b"\x89HDF"}, "made 2 NetCDF files"),
        ({"log.json": b"{}"}, "made 0 NetCDF files"),
    ],
)
def test_other_results_are_refused(service: Standin, tmp_path: Path, files: dict[str, bytes], expected: str) -> None:
    connection = joined(service)
    list(submit(connection, [AOI], tmp_path, ["landsat"]))
    service.finish()
    service.results["j-0"] = files
    cube = tmp_path / AOI.name / "landsat.nc"
    cube.write_bytes(b"as it was")
    (outcome,) = download(connection, [AOI], tmp_path, ["landsat"], override=True, retry=QUICK)
    assert outcome.state == "failed"
    assert expected in outcome.detail
    assert cube.read_bytes() == b"as it was"


def test_a_cube_without_a_job(service: Standin, tmp_path: Path) -> None:
    connection = joined(service)
    (outcome,) = download(connection, [AOI], tmp_path, ["landsat"])
    assert (outcome.state, outcome.detail) == ("failed", "no job; submit it first")
    (tmp_path / AOI.name / JOBS).write_text('{"landsat": "j-77"}')
    (outcome,) = download(connection, [AOI], tmp_path, ["landsat"])
    assert outcome.state == "failed"
    assert "JobNotFound" in outcome.detail
    (tmp_path / AOI.name / JOBS).write_text('{"landsat": 7}')
    with pytest.raises(ReadError, match="submit the site again"):
        list(download(connection, [AOI], tmp_path))


def test_two_at_once_are_refused(service: Standin, tmp_path: Path) -> None:
    connection = joined(service)
    (tmp_path / AOI.name).mkdir()
    with sole_writer(tmp_path / AOI.name), pytest.raises(FetchError, match="another fetch is writing here"):
        list(submit(connection, [AOI], tmp_path))
    assert not service.jobs


# --- log-in


def test_log_in(service: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENEO_USERNAME", server.USER)
    monkeypatch.setenv("OPENEO_PASSWORD", server.PASSWORD)
    connection = connect(service.url, "basic")  # the service's own list of versions leads to the newest
    assert connection.root_url == service.url + server.ROOT
    assert connection.auth.bearer == "basic//let-me-in"
    monkeypatch.setenv("OPENEO_PASSWORD", "wrong")
    with pytest.raises(FetchError, match="does not let us in"):
        connect(service.url, "basic")
    monkeypatch.setenv("OPENEO_AUTH_CLIENT_SECRET", "wrong")
    with pytest.raises(FetchError, match="what was done is kept"):
        connect(service.url)


def test_no_service_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with server.serving(Standin()) as gone:
        url = gone.url
    with pytest.raises(FetchError, match="Check the address and the network"):
        connect(url, retry=QUICK)


def test_a_lost_token_stops_everything(service: Standin, tmp_path: Path) -> None:
    connection = joined(service)
    service.tokens.clear()
    with pytest.raises(FetchError, match="log in again"):
        list(submit(connection, [AOI], tmp_path))


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openeo", None)
    with pytest.raises(MissingExtraError, match=r"sitsfusion\[openeo\]"):
        connect()


# --- the command line


def test_from_a_description_to_a_site(service: Standin, tmp_path: Path) -> None:
    description = tmp_path / "aoi.json"
    description.write_text(AOI.model_dump_json())
    where = [str(description), "--out", str(tmp_path / "sites")]
    remote = ["--service", service.url + server.ROOT]

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(commands, [*arguments])
        return result.exit_code, result.stdout

    code, text = run("submit", *where, *remote, "--only", "landsat", "--json")
    assert code == 0
    assert json.loads(text) == [{"site": AOI.name, "cube": "landsat", "state": "submitted", "detail": "job j-0"}]
    code, text = run("submit", *where, *remote)
    assert (code, text.count("submitted"), text.count("kept")) == (0, 2, 1)
    code, text = run("download", *where, *remote)
    assert (code, text.count("waiting")) == (1, 3)
    code, text = run("extract", *where)
    assert code == 1
    assert "error: " in text
    service.patience = 3
    code, text = run("download", *where, *remote, "--wait", "--poll", "0.01")
    assert (code, text.count("waiting"), text.count("downloaded")) == (0, 3, 3)
    code, text = run("check", *where)
    assert code == 1
    assert "error" in text
    code, text = run("extract", *where)
    assert (code, text.count("2 of 2 dates are clear")) == (0, 3)
    assert "left as it is" in run("extract", *where)[1]
    assert run("clean", *where) == (0, f"{AOI.name}: 0 dates removed\n")
    assert run("check", *where) == (0, f"{AOI.name}: whole\n")


def test_every_step_of_an_unknown_site_says_so(tmp_path: Path) -> None:
    for step in ("submit", "download", "extract", "clean", "check"):
        result = CliRunner().invoke(commands, [step, "31TCJ_99", "--out", str(tmp_path)])
        assert isinstance(result.exception, ValueError)
        assert "no site of LS2S2 1.0.0" in str(result.exception)
    assert CliRunner().invoke(commands, ["clean", "31TCJ_12", "--out", str(tmp_path)]).exit_code == 1


def test_requests_are_those_of_the_published_download() -> None:
    requests = ls2s2_openeo.REQUESTS
    assert {name: (r.collection, len(r.bands), r.resolution) for name, r in requests.items()} == {
        "sentinel2": ("SENTINEL2_L2A_SENTINELHUB", 16, 10),
        "landsat": ("LANDSAT8-9_L2", 13, 30),
        "landsat_pan": ("LANDSAT8-9_L1", 1, 15),
    }
