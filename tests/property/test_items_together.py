"""All that is done to items, together and against plain dictionaries: what is stored, found and counted agrees."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fc7.contract.filter import And, Comparison, Not, Or, matches
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import snapshot
from fc7_service.collections.labels import VERDICTS, Label
from fc7_service.collections.ordering import Order
from fc7_service.collections.payload_updates import PayloadChange
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from slow.duplicates import groups

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
DIM, MOST = 4, 100
NOW = "2026-05-01T12:00:00.000+00:00"
IDS = st.sampled_from([f"i{n}" for n in range(9)])
KEYS = st.sampled_from("nm")
VALUES = st.sampled_from([0, 1, 2.5, True, "1", "x", None, ["x", 1], {"deep": 1}])
PAYLOADS = st.dictionaries(KEYS, VALUES)
VECTORS = (
    st.lists(st.integers(-3, 3), min_size=DIM, max_size=DIM).filter(any).map(lambda row: np.array(row, np.float32))
)
VECTOR_OF = {"c" * 64: np.array([1, 2, 3, 4], np.float32), "d" * 64: np.array([4, -3, 2, -1], np.float32)}
ITEMS = st.builds(
    lambda own, content, payload: Item(own, content, payload, VECTOR_OF[content]),
    IDS, st.sampled_from(list(VECTOR_OF)), PAYLOADS,
)  # fmt: skip
COMPARISONS = st.one_of(
    st.builds(Comparison, KEYS, st.sampled_from(["=", "!=", "contains"]), st.sampled_from([0, 1, True, "x", "1"])),
    st.builds(Comparison, KEYS, st.sampled_from(["<", ">="]), st.sampled_from([1, 2.5, "x"])),
    st.builds(Comparison, KEYS, st.just("exists")),
)
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(inner.map(Not), st.tuples(inner, inner).map(And), st.tuples(inner, inner).map(Or)),
    max_leaves=3,
)
CHANGES = st.builds(PayloadChange, PAYLOADS, st.lists(KEYS, max_size=1).map(tuple), st.booleans())
LABELS = st.builds(
    lambda own, label, verdict, author: Label(own, label, verdict, author, 0, NOW),
    IDS, st.sampled_from(["cat", "dog"]), st.sampled_from(VERDICTS), st.sampled_from(["ann", ""]),
)  # fmt: skip


def changed(payload, change):
    kept = {} if change.is_replaced else {key: value for key, value in payload.items() if key not in change.removed}
    return kept | change.new


def as_json(payload):
    return {key: (type(value), value) for key, value in payload.items()}


class Machine(RuleBasedStateMachine):
    @initialize()
    def make(self):
        self.folder = tempfile.TemporaryDirectory()
        self.kept = snapshot._STALE_ROWS
        snapshot._STALE_ROWS = 3  # rebuild often
        self.library = Collections(Path(self.folder.name))
        self.library.create("c", PROVENANCE, DIM)
        self.items: dict[str, Item] = {}  # in the order of first insertion
        self.labels: list[tuple[Label, str]] = []  # with the content that was judged

    @property
    def real(self):
        return self.library.get("c")

    def matching(self, where):
        return [own for own, item in self.items.items() if matches(where, item.payload)]

    def forget(self, ids):
        for own in ids:
            del self.items[own]
        self.labels = [pair for pair in self.labels if pair[0].id not in ids]

    @rule(items=st.lists(ITEMS, max_size=5))
    def upsert(self, items):
        self.real.upsert(items)
        for item in items:
            self.items[item.id] = item

    @rule(ids=st.lists(IDS, max_size=3, unique=True))
    def delete(self, ids):
        known = [own in self.items for own in ids]
        assert self.real.delete(ids) == known
        self.forget([own for own in ids if own in self.items])

    @rule(where=FILTERS, most=st.integers(1, 4))
    def delete_where(self, where, most):
        found, after, last = [], 0, self.real.last_place
        while after is not None:
            ids, after = self.real.delete_where(where, most, after, last)
            found += ids
        assert found == self.matching(where)
        self.forget(found)

    def change(self, own, change):
        item = self.items[own]
        payload = changed(item.payload, change)
        is_other = as_json(payload) != as_json(item.payload)
        self.items[own] = Item(own, item.content_sha256, payload, item.vector)
        return is_other

    @rule(ids=st.lists(IDS, max_size=3, unique=True), change=CHANGES)
    def update(self, ids, change):
        for done in self.real.update([(own, change) for own in ids]):
            if done.id in self.items:
                assert (done.error, done.is_changed) == (None, self.change(done.id, change))
            else:
                assert done.error.reason == "ITEM_NOT_FOUND"

    @rule(where=FILTERS, change=CHANGES, most=st.integers(1, 4))
    def update_where(self, where, change, most):
        found, after, last = [], 0, self.real.last_place
        while after is not None:
            done, after = self.real.update_where(where, change, most, after, last)
            found += done
        expected = self.matching(where)
        assert [one.id for one in found] == expected
        assert [one.is_changed for one in found] == [self.change(own, change) for own in expected]

    @rule(labels=st.lists(LABELS, max_size=3))
    def label(self, labels):
        for label, done in zip(labels, self.real.labels.add(labels), strict=True):
            if label.id not in self.items:
                assert done.reason == "ITEM_NOT_FOUND"
                continue
            content = self.items[label.id].content_sha256
            about = (label.id, label.label, label.author)
            same = [pair for pair in self.labels if (pair[0].id, pair[0].label, pair[0].author) == about]
            is_new = not same or (same[-1][0].verdict, same[-1][1]) != (label.verdict, content)
            assert done is is_new
            if is_new:
                self.labels.append((label, content))

    @rule(own=IDS)
    def undo(self, own):
        (done,) = self.real.labels.undo([(own, "", "")])
        mine = [i for i, (label, _) in enumerate(self.labels) if label.id == own]
        if mine:
            assert done.label == self.labels.pop(mine[-1])[0]
        else:
            assert done.reason == "LABEL_NOT_FOUND"

    @rule()
    def reopen(self):
        self.library.close()
        self.library = Collections(Path(self.folder.name))

    @rule(where=FILTERS, query=VECTORS)
    def search(self, where, query):
        (hits,) = self.real.search(query[None], MOST, where=where)
        assert {hit.id for hit in hits} == set(self.matching(where))
        for hit in hits:
            assert as_json(hit.payload) == as_json(self.items[hit.id].payload)

    @rule(where=FILTERS)
    def count(self, where):
        assert self.real.count_where(where) == len(self.matching(where))
        assert [item.id for item in self.real.page_where(where, 0, MOST)[0]] == self.matching(where)

    @rule(where=st.none() | FILTERS, key=KEYS)
    def count_values(self, where, key):
        ids = list(self.items) if where is None else self.matching(where)
        expected = Counter()
        for own in ids:
            value = self.items[own].payload.get(key)
            values = value if isinstance(value, list) else [value]
            expected.update({(isinstance(one, bool), one) for one in values if isinstance(one, str | int | float)})
        count, (facet,) = self.real.count_values([key], MOST, where)
        assert count == len(ids)
        assert {(isinstance(value, bool), value): n for value, n in facet.values} == expected

    @rule(where=st.none() | FILTERS, least=st.sampled_from([0.5, 1.0]))
    def find_duplicates(self, where, least):
        ids = list(self.items) if where is None else self.matching(where)
        expected = groups([self.items[own].vector for own in ids], least, "cosine")
        assert [one.ids for one in self.real.duplicates(least, where=where)] == [
            [ids[i] for i in one] for one in expected
        ]

    @rule(key=KEYS, is_descending=st.booleans(), size=st.integers(1, 4))
    def order(self, key, is_descending, size):
        found, after = [], None
        while True:
            page, after = self.real.page_ordered(Order(key, is_descending), None, after, size)
            found += page
            if after is None:
                break
        assert sorted(item.id for item in found) == sorted(self.items)
        numbers = [one for one in (item.payload.get(key) for item in found)
                   if isinstance(one, int | float) and not isinstance(one, bool)]  # fmt: skip
        assert numbers == sorted(numbers, reverse=is_descending)

    @invariant()
    def agree(self):
        if not hasattr(self, "items"):
            return
        page, rest = self.real.page(0, MOST, True)
        assert rest is None
        assert self.real.count == len(page)
        assert [item.id for item in page] == list(self.items)
        for item in page:
            assert as_json(item.payload) == as_json(self.items[item.id].payload)
            np.testing.assert_array_equal(item.vector, self.items[item.id].vector)
        records = list(self.real.labels.all())
        assert [record.label for record in records] == [label for label, _ in self.labels]
        outdated = [self.items[label.id].content_sha256 != content for label, content in self.labels]
        assert [record.is_outdated for record in records] == outdated

    def teardown(self):
        if hasattr(self, "library"):
            self.library.close()
            self.folder.cleanup()
            snapshot._STALE_ROWS = self.kept


TestItems = Machine.TestCase
TestItems.settings = settings(max_examples=30, stateful_step_count=20)
