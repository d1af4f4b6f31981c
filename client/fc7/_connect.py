"""Connecting: which server to use, and what is checked before a client is returned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fc7._session import Session
from fc7.client import Client
from fc7.endpoint import Endpoint, read_endpoint
from fc7.errors import FailedPrecondition, InvalidArgument, Reason
from fc7.local_server import LocalServer
from fc7.requested_models import check_default, check_served


def connect(
    address: str | Sequence[str] | None = None,
    *,
    data: Path | str | None = None,
    models: Sequence[str] = (),
    device: str = "auto",
    threads: int | None = None,
    token_file: Path | str | None = None,
    tls_ca: Path | str | None = None,
    tls_client: Path | str | None = None,
    timeout_s: float | None = None,
) -> Client:
    """Connect to a server, or start the same server in this process.

    Parameters
    ----------
    address
        HOST:PORT of a server. Defaults to the variable FC7_SERVER. Without both, the server runs in this process.
        A list of addresses, or dns:///HOST:PORT for all servers behind a name, shares the calls between several
        servers. Such a client extracts features; collections and heads need the one server that holds them.
    data
        Data folder of the server in this process. Defaults to this user's data folder. If another process holds
        the folder, its server answers.
    models
        Names of models, or folders of bundles, for the server in this process; the first is its default. Defaults
        to all models that fc7 comes with.
    device
        "auto", "cpu" or "cuda", for the server in this process.
    threads
        Threads for networks, for the server in this process. Defaults to one per CPU core.
    token_file
        File with the token for the server at ``address``. Defaults to the variable FC7_TOKEN_FILE.
    tls_ca
        PEM file of the authority that signed the certificate of the server at ``address``. TLS is used if it is
        given.
    tls_client
        PEM file with your certificate and its private key, for a server that asks clients for one.
    timeout_s
        Seconds that each method may take, unless the call says otherwise. By default a method takes as long as it
        needs, and each of its requests at most 300 seconds.

    Returns
    -------
    Client
        Close it when you are done, or use it as a context manager.

    Raises
    ------
    InvalidArgument
        The address is not HOST:PORT, or an argument does not fit the others.
    NotFound
        A file does not exist.
    FailedPrecondition
        The server cannot start here, or the process that holds the data folder serves other models or uses another
        device.

    Examples
    --------
    >>> with fc7.connect(data="data") as client:
    ...     client.is_ready()
    True
    """
    endpoint = find_server(address, data, models, device, threads, token_file, tls_ca, tls_client)
    if endpoint is None:
        return connect_local(data, models=models, device=device, threads=threads, timeout_s=timeout_s)
    return Client(Session(endpoint, timeout_s))


def find_server(
    address: str | Sequence[str] | None,
    data: Path | str | None,
    models: Sequence[str],
    device: str,
    threads: int | None,
    token_file: Path | str | None,
    tls_ca: Path | str | None,
    tls_client: Path | str | None = None,
) -> Endpoint | None:
    """Return the server that the arguments or FC7_SERVER name, or None for the server of a data folder.

    Raises
    ------
    InvalidArgument
        An argument would have no effect, or the address is not HOST:PORT.
    NotFound
        A file does not exist.
    """
    source = "address="
    if address is None and data is None:
        address, source = os.environ.get("FC7_SERVER") or None, "FC7_SERVER"  # noqa: TID251
    here = {
        "data": data is not None,
        "models": bool(models),
        "device": device != "auto",
        "threads": threads is not None,
    }
    there = {
        "token_file": token_file is not None,
        "tls_ca": tls_ca is not None,
        "tls_client": tls_client is not None,
    }
    for name, is_given in (there if address is None else here).items():
        if is_given and address is None:
            raise InvalidArgument(
                f"{name}= is for a server elsewhere. Give its address, or leave out {name}", name=name
            )
        if is_given:
            raise InvalidArgument(
                f"{name}= is for a server in this process, but {source} names {address}. Leave one of the two out",
                name=name,
            )
    if address is None:
        return None
    token_file = token_file or os.environ.get("FC7_TOKEN_FILE") or None  # noqa: TID251
    return read_endpoint(address, token_file, tls_ca, tls_client)


def connect_local(
    data: Path | str | None,
    *,
    models: Sequence[str] = (),
    named: Sequence[str] = (),
    device: str = "auto",
    threads: int | None = None,
    timeout_s: float | None = None,
) -> Client:
    """Connect to the server of a data folder, as `connect` does without an address.

    Parameters
    ----------
    named
        Models and bundles that the calls will name. A server started here serves only these; the server of another
        process must serve them.
    data, models, device, threads, timeout_s
        See `connect`.
    """
    local = LocalServer(data, named or models, device, threads)
    client = Client(Session(local.reach(), timeout_s, local))
    try:
        if not local.is_ours:
            _check_holder(client, models, named, device, threads)
    except BaseException:
        client.close()
        raise
    return client


def _check_holder(
    client: Client, models: Sequence[str], named: Sequence[str], device: str, threads: int | None
) -> None:
    """Raise an error if the server of another process differs from what was asked for."""
    where = "the process that holds the data folder"
    if named:
        check_served(client.models(), named, where)
    elif models:
        check_default(client.models(), models, where)
    if device == "auto" and threads is None:
        return
    info = client.server_info()
    if device != "auto" and ("CUDA" in info.provider) != (device == "cuda"):
        raise FailedPrecondition(
            f"{where} runs on {info.provider}, not on device {device!r}. Stop it (process {info.pid}), or leave out "
            "the device",
            name="device",
            reason=Reason.DEVICE_UNAVAILABLE,
        )
    if threads is not None and info.threads != threads:
        raise FailedPrecondition(
            f"{where} runs {info.threads} threads, not {threads}. Stop it (process {info.pid}), or leave out the "
            "threads",
            name="threads",
        )
