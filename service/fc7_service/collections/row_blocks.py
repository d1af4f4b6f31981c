"""Rows in blocks of arrays, as they come from the store and go into indexes and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.store import Store
from fc7_service.collections.vectors import Wide


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that follow one another, sorted by rid."""

    rids: NDArray[np.int64]  # (n,)
    places: NDArray[np.int64]  # (n,)
    checksums: NDArray[np.uint32]  # (n,), of the vectors
    halves: NDArray[np.float16]  # (n, D)
    wide: Wide  # positions within this block


def read_rows(store: Store, first: int, last: int) -> Iterator[Block]:
    """Yield the rows from rid ``first`` to ``last`` whose vectors are intact."""
    dim = store.definition.dim
    for part in store.vectors(first, last):
        rows = [(rid, place, vector, checksum) for rid, place, vector, checksum in part if vector is not None]
        rids, places, vectors, checksums = zip(*rows, strict=True) if rows else ((), (), (), ())
        halves = np.zeros((len(rows), dim), np.float16)
        wide = []
        for i, vector in enumerate(vectors):
            if vector.dtype == np.float16:
                halves[i] = vector
            else:
                wide.append(i)
        table = np.array([vectors[i] for i in wide], np.float32).reshape(-1, dim)
        yield Block(
            np.array(rids, np.int64),
            np.array(places, np.int64),
            np.array(checksums, np.uint32),
            halves,
            Wide(np.array(wide, np.int64), table),
        )


def join_blocks(blocks: Iterable[Block], dim: int) -> Block:
    """Return everything of the blocks but their vectors in fp16 as one block."""
    rids, places, checksums = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.uint32)]
    wide = [Wide.none(dim)]
    n = 0
    for block in blocks:
        rids.append(block.rids)
        places.append(block.places)
        checksums.append(block.checksums)
        wide.append(Wide(block.wide.positions + n, block.wide.vectors))
        n += len(block.rids)
    joined = Wide(np.concatenate([one.positions for one in wide]), np.concatenate([one.vectors for one in wide]))
    none = np.empty((0, dim), np.float16)
    return Block(np.concatenate(rids), np.concatenate(places), np.concatenate(checksums), none, joined)
