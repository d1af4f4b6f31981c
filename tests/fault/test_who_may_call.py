"""Tokens and certificates: who may do what, until when, and how both are renewed while calls go on."""

from __future__ import annotations

import datetime
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import every_call
import fc7
from fc7.errors import Unauthenticated
from fc7_service.certificates import Certificates
from fc7_service.tokens import METHODS, SCOPE_OF_CALL, SCOPES, Token, Tokens, digest, read_tokens
from servers import WAIT_S, Served, jpeg, serving
from web import JSON, ask

TOKENS = {"read": "r-token", "write": "w-token", "admin": "a-token"}
LONG_AGO = "2001-02-03"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    lines = [f"{scope} {token} name={scope}-robot" for scope, token in TOKENS.items()]
    (tmp_path / "tokens").write_text("\n".join([*lines, f"admin old name=gone expires={LONG_AGO}"]))
    return tmp_path / "tokens"


def key_of(folder: Path, token: str) -> Path:
    (folder / "mine").write_text(token)
    return folder / "mine"


def wait_for(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def events(served: Served) -> list[dict[str, Any]]:
    return [json.loads(line) for line in list(served.log)]


def code_of(channel: grpc.Channel, method: str, token: str | None) -> tuple[grpc.StatusCode, str]:
    """Make one call with an empty request; its status, and the text."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    try:
        list(channel.stream_stream(method)(iter([b""]), metadata=metadata, timeout=WAIT_S))
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def test_every_call_with_every_scope(tiny_bundle: Path, tmp_path: Path, token_file: Path) -> None:
    """From the descriptors: a call that is missing in the table of scopes would be found here, too."""
    contract = {f"/{m.containing_service.full_name}/{m.name}" for m in every_call.methods().values()}
    methods = sorted(contract | set(METHODS) - {"/grpc.health.v1.Health/Watch"})
    refused = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
    ranks = list(SCOPES)
    with (
        serving(tmp_path / "data", "--model", str(tiny_bundle), "--token-file", str(token_file)) as served,
        grpc.insecure_channel(served.address) as channel,
    ):
        for method in methods:
            is_open = method.startswith("/grpc.health")
            needed = "read" if is_open else SCOPE_OF_CALL.get(method, "admin")
            for scope, token in TOKENS.items():
                code, text = code_of(channel, method, token)
                if ranks.index(scope) < ranks.index(needed):
                    assert code is grpc.StatusCode.PERMISSION_DENIED, (method, scope)
                    assert text == (
                        f"{method.rpartition('/')[2]} needs a token of scope {needed!r}, but this one has {scope!r}"
                    )
                else:
                    assert code not in refused, (method, scope, text)
            none, *wrong = (code_of(channel, method, token) for token in (None, "wrong", "R-TOKEN"))
            wanted = grpc.StatusCode.OK if is_open else grpc.StatusCode.UNAUTHENTICATED
            assert {code for code, _ in (none, *wrong)} == {wanted}, method
            assert len(set(wrong)) == 1  # nobody learns how a token is wrong
            if not is_open:
                assert code_of(channel, method, "old") == (
                    wanted,
                    f"this token expired on {LONG_AGO}. Ask for a new one",
                )
        assert code_of(channel, "/fc7.v1.Nothing/Here", "r-token")[0] is grpc.StatusCode.UNIMPLEMENTED
        wait_for(lambda: any(row.get("caller") == "read-robot" for row in events(served)))
    assert not any(token in line for line in served.log for token in TOKENS.values())


def test_an_expired_token_has_a_reason_of_its_own(tiny_bundle: Path, tmp_path: Path, token_file: Path) -> None:
    with serving(tmp_path / "data", "--model", str(tiny_bundle), "--token-file", str(token_file)) as served:
        with fc7.connect(served.address, token_file=key_of(tmp_path, "old")) as client:
            with pytest.raises(fc7.Unauthenticated, match="this token expired on 2001-02-03") as caught:
                client.models()
            assert client.is_ready()
    assert caught.value.reason == "TOKEN_EXPIRED"


def test_a_token_is_valid_on_its_last_day() -> None:
    day = datetime.date(2027, 1, 31)
    method = "/fc7.v1.ModelService/ListModels"
    for today, is_valid in ((day, True), (day + datetime.timedelta(1), False)):
        tokens = Tokens({digest("t"): Token("read", "ann", day)}, today=lambda today=today: today)
        if is_valid:
            assert tokens.check(method, "Bearer t").name == "ann"
        else:
            with pytest.raises(Unauthenticated, match="expired on 2027-01-31"):
                tokens.check(method, "Bearer t")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("read t name=", "a name has 1 to 64"),
        ("read t name=a/b", "a name has 1 to 64"),
        ("read t expires=soon", "the day must be written as YYYY-MM-DD"),
        ("read t owner=ann", "only name= and expires= may stand"),
        ("read t u", "only name= and expires= may stand"),
        ("read name=ann", "the token is missing"),
        ("reader t", "the scope must be one of read, write, admin"),
        ("read sha256:12", "64 hexadecimal digits"),
    ],
)
def test_a_malformed_line_is_named_and_not_repeated(tmp_path: Path, line: str, text: str) -> None:
    (tmp_path / "tokens").write_text(f"read secret\n{line}\n")
    with pytest.raises(fc7.InvalidArgument, match=f"line 2 of .*{text}") as caught:
        read_tokens(tmp_path / "tokens")
    assert "secret" not in caught.value.message


def test_lines_of_every_form(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(
        f"# ours\nplain\nread r\nwrite sha256:{digest('w').upper()}  name=w.1 expires=2027-01-31\nt name=n\nadmin\n"
    )
    assert read_tokens(tmp_path / "tokens") == {
        digest("plain"): Token("admin"),
        digest("r"): Token("read"),
        digest("w"): Token("write", "w.1", datetime.date(2027, 1, 31)),
        digest("t"): Token("admin", "n"),
        digest("admin"): Token("admin"),
    }


def test_tokens_are_read_again_while_calls_go_on(tiny_bundle: Path, tmp_path: Path, token_file: Path) -> None:
    with serving(tmp_path / "data", "--model", str(tiny_bundle), "--token-file", str(token_file)) as served:
        with fc7.connect(served.address, token_file=key_of(tmp_path, "r-token")) as client:
            goes_on = threading.Event()

            def images() -> Iterator[bytes]:
                yield jpeg(0)
                goes_on.wait()
                yield jpeg(1)

            stream = client.extract_stream(images())
            next(stream)
            (tmp_path / "new").write_text("read n-token\n")
            (tmp_path / "new").replace(token_file)

            def is_refused() -> bool:
                try:
                    client.models()
                except fc7.Unauthenticated:
                    return True
                return False

            wait_for(is_refused)
            with fc7.connect(served.address, token_file=key_of(tmp_path, "n-token")) as other:
                assert other.models()
                goes_on.set()
                assert len(list(stream)) == 1  # what had begun goes on
                token_file.write_text("reader x\n")
                wait_for(lambda: any("cannot be read again" in row["event"] for row in events(served)))
                assert other.models()
            with fc7.connect(data=tmp_path / "data") as local:  # the private address has a token of its own
                assert local.models()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority and certificates that it signed: one, two, client."""
    folder = tmp_path_factory.mktemp("authority")

    def openssl(words: str) -> None:
        assert shutil.which("openssl"), "openssl is needed to make certificates"
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)

    new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    openssl(f"req -x509 {new} -days 30 -subj /CN=ca -keyout ca.key -out ca.crt")
    openssl(f"req -x509 {new} -days 30 -subj /CN=stranger -keyout stranger.key -out stranger.crt")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    for name, days in (("one", 9), ("two", 99), ("client", 9)):
        openssl(f"req {new} -subj /CN={name} -keyout {name}.key -out {name}.csr")
        openssl(f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days {days} -extfile names "
                f"-out {name}.crt")  # fmt: skip
    openssl(f"req {new} -subj /O=none -keyout nameless.key -out nameless.csr")
    openssl("x509 -req -in nameless.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -extfile names "
            "-out nameless.crt")  # fmt: skip
    for name in ("client", "nameless", "stranger"):
        both = (folder / f"{name}.crt").read_text() + (folder / f"{name}.key").read_text()
        (folder / f"{name}.pem").write_text(both)
    return folder


@pytest.fixture
def pair(authority: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The files of the server's certificate, which a test replaces."""
    put(authority, "one", tmp_path)
    return tmp_path / "tls.crt", tmp_path / "tls.key"


def put(authority: Path, name: str, folder: Path) -> None:
    for end in ("crt", "key"):
        shutil.copy(authority / f"{name}.{end}", folder / f"tls.{end}")


def trusting(authority: Path, own: Path | None = None) -> ssl.SSLContext:
    """What connects to servers whose certificates the authority signed."""
    context = ssl.create_default_context(cafile=str(authority / "ca.crt"))
    if own:
        context.load_cert_chain(own)
    return context


def subject(address: str, authority: Path, own: Path | None = None) -> str:
    """The name in the certificate that a server shows."""
    context = trusting(authority, own)
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), WAIT_S) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as wrapped,
    ):
        found: Any = wrapped.getpeercert()
        return str(found["subject"][0][0][1])


def test_a_certificate_is_renewed_without_a_dropped_call(
    tiny_bundle: Path, tmp_path: Path, authority: Path, pair: tuple[Path, Path]
) -> None:
    words = ("--tls-cert", str(pair[0]), "--tls-key", str(pair[1]))
    with serving(tmp_path / "data", "--model", str(tiny_bundle), *words) as served:
        address = served.address.replace("127.0.0.1", "localhost")
        with fc7.connect(address, tls_ca=authority / "ca.crt") as client:
            goes_on = threading.Event()

            def images() -> Iterator[bytes]:
                yield jpeg(0)
                goes_on.wait()
                yield jpeg(1)

            stream = client.extract_stream(images())
            next(stream)
            assert subject(served.address, authority) == "one"
            put(authority, "two", tmp_path)
            wait_for(lambda: subject(served.address, authority) == "two")
            goes_on.set()
            assert len(list(stream)) == 1
            assert client.models()
            with fc7.connect(address, tls_ca=authority / "ca.crt") as other:
                assert other.models()
            shutil.copy(authority / "one.key", pair[1])  # does not belong to the certificate
            wait_for(lambda: any("cannot be read again" in row["event"] for row in events(served)))
            assert subject(served.address, authority) == "two"
        days = [row["days_left"] for row in events(served) if "days_left" in row]
        assert days == [8, 98]
        assert "renew it" in next(row["event"] for row in events(served) if "days_left" in row)


def test_mutual_tls(tiny_bundle: Path, tmp_path: Path, authority: Path, pair: tuple[Path, Path]) -> None:
    words = ("--tls-cert", str(pair[0]), "--tls-key", str(pair[1]), "--tls-client-ca", str(authority / "ca.crt"))
    with serving(tmp_path / "data", "--model", str(tiny_bundle), *words) as served:
        address, ca = served.address.replace("127.0.0.1", "localhost"), authority / "ca.crt"
        with fc7.connect(address, tls_ca=ca, tls_client=authority / "client.pem") as client:
            assert client.extract(jpeg(0)).values.shape == (1, 8)
            for own in (None, authority / "stranger.pem"):
                with (
                    fc7.connect(address, tls_ca=ca, tls_client=own) as other,
                    pytest.raises(fc7.Unavailable),
                ):
                    other.check_ready(timeout_s=3)
            put(authority, "two", tmp_path)
            wait_for(lambda: subject(served.address, authority, authority / "client.pem") == "two")
            assert client.models()
            with fc7.connect(address, tls_ca=ca, tls_client=authority / "nameless.pem") as nameless:
                assert nameless.models()

        def named() -> list[str]:
            rows = [json.loads(line) for line in list(served.log) if line.startswith("{")]  # gRPC logs handshakes
            return [row["certificate"] for row in rows if row["event"] == "request" and row["code"] == "OK"]

        wait_for(lambda: len(named()) == 3)
        assert named() == ["client", "client", "localhost"]  # the name, or else the first alternative name


@pytest.mark.parametrize(
    ("crt", "key", "text"),
    [
        ("one.crt", "two.key", "key values mismatch"),
        ("names", "one.key", "cannot be used with the key"),
        ("one.crt", "names", "cannot be used with the key"),
    ],
)
def test_files_that_no_connection_could_use(authority: Path, crt: str, key: str, text: str) -> None:
    with pytest.raises(fc7.FailedPrecondition, match=text) as caught:
        Certificates(authority / crt, authority / key, None)
    assert caught.value.reason == "CERTIFICATE_UNUSABLE"
    with pytest.raises(fc7.FailedPrecondition, match=r"the authority '.*names' cannot be read"):
        Certificates(authority / "one.crt", authority / "one.key", authority / "names")


def test_the_client_needs_both_halves(authority: Path) -> None:
    with pytest.raises(fc7.InvalidArgument, match="must hold your certificate and its private key"):
        fc7.connect("localhost:1", tls_ca=authority / "ca.crt", tls_client=authority / "client.crt")
    with pytest.raises(fc7.InvalidArgument, match="tls_client needs tls_ca"):
        fc7.connect("localhost:1", tls_client=authority / "client.pem")


LIST = "/fc7.v1.ModelService/ListModels"


def test_http_has_the_tls_and_the_tokens_of_grpc(
    tiny_bundle: Path, tmp_path: Path, authority: Path, pair: tuple[Path, Path]
) -> None:
    (tmp_path / "tokens").write_text("read reader\n")
    words = ("--tls-cert", str(pair[0]), "--tls-key", str(pair[1]), "--token-file", str(tmp_path / "tokens"))
    with serving(tmp_path / "data", "--model", str(tiny_bundle), *words, "--http", "127.0.0.1:0") as served:
        tls = trusting(authority)
        for sent, status in (
            ({}, 401),
            ({"authorization": "Bearer no"}, 401),
            ({"authorization": "Bearer reader"}, 200),
        ):
            assert ask(served.http, LIST, b"{}", tls=tls, content_type=JSON, **sent).status == status
        session = ask(served.http, "/session", b'{"token": "reader"}', tls=tls, content_type=JSON)
        assert "Secure" in session.headers["set-cookie"].split("; ")
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(served.http, "/healthz")  # without TLS
        assert subject(served.http, authority) == "one"
        put(authority, "two", tmp_path)
        wait_for(lambda: subject(served.http, authority) == "two")


def test_http_asks_for_the_certificates_that_grpc_asks_for(
    tiny_bundle: Path, tmp_path: Path, authority: Path, pair: tuple[Path, Path]
) -> None:
    shutil.copy(authority / "ca.crt", tmp_path / "clients.crt")
    words = ("--tls-cert", str(pair[0]), "--tls-key", str(pair[1]), "--tls-client-ca", str(tmp_path / "clients.crt"))
    with serving(tmp_path / "data", "--model", str(tiny_bundle), *words, "--http", "127.0.0.1:0") as served:

        def is_let_in(own: Path | None) -> bool:
            try:
                return ask(served.http, "/healthz", tls=trusting(authority, own)).status == 200
            except (OSError, http.client.HTTPException):
                return False

        known, stranger = authority / "client.pem", authority / "stranger.pem"
        assert [is_let_in(own) for own in (known, stranger, None)] == [True, False, False]
        shutil.copy(authority / "stranger.crt", tmp_path / "clients.crt")  # another authority
        wait_for(lambda: is_let_in(stranger))
        assert [is_let_in(own) for own in (known, None)] == [False, False]
