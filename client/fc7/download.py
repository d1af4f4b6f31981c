"""Pictures by their URL, fetched by the client: the server never reaches out."""

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
_LIMIT_S = 30.0  # for a whole picture
_SILENCE_S = 10.0  # without a byte
_PIECE_BYTES = 2**16
_GONE = {404, 410}  # statuses

call_ends: ContextVar[float | None] = ContextVar("call_ends", default=None)
"""Monotonic seconds at which the call that fetches is over; None where it has no limit."""


def is_url(image: object) -> TypeGuard[str]:
    """Return whether an image is given by a URL: text that begins with http:// or https://."""
    return isinstance(image, str) and image.lower().startswith(_SCHEMES)


def fetch(url: str, max_bytes: int) -> bytes:
    """Return what a URL holds; redirects are followed to http:// and https:// alone.

    The variables http_proxy, https_proxy and no_proxy are honoured, except for addresses of this machine.

    Raises
    ------
    NotFound
        The server has no such page.
    InvalidArgument
        Not a URL, or more than ``max_bytes``.
    FailedPrecondition
        The server refuses, or redirects elsewhere.
    Unavailable
        The server cannot be reached.
    DeadlineExceeded
        Not complete within 30 seconds, or within the time of the call.
    """
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

    # A thread of its own: a server that sends its headers byte by byte is never silent, and nothing else bounds it.
    thread = threading.Thread(target=run, name="fc7-fetch", daemon=True)
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
        with _opener(url).open(request, timeout=min(_SILENCE_S, limit_s)) as response:
            announced = response.length or 0  # 0 where the server does not say
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
                raise Unavailable(f"{url!r} broke off after {len(data)} of {announced} bytes: try again", name=url)
            return bytes(data)
    except Fc7Error:  # most are built-in errors too
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
    except (ValueError, http.client.InvalidURL) as error:  # a port that is no number, a space, a null byte
        raise InvalidArgument(f"{url!r} is not a URL that can be read: {error}", name=url) from error
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        if isinstance(why, TimeoutError):
            raise _too_slow(url, limit_s) from error
        raise Unavailable(f"{url!r} cannot be reached: {why or type(error).__name__}", name=url) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows at most ten redirects, none to a file of this machine or another protocol."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the next request."""
        if not is_url(newurl):
            fp.close()
            raise FailedPrecondition(
                f"{req.full_url!r} redirects to {newurl[:200]!r}: only http:// and https:// are followed",
                name=req.full_url,
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Return what opens http and https and nothing else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler({} if _is_here(url) else None),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _is_here(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _too_large(url: str, max_bytes: int) -> InvalidArgument:
    return InvalidArgument(f"{url!r} has more than {max_bytes} bytes: make the image smaller", name=url)


def _too_slow(url: str, limit_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"{url!r} was not complete within {limit_s:.3g} seconds, or sent nothing for {_SILENCE_S:g}: fetch it first",
        name=url,
    )
