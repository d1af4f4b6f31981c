"""What a server is told at start: one value object, filled by the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from fc7.errors import InvalidArgument, NotFound, Reason


def usable_cores() -> int:
    """Return the number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a server; each has a row in `docs/reference/configuration.md`."""

    data: Path  # folder of collections and heads; made where it is missing
    listen: str | None = "127.0.0.1:50051"  # HOST:PORT, port 0 for a free one; None: the private socket alone
    models: tuple[str, ...] = ()  # names of shipped bundles or bundle folders, the default first; empty: all shipped
    device: str = "auto"  # "auto", "cpu" or "cuda"
    threads: int = field(default_factory=usable_cores)  # of the engine
    token_file: Path | None = None
    tls_cert: Path | None = None  # PEM, with tls_key
    tls_key: Path | None = None
    is_insecure: bool = False  # allow an address beyond loopback without TLS and tokens
    drain_s: float = 20.0  # how long calls under way may take after SIGTERM

    def check(self) -> None:
        """Refuse settings that contradict one another.

        Raises
        ------
        InvalidArgument
            Naming the setting and the rule.
        NotFound
            A file named does not exist.
        """
        if self.device not in ("auto", "cpu", "cuda"):
            raise InvalidArgument(f"device {self.device!r} is none of auto, cpu, cuda", name="device")
        if self.threads < 1:
            raise InvalidArgument(f"threads is {self.threads}: at least 1", name="threads")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InvalidArgument("TLS needs both --tls-cert and --tls-key", name="tls_cert")
        for path in (self.token_file, self.tls_cert, self.tls_key):
            if path is not None and not path.is_file():
                raise NotFound(f"file {str(path)!r} does not exist", name=str(path), reason=Reason.FILE_NOT_FOUND)
        if self.listen is None:
            return
        host, _ = split_address(self.listen)
        if not is_loopback(host) and not self.is_insecure and (self.token_file is None or self.tls_cert is None):
            raise InvalidArgument(
                f"{self.listen} is reachable from other machines: give --token-file, --tls-cert and --tls-key, "
                "or say --insecure",
                name="listen",
            )


def split_address(address: str) -> tuple[str, int]:
    """Split HOST:PORT.

    Raises
    ------
    InvalidArgument
        No port, or one outside 0..65535.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal() and len(port) <= 5) or int(port) > 65535:
        raise InvalidArgument(f"address {address!r} is not HOST:PORT", name="listen")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` reaches this machine alone."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
