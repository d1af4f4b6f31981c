"""The documents of the page. They can be read without JavaScript; with it, the modules in `page/` draw over them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from fc7.v1.admin_pb2 import GetServerInfoRequest
from fc7.v1.collection_pb2 import ListCollectionsRequest, ListItemsRequest
from fc7.v1.head_pb2 import Head, ListHeadsRequest
from fc7_service.http.door import Door, Refusal
from fc7_service.http.refusals import HTTP_STATUS, code_of

_SHELL = Path(__file__).parent / "page" / "index.html"
_PAGE_SIZE = 100
_COLLECTIONS, _HEADS = "/fc7.v1.CollectionService", "/fc7.v1.HeadService"
_Write = Callable[[Door, Request], Awaitable[str]]


def routes(door: Door) -> list[Route]:
    """Return the routes of all documents."""
    documents: dict[str, _Write] = {
        "/": _home,
        "/collections/{name}": _items,
        "/collections/{name}/{view}": _items,
        "/heads/{name}": _head,
        "/server": _server,
    }
    return [Route(path, _endpoint(door, write)) for path, write in documents.items()]


def _endpoint(door: Door, write: _Write) -> Callable[[Request], Awaitable[HTMLResponse]]:
    before, _, after = _SHELL.read_text(encoding="utf-8").partition("<!-- content -->")

    async def answer(request: Request) -> HTMLResponse:
        try:
            content, status = await write(door, request), 200
        except Refusal as refusal:  # the page itself still comes, so that it can ask for a token
            content, status = f"<p>{escape(refusal.status.message)}</p>", HTTP_STATUS[code_of(refusal.status)]
        return HTMLResponse(before + content + after, status, {"Cache-Control": "no-store"})

    return answer


async def _home(door: Door, request: Request) -> str:
    collections = (await door.ask(request, f"{_COLLECTIONS}/ListCollections", ListCollectionsRequest())).collections
    heads = (await door.ask(request, f"{_HEADS}/ListHeads", ListHeadsRequest())).heads
    return (
        "<h1>Collections</h1>"
        + _table(
            ("name", "items", "network", "layer", "state"),
            (
                (
                    _link(f"/collections/{quote(one.name, safe='')}", one.name),
                    one.count,
                    one.provenance.model,
                    one.provenance.layer,
                    one.fault or "works",
                )
                for one in collections
            ),
        )
        + "<h1>Heads</h1>"
        + _heads_table(heads)
    )


async def _items(door: Door, request: Request) -> str:
    name, token = request.path_params["name"], request.query_params.get("page_token", "")
    wanted = ListItemsRequest(collection=name, page_size=_PAGE_SIZE, page_token=token)
    answer = await door.ask(request, f"{_COLLECTIONS}/ListItems", wanted)
    rows = ((item.id, item.payload_json) for item in answer.items)
    path = f"/collections/{quote(name, safe='')}"
    following = f"{path}?{urlencode({'page_token': answer.next_page_token})}" if answer.next_page_token else ""
    end = f"<p>{_link(following, 'Next page')}</p>" if following else ""
    return f"<h1>{escape(name)}</h1>" + _table(("id", "payload"), rows) + end


async def _head(door: Door, request: Request) -> str:
    name = request.path_params["name"]
    heads = (await door.ask(request, f"{_HEADS}/ListHeads", ListHeadsRequest(all_versions=True))).heads
    return f"<h1>{escape(name)}</h1>" + _heads_table(head for head in heads if head.name == name)


async def _server(door: Door, request: Request) -> str:
    info = await door.ask(request, "/fc7.v1.AdminService/GetServerInfo", GetServerInfoRequest())
    facts = (("version", info.version), ("device", info.device), ("models", ", ".join(info.models)))
    return "<h1>Server</h1>" + _table(("fact", "value"), facts)


def _heads_table(heads: Iterable[Head]) -> str:
    columns = ("name", "version", "published", "classes", "trained on", "accuracy", "held out")
    rows = (
        (
            _link(f"/heads/{quote(head.name, safe='')}", head.name),
            head.version,
            head.published_version or "-",
            len(head.classes),
            head.count,
            f"{head.accuracy:.3f}",
            head.held_out,
        )
        for head in heads
    )
    return _table(columns, rows)


class _Html(str):
    """Text that is HTML already; any other text is escaped."""


def _link(address: str, text: str) -> _Html:
    return _Html(f'<a href="{escape(address)}">{escape(text)}</a>')


def _table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    return f"<td>{value if isinstance(value, _Html) else escape(str(value))}</td>"
