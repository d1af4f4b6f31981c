"""Network addresses: HOST:PORT, and whether a host is this machine."""

from __future__ import annotations

from ipaddress import ip_address

from fc7.errors import InvalidArgument


def split_address(address: str, name: str = "address") -> tuple[str, int]:
    """Split HOST:PORT.

    Parameters
    ----------
    address
        HOST:PORT. An IPv6 host stands in brackets.
    name
        Argument or setting that holds the address, for the error.

    Returns
    -------
    tuple of str and int
        The host as it is written, and the port, 0 to 65535.

    Raises
    ------
    InvalidArgument
        The address is not HOST:PORT, or the port is out of range.
    """
    host, colon, port = address.rpartition(":")
    is_number = port.isascii() and port.isdecimal() and len(port) <= 5
    if colon and host and "/" not in host and is_number and int(port) < 65536:
        return host, int(port)
    scheme, is_url, rest = address.partition("://")
    rest = rest.rpartition("@")[2]  # a password is not shown
    place = rest.partition("/")[0]
    shown, example = address, "localhost:50051"
    if is_url:
        shown, example = f"{scheme}://{rest}", place if ":" in place else f"{place}:50051"
    raise InvalidArgument(f"address {shown!r} is not HOST:PORT. Write, for example, {example}", name=name)


def is_loopback(host: str) -> bool:
    """Return whether a host name or IP address always means this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
