"""`fc7 serve` as a process: start, second start, tokens, TLS, drain, log, reflection."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import fc7
from fc7.endpoint import _OPTIONS as CLIENT_OPTIONS
from fc7_service import server
from fc7_service.data_folder import DataFolder
from fc7_service.resource_limits import server_options
from fc7_service.settings import Settings
from servers import WAIT_S, clean_environment, jpeg, serve_command, serving

TOKENS = {"read": "r" * 24, "write": "w" * 24, "admin": "a" * 24}


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=WAIT_S)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_it_is_warm_when_it_says_so_and_ends_with_0(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--model", str(tiny_bundle)) as served:
        with fc7.connect(served.address) as client:
            assert client.is_ready()
            assert client.models()[0].provider == "CPUExecutionProvider"
            info = client.server_info()
            assert info.pid == served.process.pid
        assert served.stop() == 0
        with fc7.connect(served.address) as client:
            assert not client.is_ready()
            with pytest.raises(fc7.Unavailable, match=served.address):
                client.models()


def test_a_second_server_on_a_folder_or_a_port_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    model = ("--model", str(tiny_bundle))
    with serving(tmp_path / "data", *model) as served:
        second = run(serve_command(tmp_path / "data", *model))
        assert second.returncode == 4
        assert str(served.process.pid) in second.stderr
        assert served.address in second.stderr
        other = run(serve_command(tmp_path / "other", *model, "--listen", served.address))
        assert other.returncode == 4
        assert served.address in other.stderr
        assert "in use" in other.stderr
        with fc7.connect(served.address) as client:
            assert client.is_ready()


def test_two_shells_share_a_folder_and_a_killed_holder_leaves_no_lock(tiny_bundle: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, "--model", str(tiny_bundle)) as served:
        with fc7.connect(data=data) as client:  # attaches: its own server would ship other models
            assert client.server_info().pid == served.process.pid
            client.create_collection("c").add([jpeg(1)], ids=["one"])
            served.process.kill()
            served.process.wait(20)
            with pytest.raises(fc7.Fc7Error):
                client.extract(jpeg(1), model="tiny")  # its own server, started now, has no model "tiny"
            assert client.collection("c").count == 1


def test_addresses_beyond_loopback_need_tokens_and_tls(tmp_path: Path) -> None:
    result = run(serve_command(tmp_path / "data", "--listen", "0.0.0.0:0"))
    assert result.returncode == 2
    assert "--insecure" in result.stderr


@pytest.fixture
def token_files(tmp_path: Path) -> dict[str, Path]:
    """One file a scope for the client; `server` for the server."""
    files = {}
    for scope, token in TOKENS.items():
        files[scope] = tmp_path / f"{scope}.token"
        files[scope].write_text(token + "\n")
    files["server"] = tmp_path / "tokens"
    files["server"].write_text("# scopes\n" + "".join(f"{scope} {token}\n" for scope, token in TOKENS.items()))
    return files


def test_no_call_but_health_passes_without_a_token_and_read_cannot_write(
    tiny_bundle: Path, tmp_path: Path, token_files: dict[str, Path]
) -> None:
    with serving(tmp_path / "data", "--model", str(tiny_bundle), "--token-file", str(token_files["server"])) as served:
        with fc7.connect(served.address) as nobody:
            assert nobody.is_ready()
            attempts: list[Callable[[], object]] = [
                nobody.models, nobody.collections, nobody.heads, nobody.server_info,
                lambda: nobody.extract(jpeg(1)), lambda: nobody.classify(jpeg(1)),
                lambda: nobody.create_collection("c"), lambda: list(nobody.extract_stream([jpeg(1)])),
                lambda: nobody.train_head("h", images=[jpeg(1)], labels=["a"]),
            ]  # fmt: skip
            for attempt in attempts:
                with pytest.raises(fc7.Unauthenticated):
                    attempt()
        wrong = tmp_path / "wrong.token"
        wrong.write_text("x" * 24)
        with fc7.connect(served.address, token_file=wrong) as stranger, pytest.raises(fc7.Unauthenticated):
            stranger.models()
        with fc7.connect(served.address, token_file=token_files["write"]) as writer:
            writer.create_collection("c").add([jpeg(1)], ids=["one"])
            with pytest.raises(fc7.PermissionDenied, match="admin"):
                writer.server_info()
        with fc7.connect(served.address, token_file=token_files["read"]) as reader:
            assert [h.id for h in reader.collection("c").search(jpeg(1), k=1)] == ["one"]
            forbidden: list[Callable[[], object]] = [
                lambda: reader.create_collection("d"), lambda: reader.delete_collection("c"),
                lambda: reader.collection("c").add([jpeg(2)], ids=["two"]),
                lambda: reader.collection("c").remove(["one"]),
                lambda: reader.train_head("h", collection="c"), lambda: reader.publish_head("h"),
                lambda: reader.delete_head("h"),
            ]  # fmt: skip
            for attempt in forbidden:
                with pytest.raises(fc7.PermissionDenied, match="write"):
                    attempt()
            assert reader.collection("c").count == 1
        with fc7.connect(served.address, token_file=token_files["admin"]) as admin:
            assert admin.server_info().version
        with grpc.insecure_channel(served.address) as channel:  # also methods that do not exist, and reflection
            for method in ("/fc7.v1.FeatureService/Nope", "/grpc.reflection.v1alpha.ServerReflection/X"):
                with pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary(method)(b"", timeout=WAIT_S)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            reader_metadata = (("authorization", f"Bearer {TOKENS['read']}"),)
            with pytest.raises(grpc.RpcError) as caught:  # so that a client that tries a newer method falls back
                channel.unary_unary("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")(
                    b"", timeout=WAIT_S, metadata=reader_metadata
                )
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with fc7.connect(data=tmp_path / "data") as local:  # the private socket is this user's alone
            assert local.collection("c").count == 1
    assert not any(token in line for line in served.log for token in TOKENS.values())


def test_tls(tiny_bundle: Path, tmp_path: Path, token_files: dict[str, Path]) -> None:
    openssl = shutil.which("openssl")
    assert openssl is not None, "openssl is needed to make a certificate"
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    pair = ("--tls-cert", str(certificate), "--tls-key", str(key), "--token-file", str(token_files["server"]))
    with serving(tmp_path / "data", "--model", str(tiny_bundle), "--listen", "0.0.0.0:0", *pair) as served:
        address = f"127.0.0.1:{served.address.rpartition(':')[2]}"
        with fc7.connect(address, tls_ca=certificate, token_file=token_files["read"]) as client:
            assert client.extract(jpeg(1)).values.shape == (1, 8)
        with fc7.connect(address, token_file=token_files["read"]) as plain, pytest.raises(fc7.Unavailable):
            plain.models()
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    broken = run(
        serve_command(tmp_path / "d2", "--model", str(tiny_bundle), "--tls-cert", str(junk), "--tls-key", str(key))
    )
    assert broken.returncode == 4
    assert "certificate" in broken.stderr


def test_sigterm_lets_calls_under_way_end(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--model", str(tiny_bundle)) as served, fc7.connect(served.address) as client:
        started, sent = threading.Event(), threading.Event()
        outcome: list[object] = []

        def images():  # type: ignore[no-untyped-def]
            yield jpeg(1)
            started.set()
            assert sent.wait(20)
            yield jpeg(2)

        def call() -> None:
            outcome.extend(client.extract_stream(images()))

        thread = threading.Thread(target=call)
        thread.start()
        assert started.wait(20)
        wait_for(lambda: len(outcome) == 1)
        served.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not client.is_ready())
        sent.set()
        thread.join(20)
        assert [getattr(o, "shape", o) for o in outcome] == [(8,), (8,)]
        assert served.process.wait(30) == 0


def test_the_log_is_one_json_line_a_request_without_picture_bytes(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--model", str(tiny_bundle)) as served:
        with fc7.connect(served.address) as client:
            client.extract([jpeg(1), jpeg(2)])
            with pytest.raises(fc7.InvalidArgument):
                client.collection("no\n\x1b[31mpe")
        wait_for(lambda: len(served.log) >= 2)
        assert served.stop() == 0
    rows = [json.loads(line) for line in served.log]
    first = next(r for r in rows if r["method"].endswith("/Extract"))
    assert first["code"] == "OK"
    assert first["items"] == 2
    assert first["ms"] > 0
    assert any(r["code"] == "INVALID_ARGUMENT" for r in rows)
    assert all(len(line) < 1000 for line in served.log)


def test_every_call_has_an_id_in_the_log_and_for_its_caller(tiny_bundle: Path, tmp_path: Path) -> None:
    def ask(sent: str) -> str:
        call = channel.unary_unary("/grpc.health.v1.Health/Check").with_call
        _, done = call(b"", timeout=WAIT_S, metadata=(("x-request-id", sent),) if sent else ())
        return dict(done.trailing_metadata())["x-request-id"]

    with serving(tmp_path / "data", "--model", str(tiny_bundle)) as served:
        with grpc.insecure_channel(served.address) as channel:
            chosen, made = ask("my-call:1"), [ask(""), ask(""), ask("x" * 65), ask('" bad')]
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/fc7.v1.Nope/Nope")(b"", timeout=WAIT_S, metadata=(("x-request-id", "lost"),))
            assert ("x-request-id", "lost") in caught.value.trailing_metadata()
        with fc7.connect(served.address) as client, pytest.raises(fc7.NotFound) as refused:
            client.collection("missing")
        assert served.stop() == 0
    assert chosen == "my-call:1"
    assert len(set(made)) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in [*made, refused.value.request_id])
    rows = {row["request_id"]: row for row in map(json.loads, served.log)}
    assert {chosen, *made, "lost", refused.value.request_id} == rows.keys()
    assert rows[refused.value.request_id]["reason"] == refused.value.reason


def test_reflection_describes_the_contract(tiny_bundle: Path, tmp_path: Path) -> None:
    """What grpcurl does: list the services, then build a request from what the server says of itself."""
    with serving(tmp_path / "data", "--model", str(tiny_bundle)) as served:
        with grpc.insecure_channel(served.address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            assert {f"fc7.v1.{n}Service" for n in ("Feature", "Model", "Collection", "Head", "Admin")} <= set(
                database.get_services()
            )
            service = DescriptorPool(database).FindServiceByName("fc7.v1.FeatureService")
            assert {m.name for m in service.methods} == {"Extract", "StreamExtract"}


def test_a_port_that_is_taken_by_another_program(tiny_bundle: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run(serve_command(tmp_path / "data", "--model", str(tiny_bundle), "--listen", address))
    assert result.returncode == 4
    assert "in use" in result.stderr


async def test_a_slow_call_survives_keepalive(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that pings more often than gRPC's default of five minutes is not cut off: here 20 times as fast."""
    pings = "grpc.http2.min_ping_interval_without_data_ms"
    options = dict(server_options(100))
    assert options[pings] < dict(CLIENT_OPTIONS)["grpc.keepalive_time_ms"]
    faster = tuple((options | {pings: options[pings] // 20}).items())
    monkeypatch.setattr("fc7_service.listener.server_options", lambda n_connections: faster)
    folder = DataFolder(tmp_path / "data")
    served = server.Server(Settings(tmp_path / "data", listen=None, models=(str(tiny_bundle),)), folder)
    holder = await served.start()
    pinging = (("grpc.keepalive_time_ms", 1000), ("grpc.http2.max_pings_without_data", 0))
    metadata = (("authorization", f"Bearer {holder.token}"),)
    async with grpc.aio.insecure_channel(holder.address, pinging) as channel:
        stream = channel.stream_stream("/fc7.v1.FeatureService/StreamExtract")(timeout=WAIT_S, metadata=metadata)
        with pytest.raises(TimeoutError):  # nothing happens for as long as five pings take
            await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(stream.read())), 7)
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK
    await served.stop()
    folder.release()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_a_server_runs_on_uvloop_and_an_embedded_one_leaves_the_callers_process_alone(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with serving(tmp_path / "served", "--model", str(tiny_bundle)) as served:
        assert "uvloop" in Path(f"/proc/{served.process.pid}/maps").read_text()
    code = f"import fc7, sys\nwith fc7.connect(data={str(tmp_path / 'own')!r}, models=[{str(tiny_bundle)!r}]):\n"
    code += "    assert 'uvloop' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=WAIT_S)
