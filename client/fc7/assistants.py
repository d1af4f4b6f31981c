"""Tools for assistants that speak the Model Context Protocol: `fc7 mcp`, and `/mcp` on the HTTP door.

Each tool is a few calls of the client. The server checks the token of whoever calls, so a tool can do what the scope of
the token allows. https://modelcontextprotocol.io
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import importlib.metadata
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from fc7 import Client, F, Fc7Error, InvalidArgument, Label
from fc7.drawing.explanations import draw_class, draw_match

OpenClient = Callable[[Mapping[str, str] | None], AbstractContextManager[Client]]
_T = TypeVar("_T")
_MOST = 100  # items of one answer: assistants read every word
_INSTRUCTIONS = (
    "fc7 finds similar pictures, classifies them and says why. A picture is a path or a data URL "
    "(data:image/jpeg;base64,...). Start with list_collections."
)


class Tools:
    """The tools of one server.

    Parameters
    ----------
    open_client
        Opens a client for a call, given the headers of its request; None where there are none.
    reads_files
        Whether a picture may be a path on this machine.
    """

    def __init__(self, open_client: OpenClient, *, reads_files: bool) -> None:
        self._open_client, self._reads_files = open_client, reads_files

    async def list_collections(self, ctx: Context) -> list[dict[str, Any]]:
        """List the collections: name, number of items, and the network and layer of their features."""

        def run(client: Client) -> list[dict[str, Any]]:
            return [
                {"name": c.name, "items": c.count, "model": c.provenance.model, "layer": c.provenance.layer}
                for c in client.collections()
            ]

        return await self._run(ctx, run)

    async def search(
        self,
        ctx: Context,
        collection: str,
        picture: str = "",
        id: str = "",
        label: str = "",
        where: str = "",
        k: int = 9,
    ) -> list[dict[str, Any]]:
        """Find items: those most similar to a picture or to a stored item, or those with a label.

        Give one of picture, id and label. A larger score is nearer; of cosine, 1 is the same direction. ``where`` is a
        filter on payloads, for example: year >= 2020 and label = 'cat'.
        """
        if sum(map(bool, (picture, id, label))) != 1:
            raise ToolError("give one of picture, id and label")
        if not 1 <= k <= _MOST:
            raise ToolError(f"k must be 1 to {_MOST} (got {k})")

        def run(client: Client) -> list[dict[str, Any]]:
            found = client.collection(collection)
            if label:
                condition = F("label") == label
                items = found.items(where=condition)
                some = [item for item, _ in zip(items, range(k), strict=False)]
                return [{"id": item.id, "payload": self._shown(item.payload)} for item in some]
            query = {"id": id} if id else {"image": self._read(picture)}
            hits = found.search(k=k, where=where or None, **query)
            return [{"id": hit.id, "score": hit.score, "payload": self._shown(hit.payload)} for hit in hits]

        return await self._run(ctx, run)

    async def show_item(self, ctx: Context, collection: str, id: str) -> dict[str, Any]:
        """Show one item: its payload, and what was said about it."""

        def run(client: Client) -> dict[str, Any]:
            found = client.collection(collection)
            (item,) = found.get([id])
            if isinstance(item, Fc7Error):
                raise item
            said = [{"label": one.label, "verdict": one.verdict, "by": one.by} for one in found.labels([id])]
            return {"id": item.id, "payload": self._shown(item.payload), "labels": said}

        return await self._run(ctx, run)

    async def classify(self, ctx: Context, picture: str, head: str = "", top: int = 5) -> list[dict[str, Any]]:
        """Classify a picture with a trained head, or with the network's own classes if no head is named."""

        def run(client: Client) -> list[dict[str, Any]]:
            (answer,) = client.classify(self._read(picture), head=head, top=top)
            return [{"label": name, "probability": probability} for name, probability in answer.top]

        return await self._run(ctx, run)

    async def label_item(self, ctx: Context, collection: str, id: str, label: str) -> str:
        """Say what an item shows: writes a label record, and the field `label` of its payload, on which heads train."""

        def run(client: Client) -> str:
            found = client.collection(collection)
            (written,) = found.add_labels([Label(id, label, by="assistant")])
            if written.error is not None:
                raise written.error
            found.update([id], set={"label": label})
            return f"{id} is labelled {label}"

        return await self._run(ctx, run)

    async def train_head(self, ctx: Context, name: str, collection: str) -> dict[str, Any]:
        """Train the next version of a head on the labelled items of a collection. It is not published."""

        def run(client: Client) -> dict[str, Any]:
            head = client.train_head(name, collection=collection)
            return {
                "name": head.name,
                "version": head.version,
                "classes": list(head.classes),
                "items": head.count,
                "accuracy": head.accuracy,
            }

        return await self._run(ctx, run)

    async def explain(
        self, ctx: Context, picture: str, neighbour: str = "", head: str = "", label: str = "", collection: str = ""
    ) -> list[Any]:
        """Draw why two pictures are similar (give neighbour), or why a picture is of its class (give none).

        With a collection, its network and layer compare the two. With a head, its classes explain the picture. The
        drawing lights what counts in each picture and shows the units that contribute most.
        """

        def run(client: Client) -> list[Any]:
            with self._file(picture) as file, tempfile.TemporaryDirectory() as folder:
                drawing = Path(folder) / "why.png"
                if neighbour:
                    with self._file(neighbour) as other:
                        match = client.explain.match(file, other, collection=collection or None)
                        draw_match((file, other), match, drawing)
                    text = f"cosine {match.score:.4f}, split over the units of {match.unit_layer}"
                else:
                    reason = client.explain.label(file, label=label, head=head)
                    draw_class(file, reason, drawing)
                    text = f"{reason.label}, probability {reason.probability:.4f}"
                return [text, Image(data=drawing.read_bytes(), format="png")]

        return await self._run(ctx, run)

    async def _run(self, ctx: Context, work: Callable[[Client], _T]) -> _T:
        """Return what ``work`` returns, off the event loop; an error of fc7 becomes one that the assistant reads."""
        headers = ctx.headers

        def call() -> _T:
            with self._open_client(headers) as client:
                return work(client)

        try:
            return await asyncio.to_thread(call)
        except Fc7Error as error:
            raise ToolError(f"{error.reason}: {error.message}") from error

    def _shown(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return a payload; without the path of a file that the assistant cannot open."""
        return payload if self._reads_files else {key: value for key, value in payload.items() if key != "path"}

    def _read(self, picture: str) -> bytes | Path:
        """Return a picture that an assistant named."""
        if picture.startswith("data:"):
            try:
                return base64.b64decode(picture.partition(",")[2], validate=True)
            except (binascii.Error, ValueError):
                raise InvalidArgument("the picture is a data URL without valid base64", name="picture") from None
        if not self._reads_files:
            raise InvalidArgument(
                "this server does not open files for others. Send the picture as a data URL", name="picture"
            )
        return Path(picture)

    @contextmanager
    def _file(self, picture: str) -> Iterator[Path]:
        """Lend a picture as a file."""
        found = self._read(picture)
        if isinstance(found, Path):
            yield found
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "picture"
            file.write_bytes(found)
            yield file


# Scope of each tool: that of the calls that it makes.
SCOPES = {
    "list_collections": "read",
    "search": "read",
    "show_item": "read",
    "classify": "read",
    "explain": "read",
    "label_item": "write",
    "train_head": "write",
}


def make_server(open_client: OpenClient, *, reads_files: bool) -> MCPServer:
    """Return a server of the protocol with all tools; see `Tools`."""
    tools = Tools(open_client, reads_files=reads_files)
    version = importlib.metadata.version("fc7")
    server = MCPServer("fc7", instructions=_INSTRUCTIONS, version=version, log_level="WARNING", subscriptions=False)
    for name, scope in SCOPES.items():
        hints = ToolAnnotations(read_only_hint=scope == "read", destructive_hint=False, open_world_hint=False)
        has_drawing = name == "explain"
        server.add_tool(
            getattr(tools, name),
            annotations=hints,
            meta={"fc7/scope": scope},
            structured_output=False if has_drawing else None,
        )
    return server
