"""A collection against a dictionary: whatever is done to both, they answer the same."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import index_choice, index_rabitq, snapshot
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
DIM = 4
IDS = st.sampled_from([f"i{n}" for n in range(12)])
NUMBERS = st.sampled_from([-2.0, -1.0, 0.0, 1.0, 3.0, 0.1, 70_000.0, 1e-9])  # ties, and two that fp16 cannot hold
VECTORS = st.lists(NUMBERS, min_size=DIM, max_size=DIM).filter(any).map(lambda row: np.array(row, np.float32))
ITEMS = st.builds(
    Item, IDS, st.sampled_from(["c", "d"]), st.dictionaries(st.sampled_from("nm"), st.integers(0, 2)), VECTORS
)


def true_scores(rows, query, metric):
    rows, query = rows.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        return -np.linalg.norm(rows - query, axis=1)
    dots = rows @ query
    return dots if metric == "dot" else dots / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)


class Machine(RuleBasedStateMachine):
    @initialize(metric=st.sampled_from(["cosine", "l2", "dot"]), is_coded=st.booleans())
    def make(self, metric, is_coded):
        self.folder = tempfile.TemporaryDirectory()
        self.kept = snapshot._STALE_ROWS, snapshot._TAIL_ROWS, index_choice._EXACT_NUMBERS, index_rabitq._SCAN_SHARE
        snapshot._STALE_ROWS = snapshot._TAIL_ROWS = 3  # rebuild often
        index_choice._EXACT_NUMBERS = 0 if is_coded else 10**9
        self.library, self.metric = Collections(Path(self.folder.name)), metric
        self.library.create("c", PROVENANCE, DIM, metric)
        self.model, self.order = {}, []

    @property
    def real(self):
        return self.library.get("c")

    @rule(items=st.lists(ITEMS, max_size=6), is_merged=st.booleans())
    def upsert(self, items, is_merged):
        sent, expected = items, []
        for item in items:
            old = self.model.get(item.id)
            if old and is_merged:
                item = replace(item, payload=old.payload | item.payload)
            if old and (old.content_sha256, old.payload) == (item.content_sha256, item.payload):
                expected.append("skipped")
                continue
            expected.append("replaced" if old else "added")
            if not old:
                self.order.append(item.id)
            self.model[item.id] = item
        assert self.real.upsert(sent, is_merged=is_merged) == expected

    @rule(ids=st.lists(IDS, max_size=4))
    def delete(self, ids):
        expected = []
        for gone in ids:
            expected.append(self.model.pop(gone, None) is not None)
            if expected[-1]:
                self.order.remove(gone)
        assert self.real.delete(ids) == expected

    @rule()
    def reopen(self):
        self.library.close()
        self.library = Collections(Path(self.folder.name))

    @rule()
    def settle(self):
        self.real._searcher.wait_for_rebuild()

    @rule(queries=st.lists(VECTORS, min_size=1, max_size=5), k=st.integers(1, 15), own=st.none() | IDS)
    def search(self, queries, k, own):
        answers = self.real.search(np.stack(queries), k, [own] * len(queries))
        names = [name for name in self.order if name != own]
        stored = [found.vector for found in self.real.get(names, True)]
        for query, hits in zip(queries, answers, strict=True):
            assert len(hits) == min(k, len(names))
            if not hits:
                continue
            scores = true_scores(np.stack(stored), query, self.metric)
            truth = dict(zip(names, scores.tolist(), strict=True))
            near = 1e-6 * max(1.0, float(np.abs(scores).max()))
            assert len({hit.id for hit in hits}) == len(hits)
            for hit, best in zip(hits, sorted(scores.tolist(), reverse=True), strict=False):
                assert abs(hit.score - truth[hit.id]) <= near
                assert abs(hit.score - best) <= near
                assert hit.payload == self.model[hit.id].payload
            keys = [(-hit.score, self.order.index(hit.id)) for hit in hits]
            assert keys == sorted(keys)

    @invariant()
    def same_items(self):
        if not hasattr(self, "model"):
            return
        assert self.real.count == len(self.model)
        page, rest = self.real.page(0, 100, True)
        assert rest is None
        assert [found.id for found in page] == self.order
        for found in page:
            item = self.model[found.id]
            assert (found.content_sha256, found.payload) == (item.content_sha256, item.payload)
            np.testing.assert_allclose(found.vector, item.vector, rtol=0, atol=1e-3 * np.linalg.norm(item.vector))

    def teardown(self):
        if hasattr(self, "library"):
            self.library.close()
            self.folder.cleanup()
            (
                snapshot._STALE_ROWS,
                snapshot._TAIL_ROWS,
                index_choice._EXACT_NUMBERS,
                index_rabitq._SCAN_SHARE,
            ) = self.kept


TestCollections = Machine.TestCase
TestCollections.settings = settings(
    max_examples=60,
    stateful_step_count=25,
)
