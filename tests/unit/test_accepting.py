"""The server asks gRPC for several calls at once, and answers all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from fc7_service.accepting import _AT_ONCE, make_server
from fc7_service.rpc.method_handlers import MethodHandlers

N_CALLS = 3 * _AT_ONCE


async def test_calls_are_asked_for_in_advance_and_every_one_is_answered_by_its_method() -> None:
    n_running, all_came = 0, asyncio.Event()

    async def answer(request: bytes, context: Any) -> bytes:
        nonlocal n_running
        n_running += 1
        if n_running == N_CALLS:
            all_came.set()
        await all_came.wait()
        return request[::-1]

    methods = MethodHandlers()
    methods.add_registered_method_handlers("a.B", {"C": grpc.unary_unary_rpc_method_handler(answer)})
    server = make_server(options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((methods,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/a.B/C")
        found = await asyncio.gather(*(call(b"%04d" % i) for i in range(N_CALLS)))
        assert found == [(b"%04d" % i)[::-1] for i in range(N_CALLS)]
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await channel.unary_unary("/a.B/D")(b"")
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    # With a gRPC that asks in another way, this fails: calls would queue up again under overload.
    assert len(server._server._asked) == _AT_ONCE - 1
    await server.stop(None)
