"""Every error of the family comes back as itself; every other status as the nearest one, in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from client_fakes import Awaited, Fake, Features, aio_server, retry_quickly
from google.rpc import status_pb2

import fc7
from fc7._operations.conversion import read_tensor
from fc7.errors import FAMILY, Fc7Error, ResourceExhausted
from fc7.grpc_errors import read_item_error, read_rpc_error
from fc7.v1 import common_pb2
from fc7_service.rpc.interceptor import Interceptor
from fc7_service.rpc.messages import write_error
from fc7_service.tokens import Tokens


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    retry_quickly(monkeypatch)


class Raising(Features):
    """Answers with an error of the family, as the service's own code does."""

    error: Exception

    async def Extract(self, request: Any, context: Any) -> Any:
        raise self.error

    async def StreamExtract(self, requests: Any, context: Any) -> Any:
        raise self.error
        yield


@pytest.fixture(scope="module")
def raising() -> Iterator[tuple[Raising, str]]:
    servicer = Raising()
    with aio_server(Interceptor(Tokens({}), None), servicer) as address:
        yield servicer, address


@pytest.mark.parametrize("connect", [fc7.connect, Awaited.connect], ids=["sync", "async"])
@pytest.mark.parametrize("kind", FAMILY)
def test_every_class_comes_back(raising: tuple[Raising, str], kind: type[Fc7Error], connect: Any) -> None:
    servicer, address = raising
    servicer.error = kind("what, värde, rule: next step", name="the name")
    if isinstance(servicer.error, ResourceExhausted):
        servicer.error.retry_after_s = 1000.25  # longer than a call waits
    with connect(address) as client, pytest.raises(Fc7Error) as caught:
        client.extract(b"image")
    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.name) == ("what, värde, rule: next step", "the name")
    assert getattr(caught.value, "retry_after_s", None) == getattr(servicer.error, "retry_after_s", None)


@pytest.mark.parametrize("connect", [fc7.connect, Awaited.connect], ids=["sync", "async"])
def test_a_stream_that_is_refused_says_why(raising: tuple[Raising, str], connect: Any) -> None:
    servicer, address = raising
    servicer.error = fc7.NotFound("no such layer", name="fc99")
    with connect(address) as client:
        for _ in range(25):  # while requests are being sent: what is lost, is lost by chance
            with pytest.raises(fc7.NotFound, match="no such layer"):
                list(client.extract_stream([b"image"] * 50))


@pytest.mark.parametrize("kind", FAMILY)
def test_every_class_comes_back_as_an_items_error(kind: type[Fc7Error]) -> None:
    error = read_item_error(write_error(kind("text", name="item")))
    assert type(error) is kind
    assert (error.message, error.name) == ("text", "item")


def test_an_unforeseen_exception_is_an_internal_error_with_its_incident(raising: tuple[Raising, str]) -> None:
    servicer, address = raising
    servicer.error = ZeroDivisionError("secret")
    with fc7.connect(address) as client, pytest.raises(Fc7Error, match="incident") as caught:
        client.extract(b"image")
    assert type(caught.value) is Fc7Error
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.OUT_OF_RANGE, fc7.InvalidArgument),
        (grpc.StatusCode.UNIMPLEMENTED, fc7.FailedPrecondition),
        (grpc.StatusCode.CANCELLED, fc7.Unavailable),
        (grpc.StatusCode.UNKNOWN, fc7.Fc7Error),
        (grpc.StatusCode.INTERNAL, fc7.Fc7Error),
        (grpc.StatusCode.DATA_LOSS, fc7.DataLoss),
        (grpc.StatusCode.INVALID_ARGUMENT, fc7.InvalidArgument),
        (grpc.StatusCode.PERMISSION_DENIED, fc7.PermissionDenied),
    ],
)
def test_a_bare_status_becomes_the_nearest_class(code: grpc.StatusCode, kind: type[Fc7Error]) -> None:
    with Fake() as fake, fc7.connect(fake.address) as client:
        fake.features.on_extract = lambda request, context: context.abort(code, "")
        with pytest.raises(Fc7Error) as caught:
            client.extract(b"image")
    assert type(caught.value) is kind
    assert fake.address in caught.value.message


class _Failed:
    """A failed call, as gRPC hands it to the client."""

    def __init__(self, code: str, text: str, details: bytes = b"") -> None:
        self._code, self._text, self._details = code, text, details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode[self._code]

    def details(self) -> str:
        return self._text

    def trailing_metadata(self) -> Any:
        return (("grpc-status-details-bin", self._details), ("x-request-id", "id-1"))


@pytest.mark.parametrize("details", [b"\xff\xff garbage", status_pb2.Status(code=5, message="m").SerializeToString()])
def test_details_of_somebody_else_leave_code_and_text(details: bytes) -> None:
    error = read_rpc_error(_Failed("NOT_FOUND", "no such thing", details), "host:1")
    assert (type(error), error.message, error.request_id) == (fc7.NotFound, "no such thing", "id-1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: connect: "
            "Connection refused (111)",
            "no server at gpu-box:50051",
        ),
        ("DNS resolution failed for gpu-box:50051: C-ares status is not ARES_SUCCESS", "host name is unknown"),
        (
            "failed to connect to all addresses; last error: UNKNOWN: Ssl handshake failed: SSL_ERROR_SSL: "
            "error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED",
            "tls_ca",
        ),
        ("Socket closed", "without an answer"),
        (
            "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:42711: Socket closed",
            "If it uses TLS",
        ),
        (
            "errors resolving gpu-box:50051: [field:hostname lookup error:address lookup failed for gpu-box:50051: "
            "Domain name not found]",
            "host name is unknown",
        ),
    ],
)
def test_unavailable_is_told_in_words(text: str, expected: str) -> None:
    error = read_rpc_error(_Failed("UNAVAILABLE", text), "gpu-box:50051")
    assert isinstance(error, fc7.Unavailable)
    assert expected in error.message


@pytest.mark.parametrize("connect", [fc7.connect, Awaited.connect], ids=["sync", "async"])
def test_nobody_there(connect: Any) -> None:
    with Fake() as fake:
        address = fake.address
    with connect(address) as client:
        assert client.is_ready() is False
        with pytest.raises(fc7.Unavailable, match=rf"^there is no server at {address}\."):
            client.models()


@pytest.mark.parametrize("connect", [fc7.connect, Awaited.connect], ids=["sync", "async"])
def test_somebody_there(connect: Any) -> None:
    with Fake() as fake, connect(fake.address) as client:
        assert client.is_ready() is True


@pytest.mark.parametrize("connect", [fc7.connect, Awaited.connect], ids=["sync", "async"])
def test_what_a_newer_server_may_answer_is_said(connect: Any) -> None:
    with Fake() as fake, connect(fake.address) as client:
        collection = client.collection("c")
        fake.collections.metric, fake.collections.status = 99, 99
        with pytest.raises(fc7.FailedPrecondition, match="metric 99 of collection 'c', which this client does not"):
            client.collection("c")
        (added,) = collection.add(b"image", ids=["a"])
        assert added.status == "failed"
        assert "status 99" in str(added.error)
    with pytest.raises(fc7.FailedPrecondition, match="bfloat16"):
        read_tensor(common_pb2.Tensor(dtype="bfloat16", shape=[1], data=b"ab"))
