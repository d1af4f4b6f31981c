"""The application behind `fc7 serve --http`: which path leads where."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from fc7.contract.address import split_address
from fc7.contract.request_id import REQUEST_ID
from fc7.errors import Fc7Error
from fc7_service.http import documents, embeddings
from fc7_service.http.assistants import Assistants
from fc7_service.http.calls import Calls, read_form
from fc7_service.http.door import Door, Refusal
from fc7_service.http.gate import Gate
from fc7_service.http.pictures import Pictures
from fc7_service.http.probes import Probes
from fc7_service.http.refusals import answer_refusal
from fc7_service.rpc.log import Log
from fc7_service.settings import Settings

PAGE = Path(__file__).parent / "page"


def make_routes(door: Door, settings: Settings, probes: Probes, assistants: Assistants) -> list[BaseRoute]:
    """Return all routes. Each asks for a token by itself, or needs none."""
    return [
        Route("/fc7.v1.{service}/{method}", Calls(door, partial(read_form, door.handlers))),
        *embeddings.routes(door),
        *assistants.routes(),
        *probes.routes(door, embeddings.DESCRIPTION),
        *door.sessions.routes(),
        *Pictures(door, settings.pictures).routes(),
        Mount("/page", StaticFiles(directory=PAGE)),
        *documents.routes(door),
    ]


def make_app(
    door: Door, settings: Settings, probes: Probes, find_address: Callable[[], str], log: Log | None
) -> ASGIApp:
    """Return the application that makes its calls through ``door``; ``find_address`` returns the private address."""
    assistants = Assistants(door, find_address)
    app: ASGIApp = Starlette(
        routes=make_routes(door, settings, probes, assistants),
        lifespan=assistants.lifespan,
        exception_handlers=dict.fromkeys((Refusal, Fc7Error, HTTPException), answer_refusal),
    )
    if settings.http_origins:
        exposed = (REQUEST_ID, "Retry-After")
        app = CORSMiddleware(app, settings.http_origins, ("GET", "POST"), ("*",), expose_headers=exposed)
    host, _ = split_address(settings.http or "")
    return Gate(app, (host, *settings.http_hosts), settings.http_origins, log)
