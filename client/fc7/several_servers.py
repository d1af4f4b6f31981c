"""Several servers behind one client: their addresses as gRPC takes them, and the calls that each of them can answer.

Features need no state, so any server answers. Collections and heads belong to one server: a client that reached
another one with each call would find half of its items, or write them twice.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from fc7.contract.address import split_address
from fc7.errors import FailedPrecondition, InvalidArgument, Unavailable

DNS = "dns:///"  # all servers behind one name
# Calls that need no state: every server that serves the same networks gives the same answer.
ANSWERED_BY_ANY = {
    "FeatureServiceStub": ("Extract", "StreamExtract"),
    "ModelServiceStub": ("ListModels", "GetModel", "GetGolden"),
    "HealthStub": ("Check",),
}
# gRPC takes one server after the other, passes over those that say NOT_SERVING, and returns to those that come back.
BALANCING: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
# A server that was started is found when a connection to another one ends; gRPC's own limit is 30 s.
DNS_OPTIONS = (("grpc.dns_min_time_between_resolutions_ms", 5_000),)


def join_addresses(address: str | Sequence[str]) -> str:
    """Return one text for one address or several, as `FC7_SERVER` holds them: with commas between them.

    Raises
    ------
    InvalidArgument
        There is no address, or one of several is not HOST:PORT.
    """
    addresses = address.split(",") if isinstance(address, str) else list(address)
    if len(addresses) > 1:
        addresses = [one.strip() for one in addresses]
        for one in addresses:
            _check_port(one)
    if not addresses:
        raise InvalidArgument("address is empty. Give HOST:PORT, or a list of them", name="address")
    if addresses[0].startswith(DNS):
        _check_port(addresses[0].removeprefix(DNS))
    return ",".join(addresses)


def is_several(address: str) -> bool:
    """Return whether an address may mean more than one server."""
    return "," in address or address.startswith(DNS)


def hosts_of(address: str) -> list[str]:
    """Return the host of each address."""
    return [split_address(one)[0] for one in address.removeprefix(DNS).split(",")]


def find_target(address: str) -> str:
    """Return what gRPC connects to. The names in a list are looked up here, once; the name after dns:/// is not.

    Raises
    ------
    Unavailable
        A name is unknown.
    InvalidArgument
        Some hosts have an IPv4 address only, and others an IPv6 address only.
    """
    if "," not in address:
        return address
    found = [_look_up(*split_address(one)) for one in address.split(",")]
    for family, scheme in ((socket.AF_INET, "ipv4"), (socket.AF_INET6, "ipv6")):
        if all(family in places for places in found):
            return f"{scheme}:" + ",".join(place for places in found for place in places[family])
    raise InvalidArgument(
        f"the servers {address} have no kind of address in common: some have IPv4 only, others IPv6 only. Name them by "
        "addresses of one kind",
        name="address",
    )


def check_method(stub: str, method: str, address: str) -> None:
    """Refuse a call that only the server which holds the collection, the head or the network can answer.

    Raises
    ------
    FailedPrecondition
        The client speaks to several servers, and this call needs a particular one.
    """
    if is_several(address) and method not in ANSWERED_BY_ANY.get(stub, ()):
        raise FailedPrecondition(
            f"{method} needs one particular server, but this client speaks to all of {address}, which share no "
            "collections and heads. Connect to the server that holds them",
            name="address",
        )


def _check_port(address: str) -> None:
    if split_address(address)[1] == 0:
        raise InvalidArgument(f"the port of HOST:PORT must be 1 to 65535 (got {address!r})", name="address")


def _look_up(host: str, port: int) -> dict[int, list[str]]:
    """Return the addresses of a host by their family, as gRPC writes them."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(f"there is no server at {host}:{port}: the host name is unknown ({error.strerror})") from None
    places: dict[int, list[str]] = {}
    for family, _, _, _, place in found:
        text = f"[{place[0]}]:{port}" if family == socket.AF_INET6 else f"{place[0]}:{port}"
        if text not in places.setdefault(family, []):
            places[family].append(text)
    return places
