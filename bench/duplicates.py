"""Processor time to find all groups of near-duplicates of a collection, and those of one new picture.

    python bench/duplicates.py [--rows 30000] [--rows 100000] [--features FILE.npy]

Without FILE, whose rows are features, they are made like those of a ReLU layer: 1,024 numbers, a quarter of them not
zero, in 200 classes. A tenth of the rows are altered copies of others, whose scores are about 0.99.

Columns: rows; processor seconds of `find_duplicates` on stored rows, of all threads together; those of them that grow
with the square of the rows, which are the comparisons of short vectors; groups found; share of the planted pairs that
are in one group; processor seconds of the plain float32 matrix product of all pairs, computed for 4,096 rows and
scaled; processor milliseconds of one new picture against all items, by a search with a least score. With two sizes or
more, a last line says what a million rows would take, if one part grows with the rows and the other with their square.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.collection import Collection
from fc7_service.collections.near_pairs import ShortVectors
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.collections.search import Query, Search

DIM, CLASSES, SCORE, PLAIN_ROWS, AT_ONCE, N_NEW = 1024, 200, 0.97, 4096, 2000, 50
Rows = NDArray[np.float32]


class Found(NamedTuple):
    """What one size took."""

    seconds: float
    pair_seconds: float  # of these
    groups: list[list[str]]
    search_ms: float


@click.command(help=(__doc__ or "").split("\n")[0])
@click.option("--rows", "sizes", multiple=True, default=(30_000,), help="Size of the collection. Repeatable.")
@click.option("--features", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Rows to take.")
def main(sizes: tuple[int, ...], file: Path | None) -> None:
    """Print one line per size."""
    click.echo("rows  cpu s  of these pairs  groups  found  plain s  one picture ms")
    costs = []
    for n in sizes:
        n_planted = n // 10
        rows = np.load(file, mmap_mode="r")[: n - n_planted] if file else None
        sources = np.random.default_rng(1).choice(n - n_planted, n_planted, replace=False)
        found = measure(make_rows(n - n_planted) if rows is None else parts(rows), sources)
        group_of = {own: i for i, group in enumerate(found.groups) for own in group}
        n_found = sum(group_of.get(str(own), -1) == group_of.get(f"copy of {own}", -2) for own in sources.tolist())
        plain = plain_seconds(next(make_rows(PLAIN_ROWS))) * (n / PLAIN_ROWS) ** 2 / 2
        click.echo(
            f"{n}  {found.seconds:.1f}  {found.pair_seconds:.1f}  {len(found.groups)}  {n_found / n_planted:.4f}  "
            f"{plain:.1f}  {found.search_ms:.1f}"
        )
        costs.append((n, found))
    if len(costs) > 1:
        n, found = costs[-1]
        million = found.pair_seconds * (1e6 / n) ** 2 + (found.seconds - found.pair_seconds) * 1e6 / n
        click.echo(f"1000000 (from {n}): {million:.0f} s of processor time")


def make_rows(n: int) -> Iterator[Rows]:
    """Yield blocks of rows (b, DIM) like those of a ReLU layer, ``n`` together."""
    rng = np.random.default_rng(0)
    strengths = (np.arange(1, 257) ** -0.5).astype(np.float32)
    mixing = rng.normal(size=(256, DIM)).astype(np.float32)
    centres = rng.normal(size=(CLASSES, 256)).astype(np.float32)
    cut = None
    for start in range(0, n, PLAIN_ROWS):
        b = min(PLAIN_ROWS, n - start)
        hidden = centres[rng.integers(CLASSES, size=b)] + 0.8 * rng.standard_normal((b, 256), np.float32)
        shifted = (hidden * strengths) @ mixing
        cut = np.quantile(shifted[:2000], 0.75) if cut is None else cut
        yield np.maximum(shifted - cut, 0).astype(np.float32) + 0  # -0 would differ from 0


def parts(rows: NDArray[np.generic]) -> Iterator[Rows]:
    """Yield blocks of the rows of a file."""
    for start in range(0, len(rows), PLAIN_ROWS):
        yield rows[start : start + PLAIN_ROWS].astype(np.float32)


def measure(blocks: Iterator[Rows], sources: NDArray[np.int64]) -> Found:
    """Store rows and altered copies of those at ``sources``; return what it takes to find them."""
    rng, wanted = np.random.default_rng(2), set(sources.tolist())
    with tempfile.TemporaryDirectory() as folder:
        library = Collections(Path(folder))
        photos: Collection | None = None
        start = 0
        for block in blocks:
            photos = photos or library.create("bench", Provenance("m", "a" * 64, "b" * 64, "fc7"), block.shape[1])
            items = []
            for i, row in enumerate(block, start):
                items.append(Item(str(i), f"{i:064x}", {}, row))
                if i in wanted:
                    noise = rng.standard_normal(len(row), np.float32) * 0.14 * np.linalg.norm(row) / len(row) ** 0.5
                    items.append(Item(f"copy of {i}", f"{i:063x}c", {}, row + noise))
            for first in range(0, len(items), AT_ONCE):
                photos.upsert(items[first : first + AT_ONCE])
            start += len(block)
        assert photos is not None
        with TimedPairs() as timed:
            begin = time.process_time()
            groups = [group.ids for group in photos.duplicates(SCORE)]
            seconds = time.process_time() - begin
        photos.index()
        begin = time.process_time()
        for row in block[:N_NEW]:
            photos.answer([Query(row)], Search(k=10, min_score=SCORE))
        search_ms = (time.process_time() - begin) / min(N_NEW, len(block)) * 1000
        library.close()
    return Found(seconds, timed.seconds, groups, search_ms)


class TimedPairs:
    """Adds up the processor time of the comparisons of short vectors, of all threads."""

    def __enter__(self) -> TimedPairs:
        self.seconds = 0.0
        self._whole = ShortVectors._pairs_of_part

        def timed(*args: object) -> object:
            begin = time.thread_time()
            try:
                return self._whole(*args)  # type: ignore[arg-type]
            finally:
                self.seconds += time.thread_time() - begin

        ShortVectors._pairs_of_part = timed  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *error: object) -> None:
        ShortVectors._pairs_of_part = self._whole  # type: ignore[method-assign]


def plain_seconds(rows: Rows) -> float:
    """Return the processor seconds of one product of PLAIN_ROWS rows with themselves."""
    with threadpool_limits(1, user_api="blas"):
        begin = time.process_time()
        rows @ rows.T
        return time.process_time() - begin


if __name__ == "__main__":
    main()
