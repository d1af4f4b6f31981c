"""The features of the items that have a label: what a head is trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument, Reason, ResourceExhausted
from fc7_service.collections.labels import LabelRecord, class_of
from fc7_service.collections.payload import read_label
from fc7_service.collections.rows import intact_rows
from fc7_service.collections.store import Store


def labelled_features(
    store: Store, held: Mapping[str, Mapping[str, LabelRecord]], field: str | None, max_rows: int, group_field: str = ""
) -> tuple[NDArray[Any], list[str], list[str], list[str], list[str]]:
    """Return features (N, D) float16 or float32, labels, content hashes, ids and groups of the items that have a label.

    Parameters
    ----------
    store
        Holds the items.
    held
        The label records that hold, by id, from `current`. They outrank the field: see `class_of`.
    field
        Payload field of the labels: text, or an integer, which counts as its text. An item without the field, or
        with null in it, has no label, and neither has one whose label a head wrote (``FIELD_head`` says so). None
        for none.
    max_rows
        Most items.
    group_field
        Payload field of the groups, with values as in ``field``. Empty for none.

    Raises
    ------
    InvalidArgument
        No item has a label, or a label has another type.
    ResourceExhausted
        More than ``max_rows`` items have a label.
    """
    labels, contents, ids, groups = list[str](), list[str](), list[str](), list[str]()
    where = _place(field)
    with store.read_all() as (count, rows):
        # Memory that no row is written to is not taken. Features stay in half precision if all are stored so.
        features: NDArray[Any] = np.empty((min(count, max_rows), store.definition.dim), np.float16)
        for row in intact_rows(rows, store.name):
            payload = json.loads(row.payload)
            is_written = field is None or f"{field}_head" in payload
            from_field = None if is_written else read_label(row.id, payload, field or "")
            label = class_of(held.get(row.id, {}), from_field)
            if label is not None:
                if len(labels) == max_rows:
                    raise ResourceExhausted(
                        f"Collection {store.name!r} has more than {max_rows} items with a label in {where}, which "
                        "is as many as fit into memory. Train on a part of them",
                        name=field or "labels",
                        reason=Reason.WORK_TOO_LARGE,
                    )
                if row.vector.dtype.itemsize > features.dtype.itemsize:
                    features = features.astype(np.float32)
                features[len(labels)] = row.vector
                labels.append(label)
                contents.append(row.content)
                ids.append(row.id)
                if group_field:
                    groups.append(read_label(row.id, payload, group_field) or "")
    if not labels:
        raise no_labels(store.name, field)
    return features[: len(labels)], labels, contents, ids, groups


def no_labels(name: str, field: str | None) -> InvalidArgument:
    """Return the error of a collection without a label in a payload field or, for None, in its label records."""
    return InvalidArgument(
        f"Collection {name!r} has no item with a label in {_place(field)}. Name the field that holds your "
        "labels: --label FIELD, or label=",
        name=field or "labels",
        reason=Reason.NO_LABELS,
    )


def _place(field: str | None) -> str:
    return "its label records" if field is None else repr(field)
