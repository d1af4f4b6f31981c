"""Nothing about one collection delays another, and a search waits for no writer."""

from __future__ import annotations

import sqlite3
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fc7
from fc7_service.collections import store
from fc7_service.collections.collection import Collection
from fc7_service.collections.commit_counter import CommitCounter
from fc7_service.collections.registry import Collections
from fc7_service.collections.searcher import Searcher
from fc7_service.collections.store import Store
from fc7_service.collections.summary import Summary
from fc7_service.rpc import suggest_items
from servers import WAIT_S, jpeg

N_CALLS = 40  # more than there are threads for reads


@pytest.fixture
def client(tiny_bundle: Path, tmp_path: Path) -> Iterator[fc7.Client]:
    """A server in this process with collections "a" and "b" of a few items; "a" has been searched."""
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client:
        for name in "ab":
            client.create_collection(name).add([jpeg(i) for i in range(4)], ids=list("0123"))
        client.collection("a").search(jpeg(1), k=1)
        yield client


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * N_CALLS) as threads:
        yield threads


def test_first_searches_of_one_collection_share_a_build_and_hold_up_no_other(
    client: fc7.Client, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, builds, rebuild = threading.Event(), [], Searcher._rebuild

    def slow(self: Searcher) -> None:
        builds.append(self._name)
        assert go_on.wait(WAIT_S)
        rebuild(self)

    monkeypatch.setattr(Searcher, "_rebuild", slow)
    waiting = [threads.submit(client.collection("b", check=False).search, id="1", k=1) for _ in range(N_CALLS)]
    try:
        a = client.collection("a")
        assert [hit.id for hit in a.search(jpeg(2), k=1)] == ["2"]
        assert a.add([jpeg(9)], ids=["9"])[0].status == "added"
        assert [hit.id for hit in a.search(jpeg(9), k=1)] == ["9"]
        assert not any(call.done() for call in waiting)
    finally:
        go_on.set()
    assert {len(call.result(WAIT_S)) for call in waiting} == {1}
    assert builds == ["b"]


def test_opening_one_collection_holds_up_no_other(
    client: fc7.Client, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path, tmp_path: Path
) -> None:
    go_on, opened, check = threading.Event(), [], Store.check

    def slow(self: Store) -> None:
        opened.append(self.name)
        assert self.name == "a" or go_on.wait(WAIT_S)
        check(self)

    client.close()
    monkeypatch.setattr(Store, "check", slow)
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as again:
        waiting = [threads.submit(again.collection, "b") for _ in range(N_CALLS)]
        try:
            assert [hit.id for hit in again.collection("a").search(jpeg(2), k=1)] == ["2"]
        finally:
            go_on.set()
        assert {call.result(WAIT_S).name for call in waiting} == {"b"}
    assert sorted(opened) == ["a", "b"]


def test_writers_of_one_collection_hold_up_no_other_and_no_search(
    client: fc7.Client, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, acknowledge = threading.Event(), CommitCounter.acknowledge

    def slow(self: CommitCounter, connection: sqlite3.Connection) -> None:
        assert self._name == "a" or go_on.wait(WAIT_S)
        acknowledge(self, connection)

    client.collection("b").search(jpeg(1), k=1)
    monkeypatch.setattr(CommitCounter, "acknowledge", slow)
    b = client.collection("b")
    waiting: list[Any] = [threads.submit(b.add, [jpeg(10 + i)], ids=[f"n{i}"]) for i in range(N_CALLS)]
    waiting += [threads.submit(b.remove, ["0"])]
    try:
        a = client.collection("a")
        assert a.add([jpeg(9)], ids=["9"])[0].status == "added"
        assert a.remove(["0"])[0].error is None
        assert [hit.id for hit in a.search(jpeg(9), k=1)] == ["9"]
        assert [hit.id for hit in b.search(jpeg(2), k=1)] == ["2"]
        assert not all(call.done() for call in waiting)
    finally:
        go_on.set()
    assert all(one.error is None for call in waiting for one in call.result(WAIT_S))
    assert len(b) == 4 + N_CALLS - 1


def test_jobs_of_one_collection_hold_up_no_other(
    client: fc7.Client, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, begun = threading.Event(), threading.Event()
    look, groups = suggest_items._look, Collection.duplicates

    def wait(name: str) -> None:
        if name == "b":
            begun.set()
            assert go_on.wait(WAIT_S)

    def slow_look(collection: Collection, *args: Any) -> Any:
        wait(collection.name)
        return look(collection, *args)

    def slow_groups(self: Collection, *args: Any) -> Any:
        wait(self.name)
        return groups(self, *args)

    monkeypatch.setattr(suggest_items, "_look", slow_look)
    monkeypatch.setattr(Collection, "duplicates", slow_groups)
    b = client.collection("b")
    waiting: list[Any] = [threads.submit(list, b.duplicates()) for _ in range(N_CALLS // 2)]
    waiting += [threads.submit(client.suggest_items, "b", head="none", n=1) for _ in range(N_CALLS // 2)]
    try:
        assert begun.wait(WAIT_S)
        a = client.collection("a")
        assert list(a.duplicates(min_score=1.0)) == []
        assert len(client.suggest_items("a", head="none", n=2)) == 2
        assert [hit.id for hit in b.search(jpeg(2), k=1)] == ["2"]
        assert b.add([jpeg(9)], ids=["9"])[0].status == "added"
        assert [one.name for one in client.collections()] == ["a", "b"]
        assert client.heads() == []
        assert not any(call.done() for call in waiting)
    finally:
        go_on.set()
    for call in waiting:
        call.result(WAIT_S)


def test_a_list_waits_for_no_conversion(
    tmp_path: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(Path(__file__).parent / "release_0_1.zip") as archive:
        archive.extractall(tmp_path)
    go_on, migrate = threading.Event(), store.migrate

    def slow(folder: Path) -> None:
        assert go_on.wait(WAIT_S)
        migrate(folder)

    monkeypatch.setattr(store, "migrate", slow)
    library = Collections(tmp_path)
    try:
        first = library.list()
        assert [one.name for one in first] == ["closed", "killed"]
        opening = threads.submit(library.get, "closed")
        assert library.list() == first
        assert not opening.done()
    finally:
        go_on.set()
    assert isinstance(first[0], Summary)
    assert opening.result(WAIT_S).count == first[0].count == 28
    assert library.list() == first
    library.close()


def test_a_search_that_a_commit_overtakes_waits_for_its_publication_and_for_no_transaction(
    tmp_path: Path, tiny_bundle: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fc7_service.bundle.folder import open_bundle
    from fc7_service.collections.rows import Item

    library = Collections(tmp_path)
    photos = library.create("photos", open_bundle(tiny_bundle).provenance("fc7"), 8)
    rows = np.eye(8, dtype=np.float32) + 0.1
    photos.upsert([Item(str(i), "", {}, rows[i]) for i in range(8)])
    photos.search(rows[:1], 1)
    by_rid = Store.by_rid
    in_transaction, end = threading.Event(), threading.Event()

    def overtaken(self: Store, *args: Any, **options: Any) -> Any:
        monkeypatch.setattr(Store, "by_rid", by_rid)
        photos.delete(["0"])  # after the index has answered, before the rows are read

        def hold() -> None:
            with photos._writing:
                in_transaction.set()
                end.wait(WAIT_S)

        threads.submit(hold)
        in_transaction.wait(WAIT_S)
        return by_rid(self, *args, **options)

    monkeypatch.setattr(Store, "by_rid", overtaken)
    try:
        hits = threads.submit(photos.search, rows[:1], 8).result(WAIT_S)[0]
    finally:
        end.set()
    assert sorted(hit.id for hit in hits) == list("1234567")
    library.close()
