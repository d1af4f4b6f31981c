"""The application behind `fc7 serve --http`: which path leads where."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from fc7.errors import Fc7Error
from fc7_service.http import documents
from fc7_service.http.calls import Calls
from fc7_service.http.door import Door, Refusal
from fc7_service.http.refusals import answer_refusal

PAGE = Path(__file__).parent / "page"


def make_app(door: Door) -> Starlette:
    """Return the application that makes its calls through ``door``."""
    return Starlette(
        routes=[
            Route("/fc7.v1.{service}/{method}", Calls(door)),
            Mount("/page", StaticFiles(directory=PAGE)),
            *documents.routes(door),
        ],
        exception_handlers={Refusal: answer_refusal, Fc7Error: answer_refusal},
    )
