"""Filters from end to end: embedded, remote and awaited clients, and the command."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from test_cli import fc7 as command
from test_cli import rows, serving

import fc7
from doors import private_door
from fc7.v1 import collection_pb2 as pb
from fc7.v1 import collection_pb2_grpc
from servers import WAIT_S, jpeg

YEARS = [1990 + i for i in range(20)]
RECENT = 'year >= 2000 and label = "even"'
RECENT_IDS = [str(i) for i in range(10, 20, 2)]


def fill(collection: fc7.Collection) -> None:
    payloads = [{"year": year, "label": ("even", "odd")[i % 2]} for i, year in enumerate(YEARS)]
    added = collection.add([jpeg(i) for i in range(20)], ids=list(map(str, range(20))), payloads=payloads)
    assert {one.status for one in added} == {"added"}


@pytest.fixture(scope="module", params=["embedded", "remote"])
def env(request: pytest.FixtureRequest, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    data = tmp_path_factory.mktemp("data")
    if request.param == "embedded":
        yield {"FC7_DATA": str(data), "FC7_MODEL": str(tiny_bundle)}, {"data": data, "models": [str(tiny_bundle)]}
    else:
        with serving("--model", tiny_bundle, "--data", data) as (address, _):
            yield {"FC7_SERVER": address}, {"address": address}


async def test_the_clients(env: Any) -> None:
    where = {"Python": (fc7.F("year") >= 2000) & (fc7.F("label") == "even"), "text": RECENT}
    where["JSON"] = {"and": [{"field": "year", "op": ">=", "value": 2000},
                             {"field": "label", "op": "=", "value": "even"}]}  # fmt: skip
    with fc7.connect(**env[1]) as client:
        photos = client.create_collection("python")
        fill(photos)
        for one in where.values():
            assert sorted((hit.id for hit in photos.search(jpeg(3), k=10, where=one)), key=int) == RECENT_IDS
            assert [item.id for item in photos.items(where=one)] == RECENT_IDS
            assert photos.count_items(where=one) == 5
        assert [hit.id for hit in photos.search(id="10", k=2, where=RECENT)][:1] != ["10"]
        for found in photos.search_many(ids=["10", "1"], k=3, where=RECENT):
            assert isinstance(found, list)
            assert len(found) == 3
            assert {hit.id for hit in found} <= set(RECENT_IDS)
        async with fc7.AsyncClient(**env[1]) as later:
            same = await later.collection("python")
            assert [item.id async for item in same.items(where=RECENT)] == RECENT_IDS
            assert await same.count_items(where=RECENT) == 5
            assert len(await same.search(id="1", k=3, where=RECENT)) == 3
            assert [one.id for one in await same.remove(where='label = "odd"')] == [str(i) for i in range(1, 20, 2)]
            assert same.count == 10
        assert [one.id for one in photos.remove(where=where["Python"])] == RECENT_IDS
        assert photos.count == photos.count_items() == 5
        with pytest.raises(fc7.InvalidArgument, match="character 9") as caught:
            photos.search(jpeg(3), where="label = cat")
        assert caught.value.reason == "INVALID_FILTER"
        for wrong in ({}, {"ids": ["0"], "where": RECENT}):
            with pytest.raises(fc7.InvalidArgument, match="exactly one"):
                photos.remove(**wrong)
        client.delete_collection("python")


def test_the_command(env: Any) -> None:
    with fc7.connect(**env[1]) as client:
        fill(client.create_collection("command"))
    options = ("--where", RECENT)
    hits = rows(command("search", "command", "--id", "1", *options, "--json", env=env[0]))
    assert sorted((hit["id"] for hit in hits), key=int) == RECENT_IDS
    listed = rows(command("collection", "items", "command", *options, "--json", env=env[0]))
    assert [item["id"] for item in listed] == RECENT_IDS
    assert command("collection", "count", "command", env=env[0]).stdout == "20\n"
    counted = command("collection", "count", "command", *options, "--json", env=env[0])
    assert json.loads(counted.stdout) == {"name": "command", "count": 5}
    refused = command("remove", "command", *options, code=2, env=env[0])
    assert "Remove 5 items from collection 'command'?" in refused.stderr
    removed = rows(command("remove", "command", *options, "--yes", "--json", env=env[0]))
    assert removed == [{"id": own, "status": "removed"} for own in RECENT_IDS]
    assert command("remove", "command", *options, env=env[0]).stdout == "command: 0 removed\n"
    wrong = command("collection", "count", "command", "--where", "year >", code=2, env=env[0])
    assert "cannot be read at character 7" in wrong.stderr
    command("remove", "command", code=2, env=env[0])
    command("remove", "command", "1", *options, code=2, env=env[0])


def test_the_server_refuses_what_no_client_of_ours_sends(env: Any) -> None:
    with fc7.connect(**env[1]) as client, contextlib.ExitStack() as stack:
        address = env[1].get("address")
        door = grpc.insecure_channel(address) if address else private_door(env[1]["data"])
        channel = stack.enter_context(door) if address else door
        client.create_collection("wire")
        stub = collection_pb2_grpc.CollectionServiceStub(channel)
        filter_json = '{"field": "a", "op": "exists"}'
        for call, request in [
            (stub.ListItems, pb.ListItemsRequest(collection="wire", filter_json="[")),
            (stub.CountItems, pb.CountItemsRequest(collection="wire", filter_json="{}")),
            (stub.DeleteItems, pb.DeleteItemsRequest(collection="wire", filter_json=filter_json, ids=["1"])),
            (stub.QueryItems, pb.QueryItemsRequest(collection="wire", k=1, queries=[pb.Query(id="1")],
                                                   filter_json='{"not": ' * 9000)),
        ]:  # fmt: skip
            with pytest.raises(grpc.RpcError) as caught:
                call(request, timeout=WAIT_S)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
