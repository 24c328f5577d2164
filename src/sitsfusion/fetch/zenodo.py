"""Zenodo's record API, as far as it is used here.

One request without authentication, ``GET {base}/api/records/{id}``, which may redirect (an id that stands for
all versions leads to the latest one). Of the JSON answer only these fields are read::

    {"files": [{"key": "name.zip", "size": 123, "checksum": "md5:<hex>", "links": {"self": "https://..."}}],
     "metadata": {"license": {"id": "cc-by-4.0"}}}

Each file is then a ``GET`` of its ``links.self``, where ``Range``, ``If-Range``, ``ETag``, ``Retry-After`` and
redirects are understood (see `transfer`). No other part of the API is needed, so a local server that speaks
this much can stand in: the base address is an argument, else $SITSFUSION_ZENODO_URL, else https://zenodo.org.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from sitsfusion.errors import FetchError, InputError
from sitsfusion.fetch.catalogue import Checksum
from sitsfusion.fetch.transfer import FileSource
from sitsfusion.fetch.web import Retry, is_web_address, read_json


class _Links(BaseModel):
    self_: str = Field(alias="self")


class _File(BaseModel):
    key: str
    size: int
    checksum: Checksum
    links: _Links


class _Record(BaseModel):
    files: list[_File]
    metadata: dict[str, Any] = {}


def read_record(record: str, base_url: str | None, retry: Retry) -> tuple[list[FileSource], str | None]:
    """The files of a record, and its licence where it states one.

    Raises:
        FetchError: no such record, no files in it (restricted, withdrawn), or an answer of another form.
        InputError: the base address is not http or https.
    """
    base = base_url or os.environ.get("SITSFUSION_ZENODO_URL") or "https://zenodo.org"
    if not is_web_address(base):
        raise InputError(f"{base!r} is no address of a Zenodo server: expected http:// or https:// and a host")
    url = f"{base.rstrip('/')}/api/records/{record}"
    try:
        answer = _Record.model_validate(read_json(url, retry))
    except ValidationError as error:
        details = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        raise FetchError(
            f"{url}: not a Zenodo record with public files ({details}). Open its page to see why."
        ) from error
    if not answer.files:
        raise FetchError(
            f"{url}: the record lists no file; it may be restricted or withdrawn. Open its page to see why."
        )
    sources = [FileSource(f.key, f.links.self_, f.size, f.checksum) for f in answer.files]
    licence = answer.metadata.get("license")
    return sources, licence.get("id") if isinstance(licence, dict) else None
