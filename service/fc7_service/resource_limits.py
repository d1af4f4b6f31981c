"""How many files, connections and calls this process takes on at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fc7.v1 import MAX_MESSAGE_BYTES

_RESERVED_FILES = 64  # for the process itself, its networks, and the file being written
_FILES_PER_COLLECTION = 6
_MOST_FILES = 65_536  # the server has no use for more


@dataclass(frozen=True, slots=True)
class Files:
    """How many connections and collections the open files of this process allow."""

    n_connections: int  # through each address
    n_collections: int  # open at once


def share_files(n_files: int) -> Files:
    """Share out ``n_files`` open files after a reserve: a quarter to each of two addresses, half to collections."""
    free = max(0, n_files - _RESERVED_FILES)
    return Files(
        n_connections=min(max(free // 4, 16), 4096), n_collections=min(max(free // 2 // _FILES_PER_COLLECTION, 4), 64)
    )


def file_limit(*, is_raised: bool) -> int:
    """Return how many files this process may have open.

    Parameters
    ----------
    is_raised
        First raise the limit as far as it goes. Only for a process that runs nothing else.
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 8192
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if is_raised and soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return most if soft == resource.RLIM_INFINITY else soft


def server_options(n_connections: int) -> tuple[tuple[str, Any], ...]:
    """Return the options of a gRPC server that limit what a connection may cost."""
    return (
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.so_reuseport", 0),  # otherwise a second server could bind the same port unnoticed
        ("grpc.max_allowed_incoming_connections", n_connections),  # of each port; more are closed at once
        ("grpc.max_concurrent_streams", 1000),  # of a connection; gRPC itself refuses more, which costs little
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.max_connection_idle_ms", 300_000),  # clients reconnect with their next call
        ("grpc.max_connection_age_ms", 3_600_000),  # running calls continue; spreads clients after a restart
        ("grpc.keepalive_time_ms", 60_000),  # detects silent peers
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    )
