"""Small servers for tests of the client: generated servicers whose answers are easy to predict."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health, health_pb2_grpc

from fc7 import endpoint
from fc7.async_client import AsyncClient
from fc7.v1 import (
    MAX_MESSAGE_BYTES,
    collection_pb2,
    collection_pb2_grpc,
    common_pb2,
    feature_pb2,
    feature_pb2_grpc,
    head_pb2,
    head_pb2_grpc,
)

PROVENANCE = common_pb2.Provenance(
    digest="d" * 64, model="fake", graph_sha256="a" * 64, recipe_sha256="b" * 64, layer="fc7", transform="none"
)
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
)


def retry_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all attempts of a call that must fail pass in a moment."""
    policy = endpoint._RETRIED["retryPolicy"]
    monkeypatch.setitem(endpoint._RETRIED, "retryPolicy", policy | {"initialBackoff": "0.01s", "maxBackoff": "0.02s"})


def tensor(values: Any) -> common_pb2.Tensor:
    array = np.asarray(values, "<f4")
    return common_pb2.Tensor(dtype="float32", shape=array.shape, data=array.tobytes())


def content(image: common_pb2.Image) -> bytes:
    return image.encoded or image.pixels.data


def feature_of(image: common_pb2.Image) -> list[float]:
    """Return the "feature" of an image: its length, its first and its last byte."""
    data = content(image)
    return [len(data), data[0], data[-1]]


def refusal(image: common_pb2.Image) -> common_pb2.ItemError | None:
    if content(image).startswith(b"bad") or not content(image):
        return common_pb2.ItemError(
            code="INVALID_ARGUMENT", reason="IMAGE_DECODE_ERROR", message="not an image", name="image"
        )
    return None


class Features(feature_pb2_grpc.FeatureServiceServicer):
    def __init__(self) -> None:
        self.requests: list[feature_pb2.ExtractRequest] = []
        self.on_extract: Any = lambda request, context: None
        self.n_streamed = 0
        self.streamed: Any = None  # the last request of a stream
        self.stream_ended = threading.Event()

    def Extract(self, request: feature_pb2.ExtractRequest, context: Any) -> feature_pb2.ExtractResponse:
        self.requests.append(request)
        self.on_extract(request, context)
        good = [feature_of(image) for image in request.images if refusal(image) is None]
        return feature_pb2.ExtractResponse(
            features=tensor(np.reshape(good, (len(good), 3))),
            items=[feature_pb2.ItemResult(error=refusal(image)) for image in request.images],
            provenance=PROVENANCE,
            timing=common_pb2.Timing(decode_s=1.0, queue_s=2.0, compute_s=3.0),
        )

    def StreamExtract(self, requests: Iterator[Any], context: Any) -> Iterator[feature_pb2.StreamExtractResponse]:
        context.add_callback(self.stream_ended.set)
        for request in requests:
            self.n_streamed += 1
            self.streamed = request
            error = refusal(request.image)
            yield feature_pb2.StreamExtractResponse(
                feature=None if error else tensor(feature_of(request.image)),
                error=error,
                provenance=PROVENANCE if self.n_streamed == 1 else None,
            )


class Collections(collection_pb2_grpc.CollectionServiceServicer):
    """One collection "c"; ids begin with "old" where the item was there."""

    def __init__(self) -> None:
        self.n_fetched = 0
        self.upserts: list[collection_pb2.UpsertItemsRequest] = []
        self.inquiries: list[collection_pb2.UpsertItemsRequest] = []  # which name bytes by their digest
        self.knows_digests = True
        self.stored: dict[str, str] = {}  # id -> digest
        self.queries: list[collection_pb2.QueryItemsRequest] = []
        self.pages: list[collection_pb2.ListItemsRequest] = []
        self.ids = [f"i{n}" for n in range(450)]
        self.metric: Any = collection_pb2.METRIC_L2
        self.status: Any = None  # in place of what was done

    def GetCollection(self, request: Any, context: Any) -> collection_pb2.GetCollectionResponse:
        self.n_fetched += 1
        return collection_pb2.GetCollectionResponse(
            collection=collection_pb2.Collection(
                name=request.name, count=len(self.ids), provenance=PROVENANCE, metric=self.metric, dim=3, index="exact"
            )
        )

    def UpsertItems(self, request: Any, context: Any) -> collection_pb2.UpsertItemsResponse:
        if self.knows_digests and any(item.content_sha256 for item in request.items):
            self.inquiries.append(request)
            return self._known(request)
        self.upserts.append(request)
        results = []
        for item in request.items:
            error = None if item.WhichOneof("source") == "vector" else refusal(item.image)
            status = "FAILED" if error else "REPLACED" if item.id.startswith("old") else "ADDED"
            done = self.status or f"UPSERT_STATUS_{status}"
            results.append(collection_pb2.UpsertResult(id=item.id, status=done, error=error))
            self.ids += [] if error or item.id.startswith("old") else [item.id]
        return collection_pb2.UpsertItemsResponse(results=results, count=len(self.ids))

    def DeleteItems(self, request: Any, context: Any) -> collection_pb2.DeleteItemsResponse:
        results = []
        for own in request.ids:
            error = None if own in self.ids else common_pb2.ItemError(reason="NOT_FOUND", code="NOT_FOUND")
            results.append(collection_pb2.DeleteItemResult(id=own, error=error))
        self.ids = [own for own in self.ids if own not in request.ids]
        return collection_pb2.DeleteItemsResponse(results=results, count=len(self.ids))

    def GetItems(self, request: Any, context: Any) -> collection_pb2.GetItemsResponse:
        gone = common_pb2.ItemError(reason="ITEM_NOT_FOUND", code="NOT_FOUND", message="no such item")
        return collection_pb2.GetItemsResponse(
            results=[
                collection_pb2.GetItemResult(item=collection_pb2.Item(id=own, payload_json="{}"))
                if own in self.ids
                else collection_pb2.GetItemResult(error=gone)
                for own in request.ids
            ]
        )

    def _known(self, request: Any) -> collection_pb2.UpsertItemsResponse:
        error = common_pb2.ItemError(code="NOT_FOUND", reason="CONTENT_NOT_STORED", message="send its bytes")
        known = [self.stored.get(item.id, "") == item.content_sha256 for item in request.items]
        return collection_pb2.UpsertItemsResponse(
            results=[
                collection_pb2.UpsertResult(id=item.id, status="UPSERT_STATUS_SKIPPED")
                if is_known
                else collection_pb2.UpsertResult(id=item.id, status="UPSERT_STATUS_FAILED", error=error)
                for item, is_known in zip(request.items, known, strict=True)
            ]
        )

    def QueryItems(self, request: Any, context: Any) -> collection_pb2.QueryItemsResponse:
        self.queries.append(request)
        results = []
        for query in request.queries:
            error = refusal(query.image) if query.WhichOneof("source") == "image" else None
            vector = np.frombuffer(query.vector.values.data, "<f4")
            name = query.id or (f"v{vector[0]:g}" if len(vector) else f"{len(content(query.image))}")
            hit = collection_pb2.Hit(id=name, score=0.5, payload_json='{"a":1}')
            results.append(collection_pb2.QueryResult(error=error, hits=[] if error else [hit]))
        return collection_pb2.QueryItemsResponse(results=results)

    def ListItems(self, request: Any, context: Any) -> collection_pb2.ListItemsResponse:
        self.pages.append(request)
        start = int(request.page_token or 0)
        end = start + (request.page_size or 1000)
        feature = tensor([1, 2, 3]) if request.with_features else None
        return collection_pb2.ListItemsResponse(
            items=[collection_pb2.Item(id=own, payload_json="{}", feature=feature) for own in self.ids[start:end]],
            next_page_token=str(end) if end < len(self.ids) else "",
        )


class Heads(head_pb2_grpc.HeadServiceServicer):
    def __init__(self) -> None:
        self.labels: list[str] = []
        self.plan: Any = None
        self.parts: list[Any] = []
        self.n_calls = 0
        self.is_refused = False
        self.ended = threading.Event()
        self.is_trained = False

    def TrainHead(self, requests: Iterator[Any], context: Any) -> Iterator[head_pb2.TrainHeadResponse]:
        self.n_calls += 1
        if self.is_refused:
            context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        seen = 0
        try:
            plan = self.plan = next(requests).plan
            for request in requests:
                failed = [
                    head_pb2.FailedImage(index=seen + i, error=refusal(image))
                    for i, image in enumerate(request.images.images)
                    if refusal(image)
                ]
                seen += len(request.images.images) + len(request.features.labels)
                self.labels += [*request.images.labels, *request.features.labels]
                self.parts.append(request)
                yield head_pb2.TrainHeadResponse(progress=head_pb2.TrainProgress(extracted=seen, failed=failed))
            # As the service: this cannot be sent to a caller who broke off, whose end may look like a regular one here.
            yield head_pb2.TrainHeadResponse(progress=head_pb2.TrainProgress(extracted=seen, stage="fit"))
            self.is_trained = True
        finally:
            self.ended.set()
        classes = sorted(set(self.labels))
        yield head_pb2.TrainHeadResponse(head=head_pb2.Head(name=plan.name, version=1, classes=classes, count=seen))

    def Classify(self, request: Any, context: Any) -> head_pb2.ClassifyResponse:
        return head_pb2.ClassifyResponse(
            results=[
                head_pb2.ClassifyResult(error=refusal(image))
                if refusal(image)
                else head_pb2.ClassifyResult(top=[head_pb2.Prediction(label=str(len(content(image))), probability=0.9)])
                for image in request.images
            ]
        )


class Fake:
    """A server on a port of loopback, with its servicers at hand."""

    def __init__(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> None:
        self.features, self.collections, self.heads = Features(), Collections(), Heads()
        self._pool = ThreadPoolExecutor(8)
        self._server = grpc.server(self._pool, options=OPTIONS)
        feature_pb2_grpc.add_FeatureServiceServicer_to_server(self.features, self._server)
        collection_pb2_grpc.add_CollectionServiceServicer_to_server(self.collections, self._server)
        head_pb2_grpc.add_HeadServiceServicer_to_server(self.heads, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), self._server)
        address = f"127.0.0.1:{port}"
        if credentials:
            self.port = self._server.add_secure_port(address, credentials)
        else:
            self.port = self._server.add_insecure_port(address)
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def kill(self) -> None:
        """End at once, with the calls under way."""
        self._server.stop(None).wait()
        self._pool.shutdown(wait=False)

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


@contextmanager
def aio_server(interceptor: grpc.aio.ServerInterceptor, features: Any) -> Iterator[str]:
    """Serve ``features`` behind ``interceptor`` on an event loop of its own; yield the address."""
    started: dict[str, Any] = {}
    is_ready = threading.Event()

    async def serve() -> None:
        server = grpc.aio.server(interceptors=(interceptor,), options=OPTIONS)
        feature_pb2_grpc.add_FeatureServiceServicer_to_server(features, server)
        head_pb2_grpc.add_HeadServiceServicer_to_server(Heads(), server)
        health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
        started["port"] = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        started["loop"], started["stop"] = asyncio.get_running_loop(), asyncio.Event()
        is_ready.set()
        await started["stop"].wait()
        await server.stop(None)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert is_ready.wait(10)
    try:
        yield f"127.0.0.1:{started['port']}"
    finally:
        started["loop"].call_soon_threadsafe(started["stop"].set)
        thread.join()


class Awaited:
    """An asynchronous client, each of whose methods is run to its end: to hold both clients to one test."""

    def __init__(self, target: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._target, self._loop = target, loop

    @classmethod
    def connect(cls, address: str, **values: Any) -> Awaited:
        return cls(AsyncClient(address, **values), asyncio.new_event_loop())

    def __enter__(self) -> Awaited:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        self._loop.close()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            result = value(*args, **kwargs)
            if hasattr(result, "__aiter__"):
                return self._each(result)
            return self._wrap(self._loop.run_until_complete(result))

        return call

    def _wrap(self, result: Any) -> Any:
        if isinstance(result, list):
            return [self._wrap(one) for one in result]
        return Awaited(result, self._loop) if type(result).__name__ == "AsyncCollection" else result

    def _each(self, values: AsyncIterator[Any]) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._loop.run_until_complete(anext(values))
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run_until_complete(values.aclose())
