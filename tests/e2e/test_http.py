"""The HTTP door of a real server: every call answers as over gRPC, and refuses as over gRPC."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

import every_call
import fc7
from fc7_service.rpc.message_limits import MAX_FIELDS
from fc7_service.tokens import SCOPE_OF_CALL, SCOPES
from servers import WAIT_S, Served, jpeg, serving
from web import JSON, LINES, PROTO, Answer, ask, call

HTTP = ("--http", "127.0.0.1:0")
# Fields that differ from run to run.
OF_ONE_RUN = {"timing", "seconds", "created", "time", "uptime_s", "pid", "data", "read_s", "search_s", "load_s"}


@pytest.fixture(scope="module")
def served(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("http"), "--model", str(tiny_bundle), *HTTP) as server:
        yield server


def post(served: Served, method: MethodDescriptor, sent: list[Message], kind: str) -> Answer:
    write = {JSON: json_format.MessageToJson, LINES: lambda message: json_format.MessageToJson(message, indent=None)}
    body = b"\n".join(
        message.SerializeToString() if kind == PROTO else write[kind](message).encode() for message in sent
    )
    path = f"/{method.containing_service.full_name}/{method.name}"
    return ask(served.http, path, body, content_type=kind)


def read(method: MethodDescriptor, answer: Answer) -> list[Message]:
    kind = message_factory.GetMessageClass(method.output_type)
    assert answer.status == 200, answer.body
    if answer.headers["content-type"] == PROTO:
        return [kind.FromString(answer.body)]
    assert answer.headers["content-type"] == (LINES if method.server_streaming else JSON)
    return [json_format.Parse(line, kind()) for line in answer.body.splitlines()]


def clear(message: Message) -> Message:
    """Take out what no two runs have in common, and the last digits of numbers."""
    for field, value in message.ListFields():
        if field.name in OF_ONE_RUN:
            message.ClearField(field.name)
        elif isinstance(value, float):
            setattr(message, field.name, round(value, 4))
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for part in value if field.is_repeated else [value]:
                clear(part)
    return message


def test_every_call_answers_as_over_grpc(tmp_path: Path) -> None:
    model, methods = ("--model", "alexnet-64"), every_call.methods()  # which can explain its answers
    with serving(tmp_path / "web", *model, *HTTP) as web, serving(tmp_path / "grpc", *model) as other:
        with grpc.insecure_channel(other.address) as channel:
            for name, sent in every_call.requests().items():
                method = methods[name]
                answers = read(method, post(web, method, sent, LINES if method.client_streaming else JSON))
                expected = every_call.call(channel, method, sent, ())
                if name == "ExplainService.TopUnits":  # how often progress is told depends on the machine
                    answers, expected = answers[-1:], expected[-1:]
                assert [clear(one) for one in answers] == [clear(one) for one in expected], name


@pytest.mark.parametrize("name", ["ModelService.GetGolden", "FeatureService.Extract", "ModelService.GetModel"])
def test_the_binary_form_is_read_and_written(served: Served, name: str) -> None:
    method, sent = every_call.methods()[name], every_call.requests()[name]
    (binary,), (text,) = (read(method, post(served, method, sent, kind)) for kind in (PROTO, JSON))
    assert clear(binary) == clear(text)


def test_the_progress_of_a_training_comes_line_by_line(served: Served) -> None:
    """The second line is sent only after the answer to the first one came."""
    pictures = [{"encoded": base64.b64encode(jpeg(seed)).decode()} for seed in range(8)]
    images = {"images": {"images": pictures, "labels": ["light", "dark"] * 4}}
    has_progress = threading.Event()

    def lines() -> Iterator[bytes]:
        yield json.dumps({"plan": {"name": "lines", "layer": "fc7"}}).encode() + b"\n"
        yield json.dumps(images).encode() + b"\n"
        assert has_progress.wait(WAIT_S)

    with socket.create_connection(served.http.split(":"), WAIT_S) as connection:  # type: ignore[arg-type]
        head = f"POST /fc7.v1.HeadService/TrainHead HTTP/1.1\r\nHost: {served.http}\r\nContent-Type: {LINES}\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode())
        reader = connection.makefile("rb")
        for line in lines():
            connection.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            if b"images" in line:
                while b'"extracted":"8"' not in reader.readline():
                    pass
                has_progress.set()
        connection.sendall(b"0\r\n\r\n")
        assert b'{"head":{"name":"lines"' in reader.read()


def test_a_stream_that_fails_ends_with_its_error(served: Served) -> None:
    answer = ask(served.http, "/fc7.v1.HeadService/TrainHead", b'{"plan": {"name": "empty"}}', content_type=LINES)
    assert answer.status == 200
    last = json.loads(answer.body.splitlines()[-1])
    assert last["code"] == "invalid_argument"
    assert last["details"][0]["debug"]["reason"] == "TOO_FEW_IMAGES"
    refused = ask(served.http, "/fc7.v1.HeadService/TrainHead", b'{"images": {}}', content_type=LINES)
    assert (refused.status, refused.name) == (400, "plan")


QUERY = "CollectionService/QueryItems"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"kk": 1}, "kk"),
        ({"queries": [{"id": "a"}, {"image": {"encoded": "!!!"}}]}, "queries[1].image.encoded"),
        ({"queries": [{"image": {"encoded": "abcde"}}]}, "queries[0].image.encoded"),
        ({"queries": [{"image": {"pixels": {"shape": [1, "x"]}}}]}, "queries[0].image.pixels.shape[1]"),
        ({"queries": [{"image": {}, "id": "a"}]}, "queries[0].id"),
        ({"queries": {"id": "a"}}, "queries"),
        ({"queries": [None]}, "queries[0]"),
        ({"k": "many"}, "k"),
        ({"k": 2**40}, "k"),
        ({"k": True}, "k"),
        ({"collection": 7}, "collection"),
        ({"filterJson": "", "filter_json": ""}, "filter_json"),
        ({"collection": "\ud800"}, "collection"),
    ],
)
def test_a_wrong_field_is_named(served: Served, values: dict[str, Any], name: str) -> None:
    answer = call(served.http, QUERY, values)
    assert (answer.status, answer.json["code"], answer.name) == (400, "invalid_argument", name)
    assert name in answer.json["message"] or name == "filter_json"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "JSON object"),
        (b'{"k": NaN}', "NaN"),
        (b'{"k": 1, "k": 2}', "'k' occurs twice"),
        (b"\xff", "not JSON"),
        (b"[" * 10_000, "nested"),
        (b'{"queries": [' + b"{}," * MAX_FIELDS + b"{}]}", "more than"),
        (b'{"collection": "' + b",[{" * MAX_FIELDS + b'"}', "k must be at least 1|collection"),
    ],
)
def test_a_body_that_is_no_message_is_refused(served: Served, body: bytes, said: str) -> None:
    answer = ask(served.http, f"/fc7.v1.{QUERY}", body, content_type=JSON)
    assert (answer.status, answer.json["code"]) == (400, "invalid_argument")
    assert any(part in answer.json["message"] for part in said.split("|"))


@pytest.mark.parametrize(
    ("path", "options", "status", "code", "name"),
    [
        (QUERY, {"method": "GET"}, 405, "invalid_argument", "method"),
        (QUERY, {"content_type": "text/plain"}, 415, "invalid_argument", "content-type"),
        (QUERY, {"content_type": LINES}, 415, "invalid_argument", "content-type"),
        ("HeadService/TrainHead", {"content_type": JSON}, 415, "invalid_argument", "content-type"),
        (QUERY, {"content_type": JSON, "content_encoding": "gzip"}, 415, "invalid_argument", "content-encoding"),
        (QUERY, {"content_type": JSON, "connect_timeout_ms": "soon"}, 400, "invalid_argument", "connect-timeout-ms"),
        (QUERY, {"content_type": JSON, "fc7_class": "urgent"}, 400, "invalid_argument", "fc7-class"),
        ("CollectionService/Sing", {"content_type": JSON}, 501, "unimplemented", ""),
    ],
)
def test_a_wrong_request_gets_its_code(
    served: Served, path: str, options: dict[str, str], status: int, code: str, name: str
) -> None:
    answer = ask(served.http, f"/fc7.v1.{path}", b"{}", **options)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert not name or answer.name == name
    assert answer.headers["content-type"] == JSON


def test_errors_have_the_details_of_grpc(served: Served) -> None:
    answer = call(served.http, "CollectionService/GetCollection", {"name": "none"}, x_request_id="mine")
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    with fc7.connect(served.address) as client, pytest.raises(fc7.NotFound) as caught:
        client.collection("none").info()
    assert answer.json["message"] == caught.value.message
    assert (answer.reason, answer.name) == ("COLLECTION_NOT_FOUND", "none")
    assert answer.headers["x-request-id"] == "mine"


def test_a_body_over_the_limit_is_refused(served: Served) -> None:
    answer = ask(served.http, f"/fc7.v1.{QUERY}", b" " * (64 * 2**20 + 1), content_type=JSON)
    assert (answer.status, answer.json["code"], answer.name) == (429, "resource_exhausted", "body")


def test_a_call_ends_at_its_deadline_and_with_its_caller(served: Served) -> None:
    """A body that never ends is dropped at the deadline; a caller who leaves is logged as in gRPC."""
    path, head = "/fc7.v1.FeatureService/Extract", "Content-Type: application/json\r\nContent-Length: 9"
    for words, code in (("Connect-Timeout-Ms: 50\r\n", "DEADLINE_EXCEEDED"), ("", "CANCELLED")):
        sent_id = f"left-{code}"
        with socket.create_connection(served.http.split(":"), WAIT_S) as connection:  # type: ignore[arg-type]
            named = f"Host: {served.http}\r\nx-request-id: {sent_id}\r\n{words}"
            connection.sendall(f"POST {path} HTTP/1.1\r\n{named}{head}\r\n\r\n{{".encode())
            if words:
                assert connection.recv(4096).startswith(b"HTTP/1.1 504")
        assert wait_for_line(served, sent_id)["code"] == code


def wait_for_line(served: Served, request_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_S
    while not (found := [row for row in map(json.loads, list(served.log)) if row.get("request_id") == request_id]):
        assert time.monotonic() < deadline, "no line in the log"
        time.sleep(0.02)
    return dict(found[0])


def test_a_picture_is_sent_as_it_is(served: Served) -> None:
    """The same picture as JSON, as a body and in a form: one answer."""
    picture = jpeg(3)
    call(served.http, "CollectionService/CreateCollection", {"name": "pictures", "layer": "fc7"})
    path, form = (
        "/fc7.v1.CollectionService/UpsertItems?collection=pictures",
        'form-data; name="image"; filename="p.jpg"',
    )
    body = f"--x\r\nContent-Disposition: {form}\r\n\r\n".encode() + picture + b"\r\n--x--\r\n"
    added = ask(served.http, path, body, content_type="multipart/form-data; boundary=x").json
    assert [(one["id"], one["status"]) for one in added["results"]] == [("p.jpg", "UPSERT_STATUS_ADDED")]
    queries = [{"image": {"encoded": base64.b64encode(picture).decode()}}]
    as_json = call(served.http, QUERY, {"collection": "pictures", "k": 5, "queries": queries}).json
    path = f"/fc7.v1.{QUERY}?collection=pictures&k=5"
    as_body = ask(served.http, path, picture, content_type="image/jpeg").json
    assert as_body["results"] == as_json["results"]
    assert [hit["id"] for hit in as_body["results"][0]["hits"]] == ["p.jpg"]
    path = "/fc7.v1.CollectionService/CountItems?collection=pictures"
    assert ask(served.http, path, b"{}", content_type=JSON).name == "collection"


def test_a_running_call_ends_before_the_server_does(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tmp_path, "--model", str(tiny_bundle), *HTTP) as served:
        with socket.create_connection(served.http.split(":"), WAIT_S) as connection:  # type: ignore[arg-type]
            named = f"Host: {served.http}\r\nx-request-id: last\r\n"
            head = f"POST /fc7.v1.ModelService/ListModels HTTP/1.1\r\n{named}Content-Type: {JSON}\r\nContent-Length: 2"
            connection.sendall(f"{head}\r\n\r\n{{".encode())
            ask(served.http, "/fc7.v1.ModelService/ListModels", b"{}", content_type=JSON)  # the first one has begun
            served.process.terminate()
            connection.sendall(b"}")
            assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200")
        assert served.process.wait(WAIT_S) == 0


def test_a_token_opens_what_its_scope_opens(tiny_bundle: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"{scope} {scope}-word\n" for scope in SCOPES))
    ranks = list(SCOPES)
    with serving(tmp_path / "data", "--model", str(tiny_bundle), "--token-file", str(tokens), *HTTP) as served:
        for name in every_call.methods():
            path = f"/fc7.v1.{name.replace('.', '/')}"
            for scope in ("", "wrong", *SCOPES):
                sent = {"authorization": f"Bearer {scope}-word"} if scope else {}
                status = ask(served.http, path, b"nonsense", content_type="text/plain", **sent).status
                if scope not in SCOPES:
                    assert status == 401, (name, scope)
                elif ranks.index(scope) < ranks.index(SCOPE_OF_CALL[path]):
                    assert status == 403, (name, scope)
                else:
                    assert status == 415, (name, scope)
        answer = ask(served.http, "/fc7.v1.Nothing/Nothing", b"", content_type=JSON)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_an_address_that_is_taken_is_named(served: Served, tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=f"cannot serve HTTP on {served.http}"):
        with serving(tmp_path, "--model", str(tiny_bundle), "--http", served.http):
            pass
