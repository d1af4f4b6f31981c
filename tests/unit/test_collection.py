"""Collections: what they take, what they answer, how they live on."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fc7.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import snapshot
from fc7_service.collections.database import connect
from fc7_service.collections.item_rules import check_id
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item, StoredItem

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
DIM = 8


def item(id, vector=None, content=None, **payload):
    content = hashlib.sha256((content or id).encode()).hexdigest()
    if vector is None:
        vector = np.random.default_rng(int(content[:8], 16)).normal(size=DIM)
    return Item(id, content, payload, np.asarray(vector, np.float32))


@pytest.fixture
def library(tmp_path):
    library = Collections(tmp_path / "collections")
    yield library
    library.close()


@pytest.fixture
def photos(library):
    return library.create("photos", PROVENANCE, DIM)


def ids(hits):
    return [[hit.id for hit in row] for row in hits]


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.005)


def test_upsert_says_what_it_did(photos):
    assert photos.upsert([item("a", n=1), item("b")]) == ["added", "added"]
    assert photos.upsert([item("a", n=1), item("b", n=2), item("c")]) == ["skipped", "replaced", "added"]
    assert photos.upsert([item("a", content="other", n=1)]) == ["replaced"]
    assert photos.upsert([item("a", content="other", n=True)]) == ["replaced"]  # 1 == True in Python, not in JSON
    assert photos.count == 3
    (stored,) = photos.get(["a"])
    assert isinstance(stored, StoredItem)
    assert (stored.content_sha256, stored.payload) == (hashlib.sha256(b"other").hexdigest(), {"n": True})


def test_the_last_of_one_id_in_a_batch_wins(photos):
    assert photos.upsert([item("a", n=1), item("a", n=2)]) == ["added", "replaced"]
    assert photos.count == 1
    assert photos.get(["a"])[0].payload == {"n": 2}


def test_get_and_delete_answer_one_by_one(photos):
    photos.upsert([item("a", [1] * 8), item("b")])
    found, missing = photos.get(["a", "nope"], True)
    np.testing.assert_array_equal(found.vector, np.ones(8, np.float32))
    assert isinstance(missing, NotFound)
    assert photos.get(["a"])[0].vector is None
    assert photos.delete(["nope", "a", "a"]) == [False, True, False]
    assert photos.count == 1
    assert isinstance(photos.get(["a"])[0], NotFound)


def test_pages_run_in_the_order_of_first_insertion(photos):
    photos.upsert([item(f"i{n}") for n in range(5)])
    photos.upsert([item("i1", content="new")])  # keeps its place
    photos.delete(["i3"])
    photos.upsert([item("i3")])  # comes back at the end
    seen, after = [], 0
    while after is not None:
        page, after = photos.page(after, 2)
        seen += [found.id for found in page]
        assert len(page) in (1, 2)
    assert seen == ["i0", "i1", "i2", "i4", "i3"]
    assert photos.page(10**40, 5) == ([], None)


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_search(library, metric):
    photos = library.create("p", PROVENANCE, DIM, metric)
    assert photos.search(np.ones((2, DIM), np.float32), 3) == [[], []]
    base = np.eye(DIM, dtype=np.float32) + 0.5
    photos.upsert([item(f"i{n}", base[n], n=n) for n in range(DIM)])
    hits = photos.search(base[2:3] * 2 if metric == "cosine" else base[2:3], 3)[0]
    assert hits[0].id == "i2"
    assert hits[0].payload == {"n": 2}
    assert hits[0].score == pytest.approx({"cosine": 1.0, "l2": 0.0, "dot": float(base[2] @ base[2])}[metric])
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert ids([hits]) == [["i2", "i0", "i1"]]  # equal scores in the order of insertion
    assert len(photos.search(base[:1], 2**31 - 1)[0]) == DIM
    own, other = photos.search(base[:2], 100, ["i0", None])
    assert len(own) == DIM - 1
    assert "i0" not in ids([own])[0]
    assert len(other) == DIM
    assert len(photos.search(base[:1], 2, ["i0"])[0]) == 2


def test_ties_are_stable_across_tail_and_index(photos, monkeypatch):
    same = np.ones(DIM)
    photos.upsert([item(f"i{n}", same, content=str(n)) for n in range(30)])
    first = ids(photos.search(np.ones((1, DIM), np.float32), 5))
    assert first == [["i0", "i1", "i2", "i3", "i4"]]
    photos.upsert([item("i2", same, content="again")])  # now in the tail, at its old place
    assert ids(photos.search(np.ones((1, DIM), np.float32), 5)) == first
    assert ids(photos.search(np.ones((5, DIM), np.float32), 5)) == first * 5


def test_what_is_no_vector(photos, library):
    for bad in (np.ones(7), np.ones((1, 8)), np.zeros(8), np.full(8, np.nan), np.full(8, np.inf), np.full(8, 1e30)):
        with pytest.raises(InvalidArgument, match="vector"):
            photos.check_vector(bad.astype(np.float32))
        with pytest.raises(InvalidArgument):
            photos.upsert([item("good"), Item("a", "c", {}, bad.astype(np.float32))])
    assert photos.count == 0
    with pytest.raises(InvalidArgument, match="all zeros"):
        photos.search(np.zeros((1, DIM), np.float32), 1)
    with pytest.raises(InvalidArgument, match=r"k must be at least 1 \(got 0\)"):
        photos.search(np.ones((1, DIM), np.float32), 0)
    library.create("plain", PROVENANCE, DIM, "l2").check_vector(np.zeros(DIM, np.float32))


def test_numbers_beyond_fp16_are_kept(photos):
    for factor in (1e-30, 1e-6, 1.0, 1e5, 1e16):
        vector = (np.arange(1, 9) * factor).astype(np.float32)
        photos.upsert([item("a", vector, content=str(factor))])
        kept = photos.get(["a"], True)[0].vector
        np.testing.assert_allclose(kept, vector, rtol=1e-3)
        assert photos.search(vector[None], 1)[0][0].score == pytest.approx(1, abs=1e-6)
    photos.upsert([item(f"i{n}") for n in range(20)])
    assert ids(photos.search(vector[None], 1)) == [["a"]]


@pytest.mark.parametrize("bad", ["", "x" * 1025, "é" * 513, "a\nb", "a\0b", "a\x7f", "a\x85", "\ud800"])
def test_what_is_no_id(bad):
    with pytest.raises(InvalidArgument, match="id"):
        check_id(bad)


def test_what_is_an_id(photos):
    strange = ["x" * 1024, "é" * 512, "../up", "a b", "e\u0301", "é", "🙂", "'; drop table items; --", "A", "a"]
    for good in strange:
        check_id(good)
    photos.upsert([item(name) for name in strange])
    assert [found.id for found in photos.get(strange)] == strange


def test_labelled(photos):
    photos.upsert(
        [item("a", [1] * 8, label="x"), item("b", [3] * 8, label=3), item("c"), item("d", [2] * 8, label="3")]
    )
    photos.upsert([item("e", label=None)])
    features, labels, groups, ids, _ = photos.labelled_features("label", 3)
    assert (features.dtype, labels) == (np.float16, ["x", "3", "3"])  # a whole number is its text
    np.testing.assert_array_equal(features, [[1] * 8, [3] * 8, [2] * 8])
    assert groups == [hashlib.sha256(name).hexdigest() for name in (b"a", b"b", b"d")]
    assert ids == ["a", "b", "d"]
    with pytest.raises(InvalidArgument, match="'place'"):
        photos.labelled_features("place", 2)
    with pytest.raises(ResourceExhausted, match="'photos' has more than 1 items with a label in 'label'"):
        photos.labelled_features("label", 1)
    for label in (True, 1.5, ["x"], {"x": 1}):
        photos.upsert([item("e", label=label)])
        with pytest.raises(InvalidArgument, match=r"item 'e' .* neither text nor a whole number") as refused:
            photos.labelled_features("label", 4)
        assert refused.value.reason == "INVALID_LABEL"


def test_create_get_list_delete(library):
    library.create("b", PROVENANCE, DIM)
    made = library.create("a", PROVENANCE, DIM, "l2")
    with pytest.raises(AlreadyExists):
        library.create("a", PROVENANCE, DIM)
    assert [c.name for c in library.list()] == ["a", "b"]
    assert library.get("a") is made
    assert (made.provenance, made.metric, made.dim, made.count, made.index_name) == (PROVENANCE, "l2", DIM, 0, "exact")
    library.delete("a")
    for call in (library.get, library.delete):
        with pytest.raises(NotFound):
            call("a")
    with pytest.raises(NotFound, match="closed"):
        made.upsert([item("x")])
    with pytest.raises(NotFound, match="closed"):
        made.get(["x"])
    assert library.create("a", PROVENANCE, 4).dim == 4


@pytest.fixture
def slowly_closed(photos, monkeypatch):
    """Events: somebody closes "photos"; let him go on."""
    is_closing, go_on, close = threading.Event(), threading.Event(), photos.close

    def wait_and_close():
        is_closing.set()
        assert go_on.wait(30)
        close()

    monkeypatch.setattr(photos, "close", wait_and_close)
    yield is_closing, go_on
    go_on.set()


def test_a_slow_deletion_holds_up_nobody(library, slowly_closed):
    other = library.create("other", PROVENANCE, DIM)
    is_closing, go_on = slowly_closed
    with ThreadPoolExecutor(2) as threads:
        deletion = threads.submit(library.delete, "photos")
        assert is_closing.wait(30)
        assert threads.submit(library.get, "other").result(10) is other
        assert [c.name for c in library.list()] == ["other"]
        for call in (library.get, library.delete):
            with pytest.raises(NotFound):
                call("photos")
        with pytest.raises(AlreadyExists, match="deleted"):
            library.create("photos", PROVENANCE, DIM)  # its files are still there
        go_on.set()
        deletion.result(30)
    assert library.create("photos", PROVENANCE, 4).dim == 4


def test_a_deletion_that_fails_leaves_the_collection(library, photos, tmp_path, monkeypatch):
    photos.upsert([item("a")])
    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", lambda *args: (_ for _ in ()).throw(PermissionError("no")))
        with pytest.raises(Unavailable, match="cannot be deleted"):
            library.delete("photos")
    assert library.get("photos").count == 1


def test_setting_a_damaged_collection_aside_holds_up_nobody(library, photos, slowly_closed, monkeypatch):
    def find_damage():
        raise DataLoss("photos is damaged")

    other = library.create("other", PROVENANCE, DIM)
    is_closing, go_on = slowly_closed
    monkeypatch.setattr(photos, "check", find_damage)
    with ThreadPoolExecutor(2) as threads:
        finding = threads.submit(library.get, "photos")
        assert is_closing.wait(30)
        assert threads.submit(library.get, "other").result(10) is other
        go_on.set()
        with pytest.raises(DataLoss, match="set aside"):
            finding.result(30)
    with pytest.raises(DataLoss, match="set aside"):
        library.get("photos")


def test_a_reader_inside_neither_holds_up_a_deletion_nor_loses_its_rows(library, monkeypatch):
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=3600))
    photos = library.create("photos", PROVENANCE, DIM)
    photos.upsert([item(f"i{n}") for n in range(50)])
    with photos._store.read_all() as (count, rows):
        seen = [next(rows)]
        photos.upsert([item("more")])  # a log that cannot be folded in under the reader
        library.delete("photos")  # where it waited for the reader, it would wait for an hour
        library.create("photos", PROVENANCE, DIM).upsert([item("new")])
        assert len([*seen, *rows]) == count == 50
    assert library.get("photos").count == 1


def test_a_read_that_a_deletion_overtakes_finds_nothing(library, photos, monkeypatch):
    """SQLite opens its files with the first statement, and then says that the disk fails."""

    def overtaken(path, mode):
        library.delete("photos")
        return connect(path, mode)

    monkeypatch.setattr(photos._store._readers, "_idle", [])
    monkeypatch.setattr("fc7_service.collections.readers.connect", overtaken)
    with pytest.raises(NotFound, match="deleted"):
        photos.get(["a"])


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "a b", "é", "x" * 65, "a\n", "a\0"])
def test_what_is_no_name(library, name):
    for call in (library.get, library.delete, lambda n: library.create(n, PROVENANCE, DIM)):
        with pytest.raises(InvalidArgument):
            call(name)


def test_a_reopened_library_is_the_same(tmp_path):
    library = Collections(tmp_path)
    photos = library.create("photos", PROVENANCE, DIM)
    photos.upsert([item(f"i{n}", n=n) for n in range(50)])
    photos.delete(["i7"])
    query = np.ones((1, DIM), np.float32)
    before = photos.search(query, 50)
    library.close()
    assert not list((tmp_path / "photos").glob("*-wal"))
    library = Collections(tmp_path)
    assert library.get("photos").search(query, 50) == before
    assert len(before[0]) == library.get("photos").count == 49
    library.close()


def test_a_copy_made_by_sqlite_is_a_backup(library, photos, tmp_path):
    photos.upsert([item(f"i{n}") for n in range(50)])
    photos.delete([f"i{n}" for n in range(20)])
    restored = tmp_path / "restored" / "photos"
    restored.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(tmp_path / "collections" / "photos" / "collection.db")) as connection:
        connection.execute("VACUUM INTO ?", (str(restored / "collection.db"),))
    other = Collections(tmp_path / "restored")
    query = np.ones((1, DIM), np.float32)
    assert other.get("photos").search(query, 50) == photos.search(query, 50)
    other.close()


def test_half_made_and_half_deleted_folders_are_no_collections(tmp_path):
    for rest in (".new-1", ".gone-1"):
        (tmp_path / rest).mkdir()
    (tmp_path / "notes.txt").write_text("not a folder")
    library = Collections(tmp_path)
    assert library.list() == []
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_list_loads_no_index(tmp_path):
    library = Collections(tmp_path)
    library.create("photos", PROVENANCE, DIM).upsert([item(f"i{n}") for n in range(50)])
    library.close()
    code = (
        "import sys, pathlib; from fc7_service.collections.registry import Collections\n"
        "c, = Collections(pathlib.Path(sys.argv[1])).list()\n"
        "print(c.name, c.count, c.index_name, 'faiss' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["photos", "50", "exact", "False"]


def test_the_tail_is_folded_in_behind_the_searches(photos, monkeypatch):
    monkeypatch.setattr(snapshot, "_STALE_ROWS", 20)
    query = np.ones((1, DIM), np.float32)
    photos.search(query, 1)
    for start in range(0, 300, 30):
        photos.upsert([item(f"i{n}") for n in range(start, start + 30)])
        photos.delete([f"i{start}"])
        assert len(photos.search(query, 1000)[0]) == photos.count
    photos._searcher.wait_for_rebuild()
    photos.upsert([item("one more")])
    wait_until(lambda: photos._searcher._snapshot.rids.size >= 200)
    photos._searcher.wait_for_rebuild()
    hits = photos.search(query, 1000)[0]
    assert len({hit.id for hit in hits}) == len(hits) == photos.count == 291


def test_threads_write_search_and_delete(photos, monkeypatch):
    monkeypatch.setattr(snapshot, "_STALE_ROWS", 50)
    photos.upsert([item(f"base{n}", n=0) for n in range(100)])
    rng = np.random.default_rng(0)
    queries, faults, stop = rng.normal(size=(16, DIM)).astype(np.float32), [], threading.Event()

    def guarded(work):
        def run():
            try:
                work()
            except BaseException as error:
                faults.append(error)

        return threading.Thread(target=run)

    def write(worker):
        for n in range(25):
            assert photos.upsert([item(f"w{worker}-{n}-{i}") for i in range(3)]) == ["added"] * 3
            photos.upsert([item(f"base{worker}", content=f"{n}", n=n)])
            photos.delete([f"w{worker}-{n}-0"])

    def search():
        while not stop.is_set():
            for row in photos.search(queries, 150):
                names = [hit.id for hit in row]
                assert len(set(names)) == len(names)
                assert {f"base{n}" for n in range(100)} <= set(names) or len(names) == 150
                assert len(names) >= 100

    writers = [guarded(lambda worker=worker: write(worker)) for worker in range(4)]
    searchers = [guarded(search) for _ in range(3)]
    for thread in writers + searchers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in searchers:
        thread.join()
    assert not faults
    assert photos.count == 100 + 4 * 25 * 2
    assert len(photos.search(queries[:1], 10_000)[0]) == photos.count
    assert [found.payload["n"] for found in photos.get([f"base{n}" for n in range(4)])] == [24] * 4


def test_waiting_writers_share_one_transaction(photos):
    commits = []
    photos._store._writer.connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    threads = [threading.Thread(target=photos.upsert, args=([item(f"i{n}")],)) for n in range(10)]
    with photos._writing:  # the disk is busy
        for thread in threads:
            thread.start()
        wait_until(lambda: len(photos._writes._queue) == 10)
    for thread in threads:
        thread.join()
    assert photos.count == 10
    assert len(commits) == 1


def test_a_readers_rows_and_scores_are_of_one_state(photos):
    photos.upsert([item("a", [1] * 8, n=1), item("b", [1, -1] * 4)])
    query = np.ones((1, DIM), np.float32)
    photos.search(query, 2)
    stale = photos._searcher._snapshot
    photos.upsert([item("a", [-1] * 8, content="new", n=2)])
    fresh, photos._searcher._snapshot = photos._searcher._snapshot, stale  # as between a commit and its publication
    found = []
    with photos._writing:
        searcher = threading.Thread(target=lambda: found.extend(photos.search(query, 2)[0]))
        searcher.start()
        searcher.join(0.2)
        assert searcher.is_alive()  # the row it found is gone: it waits for the state that has its successor
        photos._searcher._snapshot = fresh
    searcher.join()
    assert [(hit.id, hit.payload) for hit in found] == [("b", {}), ("a", {"n": 2})]
    assert found[1].score == pytest.approx(-1)


def test_a_set_aside_collection_can_be_deleted(library, tmp_path):
    library.create("photos", PROVENANCE, DIM)
    library.close()
    (tmp_path / "collections" / "photos" / "collection.db").unlink()
    with pytest.raises(DataLoss, match="missing"):
        library.get("photos")
    with pytest.raises(AlreadyExists):
        library.create("photos", PROVENANCE, DIM)
    library.delete("photos")
    assert library.list() == []
