"""HTTP with the standard library: http and https only, errors a person can act on, bounded retries."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, Any, TypeVar, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from sitsfusion.errors import FetchError, InputError

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_MEANING = {
    401: "access is restricted; log in on the page in a browser and download by hand",
    403: "the server (or a proxy on the way) refuses access; the files may be restricted",
    404: "nothing is published at this address; it may have moved or been withdrawn",
    410: "the publication was withdrawn",
    429: "the server asks to send fewer requests; wait some minutes and run the same command again",
}
_BY_HAND = "Files copied to this machine by hand can be given with source= (--source)."
_LEGAL = "%/:=&?~#+!$,;'@()*[]"  # quoted are spaces and letters beyond ASCII, which file names may hold

Result = TypeVar("Result")


@dataclass(frozen=True)
class Retry:
    """How long to insist: attempts in all per request, waits in seconds (doubling), seconds without an answer."""

    attempts: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.timeout_s <= 0 or min(self.first_wait_s, self.longest_wait_s) < 0:
            raise InputError(f"{self}: expected attempts >= 1, a positive timeout and waits >= 0")


class Interrupted(Exception):  # noqa: N818 - a state of the transfer, never seen by callers
    """A failure worth another attempt; `wait_s` is what the server asked for, None if it did not say."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class RangeRefused(Interrupted):
    """HTTP 416: the part already here is not a beginning of the published file."""


class _WebOnly(HTTPRedirectHandler):
    """urllib would also follow to ftp, and from https down to http, and hand what proves who we are to other hosts."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not is_web_address(newurl) or (req.type == "https" and not newurl.startswith("https:")):
            raise FetchError(f"{req.full_url} redirects to {newurl}: expected an address as protected as the first")
        followed = super().redirect_request(req, fp, code, msg, headers, newurl)
        if followed is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            followed.remove_header("Authorization")
        return followed


def is_web_address(url: str) -> bool:
    """Whether `url` is an http or https address."""
    try:
        parts = urlsplit(url)
    except ValueError:  # an unfinished IPv6 address
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def open_url(url: str, headers: Mapping[str, str], timeout_s: float) -> HTTPResponse:
    """One GET, following redirects.

    Raises:
        FetchError: an answer that another attempt would not change.
        Interrupted: no answer, a dropped connection, or a status that may pass (408, 429, 5xx).
    """
    if not is_web_address(url):
        raise FetchError(f"{url!r}: expected an address that starts with http:// or https://")
    request = Request(quote(url, safe=_LEGAL), headers={"User-Agent": "sitsfusion", **headers})  # noqa: S310 - checked
    try:
        return cast(HTTPResponse, build_opener(_WebOnly).open(request, timeout=timeout_s))
    except HTTPError as error:
        with error:
            raise _from_status(url, error) from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise FetchError(
                f"{url}: the server's certificate is not trusted ({error.reason}). "
                "Check the clock and, behind a proxy, set SSL_CERT_FILE to its certificate."
            ) from error
        raise Interrupted(f"{url}: {error.reason}") from error
    except (OSError, HTTPException) as error:
        if isinstance(error, FetchError):
            raise
        raise Interrupted(f"{url}: {error or type(error).__name__}") from error


def _from_status(url: str, error: HTTPError) -> FetchError | Interrupted:
    meaning = _MEANING.get(error.code, "the server failed; try later" if error.code >= 500 else str(error.reason))
    message = f"{url}: HTTP {error.code}: {meaning}"
    if error.code == 416:
        return RangeRefused(message)
    if error.code in _TRANSIENT:
        return Interrupted(message, _asked_wait(error.headers.get("Retry-After")))
    return FetchError(f"{message}. {_BY_HAND}")


def _asked_wait(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds a number or a date; None if absent or unreadable."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # not a date, or one without a time zone
        return None


def insist(action: Callable[[], Result], retry: Retry) -> Result:
    """Run `action` until it no longer raises `Interrupted`, with growing waits; FetchError after the last attempt."""
    attempt = 1
    while True:
        try:
            return action()
        except Interrupted as stop:
            if attempt >= retry.attempts:
                gave_up = f"Gave up after {attempt} attempts; run the same command again to go on from here."
                raise FetchError(f"{stop}. {gave_up} {_BY_HAND}") from stop
            wait_s = retry.first_wait_s * 2 ** (attempt - 1) if stop.wait_s is None else stop.wait_s
        time.sleep(min(wait_s, retry.longest_wait_s))
        attempt += 1


def read_json(url: str, retry: Retry) -> Any:
    """GET a JSON document, which the caller validates; FetchError if it cannot be had or is not JSON."""

    def attempt() -> bytes:
        with open_url(url, {"Accept": "application/json"}, retry.timeout_s) as response:
            try:
                return response.read()
            except (OSError, HTTPException) as error:
                raise Interrupted(f"{url}: {error or type(error).__name__}") from error

    try:
        return json.loads(insist(attempt, retry))
    except ValueError as error:
        raise FetchError(
            f"{url}: expected a JSON document, found something else ({error}). Check the address."
        ) from error
