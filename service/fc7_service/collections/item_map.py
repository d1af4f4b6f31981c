"""Where the items of a collection lie in two dimensions: along the two directions in which their features vary most.

This is principal component analysis (Pearson 1901). The directions come from a sample of the items, by subspace
iteration; then every item is placed.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import read_field
from fc7_service.collections.rows import Metric, StoredRow, intact_rows, parse_payload
from fc7_service.collections.scoring import prepare_vectors
from fc7_service.collections.store import Store

NO_GROUP = 255
_MOST_GROUPS = 64
_SAMPLE = 4096  # items that the directions come from
_STEPS = 12  # of subspace iteration; each costs two passes over the sample
_SPACE = 16  # directions that are iterated; more than two, so that the two main ones converge quickly
_BLOCK = 1024  # items placed at once
_LONGEST_TEXT = 256  # characters; longer text is no group


@dataclass(frozen=True, slots=True)
class ItemMap:
    """The places of all items, in the order of first insertion."""

    ids: list[str]
    positions: NDArray[np.float32]  # (N, 2)
    shares: tuple[float, float]  # of the variance, that each axis explains
    groups: NDArray[np.uint8]  # (N,), positions in `values`; NO_GROUP where the field has none of them
    values: list[Any]  # the most frequent values of the field


def map_items(store: Store, field: str = "") -> ItemMap:
    """Place all items, and group them by the values of a payload field if one is named."""
    metric = store.definition.metric
    mean, axes, shares = find_axes(_sample(store, metric))
    ids: list[str] = []
    placed: list[NDArray[np.float32]] = []
    values: list[Any] = []
    with store.read_all() as (_, rows):
        intact = intact_rows(rows, store.name)
        while block := list(islice(intact, _BLOCK)):
            ids += [row.id for row in block]
            placed.append((_vectors(block, metric) - mean).astype(np.float32) @ axes.T)
            values += [_value(row, field) if field else None for row in block]
    positions = np.concatenate(placed) if placed else np.empty((0, 2), np.float32)
    groups, known = _group(values)
    return ItemMap(ids, positions.astype(np.float32), shares, groups, known)


def find_axes(
    vectors: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[float, float]]:
    """Return the mean (D,), the two main axes (2, D) and the share of the variance that each explains.

    The largest entry of an axis is positive, so that the same features always give the same map.
    """
    n_rows, dim = vectors.shape
    mean = vectors.mean(axis=0) if n_rows else np.zeros(dim, np.float32)
    centred = vectors - mean
    total = float(np.square(centred, dtype=np.float64).sum())
    space, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, min(dim, _SPACE))).astype(np.float32))
    if total > 0:
        for _ in range(_STEPS):
            space, _ = np.linalg.qr(centred.T @ (centred @ space))
        _, _, turn = np.linalg.svd(centred @ space, full_matrices=False)
        space = space @ turn.T
    axes = space[:, :2]
    axes = axes.T * np.sign(axes[np.abs(axes).argmax(axis=0), range(2)])[:, None]
    spread = np.square(centred @ axes.T, dtype=np.float64).sum(axis=0) / total if total > 0 else np.zeros(2)
    return mean, axes.astype(np.float32), (float(spread[0]), float(spread[1]))


def _sample(store: Store, metric: Metric) -> NDArray[np.float32]:
    """Return features (n, D) of items spread evenly over the collection."""
    with store.read_all() as (count, rows):
        step = max(1, -(-count // _SAMPLE))
        return _vectors(list(islice(intact_rows(rows, store.name), 0, None, step)), metric, store.definition.dim)


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
