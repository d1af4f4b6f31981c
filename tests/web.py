"""Requests to the HTTP door of a server, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from servers import WAIT_S

JSON, LINES, PROTO = "application/json", "application/x-ndjson", "application/proto"


@dataclass(frozen=True)
class Answer:
    """What the door answered."""

    status: int
    headers: dict[str, str]  # by name in lower case
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of an error."""
        return str(self.json["details"][0]["debug"]["reason"])

    @property
    def name(self) -> str:
        """The field or thing that an error is about."""
        return str(self.json["details"][0]["debug"]["metadata"]["name"])


def ask(
    address: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    *,
    method: str = "",
    tls: ssl.SSLContext | None = None,
    **headers: str,
) -> Answer:
    """Send one request; ``content_type`` stands for the header Content-Type, and so on."""
    connection = (
        http.client.HTTPSConnection(address.replace("127.0.0.1", "localhost"), timeout=WAIT_S, context=tls)
        if tls
        else http.client.HTTPConnection(address, timeout=WAIT_S)
    )
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, body, sent)
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def call(address: str, method: str, values: dict[str, Any], **headers: str) -> Answer:
    """Make a unary call: ``method`` is, for example, "CollectionService/QueryItems"."""
    return ask(address, f"/fc7.v1.{method}", json.dumps(values).encode(), content_type=JSON, **headers)
