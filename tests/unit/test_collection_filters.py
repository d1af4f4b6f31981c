"""Filters in a collection: applied before the search, right at every selectivity, and bounded in memory."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from fc7.contract.filter_text import parse
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import index_choice, item_reads, snapshot
from fc7_service.collections.columns import Columns
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
N, DIM = 4000, 32
VECTORS = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float16).astype(np.float32)


@pytest.fixture
def library(tmp_path):
    library = Collections(tmp_path / "collections")
    yield library
    library.close()


@pytest.fixture
def photos(library):
    photos = library.create("photos", PROVENANCE, DIM)
    photos.upsert([Item(str(i), "0" * 64, {"share": i % 1000, "n": i}, VECTORS[i]) for i in range(N)])
    return photos


@pytest.fixture(params=["exact", "rabitq"])
def index(request, monkeypatch):
    monkeypatch.setattr(index_choice, "_EXACT_NUMBERS", N * DIM if request.param == "exact" else 0)
    monkeypatch.setattr(snapshot, "_TAIL_ROWS", 100)
    return request.param


@pytest.mark.parametrize("share", [500, 100, 10, 1, 0])
def test_k_neighbours_are_returned_at_every_selectivity(photos, index, share):
    where = parse(f"share < {share}")
    queries = VECTORS[[7, 1501]] + 0.1
    answers = photos.search(queries, 10, where=where)
    assert photos.index_name == index
    matching = np.flatnonzero(np.arange(N) % 1000 < share)
    unit = VECTORS[matching] / np.linalg.norm(VECTORS[matching], axis=1, keepdims=True)
    for query, hits in zip(queries, answers, strict=True):
        best = matching[np.argsort(-unit @ query, kind="stable")[:10]]
        found = [hit.id for hit in hits]
        if index == "exact" or share <= 10:
            assert found == [str(i) for i in best]
        else:
            assert len(found) == len(best)
            assert len({*found} & {str(i) for i in best}) >= 9


def test_a_query_by_id_still_gets_k_neighbours(photos):
    (hits,) = photos.search(VECTORS[[3]], 4, ["3"], where=parse("share = 3"))
    assert sorted(hit.id for hit in hits) == ["1003", "2003", "3003"]


def test_commits_show_in_filtered_searches(photos):
    where, query = parse("share = 3"), VECTORS[[3]]

    def found():
        return sorted(hit.id for hit in photos.search(query, 100, where=where)[0])

    assert found() == ["1003", "2003", "3", "3003"]
    photos.upsert([Item("new", "0" * 64, {"share": 3}, query[0]), Item("1003", "0" * 64, {}, query[0])])
    assert found() == ["2003", "3", "3003", "new"]
    photos.delete(["3"])
    assert found() == ["2003", "3003", "new"]
    assert photos.count_where(where) == 3


def test_a_filtered_page_looks_at_a_bounded_number_of_items(photos, monkeypatch):
    monkeypatch.setattr(item_reads, "_FILTERED_AT_ONCE", 1500)
    where = parse("n >= 3500 and share = 500")
    pages, after = [], 0
    while after is not None:
        items, after = photos.page_where(where, after, 10)
        pages.append([item.id for item in items])
    assert pages == [[], [], ["3500"]]
    assert photos.count_where(where) == 1
    few, rest = photos.page_where(parse("share = 0"), 0, 1)
    assert [item.id for item in few] == ["0"]
    assert [item.id for item in photos.page_where(parse("share = 0"), rest, 3)[0]] == ["1000"]


def test_deletion_by_filter_is_bounded_and_says_what_it_deleted(photos):
    where = parse("share = 7")
    last = photos.last_place
    photos.upsert([Item("new", "0" * 64, {"share": 7}, VECTORS[7])])
    deleted, rest = photos.delete_where(where, 3, 0, last)
    assert (deleted, rest) == (["7", "1007", "2007"], 2008)
    assert photos.delete_where(where, 3, rest, last) == (["3007"], None)  # what was added later stays
    assert photos.delete_where(where, 3, 0, last) == ([], None)
    assert photos.delete_where(where, 3) == (["new"], None)
    assert photos.count == N - 4
    assert photos.search(VECTORS[[7]], 5, where=where) == [[]]


def test_columns_keep_within_their_memory(photos):
    photos.search(VECTORS[:1], 1)
    snapshot = photos._searcher._snapshot
    columns = Columns(photos._store, most_bytes=200_000)
    for text in ("share < 10", "n < 10", "share < 20"):
        mask, is_complete = columns.mask(parse(text), snapshot)
        assert is_complete
        assert mask.sum() in (40, 10, 80)
        assert sum(column.n_bytes for column in columns._columns.values()) <= 200_000


def test_a_row_that_was_deleted_before_it_was_read_is_noticed(photos):
    photos.search(VECTORS[:1], 1)
    before = photos._searcher._snapshot
    photos.delete(["5"])
    columns = Columns(photos._store)
    assert columns.mask(parse("share = 5"), before)[1] is False
    mask, is_complete = columns.mask(parse("share = 5"), photos._searcher._snapshot)
    assert is_complete
    assert np.flatnonzero(mask).tolist() == [1005, 2005, 3005]


def test_a_damaged_payload_matches_nothing_and_harms_no_other(photos, tmp_path):
    with sqlite3.connect(tmp_path / "collections" / "photos" / "collection.db") as database:
        database.execute("UPDATE items SET payload = '{\"share\": 3' WHERE id = '1003'")
    database.close()
    assert sorted(hit.id for hit in photos.search(VECTORS[[3]], 9, where=parse("share = 3"))[0]) == [
        "2003",
        "3",
        "3003",
    ]
    hits = photos.search(VECTORS[[1003]], 1, where=parse("not share = 3"))[0]
    assert [hit.id for hit in hits] != ["1003"]
    assert photos.count_where(parse("share = 3")) == 3


def test_a_filtered_page_and_a_deletion_leave_out_what_is_damaged(photos, tmp_path):
    with sqlite3.connect(tmp_path / "collections" / "photos" / "collection.db") as database:
        database.execute("UPDATE items SET payload = '{\"share\": 3' WHERE id = '1003'")
    database.close()
    where = parse("n in (3, 4) or not n exists")  # the damaged payload has no fields
    items, _ = photos.page_where(where, 0, 10)
    assert [item.id for item in items] == ["3", "4"]
    assert photos.delete_where(where, 10) == (["3", "4"], None)
    assert photos.count == N - 2


def test_what_is_replaced_while_a_deletion_looks_for_it_stays(photos, monkeypatch):
    read = photos._store.matching_rows

    def read_slowly(*arguments):
        answer = read(*arguments)
        photos.upsert([Item("3", "1" * 64, {"n": -1}, VECTORS[3])])  # no writer waits for the search
        return answer

    monkeypatch.setattr(photos._store, "matching_rows", read_slowly)
    assert photos.delete_where(parse("n in (3, 4)"), 10) == (["4"], None)
    monkeypatch.undo()
    assert [item.id for item in photos.page_where(parse("n = -1"), 0, 10)[0]] == ["3"]


def test_a_field_that_does_not_fit_into_memory_is_read_once_per_filter(photos, monkeypatch):
    photos.search(VECTORS[:1], 1)
    columns, read = Columns(photos._store, most_bytes=100_000), []
    payloads = photos._store.payloads
    monkeypatch.setattr(photos._store, "payloads", lambda *ends: read.append(ends) or payloads(*ends))

    def found(text):
        snapshot = photos._searcher._snapshot
        mask, is_complete = columns.mask(parse(text), snapshot)
        assert is_complete
        return snapshot.all_rids()[mask].tolist()

    assert found("n < 3") == [1, 2, 3]
    assert columns._columns == {}
    read.clear()
    assert found("n < 3") == [1, 2, 3]
    assert read == []
    photos.upsert([Item("new", "0" * 64, {"n": 1}, VECTORS[0])])
    assert found("n < 3") == [1, 2, 3, N + 1]
    assert read == [(N, N + 1)]  # the new row alone
    photos.delete(["0"])
    assert found("n >= 3999 or n = 0") == [N]
    assert sum(mask.nbytes for _, mask in columns._masks.values()) <= 100_000


def test_values_that_no_row_has_any_more_are_forgotten(photos):
    photos.search(VECTORS[:1], 1)
    columns = Columns(photos._store)
    columns.mask(parse("n < 3"), photos._searcher._snapshot)
    photos.delete([str(i) for i in range(N - 10)])
    photos._searcher.wait_for_rebuild()
    mask, _ = columns.mask(parse("n < 3995"), photos._searcher._snapshot)
    assert mask.sum() == 5
    (column,) = columns._columns.values()
    assert len(column.values) == len(column._positions) == 10
    assert column.n_bytes < 10_000


def test_a_filter_that_was_answered_waits_for_no_other(photos, monkeypatch):
    where, query = parse("share = 3"), VECTORS[[3]]
    photos.search(query, 1, where=where)
    with photos._searcher._columns._lock:  # as while another field is read for the first time
        assert photos.search(query, 1, where=where)[0][0].id == "3"
