"""The searches of a collection: hits with their rarity, and the effort that follows a recall."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fc7.contract.filter import Filter, read_field
from fc7.errors import FailedPrecondition
from fc7_service.collections.effort import (
    MOST_DEVIATIONS,
    STEP,
    Effort,
    effort_for,
    read_effort,
    tune,
    write_effort,
)
from fc7_service.collections.halves import widen
from fc7_service.collections.item_rules import check_vector
from fc7_service.collections.pair_scores import PairScores
from fc7_service.collections.payload import choose_fields
from fc7_service.collections.rarity import Rarity
from fc7_service.collections.recall import EVERYTHING, Recall, RecallMeter
from fc7_service.collections.rows import StoredRow
from fc7_service.collections.search import Hit, Query, Search, SearchReport
from fc7_service.collections.searcher import Searcher
from fc7_service.collections.store import Store

_FEWEST_TO_FOLLOW = 20  # queries, before their recall changes the effort


class Answers:
    """Answers the searches of one collection. Any number of threads may use it.

    Parameters
    ----------
    store, searcher, rarity
        The items, what finds them, and the scores of random pairs of them.
    index_name
        Returns the name of the index.
    recall_queries, report_recall
        See ``most_queries`` and ``report`` of `RecallMeter`.
    """

    def __init__(
        self,
        store: Store,
        searcher: Searcher,
        rarity: Rarity,
        index_name: Callable[[], str],
        recall_queries: int,
        report_recall: Callable[[int, int], None],
    ) -> None:
        self._store, self._searcher, self._rarity, self._index_name = store, searcher, rarity, index_name
        self._report_recall = report_recall
        self._effort = read_effort(store.folder)
        searcher.deviations = self._effort.deviations
        self._recall = RecallMeter(
            store.name, searcher.current, lambda: self._effort.deviations, recall_queries, self._follow_target
        )

    def search(
        self,
        vectors: NDArray[np.float32],
        k: int,
        excluded_ids: Sequence[str | None] | None = None,
        where: Filter | None = None,
    ) -> list[list[Hit]]:
        """Return the k nearest items of each of ``vectors`` (Q, D), best first: the plain case of `answer`.

        Each answer leaves out the id at its place in ``excluded_ids``.
        """
        own_ids = excluded_ids or [None] * len(vectors)
        queries = [Query(vector, (own,) if own else ()) for vector, own in zip(vectors, own_ids, strict=True)]
        return self.answer(queries, Search(k=k, where=where))[0]

    def answer(self, queries: Sequence[Query], search: Search) -> tuple[list[list[Hit]], SearchReport]:
        """Return the hits of each query, best first, and how they were found.

        Raises
        ------
        InvalidArgument
            A vector cannot be compared.
        DataLoss
            The database turned out to be damaged.
        """
        for query in queries:
            check_vector(query.vector, self._store.definition, self._store.name)
        report = SearchReport(index=self._index_name())
        if not queries:
            return [], report
        pairs = None
        if search.max_rarity is not None:
            lowest, pairs = self._rarity.cut_off(self._searcher.current(), search.max_rarity, "max_rarity")
            search = replace(search, min_score=lowest if search.min_score is None else max(lowest, search.min_score))
        elif search.has_rarity:
            pairs = self._rarity.table(self._searcher.current())
        found, rows = self._searcher.search(queries, search, report)
        if report.index != "exact" and not search.is_exact and search.where is None:
            self._recall.note([query.vector for query in queries])
        report.n_pairs = pairs.n_pairs if pairs else 0
        return [[_hit(rows[rid], score, search, pairs) for rid, score in hits] for hits in found], report

    @property
    def recall(self) -> Recall | None:
        """Recall@10 on recent queries; None if it was not measured."""
        return EVERYTHING if self._index_name() == "exact" else self._recall.recall()

    @property
    def effort(self) -> Effort:
        """How hard its index searches."""
        return self._effort

    def tune(self, target: float) -> Recall:
        """Make its index search just as hard as a recall needs; return the recall that was measured.

        Raises
        ------
        InvalidArgument
            The target is not above 0.5 and at most 0.999.
        """
        effort, measured = effort_for(target), None
        if self._index_name() != "exact":
            effort, measured = tune(self._searcher.current(), self._store, target)
        self._set_effort(effort)
        return measured or EVERYTHING

    def threshold(self, false_matches: float) -> tuple[float, PairScores]:
        """Return a score that at most this share of random pairs reach, and what was compared.

        Raises
        ------
        InvalidArgument
            The share is not one, or lower than the random pairs can tell.
        FailedPrecondition
            There are fewer than two items, or no score is so rare, because there are too many duplicates.
        """
        lowest, pairs = self._rarity.cut_off(self._searcher.current(), false_matches, "false_matches")
        if lowest > pairs.scores[0] and pairs.top_share > false_matches:
            raise FailedPrecondition(
                f"no score is rare enough: {pairs.top_share:.2g} of the random pairs have the highest score, "
                f"{pairs.scores[0]:.6g}. Remove duplicates, or allow more false matches",
                name="false_matches",
            )
        return pairs.threshold(false_matches), pairs

    def close(self) -> None:
        """Stop measuring the recall."""
        self._recall.close()

    def _follow_target(self, n_found: int, n_wanted: int) -> None:
        """Search harder once the recall of recent queries is certain to be too low."""
        self._report_recall(n_found, n_wanted)
        effort, measured = self._effort, self._recall.recall()
        if effort.target is None or measured is None or measured.n_queries < _FEWEST_TO_FOLLOW:
            return
        if measured.high < effort.target and effort.deviations < MOST_DEVIATIONS:
            self._set_effort(replace(effort, deviations=min(effort.deviations + STEP, MOST_DEVIATIONS)))

    def _set_effort(self, effort: Effort) -> None:
        write_effort(self._store.folder, effort)
        self._effort, self._searcher.deviations = effort, effort.deviations
        self._recall.forget()


def _hit(row: StoredRow, score: float, search: Search, pairs: PairScores | None) -> Hit:
    stored = json.loads(row.payload)
    fields = search.payload_fields
    return Hit(
        row.id,
        score,
        stored if fields is None else choose_fields(stored, fields),
        widen(row.vector) if search.has_features else None,
        read_field(stored, search.group_by) if search.group_by else None,
        pairs.rarity(score) if pairs else None,
    )
