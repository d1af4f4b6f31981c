"""Parsing requests and writing answers: small ones at once, large ones in a thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fc7.errors import InvalidArgument, Reason
from fc7_service.rpc.codec import Codec
from fc7_service.rpc.message_limits import MAX_ITEMS

_INLINE_BYTES = 64 * 2**10  # parsing a smaller message takes less time than waking a thread


class MessageThreads:
    """The threads that parse and write large messages, so that the event loop does not wait for them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="fc7-parse")

    def close(self) -> None:
        """End the threads. No call may be running."""
        self._threads.shutdown()

    async def parse(self, codec: Codec, kind: Any, data: bytes) -> Any:
        """Return the message of ``data``; a large one is parsed in a thread."""
        if len(data) <= _INLINE_BYTES:
            return _parse(codec, kind, data)
        return await asyncio.get_running_loop().run_in_executor(self._threads, _parse, codec, kind, data)

    async def write(self, codec: Codec, answer: Any) -> bytes:
        """Return the bytes of an answer; a large one is written in a thread."""
        if answer.ByteSize() <= _INLINE_BYTES:
            return codec.write(answer)
        return await asyncio.get_running_loop().run_in_executor(self._threads, codec.write, answer)


def _parse(codec: Codec, kind: Any, data: bytes) -> Any:
    """Return the message of ``data``, unless it holds too many items."""
    request = codec.read(kind, data)
    if (count := count_items(request)) > MAX_ITEMS:
        raise InvalidArgument(
            f"the request holds {count} items, but the limit is {MAX_ITEMS}. Send it in parts",
            reason=Reason.TOO_MANY_ITEMS,
        )
    return request


def count_items(request: Any) -> int:
    """Return the number of items of a request: the length of its longest repeated field, or of one a level down."""
    sizes = [0]
    for field, value in request.ListFields() if hasattr(request, "ListFields") else ():
        if field.is_repeated:
            sizes.append(len(value))
        elif field.message_type is not None:
            sizes.extend(len(inner) for part, inner in value.ListFields() if part.is_repeated)
    return max(sizes)
