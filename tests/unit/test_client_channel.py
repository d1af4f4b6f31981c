"""The client's channel: retries that survive a killed server, token, TLS, proxy, addresses."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from client_fakes import Awaited, Fake, Features, aio_server, retry_quickly

import fc7
from fc7.endpoint import SENT_ONCE, read_endpoint
from fc7.v1 import MAX_MESSAGE_BYTES, admin_pb2, collection_pb2, explain_pb2, feature_pb2, head_pb2, model_pb2
from fc7_service.rpc.interceptor import Interceptor
from fc7_service.tokens import Tokens, read_tokens

PICTURE = bytes(range(256)) * (5 * 2**20 // 256)
CLIENTS = pytest.mark.parametrize("connect", [fc7.connect, Awaited.connect], ids=["sync", "async"])


def in_thread(call: Callable[[], Any]) -> Any:
    """Start ``call``; return its future."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    return future


@CLIENTS
def test_an_extract_survives_the_death_of_its_server(connect: Any) -> None:
    fake, is_there, is_dead = Fake(), threading.Event(), threading.Event()

    def hang(request: Any, context: Any) -> None:
        is_there.set()
        is_dead.wait(10)

    fake.features.on_extract = hang
    with connect(fake.address) as client:
        answer = in_thread(lambda: client.extract(PICTURE))
        assert is_there.wait(10)
        fake.kill()
        is_dead.set()
        with Fake(fake.port) as successor:
            assert answer.result(30).values[0].tolist() == [len(PICTURE), 0, 255]
    assert [request.images[0].encoded == PICTURE for request in fake.features.requests] == [True]
    assert [request.images[0].encoded == PICTURE for request in successor.features.requests] == [True]


@CLIENTS
def test_an_extract_waits_for_a_server_that_refuses(connect: Any) -> None:
    is_refused = threading.Event()

    def refuse(request: Any, context: Any) -> None:
        if len(fake.features.requests) < 3:
            is_refused.set()
            context.abort(grpc.StatusCode.UNAVAILABLE, "draining")

    with Fake() as fake, connect(fake.address) as client:
        fake.features.on_extract = refuse
        assert client.extract(PICTURE).values[0, 0] == len(PICTURE)
        assert is_refused.is_set()
        assert len(fake.features.requests) == 3


@CLIENTS
def test_a_training_is_never_sent_twice(connect: Any) -> None:
    with Fake() as fake, connect(fake.address) as client:
        fake.heads.is_refused = True
        with pytest.raises(fc7.Unavailable):
            client.train_head("h", collection="c")
        assert fake.heads.n_calls == 1


def test_every_call_is_known_to_be_safe_to_repeat_or_not() -> None:
    """A new call is listed here, or in `SENT_ONCE` if the server must not get it twice."""
    repeated = {
        "FeatureService": {"Extract", "StreamExtract"},
        "ModelService": {"ListModels", "GetModel", "GetGolden", "LoadModel"},
        "CollectionService": {
            *("GetCollection", "ListCollections", "UpsertItems", "GetItems", "ListItems", "CountItems", "QueryItems"),
            *("AddLabels", "ListLabels", "CountValues", "MapItems", "FindDuplicates", "GetThreshold", "TuneCollection"),
        },
        "HeadService": {
            *("GetHead", "ListHeads", "Classify", "ClassifyItems", "RankItems", "SuggestItems"),
            *("GetHeadReport", "ExportHead", "CompareHeads", "SetShadow", "GetShadow", "SampleItems"),
            "GetHeadWeights",
        },
        "ExplainService": {"ProjectUnit", "TopUnits", "ExplainMatch", "ExplainClass", "Occlude"},
        "AdminService": {"GetServerInfo"},
    }
    for module in (admin_pb2, collection_pb2, explain_pb2, feature_pb2, head_pb2, model_pb2):
        for name, service in module.DESCRIPTOR.services_by_name.items():
            once = set(SENT_ONCE.get(name, ()))
            assert not once & repeated[name]
            assert {method.name for method in service.methods} == once | repeated[name]


def test_the_retry_buffer_holds_what_a_message_may() -> None:
    options = dict(read_endpoint("127.0.0.1:1", None, None).options)
    limits = ("per_rpc_retry_buffer_size", "max_send_message_length", "max_receive_message_length")
    assert {options[f"grpc.{name}"] for name in limits} == {MAX_MESSAGE_BYTES}


@pytest.mark.parametrize(
    ("address", "is_direct"),
    [("127.0.0.1:1", True), ("localhost:1", True), ("[::1]:1", True), ("unix:/tmp/s", True), ("gpu-box:1", False)],
)
def test_no_proxy_stands_before_loopback(address: str, is_direct: bool) -> None:
    assert (("grpc.enable_http_proxy", 0) in read_endpoint(address, None, None).options) is is_direct


def test_a_proxy_of_the_environment_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Fake() as fake, fc7.connect(fake.address) as client:
        assert client.is_ready()


@pytest.mark.parametrize(
    ("address", "text", "target"),
    [
        (["127.0.0.1:1", "127.0.0.2:2"], "127.0.0.1:1,127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2"),
        ("127.0.0.1:1, 127.0.0.2:2", "127.0.0.1:1,127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2"),
        (["[::1]:1", "[::2]:2"], "[::1]:1,[::2]:2", "ipv6:[::1]:1,[::2]:2"),
        ("dns:///features.example.org:1", "dns:///features.example.org:1", "dns:///features.example.org:1"),
        (["127.0.0.1:1"], "127.0.0.1:1", "127.0.0.1:1"),
    ],
)
def test_several_servers_are_balanced_and_watched(address: Any, text: str, target: str) -> None:
    endpoint = read_endpoint(address, None, None)
    assert endpoint.address == text
    assert endpoint.resolved().target == target
    config = json.loads(dict(endpoint.options)["grpc.service_config"])
    is_balanced = config.get("loadBalancingConfig") == [{"round_robin": {}}]
    assert is_balanced is (config.get("healthCheckConfig") == {"serviceName": ""}) is (text != "127.0.0.1:1")
    retried = config["methodConfig"][0]
    assert retried["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert {"service": "fc7.v1.CollectionService", "method": "DeleteItems"} in config["methodConfig"][1]["name"]
    assert dict(endpoint.options).get("grpc.default_authority") == (text.partition(",")[0] if "," in text else None)


def test_each_of_several_addresses_is_checked() -> None:
    for wrong in (["127.0.0.1:1", "host"], ["127.0.0.1:1", "host:0"], "dns:///host", "dns:///host:0", "a:1,,b:1", []):
        with pytest.raises(fc7.InvalidArgument, match="HOST:PORT"):
            fc7.connect(wrong)
    with pytest.raises(fc7.Unavailable, match=r"no server at nowhere\.invalid:1: the host name is unknown"):
        fc7.connect("127.0.0.1:1,nowhere.invalid:1")
    with pytest.raises(fc7.InvalidArgument, match="no kind of address in common"):
        fc7.connect(["127.0.0.1:1", "[::1]:1"])


@pytest.mark.parametrize(
    "address",
    ["", "host", "host:", ":50051", "host:port", "host:0", "host:65536", "host:²", "host:٣", "host:" + "1" * 5_000],
    ids=ascii,
)
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(fc7.InvalidArgument, match="HOST:PORT"):
        fc7.AsyncClient(address)


def test_the_environment_names_server_and_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    seen: list[Any] = []
    with Fake() as fake:
        fake.features.on_extract = lambda request, context: seen.append(dict(context.invocation_metadata()))
        monkeypatch.setenv("FC7_SERVER", fake.address)
        monkeypatch.setenv("FC7_TOKEN_FILE", str(tmp_path / "token"))
        with fc7.connect() as client:
            client.extract(b"image")
    assert seen[0]["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("text", "token"),
    [("abc", "abc"), ("\n# mine\n  abc \n", "abc"), ("read abc\nwrite other\n", "abc"), ("admin abc", "abc")],
)
def test_a_token_file_may_be_the_servers(text: str, token: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    assert read_endpoint("host:1", file, None).metadata == (("authorization", f"Bearer {token}"),)


@pytest.mark.parametrize("text", ["", "# none\n", "read sha256:00", "sécret"])
def test_a_file_without_a_token_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(fc7.InvalidArgument, match="holds no token"):
        fc7.connect("host:1", token_file=file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(fc7.NotFound, match="gone"):
        fc7.connect("host:1", token_file=tmp_path / "gone")
    with pytest.raises(fc7.NotFound, match="gone"):
        fc7.connect("host:1", tls_ca=tmp_path / "gone")
    with pytest.raises(fc7.FailedPrecondition, match="cannot be read"):
        fc7.connect("host:1", tls_ca=tmp_path)


class Silent(Features):
    async def Extract(self, request: Any, context: Any) -> Any:
        return Features.Extract(self, request, context)


@CLIENTS
def test_tokens_open_what_their_scope_allows(connect: Any, tmp_path: Path) -> None:
    known, stranger = tmp_path / "known", tmp_path / "stranger"
    known.write_text("read reading\n")
    stranger.write_text("guess\n")
    with aio_server(Interceptor(Tokens(read_tokens(known)), None), Silent()) as address:
        with connect(address) as client:
            assert client.is_ready()
            with pytest.raises(fc7.Unauthenticated):
                client.extract(b"image")
        with connect(address, token_file=stranger) as client, pytest.raises(fc7.Unauthenticated):
            client.extract(b"image")
        with connect(address, token_file=known) as client:
            assert len(client.extract(b"image")) == 1
            with pytest.raises(fc7.PermissionDenied):
                client.train_head("h", collection="c")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with self-signed certificates and keys: the server's "a", a stranger's "b", "c" of another host."""
    folder = tmp_path_factory.mktemp("tls")
    here = "DNS:localhost,IP:127.0.0.1"
    for name, hosts in (("a", here), ("b", here), ("c", "DNS:elsewhere.example")):
        command = (
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} "
            f"-addext subjectAltName={hosts} -keyout {name}.key -out {name}.pem"
        )
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://gpu-box:50051", "is not HOST:PORT. Write, for example, gpu-box:50051"),
        ("https://gpu-box:50051/fc7", "is not HOST:PORT. Write, for example, gpu-box:50051"),
        ("http://gpu-box", "Write, for example, gpu-box:50051"),
        (
            "http://ann:secret@gpu-box:1/a",
            "address 'http://gpu-box:1/a' is not HOST:PORT. Write, for example, gpu-box:1",
        ),
        ("gpu-box/path:1", "is not HOST:PORT"),
    ],
)
@CLIENTS
def test_a_url_is_refused_with_the_right_form(connect: Any, url: str, said: str) -> None:
    with pytest.raises(fc7.InvalidArgument, match=re.escape(said)):
        connect(url)


@CLIENTS
def test_tls_is_spoken_with_the_right_authority_alone(
    connect: Any, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry_quickly(monkeypatch)
    pair = ((certificates / "a.key").read_bytes(), (certificates / "a.pem").read_bytes())
    with Fake(credentials=grpc.ssl_server_credentials([pair])) as fake:
        with connect(fake.address, tls_ca=certificates / "a.pem") as client:
            assert client.is_ready()
            assert len(client.extract(b"image")) == 1
        with (
            connect(fake.address, tls_ca=certificates / "b.pem") as client,
            pytest.raises(fc7.Unavailable, match=r"authority in --tls-ca \(tls_ca\) did not sign"),
        ):
            client.extract(b"image")
        with connect(fake.address) as client:
            assert client.is_ready() is False
            with pytest.raises(
                fc7.Unavailable, match="If it uses TLS, name the PEM file of its authority: --tls-ca FILE"
            ):
                client.check_ready()


@CLIENTS
def test_a_certificate_for_another_name_is_told(
    connect: Any, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry_quickly(monkeypatch)
    pair = ((certificates / "c.key").read_bytes(), (certificates / "c.pem").read_bytes())
    with (
        Fake(credentials=grpc.ssl_server_credentials([pair])) as fake,
        connect(fake.address, tls_ca=certificates / "c.pem") as client,
    ):
        for call in (client.check_ready, client.models):
            with pytest.raises(fc7.Unavailable, match=r"is for another host name\. Connect by a name in"):
                call()


def test_tls_with_a_server_that_has_none(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    retry_quickly(monkeypatch)
    with (
        Fake() as fake,
        fc7.connect(fake.address, tls_ca=certificates / "a.pem") as client,
        pytest.raises(fc7.Unavailable, match=r"leave out --tls-ca \(tls_ca\)"),
    ):
        client.extract(b"image")
