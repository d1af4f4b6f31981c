"""Changes of payloads, which leave the features alone: no vector is written, and no index has to follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fc7.contract.filter import Filter, matches
from fc7.errors import Fc7Error
from fc7_service.collections.payload import check_size, is_equal
from fc7_service.collections.rows import StoredRow, parse_payload
from fc7_service.collections.store import Store


@dataclass(frozen=True, slots=True)
class PayloadChange:
    """What to do with the keys of a payload's top level."""

    new: dict[str, Any]  # keys to set
    removed: tuple[str, ...] = ()  # keys to remove first
    is_replaced: bool = False  # remove all keys first

    def of(self, id: str, stored: dict[str, Any]) -> dict[str, Any]:
        """Return the changed payload of the item ``id``.

        Raises
        ------
        InvalidArgument
            It would be too large.
        """
        kept = {} if self.is_replaced else {key: stored[key] for key in stored if key not in self.removed}
        changed = kept | self.new
        check_size(id, changed, "To remove stored keys, use --remove, or remove=")
        return changed


@dataclass(frozen=True, slots=True)
class Updated:
    """What happened to the payload of one item."""

    id: str
    is_changed: bool
    error: Fc7Error | None = None


def update_row(store: Store, row: StoredRow, change: PayloadChange, changed_rids: list[int]) -> Updated:
    """Change the payload of a row in the open transaction; add its rid to ``changed_rids`` if it is another now."""
    stored = parse_payload(row.payload)
    try:
        payload = change.of(row.id, stored)
    except Fc7Error as error:
        return Updated(row.id, False, error)
    if is_equal(stored, payload):
        return Updated(row.id, False)
    store.set_payload(row, payload)
    changed_rids.append(row.rid)
    return Updated(row.id, True)


def update_matching(
    store: Store, found: Sequence[tuple[str, int]], where: Filter, change: PayloadChange, changed_rids: list[int]
) -> list[Updated]:
    """Change the rows of these ids and places, in the open transaction. One that no longer matches is passed over."""
    done = []
    for own, place in found:
        row = store.find(own)
        if isinstance(row, StoredRow) and row.place == place and matches(where, parse_payload(row.payload)):
            done.append(update_row(store, row, change, changed_rids))
    return done
