"""Where the items of a collection lie in two dimensions: along the two directions in which their features vary most.

This is principal component analysis (Pearson 1901). The directions come from a sample of the items, by subspace
iteration; then every item is placed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import read_field
from fc7_service.collections.rows import DamagedRow, Metric, StoredRow, intact_rows, parse_payload
from fc7_service.collections.scoring import prepare_vectors
from fc7_service.collections.store import Store

NO_GROUP = 255
_MOST_GROUPS = 64
_SAMPLE = 4096  # items that the directions come from
_STEPS = 12  # of subspace iteration; each costs two passes over the sample
_SPACE = 14  # directions that are iterated beyond those wanted, so that these converge quickly
_BLOCK = 1024  # items placed at once
_LONGEST_TEXT = 256  # characters; longer text is no group


@dataclass(frozen=True, slots=True)
class ItemMap:
    """The places of all items, in the order of first insertion."""

    ids: list[str]
    positions: NDArray[np.float32]  # (N, 2)
    shares: tuple[float, ...]  # of the variance, that each axis explains; none if the axes mean nothing
    groups: NDArray[np.uint8]  # (N,), positions in `values`; NO_GROUP where the field has none of them
    values: list[Any]  # the most frequent values of the field


class Places(Protocol):
    """Places that were made before."""

    def places(self, rids: list[int]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Return which rows have a place, and the places (n, 2) of these."""


def map_items(store: Store, field: str = "", known: Places | None = None) -> ItemMap:
    """Place all items along the two main directions, and group them by the values of a payload field if one is named.

    With ``known``, items lie where it says, and items of which it does not know are left out.
    """
    if known is None:
        project, shares = _projection(store, 2)
        with store.read_all() as (_, rows):
            return _placed(_blocks(rows, store), field, lambda block: (block, project(block)), shares)
    with store.pinned() as connection:
        return _placed(_blocks(store.rows(connection), store), field, lambda block: _known(block, known), ())


def codes_of(store: Store, n_directions: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rids of all intact items (N,), sorted, and what each has along the main directions (N, K)."""
    project, _ = _projection(store, n_directions)
    rids: list[int] = []
    codes: list[NDArray[np.float32]] = []
    with store.read_all() as (_, rows):
        for block in _blocks(rows, store):
            rids += [row.rid for row in block]
            codes.append(project(block))
    return np.array(rids, np.int64), np.concatenate(codes) if codes else np.empty((0, n_directions), np.float32)


def _blocks(rows: Iterable[StoredRow | DamagedRow], store: Store) -> Iterator[list[StoredRow]]:
    intact = intact_rows(rows, store.name)
    while block := list(islice(intact, _BLOCK)):
        yield block


def _projection(
    store: Store, n_directions: int
) -> tuple[Callable[[list[StoredRow]], NDArray[np.float32]], tuple[float, ...]]:
    """Return what gives rows their places along the main directions, and the share of the variance of each."""
    metric = store.definition.metric
    mean, axes, shares = find_axes(_sample(store, metric), n_directions)
    return lambda block: (_vectors(block, metric) - mean).astype(np.float32) @ axes.T, shares


def _known(block: list[StoredRow], known: Places) -> tuple[list[StoredRow], NDArray[np.float32]]:
    has_place, positions = known.places([row.rid for row in block])
    return [row for row, is_known in zip(block, has_place, strict=True) if is_known], positions


def _placed(
    blocks: Iterable[list[StoredRow]],
    field: str,
    place: Callable[[list[StoredRow]], tuple[list[StoredRow], NDArray[np.float32]]],
    shares: tuple[float, ...],
) -> ItemMap:
    ids: list[str] = []
    positions = [np.empty((0, 2), np.float32)]
    values: list[Any] = []
    for rows, placed in map(place, blocks):
        ids += [row.id for row in rows]
        positions.append(placed)
        values += [_value(row, field) if field else None for row in rows]
    groups, known = _group(values)
    return ItemMap(ids, np.concatenate(positions).astype(np.float32), shares, groups, known)


def find_axes(
    vectors: NDArray[np.float32], n_axes: int = 2
) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[float, ...]]:
    """Return the mean (D,), the main axes (K, D) and the share of the variance that each explains.

    There are at most as many axes as a feature has numbers.

    The largest entry of an axis is positive, so that the same features always give the same map.
    """
    n_rows, dim = vectors.shape
    mean = vectors.mean(axis=0) if n_rows else np.zeros(dim, np.float32)
    centred = vectors - mean
    total = float(np.square(centred, dtype=np.float64).sum())
    space, _ = np.linalg.qr(
        np.random.default_rng(0).standard_normal((dim, min(dim, n_axes + _SPACE))).astype(np.float32)
    )
    if total > 0:
        for _ in range(_STEPS):
            space, _ = np.linalg.qr(centred.T @ (centred @ space))
        _, _, turn = np.linalg.svd(centred @ space, full_matrices=False)
        space = space @ turn.T
    axes = space[:, :n_axes]
    axes = axes.T * np.sign(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])])[:, None]
    spread = np.square(centred @ axes.T, dtype=np.float64).sum(axis=0) / total if total > 0 else np.zeros(len(axes))
    return mean, axes.astype(np.float32), tuple(map(float, spread))


def _sample(store: Store, metric: Metric) -> NDArray[np.float32]:
    """Return features (n, D) of items spread evenly over the collection."""
    rids = store.all_rids()
    step = max(1, -(-len(rids) // _SAMPLE))
    rows = store.by_rid(rids[::step].tolist(), with_vectors=True)
    return _vectors([row for _, row in sorted(rows.items())], metric, store.definition.dim)


def _vectors(rows: list[StoredRow], metric: Metric, dim: int = 0) -> NDArray[np.float32]:
    if not rows:
        return np.empty((0, dim), np.float32)
    return prepare_vectors(np.stack([np.asarray(row.vector, np.float32) for row in rows]), metric)


def _value(row: StoredRow, field: str) -> Any:
    """Return what an item has in a field: short text, a number or a boolean; None for anything else."""
    value = read_field(parse_payload(row.payload), field)
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else None
    return value if isinstance(value, bool | int | float) else None


def _group(values: list[Any]) -> tuple[NDArray[np.uint8], list[Any]]:
    """Return the group of each value, and the values of the groups, the most frequent first."""
    texts = [None if value is None else json.dumps(value) for value in values]
    counts = Counter(text for text in texts if text is not None)
    known = [text for text, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:_MOST_GROUPS]]
    places = {text: place for place, text in enumerate(known)}
    groups = np.array([places.get(text, NO_GROUP) if text else NO_GROUP for text in texts], np.uint8)
    return groups, [json.loads(text) for text in known]
