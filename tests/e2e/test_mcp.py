"""Tools for assistants, called by the client of the protocol's own SDK: over standard input, and over HTTP."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

import fc7
from fc7.assistants import SCOPES
from servers import WAIT_S, Served, clean_environment, jpeg, serving
from web import JSON, ask

MODEL = "alexnet-64"  # which can explain its answers


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assistants")
    for seed in range(8):
        (folder / f"{seed}.jpg").write_bytes(jpeg(seed))
    (folder / "tokens").write_text("".join(f"{scope} {scope}-word\n" for scope in ("read", "write", "admin")))
    (folder / "mine").write_text("admin-word\n")
    return folder


@pytest.fixture(scope="module")
def served(world: Path) -> Iterator[Served]:
    args = ("--token-file", str(world / "tokens"), "--http", "127.0.0.1:0")
    with serving(world / "data", "--model", MODEL, *args) as server:
        with fc7.connect(server.address, token_file=world / "mine") as client:
            photos = client.create_collection("photos", layer="fc7")
            photos.add([str(world / f"{seed}.jpg") for seed in range(8)], ids=[f"{seed}.jpg" for seed in range(8)])
        yield server


@asynccontextmanager
async def over_stdio(served: Served, world: Path) -> AsyncIterator[Client]:
    words = ["-m", "fc7", "mcp", "--server", served.address, "--token-file", str(world / "mine")]
    environment = clean_environment() | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    async with Client(StdioServerParameters(command=sys.executable, args=words, env=environment)) as client:
        yield client


@asynccontextmanager
async def over_http(served: Served, scope: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {scope}-word"}
    async with httpx2.AsyncClient(headers=headers, timeout=WAIT_S) as web:
        async with Client(streamable_http_client(f"http://{served.http}/mcp", http_client=web)) as client:
            yield client


def data_url(seed: int) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(seed)).decode()}"


def values(result: Any) -> Any:
    """What a tool returned, as JSON."""
    assert not result.is_error, result.content
    found = result.structured_content
    return found["result"] if set(found) == {"result"} else found


def said(result: Any) -> str:
    assert result.is_error
    return str(result.content[0].text)


async def test_every_tool_has_its_scope_and_its_text(served: Served, world: Path) -> None:
    async with over_stdio(served, world) as client:
        listed = (await client.list_tools()).tools
    assert {tool.name: tool.meta["fc7/scope"] for tool in listed if tool.meta} == SCOPES
    assert all(tool.description and tool.annotations for tool in listed)
    assert {tool.name for tool in listed if tool.annotations and tool.annotations.read_only_hint} == {
        name for name, scope in SCOPES.items() if scope == "read"
    }


async def test_an_assistant_searches_labels_trains_classifies_and_explains(served: Served, world: Path) -> None:
    async with over_stdio(served, world) as client:
        (photos,) = values(await client.call_tool("list_collections", {}))
        assert photos == {"name": "photos", "items": 8, "model": MODEL, "layer": "fc7"}
        nearest = {"collection": "photos", "picture": str(world / "3.jpg"), "k": 2}
        hits = values(await client.call_tool("search", nearest))
        assert hits[0]["id"] == "3.jpg"
        others = values(await client.call_tool("search", {"collection": "photos", "id": "3.jpg"}))
        assert len(others) == 7
        for seed in range(8):
            label = {"collection": "photos", "id": f"{seed}.jpg", "label": ("light", "dark")[seed % 2]}
            assert not (await client.call_tool("label_item", label)).is_error
        labelled = values(await client.call_tool("search", {"collection": "photos", "label": "dark"}))
        assert [item["id"] for item in labelled] == ["1.jpg", "3.jpg", "5.jpg", "7.jpg"]
        shown = values(await client.call_tool("show_item", {"collection": "photos", "id": "1.jpg"}))
        assert shown["payload"]["label"] == "dark"
        assert shown["labels"] == [{"label": "dark", "verdict": "positive", "by": "assistant"}]
        head = values(await client.call_tool("train_head", {"name": "light", "collection": "photos"}))
        assert (head["version"], head["classes"], head["items"]) == (1, ["dark", "light"], 8)
        with fc7.connect(served.address, token_file=world / "mine") as other:
            other.publish_head("light")
        asked = {"picture": str(world / "1.jpg"), "head": "light"}
        top = values(await client.call_tool("classify", asked))
        assert {one["label"] for one in top} == {"dark", "light"}
        for words in ({"neighbour": str(world / "2.jpg"), "collection": "photos"}, {"head": "light"}, {}):
            text, drawing = (await client.call_tool("explain", {"picture": str(world / "1.jpg"), **words})).content
            assert text.type == "text"
            with Image.open(io.BytesIO(base64.b64decode(drawing.data))) as image:
                assert (image.format, drawing.mime_type) == ("PNG", "image/png")
                assert image.width > 200


async def test_errors_are_told_to_the_assistant(served: Served, world: Path) -> None:
    async with over_stdio(served, world) as client:
        missing = {"collection": "photos", "id": "none.jpg"}
        assert "ITEM_NOT_FOUND" in said(await client.call_tool("show_item", missing))
        assert "COLLECTION_NOT_FOUND" in said(await client.call_tool("search", {"collection": "none", "id": "a"}))
        assert "give one of" in said(await client.call_tool("search", {"collection": "photos"}))
        assert "k must be" in said(await client.call_tool("search", {"collection": "photos", "id": "a", "k": 0}))
        assert "base64" in said(await client.call_tool("classify", {"picture": "data:image/png;base64,!"}))
        filtered = {"collection": "photos", "id": "1.jpg", "where": "year >="}
        assert "INVALID_FILTER" in said(await client.call_tool("search", filtered))


async def test_over_http_the_token_decides(served: Served, world: Path) -> None:
    calls: dict[str, dict[str, Any]] = {
        "list_collections": {},
        "search": {"collection": "photos", "picture": data_url(1)},
        "show_item": {"collection": "photos", "id": "1.jpg"},
        "classify": {"picture": data_url(1)},
        "explain": {"picture": data_url(1), "neighbour": data_url(2)},
        "label_item": {"collection": "photos", "id": "1.jpg", "label": "dark"},
        "train_head": {"name": "other", "collection": "photos"},
    }
    assert calls.keys() == SCOPES.keys()
    for scope in ("read", "write"):
        async with over_http(served, scope) as client:
            for name, arguments in calls.items():
                result = await client.call_tool(name, arguments)
                if scope == "read" and SCOPES[name] == "write":
                    assert "PERMISSION_DENIED" in said(result), name
                else:
                    assert not result.is_error, (name, result.content)
                    assert str(world) not in str(result.content), name
            assert "data URL" in said(await client.call_tool("classify", {"picture": str(world / "1.jpg")}))


def test_over_http_a_caller_without_a_token_is_refused(served: Served) -> None:
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    answer = ask(served.http, "/mcp", json.dumps(asked).encode(), content_type=JSON, accept=JSON)
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
