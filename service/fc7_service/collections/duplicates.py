"""Groups of items that are the same or nearly so. Within a group, every pair is near enough."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import Filter, matches
from fc7.errors import Reason, ResourceExhausted
from fc7_service.collections.near_pairs import Pairs, pair_scores, shorten
from fc7_service.collections.rows import StoredRow, parse_payload
from fc7_service.collections.store import Store

_READ_AT_ONCE = 1024  # vectors
_SAMPLE = 512  # vectors
_COMPARED_AT_ONCE = 1024  # pairs
_MOST_PAIRS = 5_000_000  # that are near enough; each takes about 200 bytes


@dataclass(frozen=True, slots=True)
class Duplicates:
    """One group."""

    ids: list[str]  # in the order of first insertion
    score: float  # of its least similar pair
    is_exact: bool  # whether all have the same content


@dataclass(slots=True)
class _Vectors:
    """The different vectors of a store; rows with the same vector share one."""

    rids: list[list[int]] = field(default_factory=list)  # of the rows with each vector, in order of place
    places: list[int] = field(default_factory=list)  # of the first of them


def find_duplicates(
    store: Store, min_score: float, where: Filter | None, is_cancelled: Callable[[], bool]
) -> Iterator[Duplicates]:
    """Yield groups of at least two items, in the order of their first items. An item is in one group at most.

    Items that are added meanwhile are not seen; those that are deleted meanwhile are left out.

    Raises
    ------
    ResourceExhausted
        More pairs reach ``min_score`` than fit into memory.
    """
    metric = store.definition.metric
    found = _Vectors()
    sample = _sample(store, where)
    if not len(sample):
        return
    short = shorten(_different(store, where, found), sample, metric)
    near: dict[int, dict[int, float]] = {}
    n_pairs = 0
    for left, right in _batches(short.pairs(min_score, is_cancelled)):
        for a, b, score in _compared(store, found, left, right, min_score):
            near.setdefault(a, {})[b] = near.setdefault(b, {})[a] = score
            n_pairs += 1
        if n_pairs > _MOST_PAIRS:
            raise ResourceExhausted(
                f"More than {_MOST_PAIRS} pairs of collection {store.name!r} reach the score {min_score:g}. Ask for a "
                "higher score, or for some of the items with a filter",
                name="min_score",
                reason=Reason.WORK_TOO_LARGE,
            )
    for group in group_pairs(found.places, near, {i for i, rids in enumerate(found.rids) if len(rids) > 1}):
        if is_cancelled():
            return
        described = _described(store, [rid for i in group for rid in found.rids[i]], _lowest(group, near, metric))
        if described is not None:
            yield described


def group_pairs(places: Sequence[int], near: dict[int, dict[int, float]], alone: set[int]) -> Iterator[list[int]]:
    """Yield groups in which every pair is near; a group of one only for those of ``alone``.

    In order of place, each vector that has no group begins one. Its neighbours join, the nearest first, if they are
    near to all that have joined.
    """
    taken: set[int] = set()
    for first in sorted({*near, *alone}, key=lambda i: places[i]):
        if first in taken:
            continue
        group = [first]
        neighbours = near.get(first, {})
        for other in sorted(neighbours, key=lambda i: (-neighbours[i], places[i])):
            if other not in taken and all(member in near[other] for member in group):
                group.append(other)
        if len(group) > 1 or first in alone:
            taken.update(group)
            yield group


def _different(store: Store, where: Filter | None, found: _Vectors) -> Iterator[NDArray[Any]]:
    """Yield blocks of vectors, each vector once, and record which rows have it."""
    known: dict[bytes, int] = {}
    block: list[NDArray[Any]] = []
    for rid, place, vector in _vectors(store, where):
        digest = hashlib.blake2b(vector.tobytes(), digest_size=16).digest()
        number = known.setdefault(digest, len(known))
        if number < len(found.rids):
            found.rids[number].append(rid)
            found.places[number] = min(found.places[number], place)
            continue
        found.rids.append([rid])
        found.places.append(place)
        block.append(vector.astype(np.float32))
        if len(block) == _READ_AT_ONCE:
            yield np.stack(block)
            block = []
    if block:
        yield np.stack(block)


def _vectors(store: Store, where: Filter | None) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield rid, place and vector of the intact rows that match."""
    allowed = None if where is None else _matching_rids(store, where)
    for part in store.vectors(1, store.last_place):
        for rid, place, vector, _ in part:
            if vector is not None and (allowed is None or rid in allowed):
                yield rid, place, vector


def _matching_rids(store: Store, where: Filter) -> set[int]:
    with store.pinned() as connection:
        return {
            row.rid
            for row in store.rows(connection)
            if isinstance(row, StoredRow) and matches(where, parse_payload(row.payload))
        }


def _sample(store: Store, where: Filter | None) -> NDArray[Any]:
    """Return vectors (S, D) spread over the rows."""
    rids = store.all_rids().tolist()
    if where is not None:
        allowed = _matching_rids(store, where)
        rids = [rid for rid in rids if rid in allowed]
    chosen = rids[:: max(1, len(rids) // _SAMPLE)][:_SAMPLE]
    rows = store.by_rid(chosen, with_vectors=True)
    return np.array([row.vector.astype(np.float32) for row in rows.values()], np.float32)


def _batches(parts: Iterable[Pairs]) -> Iterator[Pairs]:
    """Yield the pairs in batches that are worth a read of the database, and not too large for the memory."""
    waiting, n_waiting = list[Pairs](), 0
    for part in chain(parts, [None]):
        if part is not None and len(part[0]):
            waiting.append(part)
            n_waiting += len(part[0])
        if n_waiting and (part is None or n_waiting >= _COMPARED_AT_ONCE):
            left, right = (np.concatenate([one[side] for one in waiting]) for side in (0, 1))
            for start in range(0, n_waiting, _COMPARED_AT_ONCE):
                yield left[start : start + _COMPARED_AT_ONCE], right[start : start + _COMPARED_AT_ONCE]
            waiting, n_waiting = [], 0


def _compared(
    store: Store, found: _Vectors, left: NDArray[np.int64], right: NDArray[np.int64], min_score: float
) -> Iterator[tuple[int, int, float]]:
    """Yield those pairs of vectors that reach the score, with their exact scores."""
    rows = store.by_rid(sorted({found.rids[i][0] for i in {*left.tolist(), *right.tolist()}}), with_vectors=True)
    pairs = [
        (i, j)
        for i, j in zip(left.tolist(), right.tolist(), strict=True)
        if found.rids[i][0] in rows and found.rids[j][0] in rows  # not deleted meanwhile
    ]
    if not pairs:
        return
    one, other = (
        np.stack([rows[found.rids[pair[side]][0]].vector.astype(np.float32) for pair in pairs]) for side in (0, 1)
    )
    scores = pair_scores(one, other, store.definition.metric)
    for (i, j), score in zip(pairs, scores.tolist(), strict=True):
        if score >= min_score:
            yield i, j, score


def _lowest(group: list[int], near: dict[int, dict[int, float]], metric: str) -> float:
    same = 0.0 if metric == "l2" else 1.0
    return min((near[i][j] for i, j in combinations(group, 2)), default=same)


def _described(store: Store, rids: list[int], score: float) -> Duplicates | None:
    rows = sorted(store.by_rid(rids).values(), key=lambda row: row.place)
    if len(rows) < 2:
        return None
    return Duplicates([row.id for row in rows], score, len({row.content for row in rows}) == 1)
