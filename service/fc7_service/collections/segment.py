"""Sealed segments: files with the vectors of a range of rids and their codes, so that a start computes nothing again.

A segment repeats what the database holds, and is made anew from it whenever it is missing or damaged. Its file has the
vectors first, as fp16, which are mapped and never read as a whole. After them come all other arrays, and a line of JSON
that says where each begins. The stamp, SHA-256 over everything after the vectors, is the name of the file; the database
lists the stamps that belong to the collection. Among the arrays are the checksums of the vectors.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.index_rabitq import Codes, RaBitQ
from fc7_service.collections.row_blocks import Block, join_blocks
from fc7_service.collections.rows import Metric
from fc7_service.collections.vectors import DamagedFileError, Vectors, Wide

SUFFIX, UNFINISHED = ".segment", ".part"
_LENGTH_BYTES = 8  # of the number at the end that says how long the line is
_LONGEST_LINE = 2**16
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The rows that were stored, with a rid from ``first`` to ``last``, when the segment was made."""

    first: int
    last: int
    stamp: str  # empty if there is no file
    rids: NDArray[np.int64]  # (N,), sorted
    places: NDArray[np.int64]  # (N,)
    checksums: NDArray[np.uint32]  # (N,)
    vectors: Vectors  # (N, D)
    index: RaBitQ

    def blocks(self, alive: NDArray[np.bool_] | None) -> Iterator[Block]:
        """Yield the rows that are ``alive`` (N,).

        Raises
        ------
        DamagedFileError
            A vector does not match its checksum.
        """
        kept = np.arange(len(self.rids)) if alive is None else np.flatnonzero(alive)
        for start in range(0, len(kept), _ROWS_AT_ONCE):
            rows = kept[start : start + _ROWS_AT_ONCE]
            yield Block(self.rids[rows], self.places[rows], self.checksums[rows], *self.vectors.halves(rows))


def write_segment(folder: Path, blocks: Iterable[Block], first: int, last: int, dim: int, metric: Metric) -> str:
    """Write the rows from rid ``first`` to ``last`` to a new file; return its stamp, or nothing if there are no rows.

    Raises
    ------
    OSError
        The disk is full, or the folder cannot be written.
    """
    folder.mkdir(exist_ok=True)
    part = folder / f"{uuid.uuid4().hex}{UNFINISHED}"
    try:
        with part.open("wb") as file:
            kept = join_blocks(_written(blocks, file), dim)
            if not len(kept.rids):
                return ""
            file.flush()
            mapped = _mapped(part, len(kept.rids), dim)
            index = RaBitQ(Vectors(mapped, kept.wide), metric)
            facts = {"n": len(kept.rids), "dim": dim, "metric": metric, "first": first, "last": last}
            stamped = _packed(_arrays(kept, index.codes()), facts)
            del mapped, index  # Windows renames no file that is mapped
            file.write(stamped)
        stamp = hashlib.sha256(stamped).hexdigest()
        part.replace(folder / f"{stamp}{SUFFIX}")
    finally:
        part.unlink(missing_ok=True)
    return stamp


def read_segment(folder: Path, stamp: str, dim: int, metric: Metric) -> Segment:
    """Open the file with this stamp.

    Raises
    ------
    DamagedFileError
        It is missing, cut or altered, or belongs elsewhere.
    """
    path = folder / f"{stamp}{SUFFIX}"
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _LENGTH_BYTES))
            n_line = int.from_bytes(file.read(), "big")
            if n_line > _LONGEST_LINE:
                raise ValueError(f"the line would have {n_line} bytes")
            file.seek(max(0, size - _LENGTH_BYTES - n_line))
            line = json.loads(file.read(n_line))
            file.seek(2 * line["n"] * dim)
            stamped = file.read()
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DamagedFileError(f"{path.name} cannot be read: {error}") from error
    if hashlib.sha256(stamped).hexdigest() != stamp or (line["dim"], line["metric"]) != (dim, metric):
        raise DamagedFileError(f"{path.name} does not match its stamp")
    arrays = {
        name: np.frombuffer(stamped, dtype, int(np.prod(shape)), offset).reshape(shape)
        for name, (offset, dtype, shape) in line["arrays"].items()
    }
    codes = arrays.pop("codes")  # FAISS copies them
    arrays = {name: array.copy() for name, array in arrays.items()}  # so that the bytes that were read can go
    rids, checksums = arrays["rids"], arrays["checksums"]
    wide = Wide(arrays["wide_positions"], arrays["wide_vectors"])
    vectors = Vectors(_mapped(path, line["n"], dim), wide, rids=rids, checksums=checksums)
    index = RaBitQ(vectors, metric, Codes(codes, arrays["centre"], arrays["lengths"], arrays["errors"]))
    return Segment(line["first"], line["last"], stamp, rids, arrays["places"], checksums, vectors, index)


def make_segment(blocks: Iterable[Block], first: int, last: int, dim: int, metric: Metric) -> Segment | None:
    """Return a segment that is only in memory, or None if there are no rows."""
    parts: list[NDArray[np.float16]] = []

    def keeping() -> Iterator[Block]:
        for block in blocks:
            parts.append(block.halves)
            yield block

    kept = join_blocks(keeping(), dim)
    if not parts:
        return None
    vectors = Vectors(np.concatenate(parts), kept.wide)
    return Segment(first, last, "", kept.rids, kept.places, kept.checksums, vectors, RaBitQ(vectors, metric))


def _written(blocks: Iterable[Block], file: Any) -> Iterator[Block]:
    for block in blocks:
        file.write(block.halves)
        yield block


def _arrays(kept: Block, codes: Codes) -> dict[str, NDArray[Any]]:
    named = {name: getattr(codes, name) for name in Codes.__dataclass_fields__}
    return named | {
        "rids": kept.rids,
        "places": kept.places,
        "checksums": kept.checksums,
        "wide_positions": kept.wide.positions,
        "wide_vectors": kept.wide.vectors,
    }


def _packed(arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> bytes:
    """Return the arrays, each at a multiple of 64 bytes, a line of facts and of what is where, and its length."""
    packed, places = bytearray(), {}
    for name, array in arrays.items():
        packed += bytes(-len(packed) % 64)
        places[name] = (len(packed), array.dtype.str, array.shape)
        packed += np.ascontiguousarray(array).tobytes()
    line = json.dumps(facts | {"arrays": places}).encode()
    return bytes(packed + line + len(line).to_bytes(_LENGTH_BYTES, "big"))


def _mapped(path: Path, n: int, dim: int) -> NDArray[np.float16]:
    """Map the vectors; the file is never written again, nor cut, by fc7."""
    return np.asarray(np.memmap(path, np.dtype("<f2"), "r", 0, (n, dim)))
