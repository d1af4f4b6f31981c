"""All items of a collection in one go: as arrays, as an Arrow table, as a pandas data frame."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fc7._operations.collection import get, list_items
from fc7._operations.steps import Emit, Operation, Step, collect
from fc7.errors import FailedPrecondition, Reason
from fc7.filters import Where
from fc7.results import CollectionFacts, Item

if TYPE_CHECKING:
    import pyarrow

_BATCH_ROWS = 1000


def to_numpy(collection: CollectionFacts, where: Where | None) -> Operation[tuple[list[str], NDArray[np.float32]]]:
    """Return ids and features (N, D)."""
    items, dim = yield from _collect(collection, where)
    return [item.id for item in items], _features(items, dim)


def to_pandas(collection: CollectionFacts, where: Where | None) -> Operation[Any]:
    """Return one row per item."""
    pandas = _library("pandas")
    items, _ = yield from _collect(collection, where)
    columns = {
        "id": [item.id for item in items],
        "content_sha256": [item.content_sha256 for item in items],
        "payload": [item.payload for item in items],
        "feature": [item.feature for item in items],
    }
    return pandas.DataFrame(columns)


def to_arrow(collection: CollectionFacts, where: Where | None) -> Operation[pyarrow.Table]:
    """Return one row per item."""
    arrow = _library("pyarrow")
    items, dim = yield from _collect(collection, where)
    table: pyarrow.Table = arrow.Table.from_batches([_batch(arrow, items, dim)])
    return table


def arrow_batches(collection: CollectionFacts, where: Where | None) -> Operation[None]:
    """Emit Arrow batches of at most 1,000 items."""
    arrow = _library("pyarrow")
    dim = yield from _dim(collection)
    items: list[Item] = []
    listing, answer = list_items(collection, True, where, "", False), None
    while (step := _next(listing, answer)) is not None:
        answer = None
        if not isinstance(step, Emit):
            answer = yield step
            continue
        items.append(step.value)
        if len(items) == _BATCH_ROWS:
            yield Emit(_batch(arrow, items, dim))
            items = []
    if items:
        yield Emit(_batch(arrow, items, dim))


def _collect(collection: CollectionFacts, where: Where | None) -> Operation[tuple[list[Item], int]]:
    """Return all items that match, with their features, and the length of a feature."""
    dim = yield from _dim(collection)
    items: list[Item] = yield from collect(list_items(collection, True, where, "", False))
    return items, dim


def _next(operation: Operation[None], answer: Any) -> Step | None:
    """Return the next step of an operation, or None after the last one."""
    try:
        return operation.send(answer)
    except StopIteration:
        return None


def _dim(collection: CollectionFacts) -> Operation[int]:
    if not collection.dim:  # bound without asking the server
        collection.dim = (yield from get(collection.name)).dim
    return collection.dim


def _features(items: list[Item], dim: int) -> NDArray[np.float32]:
    features = np.empty((len(items), dim), np.float32)
    for i, item in enumerate(items):
        features[i] = item.feature
    return features


def _batch(arrow: Any, items: list[Item], dim: int) -> Any:
    values = arrow.array(_features(items, dim).ravel(), arrow.float32())
    columns = {
        "id": arrow.array([item.id for item in items], arrow.string()),
        "content_sha256": arrow.array([item.content_sha256 for item in items], arrow.string()),
        "payload": arrow.array([json.dumps(item.payload, ensure_ascii=False) for item in items], arrow.string()),
        "feature": arrow.FixedSizeListArray.from_arrays(values, dim),
    }
    return arrow.RecordBatch.from_pydict(columns)


def _library(name: str) -> Any:
    """Import a library that fc7 does not need otherwise.

    Raises
    ------
    FailedPrecondition
        It is not installed.
    """
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            f"{name} is not installed. Install it with: pip install {name}",
            name=name,
            reason=Reason.FAILED_PRECONDITION,
        ) from error
