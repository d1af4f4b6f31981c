"""Searches against a slow twin: whatever a search asks for, a dictionary answers the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fc7.contract.filter import Comparison
from fc7.contract.filter_json import write_json
from fc7.errors import InvalidArgument
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import index_choice, snapshot
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.collections.search import Example, Query, Search, combine
from slow.search import best_per_group, search, spread

DIM, N = 8, 40
PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
COLOURS = ["red", "green", "blue"]
MIXED = [1, True, "1", 1.0, None, [1], {"a": 1}, False, 0, "x"]
METRICS = ["cosine", "l2", "dot"]
WEIGHTS = st.sampled_from([1.0, 2.0, 0.5, -0.25, -0.5])


@pytest.fixture(scope="module")
def library(tmp_path_factory: Any) -> Any:
    """Collections, and the same items as dictionaries. One item in four has a twin; some have no colour."""
    library = Collections(Path(tmp_path_factory.mktemp("search")))
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(N, DIM)).astype(np.float16).astype(np.float32)
    vectors[1::4] = vectors[0::4]
    payloads: list[dict[str, Any]] = [{"n": i, "mixed": MIXED[i // 4 % len(MIXED)]} for i in range(N)]
    for i in range(N):
        if i // 2 % 5:
            payloads[i]["colour"] = COLOURS[i // 4 % 3]
    for metric in METRICS:
        collection = library.create(metric, PROVENANCE, DIM, metric)
        collection.upsert([Item(str(i), "0" * 64, payloads[i], vectors[i]) for i in range(N)])
        collection.delete(["7"])
        collection.upsert([Item("7", "1" * 64, payloads[7], vectors[7])])
    order = [i for i in range(N) if i != 7] + [7]
    yield library, {str(i): (vectors[i], payloads[i]) for i in order}
    library.close()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_every_search_agrees_with_the_twin(library: Any, data: Any) -> None:
    collections, items = library
    metric = data.draw(st.sampled_from(METRICS))
    rows = st.integers(0, N - 1).map(lambda i: items[str(i)][0])
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    fresh = st.just(rng.normal(size=DIM).astype(np.float32))
    examples = [Example(data.draw(rows | fresh), data.draw(WEIGHTS)) for _ in range(data.draw(st.integers(1, 4)))]
    own = tuple(data.draw(st.lists(st.integers(0, N - 1).map(str), max_size=2, unique=True)))
    where = data.draw(st.sampled_from([None, Comparison("colour", "=", "red"), Comparison("colour", "exists")]))
    asked = Search(
        k=data.draw(st.integers(1, N + 5)),
        offset=data.draw(st.sampled_from([0, 0, 1, 5, N])),
        where=where,
        min_score=data.draw(st.sampled_from([None, -2.0, 0.0, 0.3])),
        excluded_ids=tuple(data.draw(st.lists(st.sampled_from([*items, "absent"]), max_size=3))),
        is_exact=data.draw(st.booleans()),
    )
    try:
        query = Query(combine(examples, metric), own)
    except InvalidArgument:
        assert metric != "dot"  # the weights cancel out, or do not sum to more than 0
        return
    ((hits,), report) = collections.get(metric).answer([query], asked)
    twin = search(
        items,
        [(example.vector, example.weight) for example in examples],
        metric,
        k=N,
        where=None if where is None else json.loads(write_json(where)),
        min_score=None if asked.min_score is None else asked.min_score - 1e-5,
        excluded={*asked.excluded_ids, *own},
    )
    ranks, scores = {own: rank for own, rank, _ in twin}, {own: score for own, _, score in twin}
    sure = [one for one in twin if asked.min_score is None or one[2] >= asked.min_score + 1e-5]
    assert len(sure[asked.offset :][: asked.k]) <= len(hits) <= len(twin[asked.offset :][: asked.k])
    near = 1e-4 * max(1.0, *map(abs, ranks.values())) if ranks else 0
    for hit, (_, best, _) in zip(hits, twin[asked.offset :], strict=False):
        assert abs(ranks[hit.id] - best) <= near
        assert abs(scores[hit.id] - hit.score) <= 1e-4 * max(1, abs(hit.score))
        assert hit.payload == items[hit.id][1]
    assert len({hit.id for hit in hits}) == len(hits)
    assert report.index == "exact"
    assert report.n_vectors == N


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_groups_agree_with_the_twin(library: Any, data: Any) -> None:
    collections, items = library
    metric, field = data.draw(st.sampled_from(METRICS)), data.draw(st.sampled_from(["colour", "n", "mixed", "absent"]))
    k, offset, size = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 2)), data.draw(st.integers(1, 20))
    vector = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=DIM).astype(np.float32)
    least = data.draw(st.sampled_from([None, 0.05]))
    where = data.draw(st.sampled_from([None, Comparison("n", "<", 20)]))
    out = data.draw(st.lists(st.sampled_from(list(items)), max_size=3))
    asked = Search(k=k, offset=offset, group_by=field, group_size=size, min_score=least, where=where,
                   excluded_ids=tuple(out))  # fmt: skip
    ((hits,), _) = collections.get(metric).answer([Query(vector)], asked)
    tree = None if where is None else json.loads(write_json(where))
    found = search(items, [(vector, 1.0)], metric, k=N, where=tree, min_score=least, excluded=out)
    wanted = best_per_group(found, items, field, k=k, offset=offset, size=size)
    assert [hit.score for hit in hits] == pytest.approx([score for _, _, score in wanted], abs=1e-5)
    assert [hit.group for hit in hits] == [items[own][1][field] for own, _, _ in wanted]  # twins share their group
    assert len({hit.id for hit in hits}) == len(hits)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(METRICS), st.integers(1, N), st.floats(0.05, 1), st.integers(0, 99))
def test_a_diverse_choice_agrees_with_the_twin(library: Any, metric: str, k: int, diversity: float, seed: int) -> None:
    collections, items = library
    vector = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    ((hits,), _) = collections.get(metric).answer([Query(vector)], Search(k=k, diversity=diversity))
    found = search(items, [(vector, 1.0)], metric, k=N)
    wanted = spread(found, items, diversity, metric, k=k)
    assert [float(items[hit.id][0] @ vector) for hit in hits] == [float(items[own][0] @ vector) for own in wanted]
    ((rest,), _) = collections.get(metric).answer([Query(vector)], Search(k=k, offset=2, diversity=diversity))
    assert [hit.id for hit in rest][: max(0, k - 2)] == [hit.id for hit in hits][2:]


@pytest.mark.parametrize("metric", METRICS)
def test_the_exact_search_compares_every_vector(library: Any, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    collections, _ = library
    monkeypatch.setattr(index_choice, "_EXACT_NUMBERS", 0)
    monkeypatch.setattr(snapshot, "_TAIL_ROWS", 100)
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(2000, DIM)).astype(np.float32)
    coded = collections.create(f"coded-{metric}", PROVENANCE, DIM, metric)
    coded.upsert([Item(str(i), "0" * 64, {}, vectors[i]) for i in range(2000)])
    query = Query(rng.normal(size=DIM).astype(np.float32))
    (quick, quick_report), (exact, exact_report) = (
        coded.answer([query], Search(k=3, is_exact=is_exact)) for is_exact in (False, True)
    )
    assert (quick_report.index, exact_report.index) == ("rabitq", "rabitq")
    assert exact_report.n_vectors == 2000
    assert exact_report.n_codes == 0
    assert quick_report.n_codes >= 2000
    twin = search({str(i): (vectors[i], {}) for i in range(2000)}, [(query.vector, 1.0)], metric, k=3)
    assert [hit.id for hit in exact[0]] == [own for own, _, _ in twin]
    assert len(quick[0]) == 3
