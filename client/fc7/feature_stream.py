"""Streams of features, as `extract_stream` returns them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7._operations.feature import StreamFacts
from fc7.errors import Fc7Error
from fc7.results import Provenance


class FeatureStream(Iterator[NDArray[np.float32] | Fc7Error]):
    """An iterator over features float32 (D,) or errors. `Client.extract_stream` returns it."""

    def __init__(self, answers: Generator[Any, None, None], facts: StreamFacts) -> None:
        self._answers, self._facts = answers, facts

    @property
    def provenance(self) -> Provenance | None:
        """What made the features. None before the first answer."""
        return self._facts.provenance

    def __next__(self) -> NDArray[np.float32] | Fc7Error:
        feature: NDArray[np.float32] | Fc7Error = next(self._answers)
        return feature

    def close(self) -> None:
        """End the stream, here and on the server."""
        self._answers.close()


class AsyncFeatureStream(AsyncIterator[NDArray[np.float32] | Fc7Error]):
    """An asynchronous iterator over features float32 (D,) or errors. See `FeatureStream`."""

    def __init__(self, answers: AsyncGenerator[Any, None], facts: StreamFacts) -> None:
        self._answers, self._facts = answers, facts

    @property
    def provenance(self) -> Provenance | None:
        """What made the features. None before the first answer."""
        return self._facts.provenance

    async def __anext__(self) -> NDArray[np.float32] | Fc7Error:
        feature: NDArray[np.float32] | Fc7Error = await anext(self._answers)
        return feature

    async def aclose(self) -> None:
        """End the stream, here and on the server."""
        await self._answers.aclose()
