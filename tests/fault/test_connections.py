"""What is not gRPC, connections that grow old, certificates that are refused, and bundles with impossible names."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

import fc7
from fc7_service import resource_limits
from fc7_service.certificates import Certificates
from servers import WAIT_S, Served, jpeg, serving

TLS_HELLO = bytes.fromhex("16030100050100000100")
NOT_GRPC = {
    "noise": bytes(range(256)) * 8,
    "http/1.1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": TLS_HELLO,
    "half a preface": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
}


@pytest.fixture(scope="module")
def served(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("data"), "--model", str(tiny_bundle)) as served:
        yield served


@pytest.mark.parametrize("words", NOT_GRPC.values(), ids=NOT_GRPC)
def test_what_is_not_grpc_is_closed_and_harms_no_other(served: Served, words: bytes) -> None:
    host, port = served.address.split(":")
    with fc7.connect(served.address) as client:
        for _ in range(20):
            with socket.create_connection((host, int(port)), WAIT_S) as raw:
                raw.sendall(words)
                while raw.recv(4096):  # closed by the server; a reset counts as well
                    pass
        assert client.extract(jpeg(0)).values.shape == (1, 8)


def test_metadata_that_are_too_large(served: Served) -> None:
    with grpc.insecure_channel(served.address) as channel:
        call = channel.unary_unary("/fc7.v1.ModelService/ListModels")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", metadata=(("x-large", "x" * 100_000),), timeout=WAIT_S)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "metadata" in caught.value.details()
        assert call(b"", timeout=WAIT_S)


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT, "bundle is empty"),
        ("../../etc", grpc.StatusCode.NOT_FOUND, "is neither a shipped bundle"),
        ("/dev/zero", grpc.StatusCode.NOT_FOUND, "is neither a shipped bundle"),
        ("a\0b", grpc.StatusCode.NOT_FOUND, "is neither a shipped bundle"),
        ("\x1b[31m\n{}", grpc.StatusCode.NOT_FOUND, r"'\x1b[31m\n{}'"),
        ("x" * 2**20, grpc.StatusCode.NOT_FOUND, "cannot be opened"),
        ("zfnet-64.int8.int8", grpc.StatusCode.NOT_FOUND, ""),
    ],
    ids=["empty", "above", "device", "nul", "control", "long", "twice int8"],
)
def test_bundles_with_names_that_none_has(served: Served, name: str, code: grpc.StatusCode, text: str) -> None:
    from fc7.v1 import model_pb2, model_pb2_grpc

    with grpc.insecure_channel(served.address) as channel:
        stub = model_pb2_grpc.ModelServiceStub(channel)
        for call in (
            lambda: stub.LoadModel(model_pb2.LoadModelRequest(bundle=name), timeout=WAIT_S),
            lambda: stub.ReloadModel(model_pb2.ReloadModelRequest(name="tiny", bundle=name or "none"), timeout=WAIT_S),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() in (code, grpc.StatusCode.NOT_FOUND)
            assert len(caught.value.details()) <= 1024
        for unknown in (name or "none", f"tiny:{name[:99] or '0'}", "tiny@0"):
            with pytest.raises(grpc.RpcError) as caught:
                stub.UnloadModel(model_pb2.UnloadModelRequest(name=unknown), timeout=WAIT_S)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError) as caught:
            stub.LoadModel(model_pb2.LoadModelRequest(bundle=name), timeout=WAIT_S)
        assert caught.value.code() is code
        assert text in caught.value.details()
        assert [model.name for model in stub.ListModels(model_pb2.ListModelsRequest()).models] == ["tiny"]


def test_calls_go_on_beyond_the_age_of_their_connection(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = resource_limits.server_options
    assert 600_000 <= dict(real(1))["grpc.max_connection_age_ms"] <= 7_200_000
    assert "grpc.max_connection_age_grace_ms" not in dict(real(1))  # as long as they need

    def short(n_connections: int) -> tuple[tuple[str, object], ...]:
        return tuple(dict(real(n_connections), **{"grpc.max_connection_age_ms": 200}).items())

    monkeypatch.setattr("fc7_service.listener.server_options", short)
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client:
        goes_on, n_calls = threading.Event(), 0

        def images() -> Iterator[bytes]:
            yield jpeg(0)
            goes_on.wait()
            yield jpeg(1)

        stream = client.extract_stream(images())
        next(stream)
        for _ in range(300):  # over several connections, each of which is told to go
            n_calls += len(client.models())
        goes_on.set()
        assert len(list(stream)) == 1
        assert n_calls == 300


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a certificate of it, one that has expired, and a stranger's authority."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(words: str) -> None:
        assert shutil.which("openssl"), "openssl is needed to make certificates"
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)

    new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for name in ("ca", "stranger"):
        openssl(f"req -x509 {new} -days 9 -subj /CN={name} -keyout {name}.key -out {name}.crt")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    openssl(f"req {new} -subj /CN=server -keyout tls.key -out tls.csr")
    for name, days in (("tls", 9), ("expired", -1)):
        openssl(f"x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days {days} -extfile names "
                f"-out {name}.crt")  # fmt: skip
    return folder


def test_certificates_that_are_refused(tiny_bundle: Path, tmp_path: Path, certificates: Path) -> None:
    ca = certificates / "ca.crt"
    for name in ("tls", "expired"):
        words = ("--tls-cert", str(certificates / f"{name}.crt"), "--tls-key", str(certificates / "tls.key"))
        with serving(tmp_path / name, "--model", str(tiny_bundle), *words) as served:
            address = served.address.replace("127.0.0.1", "localhost")
            for trusted in (None, certificates / "stranger.crt", *([ca] if name == "expired" else [])):
                with fc7.connect(address, tls_ca=trusted) as client, pytest.raises(fc7.Unavailable, match=r"TLS|tls"):
                    client.check_ready(timeout_s=WAIT_S)
            with socket.create_connection(("127.0.0.1", int(address.split(":")[1])), WAIT_S) as raw:
                raw.sendall(TLS_HELLO + b"noise")
                while raw.recv(4096):
                    pass
            if name == "tls":
                with fc7.connect(address, tls_ca=ca) as client:
                    assert client.models()
    assert Certificates(certificates / "expired.crt", certificates / "tls.key", None).expires.year >= 2026
