"""Download published weights and data sets, verified and resumable; nothing else in the library downloads.

`fetch` brings what the catalogue (`sitsfusion/weights/catalogue.yaml`) names, `local` says where it lies,
`resolve` turns what a user wrote (a path or a catalogue name) into a path, `available` lists the catalogue.
Standard library HTTP only; no request is made by importing this package.
"""

from __future__ import annotations

from sitsfusion.fetch.catalogue import Entry, available, find_entry, load_catalogue
from sitsfusion.fetch.fetcher import fetch
from sitsfusion.fetch.store import cache_folder, local, resolve
from sitsfusion.fetch.transfer import Progress
from sitsfusion.fetch.web import Retry

__all__ = [
    "Entry",
    "Progress",
    "Retry",
    "available",
    "cache_folder",
    "fetch",
    "find_entry",
    "load_catalogue",
    "local",
    "resolve",
]
