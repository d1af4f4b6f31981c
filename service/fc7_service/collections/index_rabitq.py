"""The index for large collections: RaBitQ codes find candidates, which the stored vectors rank exactly.

How it knows that no candidate is missing
-----------------------------------------
Let c be the centre of the codes, x a stored vector, q the query, and y the vector that the code of x stands for. FAISS
estimates the distance as ``|x-c|^2 + |q-c|^2 - 2 <y-c, q-c>``, and chooses the length of y - c so that e = y - x is
orthogonal to x - c. So the estimate is off by ``-2 <e, q-c>``, where only the part of q - c across x - c counts.
With R = |x-c|, Q = |q-c| and s = |e| / R, this part has the length Q sin(angle), and a random direction among the D - 1
that remain gives the product the standard deviation ``s R Q sin(angle) / sqrt(D-1)`` (Gao and Long 2024, equation 13
and theorem 3.2, where s is ``sqrt((1 - <o_bar,o>^2) / <o_bar,o>^2)``).

``R Q sin(angle)`` is twice the area of the triangle c, x, q, and that is at most ``Q |x-q|``. A row that belongs to the
answer is at most r away, the distance of the k-th best row so far. So its estimate is, z standard deviations away, at
most

    r^2 + 2 z s Q r / sqrt(D-1) + rounding

The bound shrinks with r: near-duplicates, which lie close together, are told from all others. For the inner product, no
such r exists, and the estimate of a row of the answer, whose product is at least p, is at least
``p - z |e| Q / sqrt(D-1) - rounding / 2``.

FAISS rounds q - c to ``2^_QUERY_BITS`` steps. With d the difference that this makes and o the code scaled to length 1,
the estimate changes by ``2 |y-c| <o, d>``. Rows of the answer have codes much like the signs of q - c, for which the
product is computed; the rest of o is taken as random. So the rounding is at most
``2 |y-c| (|<sign(q-c), d>| / sqrt(D) + z |d| / sqrt(D-1))``, where ``|y-c|`` is at most ``(Q + r) sqrt(1 + s^2)``.

References
----------
Gao and Long 2024, RaBitQ (arXiv 2405.12497).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.faiss_threads import set_faiss_threads
from fc7_service.collections.index import USUAL_DEVIATIONS, Work
from fc7_service.collections.rows import Metric
from fc7_service.collections.scoring import ROUNDING, ScoredRows, exact_scores, joined, may_be_best, scan
from fc7_service.collections.vectors import Vectors

_BLOCK = 8192  # rows prepared at once
_RANKED_ROWS = 256  # candidates ranked at once: they stay in the cache of the processor
_TRAINING_ROWS = 20_000  # training the codes only takes the mean
_SAMPLED_ROWS = 2000  # from which the errors of the codes are measured
_QUERY_BITS = 8  # with FAISS's 4, rounding the query costs more candidates than it saves time (bench/search.py)
_UNUSUAL = 0.99  # quantile of the sampled errors that stands for all rows
_CANDIDATES, _CANDIDATES_PER_K = 100, 4  # ranked first; for most queries they are enough (bench/search.py)
_ESTIMATED = 500  # rows by which FAISS answers; more than needed first, to spare a second pass (bench/search.py)
_SCAN_SHARE = 4  # with more than a quarter of the rows as candidates, comparing all is as fast


@dataclass(frozen=True, slots=True)
class Codes:
    """All that has to be computed from the vectors."""

    codes: NDArray[np.uint8]  # (N, n_bytes)
    centre: NDArray[np.float32]  # (D,)
    lengths: NDArray[np.float32]  # (N,), of the rows as `Vectors.decoded` returns them
    errors: NDArray[np.float64]  # (3,): s, |e| and |y-c| of the module's text


class RaBitQ:
    """FAISS RaBitQ over the full dimension; the raw vectors stay as they are stored, mostly fp16.

    ``codes`` are those that an index of the same vectors returned; by default they are computed.
    """

    def __init__(self, vectors: Vectors | NDArray[Any], metric: Metric, codes: Codes | None = None) -> None:
        self._vectors = vectors if isinstance(vectors, Vectors) else Vectors(vectors)
        self._metric = metric
        kind = faiss.METRIC_INNER_PRODUCT if metric == "dot" else faiss.METRIC_L2  # cosine: the same order, unit length
        self._codes = faiss.IndexRaBitQ(vectors.shape[1], kind)
        self._codes.qb = _QUERY_BITS
        if codes is None:
            self._compute()
        else:
            faiss.copy_array_to_vector(codes.centre, self._codes.center)
            self._codes.is_trained = True
            self._codes.add_sa_codes(codes.codes)
            self._centre, self._lengths = codes.centre, codes.lengths
            self._relative_error, self._error, self._code_radius = codes.errors.tolist()

    def codes(self) -> Codes:
        """Return what makes this index again without computing."""
        errors = np.array([self._relative_error, self._error, self._code_radius])
        packed = faiss.vector_to_array(self._codes.codes).reshape(len(self._vectors), -1)  # type: ignore[attr-defined]
        return Codes(packed, self._centre, self._lengths, errors)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        alive: NDArray[np.bool_] | None = None,
        work: Work | None = None,
    ) -> list[ScoredRows]:
        """Return the best of each query with their exact scores, widening its candidates until they suffice."""
        work = work or Work()
        n_alive = len(self._vectors) if alive is None else int(np.count_nonzero(alive))
        first = max(_CANDIDATES, _CANDIDATES_PER_K * k)
        if work.is_exact or first * _SCAN_SHARE > n_alive:
            work.n_vectors += n_alive * len(queries)
            return self._scan(np.arange(n_alive) if alive is None else np.flatnonzero(alive), queries, k)
        set_faiss_threads(len(queries))
        only_alive = None if alive is None else _Selection(alive)
        parameters = None if only_alive is None else only_alive.parameters
        wide = min(max(_ESTIMATED, first), n_alive)
        estimates, rows = self._codes.search(queries, wide, params=parameters)
        work.n_codes += n_alive * len(queries)
        answers = [self._ranked(query, found[:first], k) for query, found in zip(queries, rows, strict=True)]
        work.n_vectors += first * len(queries)
        left = []  # queries of which too many rows may belong to the answer
        set_faiss_threads(1)  # a second pass has one query, and FAISS only divides work between queries
        for i, (query, (_, scores)) in enumerate(zip(queries, answers, strict=True)):
            bound = self._bound(query, float(np.partition(scores, -k)[-k]), work.deviations)
            n_within = self._count_within(estimates[i], bound)
            if n_within < wide or wide == n_alive:
                more = rows[i, first:n_within]
            else:
                _, _, found = self._codes.range_search(query[None], bound, params=parameters)
                work.n_codes += n_alive
                more = np.setdiff1d(found, rows[i, :first])
            if len(more) * _SCAN_SHARE > n_alive:
                left.append(i)
                work.n_vectors += n_alive
            elif len(more):
                work.n_vectors += len(more)
                answers[i] = joined([answers[i], self._ranked(query, more, k)])
        if left:
            for i, answer in zip(left, scan(self._blocks(), queries[left], k, alive, self._metric), strict=True):
                answers[i] = answer
        return answers

    def _compute(self) -> None:
        n = len(self._vectors)
        self._codes.train(self._vectors.prepared(slice(0, n, -(-n // _TRAINING_ROWS)), self._metric))
        self._centre = faiss.vector_to_array(self._codes.center)
        self._lengths = np.empty(n, np.float32)
        for start in range(0, n, _BLOCK):
            rows = slice(start, start + _BLOCK)
            self._codes.add(self._vectors.prepared(rows, self._metric))
            self._lengths[rows] = np.linalg.norm(self._vectors.decoded(rows, self._metric), axis=1)
        self._measure_errors()

    def _measure_errors(self) -> None:
        """Measure, on a sample, how far the codes are from the vectors that they stand for."""
        step = -(-len(self._vectors) // _SAMPLED_ROWS)
        rows = self._vectors.prepared(slice(0, len(self._vectors), step), self._metric)
        coded = self._codes.sa_decode(self._codes.sa_encode(rows))
        errors, radii = np.linalg.norm(coded - rows, axis=1), np.linalg.norm(rows - self._centre, axis=1)
        relative = np.divide(errors, radii, out=np.zeros_like(errors), where=radii > 0)
        self._relative_error = float(np.quantile(relative, _UNUSUAL))  # s
        self._error = float(np.quantile(errors, _UNUSUAL))  # |e|
        self._code_radius = float(np.quantile(np.hypot(errors, radii), _UNUSUAL))  # |y-c|

    def _bound(self, query: NDArray[np.float32], worst: float, deviations: float = USUAL_DEVIATIONS) -> float:
        """Return the estimate beyond which no row scores better than ``worst``, by the module's rule."""
        centred = query.astype(np.float64) - self._centre
        dim, q_radius = len(query), float(np.linalg.norm(centred))
        spread = deviations / np.sqrt(max(dim - 1, 1))
        low, high = centred.min(), centred.max()
        step = max((high - low) / (2**_QUERY_BITS - 1), 1e-300)
        rest = np.remainder(centred - low + step / 2, step) - step / 2
        rounding = abs(float(np.sign(centred) @ rest)) / np.sqrt(dim) + spread * float(np.linalg.norm(rest))
        if self._metric == "dot":
            slack = spread * self._error * q_radius + self._code_radius * rounding
            return float(worst - slack - ROUNDING * (q_radius + self._code_radius) ** 2)
        r_squared = max(2 - 2 * worst, 0.0) if self._metric == "cosine" else worst**2
        r = np.sqrt(r_squared)
        code_radius = (q_radius + r) * np.hypot(1, self._relative_error)
        slack = 2 * spread * self._relative_error * q_radius * r + 2 * code_radius * rounding
        return float(r_squared + slack + ROUNDING * (q_radius + code_radius) ** 2)

    def _count_within(self, estimates: NDArray[np.float32], bound: float) -> int:
        """Return how many of the estimates, best first, are within a bound."""
        falling = self._metric == "dot"
        return int(np.searchsorted(-estimates if falling else estimates, -bound if falling else bound, side="right"))

    def _ranked(self, query: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> ScoredRows:
        """Return which of ``rows`` may be the k best, with their exact scores."""
        dots = np.concatenate(
            [
                np.einsum("nd,d->n", self._vectors.decoded(rows[start : start + _RANKED_ROWS], self._metric), query)
                for start in range(0, len(rows), _RANKED_ROWS)
            ]
        )
        lengths = self._lengths[rows]
        if self._metric == "cosine":
            dots /= lengths
            lengths = np.ones_like(lengths)
        best = rows[may_be_best(dots, lengths, query, k, self._metric)]
        return best, exact_scores(self._vectors.prepared(best, self._metric), query, self._metric)

    def _scan(self, rows: NDArray[np.int64], queries: NDArray[np.float32], k: int) -> list[ScoredRows]:
        """Return the k best of ``rows``; the other rows are not even prepared."""
        starts = range(0, len(rows), _BLOCK)
        blocks = (self._vectors.prepared(rows[start : start + _BLOCK], self._metric) for start in starts)
        found = scan(blocks, queries, k, np.ones(len(rows), bool), self._metric)
        return [(rows[positions], scores) for positions, scores in found]

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(self._vectors), _BLOCK):
            yield self._vectors.prepared(slice(start, start + _BLOCK), self._metric)


class _Selection:
    """Limits FAISS to the rows that are alive. FAISS reads the bits from here, so they must live as long."""

    def __init__(self, alive: NDArray[np.bool_]) -> None:
        self._bits = np.packbits(alive, bitorder="little")
        self._selector = faiss.IDSelectorBitmap(len(self._bits), faiss.swig_ptr(self._bits))
        self.parameters = faiss.RaBitQSearchParameters()
        self.parameters.qb, self.parameters.sel = _QUERY_BITS, self._selector
