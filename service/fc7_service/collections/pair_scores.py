"""How near random pairs of items are: what tells whether a score is anything special in a collection.

A cosine of .2 may be rare with one layer and common with another. The *rarity* of a score is the share of random pairs
of items that are at least as near. A table holds it, exactly for the 1,000 nearest pairs, and otherwise rounded up by
at most one part in a hundred.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.rows import Metric
from fc7_service.collections.scoring import prepare_vectors

MOST_PAIRS = 2**20  # up to as many, every pair is compared
BLOCKS, BLOCK_ROWS = 64, 256  # otherwise, per block, the first half of its random rows with the second: 2^20 pairs
_NEAREST = 1000  # pairs that are kept one by one
_STEP = 1.01  # between the ranks that are kept beyond
_SAME = 1e-9  # scores that differ by less, relative to the largest, are equal: sums depend on their order
_CLOSE = 1e-6  # squared distances below this share of the squared lengths are computed again, without cancellation
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class PairScores:
    """A table of the scores between random pairs of items."""

    commit: int  # of the collection that was compared
    n_items: int
    last_rid: int  # the largest among them
    n_pairs: int
    scores: NDArray[np.float64]  # (T,), falling, multiples of ``step``
    at_least: NDArray[np.int64]  # (T,), pairs that score as much or more
    above: NDArray[np.int64]  # (T,), pairs that score more
    step: float  # scores are rounded to it

    @property
    def is_complete(self) -> bool:
        """Whether every pair was compared, rather than a sample."""
        return self.n_pairs == self.n_items * (self.n_items - 1) // 2

    @property
    def resolution(self) -> float:
        """The smallest rarity that so many pairs can tell."""
        return 1 / self.n_pairs

    def rarity(self, score: float) -> float:
        """Return the share of random pairs that are at least as near; never below ``resolution``."""
        rounded = round(score / self.step) * self.step
        place = int(np.searchsorted(-self.scores, -(rounded - self.step / 2), side="left"))  # scores above it
        if place and self.scores[place - 1] < rounded + self.step / 2:
            n_near = int(self.at_least[place - 1])
        else:
            n_near = int(self.above[place]) if place < len(self.scores) else self.n_pairs
        return max(n_near, 1) / self.n_pairs

    def cut_off(self, share: float) -> float:
        """Return the lowest score whose rarity is at most ``share``; above all scores if there is none."""
        allowed = share * self.n_pairs * (1 + 1e-12)
        place = int(np.searchsorted(self.at_least, allowed, side="right"))  # the first with too many
        if place == len(self.scores):
            return float(self.scores[-1]) if share < 1 else -np.inf
        if self.above[place] <= allowed:
            return float(self.scores[place] + self.step)
        return float(self.scores[place - 1])

    def threshold(self, share: float) -> float:
        """Return a score to tell matches by: halfway between the pairs that ``cut_off`` keeps and the next one."""
        lowest = self.cut_off(share)
        kept = self.scores[self.scores >= lowest]
        return float(lowest + kept[-1]) / 2 if len(kept) and np.isfinite(lowest) else lowest

    @property
    def top_share(self) -> float:
        """Share of the pairs that have the highest score, such as exact duplicates."""
        return int(self.at_least[0]) / self.n_pairs

    def to_json(self) -> bytes:
        """Return the content of a file, with a checksum."""
        table = [self.scores.tolist(), self.at_least.tolist(), self.above.tolist()]
        facts = [_FORMAT, self.commit, self.n_items, self.last_rid, self.n_pairs, self.step]
        text = json.dumps([facts, table])
        return f"{zlib.crc32(text.encode())} {text}".encode()

    @classmethod
    def from_json(cls, data: bytes) -> PairScores:
        """Return what ``to_json`` wrote.

        Raises
        ------
        ValueError
            The file is damaged, or of another version.
        """
        checksum, _, text = data.partition(b" ")
        if not checksum.isdigit() or zlib.crc32(text) != int(checksum):
            raise ValueError("the checksum does not hold")
        (kind, commit, n_items, last_rid, n_pairs, step), (scores, at_least, above) = json.loads(text)
        if kind != _FORMAT:
            raise ValueError(f"format {kind}")
        counts = np.array(at_least, np.int64), np.array(above, np.int64)
        return cls(commit, n_items, last_rid, n_pairs, np.array(scores), *counts, step)


def make_table(scores: NDArray[np.float64], commit: int, n_items: int, last_rid: int) -> PairScores:
    """Return the table of the scores (P,) of random pairs."""
    step = _SAME * max(float(np.abs(scores).max()), 1e-30)
    falling = -np.sort(-np.round(scores / step)) * step
    n_pairs = len(falling)
    n_steps = int(np.log(max(n_pairs / _NEAREST, 1)) / np.log(_STEP)) + 1
    beyond = (_NEAREST * _STEP ** np.arange(n_steps)).astype(np.int64)
    ranks = np.unique(np.concatenate([np.arange(min(_NEAREST, n_pairs)), beyond[beyond < n_pairs], [n_pairs - 1]]))
    kept = -np.unique(-falling[ranks])
    at_least = np.searchsorted(-falling, -kept, side="right")
    above = np.searchsorted(-falling, -kept, side="left")
    return PairScores(commit, n_items, last_rid, n_pairs, kept, at_least, above, step)


def choose_blocks(rids: NDArray[np.int64], seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rids of the rows to compare, block by block; one block of all rids if every pair is compared."""
    n = len(rids)
    if n * (n - 1) // 2 <= MOST_PAIRS:
        yield rids
        return
    random = np.random.default_rng(seed)
    for _ in range(BLOCKS):
        yield random.choice(rids, BLOCK_ROWS, replace=False, shuffle=True)


def score_pairs(blocks: Iterable[NDArray[Any]], metric: Metric, *, is_complete: bool) -> NDArray[np.float64]:
    """Return the scores of pairs of raw rows: every pair of one block, or those between the two halves of each."""
    found = []
    for block in blocks:
        rows = prepare_vectors(block, metric).astype(np.float64)
        half = len(rows) // 2
        if is_complete:
            found.append(_scores(rows, rows, metric)[np.triu_indices(len(rows), 1)])
        else:
            found.append(_scores(rows[:half], rows[half:], metric).ravel())
    return np.concatenate(found)


def _scores(left: NDArray[np.float64], right: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Return the exact scores (L, R) between prepared rows."""
    dots: NDArray[np.float64] = left @ right.T
    if metric == "dot":
        return dots
    if metric == "cosine":
        return np.clip(dots, -1.0, 1.0)
    squares = np.einsum("nd,nd->n", left, left)[:, None] + np.einsum("nd,nd->n", right, right)
    distances = np.maximum(squares - 2 * dots, 0)
    for i in np.flatnonzero((distances <= _CLOSE * squares).any(axis=1)):
        close = np.flatnonzero(distances[i] <= _CLOSE * squares[i])
        differences = right[close] - left[i]
        distances[i, close] = np.einsum("nd,nd->n", differences, differences)
    found: NDArray[np.float64] = -np.sqrt(distances)
    return found
