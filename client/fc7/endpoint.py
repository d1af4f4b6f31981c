"""Where a server is and how to speak to it: address, token, TLS, and the options of the gRPC channel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc

from fc7.contract.address import is_loopback, split_address
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound
from fc7.several_servers import BALANCING, DNS_OPTIONS, find_target, hosts_of, is_several, join_addresses
from fc7.v1 import MAX_MESSAGE_BYTES

_SERVICES = ("Feature", "Model", "Collection", "Head", "Explain", "Admin")
# Calls that are never repeated: the server may have done them, and a second call would fail or do something else.
# gRPC itself still repeats a call that never left this process.
SENT_ONCE = {
    "CollectionService": ("CreateCollection", "DeleteCollection", "DeleteItems", "UpdatePayloads", "UndoLabels"),
    "HeadService": ("TrainHead", "PublishHead", "DeleteHead", "WriteClasses", "ImportHead"),
    "ModelService": ("ReloadModel", "UnloadModel"),
}
_RETRIED: dict[str, Any] = {
    "name": [{"service": f"fc7.v1.{name}Service"} for name in _SERVICES],
    "retryPolicy": {
        "maxAttempts": 5,  # gRPC's maximum; with these pauses about four seconds, enough for a server to restart
        "initialBackoff": "0.25s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    },
}
_NOT_RETRIED: dict[str, Any] = {
    "name": [{"service": f"fc7.v1.{service}", "method": m} for service, methods in SENT_ONCE.items() for m in methods]
}
_SERVICE_CONFIG = {"methodConfig": [_RETRIED, _NOT_RETRIED]}

_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),  # streams have no deadline; pings notice a server that went silent
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
# The default of 256 KiB silently turns off retries for pictures.
_RETRY_BUFFER = ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a server or of several, and the token and certificate to use with them."""

    address: str  # HOST:PORT or unix:PATH; several with commas; dns:///HOST:PORT for all servers behind a name
    token: str = ""
    roots: bytes | None = None  # PEM of the certificate authority; None: no TLS
    own_certificate: bytes | None = None  # PEM of the client's certificate chain and its key
    is_retried: bool = True  # False if the caller itself tries again, elsewhere
    target: str = ""  # what gRPC connects to; see `resolved`

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata of every call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    @property
    def options(self) -> list[tuple[str, Any]]:
        """Options of the channel."""
        options = list(_OPTIONS)
        if self.is_retried:
            balancing = BALANCING if is_several(self.address) else {}
            options += [_RETRY_BUFFER, ("grpc.service_config", json.dumps(_SERVICE_CONFIG | balancing))]
        if is_several(self.address):
            options += DNS_OPTIONS
        if "," in self.address:  # else the certificates would have to be for the text of the whole list
            options.append(("grpc.default_authority", self.address.partition(",")[0]))
        if self._is_local:
            options.append(("grpc.enable_http_proxy", 0))
        return options

    @property
    def _is_local(self) -> bool:
        return self.address.startswith("unix:") or all(map(is_loopback, hosts_of(self.address)))

    def resolved(self) -> Endpoint:
        """Return this endpoint with the names of several servers looked up. May take seconds.

        Raises
        ------
        Unavailable, InvalidArgument
            See `find_target`.
        """
        return self if self.target else replace(self, target=find_target(self.address))

    def open(self) -> grpc.Channel:
        """Return a channel. It connects with the first call."""
        target = self.resolved().target
        if self.roots is None:
            return grpc.insecure_channel(target, self.options)
        return grpc.secure_channel(target, self._credentials, self.options)

    def open_aio(self) -> grpc.aio.Channel:
        """Return a channel for the running event loop. It connects with the first call. Look up names before."""
        target = self.resolved().target
        if self.roots is None:
            return grpc.aio.insecure_channel(target, self.options)
        return grpc.aio.secure_channel(target, self._credentials, self.options)

    @property
    def _credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.roots, self.own_certificate, self.own_certificate)


def read_endpoint(
    address: str | Sequence[str],
    token_file: Path | str | None,
    tls_ca: Path | str | None,
    tls_client: Path | str | None = None,
) -> Endpoint:
    """Check an address or several, and read the token, the certificate authority and the client's own certificate.

    Raises
    ------
    InvalidArgument
        The address is not HOST:PORT, the token file holds no token, or a certificate lacks its key or the authority.
    NotFound
        A file does not exist.
    """
    address = join_addresses(address)
    if not address.startswith("unix:") and not is_several(address) and split_address(address)[1] == 0:
        raise InvalidArgument(f"the port of HOST:PORT must be 1 to 65535 (got {address!r})", name="address")
    token = "" if token_file is None else _read_token(Path(token_file))
    roots = None if tls_ca is None else _read(Path(tls_ca))
    return Endpoint(address, token, roots, None if tls_client is None else _read_own(Path(tls_client), roots))


def _read_own(path: Path, roots: bytes | None) -> bytes:
    pem = _read(path)
    if roots is None:
        raise InvalidArgument("tls_client needs tls_ca, the authority of the server. Give both", name="tls_client")
    if b"PRIVATE KEY-----" not in pem or b"-----BEGIN CERTIFICATE-----" not in pem:
        raise InvalidArgument(
            f"the file {str(path)!r} must hold your certificate and its private key, one after the other, in PEM",
            name="tls_client",
        )
    return pem


def _read_token(path: Path) -> str:
    """Return the token: the last word of the first line. A server's own token file, ``SCOPE TOKEN``, works too."""
    lines = [connection.split() for connection in _read(path).decode(errors="replace").splitlines()]
    words = next((words for words in lines if words and not words[0].startswith("#")), [])
    token = words[-1] if words else ""
    if not token or not token.isascii() or token.startswith("sha256:"):
        raise InvalidArgument(
            f"the token file {str(path)!r} holds no token. Write the token into it", name="token_file"
        )
    return token


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"file {str(path)!r} does not exist", name=str(path)) from error
    except OSError as error:
        raise FailedPrecondition(f"file {str(path)!r} cannot be read: {error.strerror}", name=str(path)) from error
