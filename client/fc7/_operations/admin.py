"""AdminService and the standard health service."""

from __future__ import annotations

from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from fc7._operations.steps import Operation, SendRequest
from fc7.errors import DeadlineExceeded, Unavailable
from fc7.results import ServerInfo
from fc7.v1 import admin_pb2 as pb
from fc7.v1.admin_pb2_grpc import AdminServiceStub

HEALTH_CHECK = SendRequest(HealthStub, "Check", health_pb2.HealthCheckRequest())
SERVING = health_pb2.HealthCheckResponse.SERVING


def get_server_info() -> Operation[ServerInfo]:
    """Return the server's versions, device, limits and data folder."""
    info: pb.GetServerInfoResponse = yield SendRequest(AdminServiceStub, "GetServerInfo", pb.GetServerInfoRequest())
    return ServerInfo(
        version=info.version,
        libraries=dict(info.libraries),
        device=info.device,
        provider=info.provider,
        threads=info.threads,
        data=info.data,
        max_message_bytes=info.max_message_bytes,
        models=list(info.models),
        pid=info.pid,
        uptime_s=info.uptime_s,
        telemetry=info.telemetry or "unknown: this server does not say",
        max_calls=info.max_calls,
        running_calls=dict(info.running_calls),
        training=list(info.training),
        building=list(info.building),
    )


def check_ready() -> Operation[None]:
    """Raise `Unavailable` unless the server takes calls."""
    response: health_pb2.HealthCheckResponse = yield HEALTH_CHECK
    if response.status != SERVING:
        raise Unavailable("the server is starting or stopping. Try again in a few seconds")


def check_health() -> Operation[bool]:
    """Return whether the server takes calls."""
    try:
        yield from check_ready()
    except (Unavailable, DeadlineExceeded):
        return False
    return True
