"""The upserts of one transaction: their ids are looked up together, and their rows are written together."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from fc7.errors import Fc7Error
from fc7_service.collections import thumbnails
from fc7_service.collections.payload import is_equal, merge
from fc7_service.collections.rows import DamagedRow, Item, StoredRow, payload_text
from fc7_service.collections.searcher import RowChanges
from fc7_service.collections.store import Store


class UpsertBatch:
    """Decides what happens to items, then writes them, in the open transaction of a store."""

    def __init__(self, store: Store, writer: sqlite3.Connection) -> None:
        self._store, self._writer = store, writer
        self._stored: dict[str, StoredRow | DamagedRow] = {}  # by id
        self._new: dict[str, Item] = {}  # what is to be written, by id

    def add(self, items: Sequence[Item], is_merged: bool) -> list[str | Fc7Error]:
        """Return what happens to each item: "added", "replaced", "skipped" or an error. See `Writes.upsert`."""
        self._stored |= self._store.find_all([item.id for item in items])
        return [self._add(item, is_merged) for item in items]

    def write(self) -> RowChanges:
        """Write all that was added; return what this changed."""
        replaced = {id: self._stored[id] for id in self._new if id in self._stored}  # noqa: A001
        places = {id: old.place for id, old in replaced.items() if isinstance(old, StoredRow)}  # noqa: A001
        deleted = [old.rid for old in replaced.values()]
        self._store.drop_all(deleted)
        rows = self._store.put_all(list(self._new.values()), places)
        return RowChanges({row.rid: row for row in rows}, deleted)

    def _add(self, item: Item, is_merged: bool) -> str | Fc7Error:
        new, old = self._new.get(item.id), self._stored.get(item.id)
        payload, content = None, ""
        if new is not None:
            payload, content = json.loads(payload_text(new.payload)), new.content_sha256
        elif isinstance(old, StoredRow):
            payload, content = json.loads(old.payload), old.content
        if payload is not None:
            is_same = content == item.content_sha256
            if is_merged:
                try:
                    item = replace(item, payload=merge(item.id, payload, item.payload, has_same_content=is_same))
                except Fc7Error as error:
                    return error
            if is_same and is_equal(payload, item.payload) and self._has_vector(item.id):
                if item.thumbnail:
                    thumbnails.put(self._writer, item.id, item.content_sha256, item.thumbnail)
                return "skipped"
        self._new[item.id] = item
        if item.thumbnail:
            thumbnails.put(self._writer, item.id, item.content_sha256, item.thumbnail)
        elif item.content_sha256 != content and (new is not None or old is not None):
            thumbnails.forget(self._writer, item.id)
        return "added" if new is None and old is None else "replaced"

    def _has_vector(self, id: str) -> bool:
        """Return whether the vector of an item is intact."""
        return id in self._new or self._store.vector(self._stored[id].rid) is not None
