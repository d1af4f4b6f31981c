"""Callers of the HTTP door who are slow, who leave, and whose token ends: each gets its code, nothing is half done."""

from __future__ import annotations

import datetime
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fc7_service.http import sessions, web_server
from fc7_service.local import attach_or_start
from fc7_service.rpc import call as rpc_call
from fc7_service.settings import Settings
from servers import WAIT_S, jpeg, serving
from web import JSON, ask, call

UPSERT = "/fc7.v1.CollectionService/UpsertItems?collection=c&id=a"
LIST = "ModelService/ListModels"


@pytest.fixture(scope="module")
def address(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a server in this process, so that its patience can be shortened; yield the address of its HTTP door."""
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text("admin word\n")
    data = tmp_path_factory.mktemp("callers")
    settings = Settings(data=data, listen=None, http="127.0.0.1:0", models=(str(tiny_bundle),), token_file=tokens)
    running = attach_or_start(settings, lambda *_: True)
    found = running.holder.http.rpartition("/")[2]
    assert call(found, "CollectionService/CreateCollection", {"name": "c", "layer": "fc7"}, **WORD).status == 200
    yield found
    running.stop()


WORD = {"authorization": "Bearer word"}


def head(path: str, kind: str, n_bytes: int) -> bytes:
    lines = f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: {WORD['authorization']}"
    return "\r\n".join((*lines, f"Content-Type: {kind}", f"Content-Length: {n_bytes}", "", "")).encode()


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), WAIT_S)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("path", "kind"), [(UPSERT, "image/jpeg"), ("/session", JSON)])
def test_a_body_that_does_not_come_ends_with_its_code(
    address: str, monkeypatch: pytest.MonkeyPatch, path: str, kind: str
) -> None:
    monkeypatch.setattr(rpc_call, "_ARRIVAL_S", 0.1)
    monkeypatch.setattr(sessions, "_ARRIVAL_S", 0.1)
    with connect(address) as connection:
        connection.sendall(head(path, kind, 4000) + b"half")
        answer = connection.makefile("rb")
        assert b" 504 " in answer.readline()
        while line := answer.readline().strip():
            if line.lower().startswith(b"content-length"):
                n_bytes = int(line.split()[1])
        error = json.loads(answer.read(n_bytes))
    assert (error["code"], error["details"][0]["debug"]["reason"]) == ("deadline_exceeded", "ARRIVAL_TOO_SLOW")


def test_a_tab_that_is_closed_in_the_middle_of_a_picture_stores_nothing(address: str) -> None:
    picture = jpeg(1)
    with connect(address) as connection:
        connection.sendall(head(UPSERT, "image/jpeg", len(picture)) + picture[:-1])
    count = {"collection": "c"}
    assert call(address, "CollectionService/CountItems", count, **WORD).json == {"count": "0"}
    assert ask(address, UPSERT, picture, content_type="image/jpeg", **WORD).status == 200
    assert call(address, "CollectionService/CountItems", count, **WORD).json == {"count": "1"}


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nx: ", b"GET /"], ids=["a header", "the address"])
def test_a_head_without_end_is_not_kept(address: str, sent: bytes) -> None:
    with connect(address) as connection:
        try:
            connection.sendall(sent)
            for _ in range(4):
                connection.sendall(b"x" * web_server._HEAD_BYTES)
            assert connection.recv(1) == b""
        except ConnectionError:
            pass


def test_a_token_that_ends_ends_its_session_too(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, today = tmp_path / "tokens", datetime.datetime.now(datetime.UTC).date()

    def write(day: datetime.date) -> None:
        (tmp_path / "new").write_text(f"admin word expires={day}\n")
        os.replace(tmp_path / "new", tokens)

    write(today + datetime.timedelta(2))
    args = ("--model", str(tiny_bundle), "--http", "127.0.0.1:0", "--token-file", str(tokens))
    with serving(tmp_path / "data", *args) as served:
        begun = ask(served.http, "/session", b'{"token": "word"}', content_type=JSON)
        cookie = begun.headers["set-cookie"].partition(";")[0]
        assert call(served.http, LIST, {}, cookie=cookie).status == 200
        write(today - datetime.timedelta(2))
        wait_for(lambda: call(served.http, LIST, {}, cookie=cookie).status == 401)
        refused = call(served.http, LIST, {}, cookie=cookie)
        assert (refused.json["code"], refused.reason) == ("unauthenticated", "TOKEN_EXPIRED")
        assert ask(served.http, "/session", b'{"token": "word"}', content_type=JSON).status == 401
