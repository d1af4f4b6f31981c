"""Who may ask the HTTP door what: hosts, origins, tokens, sessions, scopes, and which files it shows."""

from __future__ import annotations

import io
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import fc7
from fc7_service.http import web_server
from fc7_service.http.app import make_routes
from fc7_service.http.assistants import Assistants
from fc7_service.http.door import Door
from fc7_service.http.probes import Probes
from fc7_service.http.sessions import Sessions
from fc7_service.rpc.interceptor import Interceptor
from fc7_service.rpc.method_handlers import MethodHandlers
from fc7_service.settings import Settings
from fc7_service.tokens import SCOPES, Tokens
from servers import WAIT_S, Served, jpeg, serving
from web import JSON, Answer, ask, call

ADMIN = {"authorization": "Bearer admin-word"}
LIST = "ModelService/ListModels"
# Route -> a request to it, and the weakest scope that may make it; "" where no token is asked for.
ROUTES: dict[str, tuple[str, str]] = {
    "/fc7.v1.{service}/{method}": ("/fc7.v1.ModelService/ListModels", "read"),  # each method: test_http.py
    "/v1/embeddings": ("/v1/embeddings", "read"),
    "/v1/models": ("/v1/models", "read"),
    "/mcp": ("/mcp", "read"),
    "/healthz": ("/healthz", ""),
    "/readyz": ("/readyz", ""),
    "/metrics": ("/metrics", "admin"),
    "/openapi.json": ("/openapi.json", ""),
    "/session": ("/session", ""),
    "/pictures/{collection}": ("/pictures/c?id=a", "read"),
    "/page": ("/page/none.js", ""),
    "/": ("/", "read"),
    "/collections/{name}": ("/collections/c", "read"),
    "/collections/{name}/{view}": ("/collections/c/map", "read"),
    "/heads/{name}": ("/heads/h", "read"),
    "/server": ("/server", "admin"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that may be shown, pictures that may not, and a token of each scope."""
    folder = tmp_path_factory.mktemp("safety")
    for name in ("shown/a.jpg", "shown/inner/b.jpg", "other/c.jpg", "shown/gone.jpg", "shown/changed.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(len(name), (300, 200)))
    (folder / "shown" / "link.jpg").symlink_to(folder / "other" / "c.jpg")
    (folder / "secret.txt").write_text("a secret")
    (folder / "tokens").write_text("".join(f"{scope} {scope}-word\n" for scope in SCOPES))
    (folder / "mine").write_text("admin-word\n")
    return folder


@pytest.fixture(scope="module")
def served(tiny_bundle: Path, world: Path) -> Iterator[Served]:
    args = ("--token-file", str(world / "tokens"), "--pictures", str(world / "shown"), "--http", "127.0.0.1:0")
    with serving(world / "data", "--model", str(tiny_bundle), *args, "--http-host", "Photos.example.org") as server:
        with fc7.connect(server.address, token_file=world / "mine") as client:
            photos = client.create_collection("c", layer="fc7")
            paths = sorted(world.glob("*/**/*.jpg"))
            photos.add([str(path) for path in paths], ids=[str(path.relative_to(world)) for path in paths])
            lies = {"id.txt": world / "secret.txt", "outside": world / "other" / "c.jpg", "up": world / "shown/../x"}
            photos.add([jpeg(9)] * 3, ids=list(lies), payloads=[{"path": str(path)} for path in lies.values()])
            photos.add([jpeg(8)], ids=["text"], payloads=[{"path": 7}])
            photos.add([jpeg(6, (600, 400))], ids=["kept"], keep_thumbnails=True)
            photos.add([world / "shown/a.jpg"], ids=["both"], keep_thumbnails=True)
        (world / "shown" / "gone.jpg").unlink()
        (world / "shown" / "changed.jpg").write_bytes(jpeg(77))
        yield server


def picture(served: Served, item: str, size: str = "256", **headers: str) -> Answer:
    return ask(served.http, f"/pictures/c?id={item}&size={size}", **(ADMIN | headers))


def test_a_kept_thumbnail_is_shown_without_its_file(served: Served) -> None:
    sizes = {"64": (64, 43), "256": (256, 171), "1024": (256, 171)}  # there is nothing larger to show
    for size, expected in sizes.items():
        shown = picture(served, "kept", size)
        assert (shown.status, Image.open(io.BytesIO(shown.body)).size) == (200, expected)
        assert picture(served, "kept", size, if_none_match=shown.headers["etag"]).status == 304
    assert picture(served, "kept", "full").status == 404
    assert Image.open(io.BytesIO(picture(served, "both", "1024").body)).size == (300, 200)  # that of its file


def test_every_route_asks_for_its_scope(served: Served, tmp_path: Path) -> None:
    tokens = Tokens({})
    door = Door(Interceptor(tokens, None), MethodHandlers(), Sessions(tokens))
    assistants = Assistants(door, lambda: "")
    made = make_routes(door, Settings(data=tmp_path), Probes(lambda: True, lambda: b""), assistants)
    routes = [route.path for route in made]  # type: ignore[attr-defined]
    assert routes == list(ROUTES), "a new route needs a line in ROUTES"
    ranks = ["", *SCOPES]
    for path, needed in ROUTES.values():
        is_post = path.startswith(("/fc7.v1", "/v1/embeddings"))
        body = {"method": "POST", "body": b"{}", "content_type": JSON} if is_post else {}
        for scope in ("", "wrong", *SCOPES):
            sent = {"authorization": f"Bearer {scope}-word"} if scope else {}
            status = ask(served.http, path, **body, **sent).status  # type: ignore[arg-type]
            if needed and scope not in SCOPES:
                assert status == 401, (path, scope)
            elif scope in SCOPES and ranks.index(scope) < ranks.index(needed):
                assert status == 403, (path, scope)
            else:
                allowed = {"/v1/embeddings": 400, "/mcp": 406}.get(path, 200)  # the caller may, but asks for nothing
                assert status in (200, 204, 404, allowed), (path, scope)


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("localhost:1", True),
        ("127.0.0.1", True),
        ("[::1]:8080", True),
        ("192.168.1.9:8080", True),
        ("photos.example.org:443", True),
        ("evil.example.org", False),
        ("localhost.evil.example.org:8080", False),
        ("127.0.0.1.evil.example.org", False),
        ("[evil]", False),
        ("", False),
    ],
)
def test_other_hosts_are_refused(served: Served, host: str, is_known: bool) -> None:
    answer = call(served.http, LIST, {}, host=host, **ADMIN)
    assert answer.status == (200 if is_known else 403)
    assert is_known or answer.name == "host"


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [("http://{}", True), ("http://evil.example.org", False), ("null", False), ("https://x", False)],
)
def test_pages_of_other_sites_are_refused(served: Served, origin: str, is_own: bool) -> None:
    answer = call(served.http, LIST, {}, origin=origin.format(served.http), **ADMIN)
    assert answer.status == (200 if is_own else 403)
    assert "access-control-allow-origin" not in answer.headers
    assert is_own or answer.name == "origin"


def test_named_origins_may_call(tiny_bundle: Path, tmp_path: Path) -> None:
    site = "https://photos.example.org"
    args = ("--model", str(tiny_bundle), "--http", "127.0.0.1:0", "--http-origin", site)
    with serving(tmp_path, *args) as served:
        answer = call(served.http, LIST, {}, origin=site)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, site)
        asked = {"access_control_request_method": "POST", "access_control_request_headers": "content-type"}
        assert ask(served.http, f"/fc7.v1.{LIST}", method="OPTIONS", origin=site, **asked).status == 200
        assert call(served.http, LIST, {}, origin="https://other.example.org").status == 403


def test_every_answer_has_the_headers_of_a_careful_server(served: Served) -> None:
    for path in ("/", "/session", "/nothing", "/page/none.js", f"/fc7.v1.{LIST}"):
        headers = ask(served.http, path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_a_session_stands_for_the_token_that_was_typed_in(served: Served) -> None:
    assert ask(served.http, "/session").json == {"needsToken": True, "scope": ""}
    assert ask(served.http, "/session", b'{"token": "wrong"}', content_type=JSON).status == 401
    begun = ask(served.http, "/session", b'{"token": "write-word"}', content_type=JSON)
    assert begun.status == 204
    cookie, *flags = begun.headers["set-cookie"].split("; ")
    assert {flag.lower() for flag in flags} >= {"httponly", "samesite=strict", "path=/"}
    assert "write-word" not in cookie
    assert ask(served.http, "/session", cookie=cookie).json == {"needsToken": True, "scope": "write"}
    assert call(served.http, LIST, {}, cookie=cookie).status == 200
    assert call(served.http, "AdminService/GetServerInfo", {}, cookie=cookie).status == 403
    assert call(served.http, LIST, {}, cookie=cookie, origin="http://evil.example.org").status == 403
    assert ask(served.http, "/session", method="DELETE", cookie=cookie).status == 204
    assert call(served.http, LIST, {}, cookie=cookie).status == 401


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": 7}', b"{}"])
def test_a_session_needs_a_token(served: Served, body: bytes) -> None:
    answer = ask(served.http, "/session", body, content_type=JSON)
    assert (answer.status, answer.json["code"]) == (400, "invalid_argument")
    assert ask(served.http, "/session", b" " * 5000, content_type=JSON).status == 429


def test_a_picture_comes_small_and_whole(served: Served, world: Path) -> None:
    small = picture(served, "shown/inner/b.jpg")
    assert (small.status, small.headers["content-type"]) == (200, "image/webp")
    with Image.open(io.BytesIO(small.body)) as image:
        assert image.size == (256, 171)
    whole = picture(served, "shown/inner/b.jpg", "full")
    assert whole.body == (world / "shown/inner/b.jpg").read_bytes()
    assert whole.headers["content-type"] == "image/jpeg"
    assert picture(served, "shown/inner/b.jpg", if_none_match=small.headers["etag"]).status == 304
    assert picture(served, "shown/a.jpg", "65").name == "size"


@pytest.mark.parametrize("size", ["256", "full"])
@pytest.mark.parametrize(
    "item",
    ["other/c.jpg", "shown/link.jpg", "shown/gone.jpg", "shown/changed.jpg", "id.txt", "outside", "up", "text", "no"],
)
def test_no_other_file_is_shown(served: Served, item: str, size: str) -> None:
    answer = picture(served, item, size)
    assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_a_device_or_a_folder_is_no_picture(served: Served, world: Path) -> None:
    os.mkfifo(world / "shown" / "pipe")
    with fc7.connect(served.address, token_file=world / "mine") as client:
        payloads = [{"path": str(world / "shown" / name)} for name in ("pipe", "inner")]
        client.collection("c").add([jpeg(5), jpeg(6)], ids=["pipe", "folder"], payloads=payloads)
    assert [picture(served, item).status for item in ("pipe", "folder")] == [404, 404]


def test_who_may_only_read_sees_no_path(served: Served, world: Path) -> None:
    query = {"collection": "c", "k": 20, "queries": [{"id": "shown/a.jpg"}]}
    for method, values in (
        ("CollectionService/QueryItems", query),
        ("CollectionService/ListItems", {"collection": "c"}),
        ("CollectionService/GetItems", {"collection": "c", "ids": ["shown/a.jpg"]}),
        ("CollectionService/ListCollections", {}),
        ("CollectionService/GetItems", {"collection": "none"}),
    ):
        seen = {scope: call(served.http, method, values, authorization=f"Bearer {scope}-word") for scope in SCOPES}
        assert str(world) not in seen["read"].body.decode()
        assert (str(world) in seen["write"].body.decode()) == ("Items" in method and "none" not in values.values())
    assert str(world) not in ask(served.http, "/collections/c", authorization="Bearer read-word").body.decode()
    assert str(world) not in ask(served.http, "/pictures/c?id=id.txt", authorization="Bearer read-word").body.decode()
    hits = call(served.http, "CollectionService/QueryItems", query, authorization="Bearer read-word").json
    assert {"path": "b.jpg"} in [json.loads(hit["payloadJson"]) for hit in hits["results"][0]["hits"]]


def test_a_connection_that_asks_nothing_is_closed(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fc7_service.local import attach_or_start

    monkeypatch.setattr(web_server, "_HEAD_S", 0.05)
    settings = Settings(data=tmp_path, listen=None, http="127.0.0.1:0", models=(str(tiny_bundle),))
    running = attach_or_start(settings, lambda *_: True)
    try:
        address = running.holder.http.rpartition("/")[2].split(":")
        for sent in (b"", b"GET / HTTP/1.1\r\nHost:", b"GET /session HTTP/1.1\r\nHost: localhost\r\n\r\nGET /"):
            with socket.create_connection((address[0], int(address[1])), WAIT_S) as connection:
                connection.sendall(sent)
                assert connection.makefile("rb").read().count(b"HTTP/1.1") == sent.count(b"\r\n\r\n")
    finally:
        running.stop()


def test_what_no_call_logs_is_logged(served: Served) -> None:
    ask(served.http, "/nothing-to-see")
    rows: list[dict[str, Any]] = []
    while not rows:
        rows = [row for row in map(json.loads, list(served.log)) if row.get("method") == "GET /nothing-to-see"]
    assert rows[0]["status"] == 404


def test_settings_of_the_door_are_checked(tmp_path: Path) -> None:
    with pytest.raises(fc7.InvalidArgument, match="reachable from other machines"):
        Settings(data=tmp_path, http="0.0.0.0:8080").check()
    with pytest.raises(fc7.InvalidArgument, match="must be a scheme and a host"):
        Settings(data=tmp_path, http_origins=("photos.example.org",)).check()
    with pytest.raises(fc7.NotFound, match="does not exist"):
        Settings(data=tmp_path, pictures=(tmp_path / "none",)).check()
