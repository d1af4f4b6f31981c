"""A collection as a container, its count, many queries in one call; features on streams and in trainings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from client_fakes import PROVENANCE, Awaited, Fake

import fc7
from fc7._operations.collection import delete_items
from fc7.results import CollectionFacts
from fc7.v1 import collection_pb2


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as server:
        yield server


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, fake: Fake) -> Iterator[Any]:
    connect = fc7.connect if request.param == "sync" else Awaited.connect
    with connect(fake.address) as one:
        yield one


def features_of(client: Any, count: int) -> fc7.Features:
    features: fc7.Features = client.extract([bytes([i % 250 + 1]) * (i + 1) for i in range(count)])
    return features


def test_the_count_is_true_after_add_and_remove(client: Any, fake: Fake) -> None:
    fake.collections.ids = []
    photos = client.collection("c")
    assert photos.count == 0
    photos.add([b"1", b"2", b"3", b"4", b"5"], ids=["a", "b", "c", "d", "e"])
    assert photos.count == 5
    photos.remove(["a", "nobody"])
    assert photos.count == 4
    fake.collections.ids.append("of another client")
    photos.refresh()
    assert photos.count == 5
    assert fake.collections.n_fetched == 2


def test_a_collection_is_a_container(fake: Fake) -> None:
    with fc7.connect(fake.address) as client:
        photos = client.collection("c")
        fake.collections.ids = ["a", "b"]
        assert len(photos) == 2
        assert "a" in photos
        assert "z" not in photos
        assert 7 not in photos  # type: ignore[comparison-overlap]
        assert [item.id for item in photos] == ["a", "b"]
        fake.collections.ids = []
        n_fetched = fake.collections.n_fetched
        assert photos  # a collection is true, also an empty one
        assert fake.collections.n_fetched == n_fetched
        assert list(photos) == []


async def test_a_collection_is_iterated_with_await(fake: Fake) -> None:
    async with fc7.AsyncClient(fake.address) as client:
        photos = await client.collection("c")
        assert [item.id async for item in photos] == fake.collections.ids


def test_a_collection_can_be_bound_without_asking_for_it(client: Any, fake: Fake) -> None:
    photos = client.collection("c", check=False)
    assert photos.search(b"image")[0].id == "5"
    assert photos.add(b"image", ids=["x"])[0].status == "added"
    assert sum(1 for _ in photos.items()) == 451
    assert fake.collections.n_fetched == 0
    assert photos.get(["x"], with_features=True)[0].id == "x"
    assert fake.collections.n_fetched == 1  # how large a feature is
    photos.refresh()
    assert photos.provenance.model == "fake"


def test_many_ids_and_features_are_sought_in_one_call(client: Any, fake: Fake) -> None:
    photos, features = client.collection("c"), features_of(client, 70)
    assert [found[0].id for found in photos.search_many(features=features)] == [f"v{i + 1}" for i in range(70)]
    found = photos.search_many(ids=["a", 7, "b"], k=3)
    assert [one[0].id if isinstance(one, list) else type(one) for one in found] == ["a", fc7.InvalidArgument, "b"]
    assert [len(request.queries) for request in fake.collections.queries] == [70, 3]
    assert fake.collections.queries[0].queries[0].vector.provenance_digest == PROVENANCE.digest
    photos.search_many(features=features, k=1000)
    assert max(len(request.queries) for request in fake.collections.queries[2:]) == 10  # an answer stays small
    for wrong in ({}, {"images": [b"1"], "ids": ["a"]}, {"ids": "abc"}):
        with pytest.raises(fc7.InvalidArgument):
            photos.search_many(**wrong)


def test_a_stream_says_what_made_its_features(fake: Fake) -> None:
    with fc7.connect(fake.address) as client:
        stream = client.extract_stream([b"1", b"bad", b"3"], ensemble=["a", "b"])
        assert stream.provenance is None
        assert [isinstance(one, fc7.Fc7Error) for one in stream] == [False, True, False]
        assert stream.provenance is not None
        assert stream.provenance.digest == PROVENANCE.digest
        assert list(fake.features.streamed.ensemble) == ["a", "b"]

    async def awaited() -> None:
        async with fc7.AsyncClient(fake.address) as client:
            fake.features.n_streamed = 0
            stream = client.extract_stream([b"1"])
            assert [one[0] async for one in stream if not isinstance(one, fc7.Fc7Error)] == [1]
            assert stream.provenance is not None

    asyncio.run(awaited())


def test_a_stream_raises_or_skips_what_cannot_be_read(client: Any) -> None:
    images = [b"12", b"bad", b"345"]
    assert [one[0] for one in client.extract_stream(images, on_error="skip")] == [2, 3]
    stream = client.extract_stream(images, on_error="raise")
    assert next(stream)[0] == 2
    with pytest.raises(fc7.ImageDecodeError, match=r"^image 1: not an image") as caught:
        next(stream)
    assert caught.value.index == 1
    with pytest.raises(fc7.InvalidArgument, match="'yield', 'raise' or 'skip'"):
        list(client.extract_stream(images, on_error="ignore"))


def test_a_head_is_trained_on_features(client: Any, fake: Fake) -> None:
    features = features_of(client, 1100)
    labels = [f"l{i % 3}" for i in range(1100)]
    done: list[int] = []
    head = client.train_head("h", features=features, labels=labels, report=done.append)
    assert (head.classes, head.count, fake.heads.labels) == (["l0", "l1", "l2"], 1100, labels)
    assert fake.heads.plan.provenance.digest == PROVENANCE.digest
    sent = [np.frombuffer(part.features.values.data, "<f4").reshape(-1, 3) for part in fake.heads.parts]
    assert [len(part) for part in sent] == [1024, 76]
    np.testing.assert_array_equal(np.concatenate(sent), features.values)
    with pytest.raises(fc7.InvalidArgument, match="labels ends after 2"):
        client.train_head("h", features=features, labels=["a", "b"])
    for wrong in ({"features": features}, {"features": features, "labels": labels, "collection": "c"}):
        with pytest.raises(fc7.InvalidArgument, match="train_head takes"):
            client.train_head("h", **wrong)
    with pytest.raises(fc7.InvalidArgument, match="Leave out layer= and model="):
        client.train_head("h", features=features, labels=labels, model="m")


def test_what_a_filter_deleted_is_told_before_a_later_part_fails() -> None:
    facts = CollectionFacts("c", 9, fc7.Provenance(*"abcdefg"), "cosine", 3, "exact", "")
    told: list[str] = []
    operation = delete_items(facts, None, "n = 1", lambda item: told.append(item.id))
    next(operation)
    results = [collection_pb2.DeleteItemResult(id=own) for own in "ab"]
    answer = collection_pb2.DeleteItemsResponse(
        results=results, count=7, more=True, filtered=True, next_page_token="there"
    )
    request: Any = operation.send(answer)
    assert request.request.page_token == "there"
    with pytest.raises(fc7.Unavailable):
        operation.throw(fc7.Unavailable("gone"))
    assert told == ["a", "b"]
    assert facts.count == 7
