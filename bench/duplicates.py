"""Time to find all groups of near-duplicates of a collection, and what comparing every pair would cost.

    python bench/duplicates.py [--rows 30000] [--features FILE.npy]

Without FILE, whose rows are features, they are made like those of a ReLU layer: 1,024 numbers, a quarter of them not
zero, in 200 classes. A tenth of the rows are altered copies of others, whose scores are about 0.99.

Columns: rows; seconds of `find_duplicates` on stored rows, reading included; groups found; share of the planted pairs
that are in one group; seconds of the plain float32 matrix product of all pairs, computed for 4,096 rows and scaled.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

DIM, CLASSES, SCORE, PLAIN_ROWS = 1024, 200, 0.97, 4096


@click.command(help=(__doc__ or "").split("\n")[0])
@click.option("--rows", "sizes", multiple=True, default=(30_000,), help="Size of the collection. Repeatable.")
@click.option("--features", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Rows to take.")
def main(sizes: tuple[int, ...], file: Path | None) -> None:
    """Print one line per size."""
    click.echo("rows  seconds  groups  found  plain s")
    for n in sizes:
        n_planted = n // 10
        rows = make_rows(n - n_planted) if file is None else np.load(file)[: n - n_planted].astype(np.float32)
        rng = np.random.default_rng(1)
        sources = rng.choice(len(rows), n_planted, replace=False)
        noise = rng.normal(size=(n_planted, rows.shape[1])).astype(np.float32)
        noise *= 0.14 * np.linalg.norm(rows[sources], axis=1, keepdims=True) / rows.shape[1] ** 0.5
        seconds, groups = measure(np.concatenate([rows, rows[sources] + noise]))
        group_of = {own: i for i, group in enumerate(groups) for own in group}
        n_found = sum(
            group_of.get(str(source), -1) == group_of.get(str(len(rows) + i), -2) for i, source in enumerate(sources)
        )
        plain = plain_seconds(rows) * (n / PLAIN_ROWS) ** 2 / 2
        click.echo(f"{n}  {seconds:.1f}  {len(groups)}  {n_found / n_planted:.4f}  {plain:.1f}")


def make_rows(n: int) -> NDArray[np.float32]:
    """Return rows (n, DIM) like those of a ReLU layer."""
    rng = np.random.default_rng(0)
    strengths = (np.arange(1, 257) ** -0.5).astype(np.float32)
    mixing = rng.normal(size=(256, DIM)).astype(np.float32)
    centres = rng.normal(size=(CLASSES, 256)).astype(np.float32)
    hidden = centres[rng.integers(CLASSES, size=n)] + 0.8 * rng.normal(size=(n, 256)).astype(np.float32)
    shifted = (hidden * strengths) @ mixing
    return np.maximum(shifted - np.quantile(shifted[:2000], 0.75), 0) + 0  # -0 would differ from 0


def measure(rows: NDArray[np.float32]) -> tuple[float, list[list[str]]]:
    """Return the seconds that it takes to find all groups, and the groups."""
    with tempfile.TemporaryDirectory() as folder:
        library = Collections(Path(folder))
        photos = library.create("bench", Provenance("m", "a" * 64, "b" * 64, "fc7"), rows.shape[1])
        for start in range(0, len(rows), 2000):
            part = enumerate(rows[start : start + 2000], start)
            photos.upsert([Item(str(i), f"{i:064x}", {}, row) for i, row in part])
        begin = time.perf_counter()
        groups = [group.ids for group in photos.duplicates(SCORE)]
        seconds = time.perf_counter() - begin
        library.close()
    return seconds, groups


def plain_seconds(rows: NDArray[np.float32]) -> float:
    """Return the seconds of one product of PLAIN_ROWS rows with themselves."""
    part = np.resize(rows, (PLAIN_ROWS, rows.shape[1]))
    begin = time.perf_counter()
    part @ part.T
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
