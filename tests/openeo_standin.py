"""A local server that speaks the openEO API (1.2) as far as a download needs it, and misbehaves on request.

Discovery, capabilities, log-in (OpenID Connect and basic), collections, validation, batch jobs, logs, results. A job
is made into a NetCDF cube of `tests.fake.ls2s2_cubes` once the test says that it is finished; its process graph is
checked as a service would: known collection, bands and processes.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests import zenodo_standin
from tests.fake.ls2s2_cubes import cube
from tests.zenodo_standin import serve_content

ROOT = "/openeo/1.2"
COLLECTIONS = {
    "SENTINEL2_L2A_SENTINELHUB": (
        "sentinel2",
        "B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B11 B12 SCL CLM CLP AOT SNW dataMask",
    ),
    "LANDSAT8-9_L2": (
        "landsat",
        "B01 B02 B03 B04 B05 B06 B07 B10 ST_EMIS BQA ST_CDIST QA_RADSAT SR_QA_AEROSOL",
    ),
    "LANDSAT8-9_L1": ("landsat_pan", "B01 B02 B03 B04 B05 B06 B07 B08 B10 B11 BQA"),
}
PROCESSES = {"load_collection", "resample_spatial", "save_result"}
CLIENT, SECRET = "our-client", "our-secret"
USER, PASSWORD = "ada", "lovelace"
NETCDF = "application/x-netcdf"


@dataclass
class Job:
    """A batch job as the service knows it."""

    title: str
    graph: dict[str, Any]
    status: str = "created"
    message: str = ""  # what its log says
    questions: int = 0  # after its status


@dataclass
class Standin(zenodo_standin.Standin):
    """What the server holds and what it saw (`seen`)."""

    jobs: dict[str, Job] = field(default_factory=dict)
    results: dict[str, dict[str, bytes]] = field(default_factory=dict)  # per job, instead of its cube
    refuse: dict[str, tuple[int, str, str]] = field(default_factory=dict)  # "METHOD path": status, code, message
    patience: int | None = None  # a job is done after so many questions; None: when the test says so
    elsewhere: str = ""  # address of another host that has the files
    redirects: str = ""  # address of another host that our files are moved to
    tokens: set[str] = field(default_factory=lambda: {"oidc/egi/let-me-in", "basic//let-me-in"})

    def title(self, name: str) -> str:
        """The identifier of the job of that title."""
        return next(key for key, job in self.jobs.items() if job.title == name)

    def finish(self) -> None:
        """All jobs that run are done."""
        for job in self.jobs.values():
            if job.status == "queued":
                job.status = "finished"

    def asked(self, method: str, pattern: str) -> list[str]:
        """The paths asked for that match."""
        found = (each.path.split(" ", 1) for each in self.seen)
        return [path for verb, path in found if verb == method and re.fullmatch(pattern, path)]

    def names(self, job: str) -> list[str]:
        """Of the files of a job."""
        return list(self.results.get(job, ("openEO.nc",)))

    def content(self, job: str, name: str) -> bytes:
        """Of a file of a job."""
        if job in self.results:
            return self.results[job][name]
        return made(self.jobs[job].graph["loadcollection1"]["arguments"]["id"])


@cache
def made(collection: str) -> bytes:
    """The cube of a collection as the bytes of a NetCDF file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cube.nc"
        cube(COLLECTIONS[collection][0]).to_netcdf(file, engine="h5netcdf")
        return file.read_bytes()


class Handler(zenodo_standin.Handler):
    standin: Standin
    timeout = 60  # of a connection that the client keeps open

    def note(self, status: int, sent: int) -> None:
        seen = zenodo_standin.Seen(f"{self.command} {self.path}", dict(self.headers), status, sent)
        self.standin.seen.append(seen)

    def do_GET(self) -> None:
        self.handle_request()

    def do_POST(self) -> None:
        self.handle_request()

    def handle_request(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        refused = self.standin.refuse.get(f"{self.command} {path.removeprefix(ROOT)}")
        if refused:
            return self.problem(*refused)
        for method, pattern, needs_token, serve in ROUTES:
            found = re.fullmatch(pattern, path)
            if method == self.command and found:
                if (
                    needs_token
                    and self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.standin.tokens
                ):
                    return self.problem(403, "TokenInvalid", "Authorization token is invalid.")
                return serve(self, *found.groups())
        return self.problem(404, "NotFound", f"No such resource: {path}")

    def json(self, content: object, status: int = 200, **headers: str) -> None:
        self.answer(status, json.dumps(content).encode(), Content_Type="application/json", **headers)

    def problem(self, status: int, code: str, message: str) -> None:
        self.json({"id": "r-1", "code": code, "message": message, "links": []}, status)

    # -- who are you ---------------------------------------------------------------------------------------------------

    def versions(self) -> None:
        old = {"url": f"{self.standin.url}/openeo/1.0", "api_version": "1.0.1", "production": True}
        new = {"url": f"{self.standin.url}{ROOT}", "api_version": "1.2.0", "production": True}
        self.json({"versions": [old, new]})

    def capabilities(self) -> None:
        paths = {
            "/collections": ["GET"], "/collections/{collection_id}": ["GET"], "/validation": ["POST"],
            "/credentials/oidc": ["GET"], "/credentials/basic": ["GET"], "/jobs": ["GET", "POST"],
            "/jobs/{job_id}": ["GET"], "/jobs/{job_id}/logs": ["GET"], "/jobs/{job_id}/results": ["GET", "POST"],
        }  # fmt: skip
        self.json(
            {
                "api_version": "1.2.0",
                "backend_version": "0.1",
                "stac_version": "1.0.0",
                "type": "Catalog",
                "id": "standin",
                "title": "Stand-in",
                "description": "For tests.",
                "production": True,
                "links": [],
                "endpoints": [{"path": path, "methods": methods} for path, methods in paths.items()],
            }
        )

    def oidc_providers(self) -> None:
        self.json(
            {"providers": [{"id": "egi", "title": "EGI", "issuer": f"{self.standin.url}/oidc", "scopes": ["openid"]}]}
        )

    def oidc_configuration(self) -> None:
        issuer = f"{self.standin.url}/oidc"
        self.json({"issuer": issuer, "token_endpoint": f"{issuer}/token", "scopes_supported": ["openid"]})

    def oidc_token(self) -> None:
        form = {key: value for key, (value,) in parse_qs(self.body.decode()).items()}
        known = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
        if not known.items() <= form.items():
            return self.json({"error": "invalid_client"}, 401)
        self.json({"access_token": "let-me-in", "token_type": "Bearer", "expires_in": 600})

    def basic(self) -> None:
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {expected}":
            return self.problem(403, "CredentialsInvalid", "Credentials are not correct.")
        self.json({"access_token": "let-me-in"})

    # -- what is there -------------------------------------------------------------------------------------------------

    def collection(self, name: str) -> None:
        if name not in COLLECTIONS:
            return self.problem(404, "CollectionNotFound", f"Collection {name!r} does not exist.")
        bands = COLLECTIONS[name][1].split()
        dimensions = {
            "x": {"type": "spatial", "axis": "x", "extent": [-180, 180], "reference_system": 4326},
            "y": {"type": "spatial", "axis": "y", "extent": [-90, 90], "reference_system": 4326},
            "t": {"type": "temporal", "extent": ["2015-07-06T00:00:00Z", None]},
            "bands": {"type": "bands", "values": bands},
        }
        self.json(
            {
                "stac_version": "1.0.0",
                "type": "Collection",
                "id": name,
                "description": name,
                "license": "various",
                "extent": {
                    "spatial": {"bbox": [[-180, -90, 180, 90]]},
                    "temporal": {"interval": [["2015-07-06T00:00:00Z", None]]},
                },
                "links": [],
                "cube:dimensions": dimensions,
                "summaries": {"eo:bands": [{"name": band} for band in bands]},
            }
        )

    def file_formats(self) -> None:
        formats = {"netCDF": {"gis_data_types": ["raster"], "parameters": {}}}
        self.json({"input": {}, "output": formats})

    def validation(self) -> None:
        self.json({"errors": complaints(json.loads(self.body)["process_graph"])})

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def create_job(self) -> None:
        wanted = json.loads(self.body)
        graph = wanted["process"]["process_graph"]
        errors = complaints(graph)
        if errors:
            return self.problem(400, errors[0]["code"], errors[0]["message"])
        name = f"j-{len(self.standin.jobs)}"
        self.standin.jobs[name] = Job(wanted.get("title", ""), graph)
        self.answer(201, b"", OpenEO_Identifier=name, Location=f"{self.standin.url}{ROOT}/jobs/{name}")

    def job(self, name: str) -> None:
        job = self.standin.jobs.get(name)
        if job is None:
            return self.problem(404, "JobNotFound", f"The batch job {name!r} does not exist.")
        job.questions += 1
        if job.status == "queued" and self.standin.patience is not None and job.questions > self.standin.patience:
            job.status = "finished"
        self.json(
            {
                "id": name,
                "title": job.title,
                "status": job.status,
                "created": "2026-01-01T00:00:00Z",
                "process": {"process_graph": job.graph},
            }
        )

    def start_job(self, name: str) -> None:
        self.standin.jobs[name].status = "queued"
        self.answer(202, b"")

    def logs(self, name: str) -> None:
        message = self.standin.jobs[name].message
        self.json(
            {
                "level": "error",
                "logs": [{"id": "1", "level": "error", "message": message}] if message else [],
                "links": [],
            }
        )

    def job_results(self, name: str) -> None:
        if self.standin.jobs[name].status != "finished":
            return self.problem(400, "JobNotFinished", "Batch job has not finished computing the results yet.")
        host = self.standin.elsewhere or f"{self.standin.url}{ROOT}"
        assets = {
            key: {
                "href": f"{host}/files/{name}/{key}",
                "type": NETCDF if key.endswith(".nc") else "application/json",
                "roles": ["data"],
            }
            for key in self.standin.names(name)
        }
        self.json(
            {
                "stac_version": "1.0.0",
                "type": "Collection",
                "id": name,
                "description": "",
                "license": "various",
                "extent": {},
                "links": [],
                "assets": assets,
            }
        )

    def file(self, job: str, key: str) -> None:
        if self.standin.redirects:
            return self.answer(302, b"", Location=f"{self.standin.redirects}/files/{job}/{key}")
        faults = self.standin.faults[key]
        serve = faults.pop(0) if faults else serve_content
        serve(self, self.standin.content(job, key))


def complaints(graph: dict[str, Any]) -> list[dict[str, str]]:
    """What is wrong with a process graph, as the API's errors."""
    unknown = {node["process_id"] for node in graph.values()} - PROCESSES
    found = [{"code": "ProcessUnsupported", "message": f"Process {name!r} is not known"} for name in sorted(unknown)]
    for node in graph.values():
        if node["process_id"] == "load_collection":
            name, bands = node["arguments"]["id"], set(node["arguments"]["bands"])
            if name not in COLLECTIONS or bands - set(COLLECTIONS[name][1].split()):
                found.append({"code": "CollectionNotFound", "message": f"No such collection or bands: {name}"})
    return found


Serve = Callable[..., None]
# method, path, whether a token is needed, and what answers
ROUTES: tuple[tuple[str, str, bool, Serve], ...] = (
    ("GET", r"/\.well-known/openeo", False, Handler.versions),
    ("GET", rf"{ROOT}/?", False, Handler.capabilities),
    ("GET", rf"{ROOT}/credentials/oidc", False, Handler.oidc_providers),
    ("GET", rf"{ROOT}/credentials/basic", False, Handler.basic),
    ("GET", r"/oidc/\.well-known/openid-configuration", False, Handler.oidc_configuration),
    ("POST", r"/oidc/token", False, Handler.oidc_token),
    ("GET", rf"{ROOT}/file_formats", False, Handler.file_formats),
    ("GET", rf"{ROOT}/collections/([^/]+)", False, Handler.collection),
    ("POST", rf"{ROOT}/validation", True, Handler.validation),
    ("POST", rf"{ROOT}/jobs", True, Handler.create_job),
    ("GET", rf"{ROOT}/jobs/([^/]+)", True, Handler.job),
    ("POST", rf"{ROOT}/jobs/([^/]+)/results", True, Handler.start_job),
    ("GET", rf"{ROOT}/jobs/([^/]+)/results", True, Handler.job_results),
    ("GET", rf"{ROOT}/jobs/([^/]+)/logs", True, Handler.logs),
    ("GET", rf"{ROOT}/files/([^/]+)/([^/]+)", True, Handler.file),
    ("GET", r"/files/([^/]+)/([^/]+)", False, Handler.file),  # a store of its own, with signed addresses
)


@contextmanager
def serving(standin: Standin) -> Iterator[Standin]:
    """Serve on a free port of 127.0.0.1 in a thread."""
    with zenodo_standin.serving(standin, Handler):
        yield standin
