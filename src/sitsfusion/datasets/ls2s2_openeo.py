"""LS2S2 from its source: ask an openEO service for the cubes of a site, and bring them when they are made.

A site needs three cubes (Sentinel-2, Landsat surface images, Landsat panchromatic), each made by a batch job of the
service within minutes to hours. The folder of a site remembers its jobs in `openeo_jobs.json`, written as soon as a
job exists, so that every step can be repeated: what is there is kept, what is missing is done. Collections, bands and
filters are those of the published download.

Needs the extra `openeo`; a connection is what `connect` gives, an `openeo.Connection`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from sitsfusion.datasets.ls2s2_extract import CUBES, CubeName
from sitsfusion.datasets.ls2s2_masks import LANDSAT_BANDS, PAN_BANDS, S2_BANDS
from sitsfusion.datasets.ls2s2_rows import replace_text
from sitsfusion.datasets.ls2s2_splits import Aoi
from sitsfusion.errors import FetchError, MissingExtraError, ReadError, WriteError
from sitsfusion.fetch.lock import sole_writer
from sitsfusion.fetch.transfer import FileSource, Progress, bring
from sitsfusion.fetch.web import Retry

SERVICE = "https://openeo.vito.be/openeo/1.2"
JOBS = "openeo_jobs.json"

Connection = Any  # openeo.Connection: importing it for its type would need the extra
Again = Literal["never", "failed", "always"]
State = Literal["submitted", "downloaded", "kept", "waiting", "failed"]
_ENDED_BADLY = ("error", "canceled")
_NETCDF_TYPES = ("application/x-netcdf", "application/netcdf")
_NETCDF4 = b"\x89HDF"
_JOBS_FILE = TypeAdapter(dict[CubeName, str])


@dataclass(frozen=True)
class CubeRequest:
    """What is asked of the service for one cube: pixel in metres, title of the job without the site's name."""

    collection: str
    bands: tuple[str, ...]
    resolution: float
    title: str


REQUESTS: Mapping[CubeName, CubeRequest] = {
    "sentinel2": CubeRequest(
        "SENTINEL2_L2A_SENTINELHUB",
        (*S2_BANDS, "SCL", "CLM", "CLP", "AOT", "SNW", "dataMask"),
        10,
        "Sentinel2",
    ),
    "landsat": CubeRequest(
        "LANDSAT8-9_L2",
        (*LANDSAT_BANDS, "ST_EMIS", "BQA", "ST_CDIST", "QA_RADSAT", "SR_QA_AEROSOL"),
        30,
        "Landsat",
    ),
    "landsat_pan": CubeRequest("LANDSAT8-9_L1", PAN_BANDS, 15, "Landsat_pan"),
}


@dataclass(frozen=True)
class Outcome:
    """What became of one cube of a site in one step; `detail` says why, or which job."""

    site: str
    cube: CubeName
    state: State
    detail: str = ""


@dataclass(frozen=True)
class _Wanted:
    """A cube of a site."""

    connection: Connection
    aoi: Aoi
    site: Path
    name: CubeName

    @property
    def file(self) -> Path:
        return self.site / f"{self.name}.nc"


class _Refused(Exception):  # noqa: N818 - turned into an Outcome
    """The service answered, but not with what was asked for; other cubes may go well."""


def connect(url: str = SERVICE, auth: Literal["oidc", "basic"] = "oidc", retry: Retry | None = None) -> Connection:
    """Log in to an openEO service.

    Args:
        url: of the service.
        auth: oidc (a browser window once, then a stored token; or $OPENEO_AUTH_METHOD=client_credentials with
            $OPENEO_AUTH_CLIENT_ID and $OPENEO_AUTH_CLIENT_SECRET), or basic ($OPENEO_USERNAME, $OPENEO_PASSWORD).
        retry: how often and how long to insist when the connection fails.

    Raises:
        MissingExtraError: the extra `openeo` is not installed.
        FetchError: the service does not answer, or does not let us in.
    """
    try:
        openeo = import_module("openeo")
    except ImportError as error:
        raise MissingExtraError("downloading LS2S2 sites", "openeo") from error
    retry = retry or Retry()
    insistence = {"total": retry.attempts - 1, "backoff_factor": retry.first_wait_s}
    # The client prints how it logged in; standard output belongs to results.
    with _talking_to(url), redirect_stdout(sys.stderr):
        connection = openeo.connect(url, default_timeout=retry.timeout_s, retry=insistence)
        if auth == "basic":
            user, password = (os.environ.get(f"OPENEO_{name}") for name in ("USERNAME", "PASSWORD"))
            return connection.authenticate_basic(user, password)
        return connection.authenticate_oidc()


def submit(
    connection: Connection,
    aois: Sequence[Aoi],
    root: Path,
    names: Sequence[CubeName] = CUBES,
    *,
    max_cloud_cover: float = 75,
    again: Again = "never",
) -> Iterator[Outcome]:
    """Create and start the jobs of sites, in folders `root/<site>`; one outcome per cube as it comes.

    A cube that lies on the disk, or has a job, is kept; a job that was created but not started is started.

    Args:
        connection: from `connect`.
        aois: sites.
        root: folder of the sites' folders.
        names: cubes.
        max_cloud_cover: of an image over its whole product, percent.
        again: submit anew what failed, or everything.

    Raises:
        FetchError: the service does not answer or does not let us in; another process works in a site's folder.
        ReadError: a site's file of jobs is damaged.
        WriteError: a folder cannot be written.
    """
    step = partial(_submitted, max_cloud_cover=max_cloud_cover, again=again)
    for aoi in aois:
        with _folder(root, aoi) as site:
            replace_text(site / f"{aoi.name}.json", aoi.model_dump_json() + "\n")
            for name in names:
                yield _outcome(_Wanted(connection, aoi, site, name), step)


def download(
    connection: Connection,
    aois: Sequence[Aoi],
    root: Path,
    names: Sequence[CubeName] = CUBES,
    *,
    override: bool = False,
    poll_s: float | None = None,
    progress: Callable[[str, CubeName], Progress] | None = None,
    retry: Retry | None = None,
) -> Iterator[Outcome]:
    """Bring the cubes whose jobs are finished as `root/<site>/<cube>.nc`; one outcome per cube as it comes.

    A cube on the disk is kept, a partly downloaded one is continued where the service allows it.

    Args:
        connection: from `connect`.
        aois: sites.
        root: folder of the sites' folders.
        names: cubes.
        override: bring anew what lies on the disk.
        poll_s: seconds after which to ask again for what the service is still making, until all is brought or failed;
            None: ask once.
        progress: of a site and cube, gives what is told of its bytes.
        retry: how often and how long to insist when the connection fails.

    Raises:
        FetchError, ReadError, WriteError: as `submit`.
    """
    step = partial(_brought, override=override, progress=progress, retry=retry or Retry())
    pending = [(aoi, name) for aoi in aois for name in names]
    while pending:
        waiting = []
        for aoi, name in pending:
            with _folder(root, aoi) as site:
                outcome = _outcome(_Wanted(connection, aoi, site, name), step)
            if outcome.state == "waiting":
                waiting.append((aoi, name))
            yield outcome
        if poll_s is None:
            return
        if waiting:
            time.sleep(poll_s)
        pending = waiting


def read_jobs(site: Path) -> dict[CubeName, str]:
    """Identifiers of the jobs of a site by cube; none where there is no file of jobs. Raises ReadError."""
    file = site / JOBS
    try:
        return _JOBS_FILE.validate_json(file.read_bytes()) if file.is_file() else {}
    except (OSError, ValidationError) as error:
        raise ReadError(
            f"{file} is not a file of jobs ({error}); correct it, or remove it and submit the site again"
        ) from error


# -- one cube ----------------------------------------------------------------------------------------------------------


def _outcome(wanted: _Wanted, step: Callable[[_Wanted], tuple[State, str]]) -> Outcome:
    try:
        with _talking_to(wanted.connection.root_url):
            state, detail = step(wanted)
    except _Refused as error:
        state, detail = "failed", str(error)
    return Outcome(wanted.aoi.name, wanted.name, state, detail)


def _submitted(wanted: _Wanted, *, max_cloud_cover: float, again: Again) -> tuple[State, str]:
    jobs = read_jobs(wanted.site)
    if again != "always":
        if wanted.file.is_file():
            return "kept", f"{wanted.file.name} is there"
        known = jobs.get(wanted.name)
        status = None if known is None else wanted.connection.job(known).status()
        if status == "created":
            wanted.connection.job(known).start()
            return "submitted", f"job {known}"
        if status is not None and not (again == "failed" and status in _ENDED_BADLY):
            return "kept", f"job {known} is {status}"
    job = _job(wanted, max_cloud_cover)
    # Remembered before it runs: a job that nobody knows of would be paid for twice.
    replace_text(wanted.site / JOBS, json.dumps({**jobs, wanted.name: job.job_id}) + "\n")
    job.start()
    return "submitted", f"job {job.job_id}"


def _job(wanted: _Wanted, max_cloud_cover: float) -> Any:
    """A new job, not started yet."""
    request, aoi = REQUESTS[wanted.name], wanted.aoi
    zone = int(aoi.crs.removeprefix("EPSG:"))
    cube = wanted.connection.load_collection(
        request.collection,
        spatial_extent={**dict(zip(("west", "south", "east", "north"), aoi.aoi, strict=True)), "crs": zone},
        temporal_extent=[aoi.start_date.isoformat(), aoi.end_date.isoformat()],
        bands=list(request.bands),
        max_cloud_cover=max_cloud_cover,
    )
    resampled = cube.resample_spatial(resolution=request.resolution, projection=zone)
    return resampled.save_result("NetCDF").create_job(title=f"{request.title}_{aoi.name}")


def _brought(
    wanted: _Wanted, *, override: bool, progress: Callable[[str, CubeName], Progress] | None, retry: Retry
) -> tuple[State, str]:
    if wanted.file.is_file() and not override:
        return "kept", f"{wanted.file.name} is there"
    known = read_jobs(wanted.site).get(wanted.name)
    if known is None:
        raise _Refused("no job; submit it first")
    job = wanted.connection.job(known)
    status = job.status()
    if status in _ENDED_BADLY:
        raise _Refused(f"job {known}: {status}{_last_words(job)}; submit it again")
    if status != "finished":
        return "waiting", f"job {known} is {status}"
    told = _silent if progress is None else progress(wanted.aoi.name, wanted.name)
    new = wanted.file.with_name(f"{wanted.file.name}.new")
    try:
        bring(_result(wanted, job), new, told, retry)
    except FetchError as error:
        raise _Refused(str(error)) from error
    _require_netcdf(new)
    new.replace(wanted.file)
    return "downloaded", f"{wanted.file.stat().st_size} bytes"


def _last_words(job: Any) -> str:
    """What the service says of an error."""
    messages = [entry["message"] for entry in job.logs(level="error") if entry.get("message")]
    return f" ({messages[-1]})" if messages else ""


def _result(wanted: _Wanted, job: Any) -> FileSource:
    """The one NetCDF file that the job made."""
    assets = job.get_results().get_assets()
    cubes = [asset for asset in assets if asset.media_type in _NETCDF_TYPES or asset.href.split("?")[0].endswith(".nc")]
    if len(cubes) != 1:
        found = ", ".join(asset.href for asset in assets) or "nothing"
        raise _Refused(f"job {job.job_id} made {len(cubes)} NetCDF files; expected one, found {found}")
    connection = wanted.connection
    address = connection.build_url(cubes[0].href)
    # Addresses elsewhere carry their own signature; what proves who we are stays with the service.
    ours = address.startswith(connection.root_url.rstrip("/") + "/")
    headers = {"Authorization": f"Bearer {connection.auth.bearer}"} if ours else {}
    return FileSource(wanted.file.name, address, cubes[0].metadata.get("file:size"), None, headers)


def _require_netcdf(file: Path) -> None:
    with file.open("rb") as stream:
        start = stream.read(len(_NETCDF4))
    if start != _NETCDF4:
        file.unlink()
        raise _Refused(f"what came as {file.stem} begins with {start!r}, which is no NetCDF-4 file; it was removed")


# -- around it ---------------------------------------------------------------------------------------------------------


def _silent(done: int, total: int | None) -> None:
    """Report nothing."""


@contextmanager
def _folder(root: Path, aoi: Aoi) -> Iterator[Path]:
    """The folder of a site, made where it is missing, for this process alone."""
    site = root / aoi.name
    try:
        site.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{site} cannot be made ({error}); choose another folder") from error
    with sole_writer(site):
        yield site


@contextmanager
def _talking_to(url: str) -> Iterator[None]:
    """Errors of the client as ours: `_Refused` where another request may go well, FetchError where none would."""
    rest, requests = import_module("openeo.rest"), import_module("requests")
    try:
        yield
    except rest.OpenEoApiPlainError as error:
        if error.http_status_code in (401, 403):
            raise FetchError(f"{url} does not let us in ({error}); log in again, or check the account") from error
        raise _Refused(f"{url}: {error}") from error
    except (rest.OpenEoClientException, requests.RequestException) as error:
        raise FetchError(f"{url}: {error}. Check the address and the network; what was done is kept") from error
