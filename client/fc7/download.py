"""Pictures that are given by a URL. The client downloads them; the server opens no connections."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from contextvars import ContextVar
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from fc7.contract.address import is_loopback
from fc7.errors import DeadlineExceeded, FailedPrecondition, Fc7Error, InvalidArgument, NotFound, Unavailable

_SCHEMES = ("http://", "https://")
_LIMIT_S = 30.0  # for one picture
_SILENCE_S = 10.0  # without a byte
_PIECE_BYTES = 2**16
_GONE = {404, 410}  # HTTP status codes

call_ends: ContextVar[float | None] = ContextVar("call_ends", default=None)
"""When the call that downloads must be over, in seconds of the monotonic clock. None for a call without a limit."""


def is_url(image: object) -> TypeGuard[str]:
    """Return whether an image is given by a URL: text that begins with http:// or https://."""
    return isinstance(image, str) and image.lower().startswith(_SCHEMES)


def without_credentials(url: str) -> str:
    """Return a URL without the user name and password that it may hold, to be shown or stored."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def download(url: str, max_bytes: int) -> bytes:
    """Return the content of a URL. Redirects to http:// and https:// are followed.

    The variables http_proxy, https_proxy and no_proxy apply, except to addresses of this machine.

    Raises
    ------
    NotFound
        The server has no such page.
    InvalidArgument
        The URL is malformed, holds a password, or its content is larger than ``max_bytes``.
    FailedPrecondition
        The server refuses, or redirects to something other than http:// and https://.
    Unavailable
        The server cannot be reached.
    DeadlineExceeded
        The download takes longer than 30 seconds, or than the call may take.
    """
    if without_credentials(url) != url:
        url = without_credentials(url)
        raise InvalidArgument(
            f"{url!r} was given with a user name and password, which fc7 does not send. Download the picture first",
            name=url,
        )
    answer: list[bytes | Fc7Error] = []
    start, ends = time.monotonic(), call_ends.get()
    limit_s = _LIMIT_S if ends is None else max(0.0, min(_LIMIT_S, ends - start))
    if limit_s == 0:
        raise _too_slow(url, limit_s)

    def run() -> None:
        try:
            answer.append(_read(url, max_bytes, limit_s, start + limit_s))
        except Fc7Error as error:
            answer.append(error)

    # In a thread, because a server that sends its headers byte by byte never runs into the timeout of the socket.
    thread = threading.Thread(target=run, name="fc7-download", daemon=True)
    thread.start()
    thread.join(limit_s)
    if not answer:
        raise _too_slow(url, limit_s)
    if isinstance(answer[0], Fc7Error):
        raise answer[0]
    return answer[0]


def _read(url: str, max_bytes: int, limit_s: float, deadline: float) -> bytes:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "fc7", "Accept": "image/*"})  # noqa: S310
        with _opener().open(request, timeout=min(_SILENCE_S, limit_s)) as response:
            announced = response.length or 0  # 0 if the server does not say
            if announced > max_bytes:
                raise _too_large(url, max_bytes)
            data = bytearray()
            while piece := response.read1(_PIECE_BYTES):
                data += piece
                if len(data) > max_bytes:
                    raise _too_large(url, max_bytes)
                if time.monotonic() > deadline:
                    raise _too_slow(url, limit_s)
            if len(data) < announced:
                raise Unavailable(f"{url!r} broke off after {len(data)} of {announced} bytes. Try again", name=url)
            return bytes(data)
    except Fc7Error:  # most of them are built-in errors too
        raise
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _GONE:
            raise NotFound(f"{url!r} does not exist: its server answers {error.code}", name=url) from None
        raise FailedPrecondition(
            f"{url!r} cannot be read: its server answers {error.code} {error.reason}", name=url
        ) from None
    except TimeoutError as error:
        raise _too_slow(url, limit_s) from error
    except (ValueError, http.client.InvalidURL) as error:  # a port that is not a number, a space, a null byte
        raise InvalidArgument(f"{url!r} is not a URL that can be read: {error}", name=url) from error
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        if isinstance(why, TimeoutError):
            raise _too_slow(url, limit_s) from error
        raise Unavailable(f"{url!r} cannot be reached: {why or type(error).__name__}", name=url) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows at most ten redirects, none of them to a file of this machine or to another protocol."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the next request."""
        shown = without_credentials(newurl)[:200]
        if not is_url(newurl):
            fp.close()
            raise FailedPrecondition(
                f"{req.full_url!r} redirects to {shown!r}: only http:// and https:// are followed", name=req.full_url
            )
        if without_credentials(newurl) != newurl:
            fp.close()
            raise FailedPrecondition(
                f"{req.full_url!r} redirects to {shown!r} with a user name and password, which fc7 does not send",
                name=req.full_url,
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Proxies(urllib.request.ProxyHandler):
    """Uses the proxies of the environment, except for addresses of this machine; each redirect is looked at anew."""

    def proxy_open(self, req: Any, proxy: str, type: str) -> Any:
        """Send a request to its proxy; return None to send it directly."""
        if is_loopback(urlsplit(req.full_url).hostname or ""):
            return None
        return super().proxy_open(req, proxy, type)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https and nothing else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Proxies(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _too_large(url: str, max_bytes: int) -> InvalidArgument:
    return InvalidArgument(f"{url!r} has more than {max_bytes} bytes. Make the picture smaller", name=url)


def _too_slow(url: str, limit_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"{url!r} was not complete within {limit_s:.3g} seconds, or nothing came for {_SILENCE_S:g} seconds. "
        "Download the picture first",
        name=url,
    )
