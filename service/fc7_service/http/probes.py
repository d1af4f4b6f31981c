"""What supervisors, Prometheus and programs ask a server: is it alive, is it ready, its metrics, its description."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fc7_service.http.door import Door
from fc7_service.http.openapi import describe

_TEXT = "text/plain; version=0.0.4; charset=utf-8"  # the format of Prometheus


@dataclass(frozen=True, slots=True)
class Probes:
    """What the routes ask the server.

    Attributes
    ----------
    is_ready
        Whether it takes calls.
    write_metrics
        Writes its metrics in the text format of Prometheus.
    """

    is_ready: Callable[[], bool]
    write_metrics: Callable[[], bytes]

    def routes(self, door: Door, others: Mapping[str, Any]) -> list[Route]:
        """Return the routes. ``others`` describes the routes that are no methods."""
        description: list[bytes] = []  # made when it is first asked for

        async def answer_health(request: Request) -> Response:
            return JSONResponse({"status": "SERVING"})

        async def answer_readiness(request: Request) -> Response:
            is_ready = self.is_ready()
            return JSONResponse({"status": "SERVING" if is_ready else "NOT_SERVING"}, 200 if is_ready else 503)

        async def answer_metrics(request: Request) -> Response:
            door.check(request, "/metrics")
            return Response(await asyncio.to_thread(self.write_metrics), headers={"Content-Type": _TEXT})

        async def answer_description(request: Request) -> Response:
            if not description:
                made = await asyncio.to_thread(describe, door.handlers, others)
                description.append(json.dumps(made, ensure_ascii=False).encode())
            return Response(description[0], media_type="application/json")

        return [
            Route("/healthz", answer_health, methods=["GET"]),
            Route("/readyz", answer_readiness, methods=["GET"]),
            Route("/metrics", answer_metrics, methods=["GET"]),
            Route("/openapi.json", answer_description, methods=["GET"]),
        ]
