"""Instant heads: which label fields are kept warm, and a training from their sums."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from fc7_service.collections.collection import Collection
from fc7_service.collections.warm_rows import WarmRows
from fc7_service.heads.fit import STRENGTHS
from fc7_service.heads.head_version import HeadVersion
from fc7_service.heads.instant import N_SAMPLED, RowSums, SampledRows
from fc7_service.heads.registry import Heads
from fc7_service.heads.stop_check import StopCheck

_MOST_BYTES = 2**30  # of all sums together: a matrix of 4,096 dimensions takes 128 MiB
_CHANGE = 0.25  # of the number of rows, from which the strength of the penalty is chosen again


@dataclass(slots=True)
class _Warm:
    collection: weakref.ref[Collection]
    rows: WarmRows
    strength: float | None = None
    n_rows: int = 0  # when the strength was chosen


class InstantHeads:
    """The label fields that are kept warm, the least recently used of which give way to others."""

    def __init__(self, heads: Heads) -> None:
        self._heads, self._lock = heads, threading.Lock()
        self._warm: OrderedDict[tuple[str, str | None, bool], _Warm] = OrderedDict()

    def trainer(
        self, name: str, collection: Collection, field: str | None, with_records: bool, source: str
    ) -> Callable[[StopCheck], HeadVersion]:
        """Return what trains the next version of a head from a field; ``field`` as for ``labelled_features``."""

        def train(check_stop: StopCheck) -> HeadVersion:
            warm = self._find(collection, field, with_records)
            moments, sample = warm.rows.read(N_SAMPLED)
            is_known = warm.strength is not None and abs(moments.n_rows - warm.n_rows) <= _CHANGE * warm.n_rows
            version, strength = self._heads.train_instantly(
                name,
                RowSums(*moments),
                SampledRows(*sample),
                collection.provenance,
                check_stop,
                strengths=(warm.strength,) if is_known and warm.strength is not None else STRENGTHS["ridge"],
                source=source,
            )
            if not is_known:
                warm.strength, warm.n_rows = strength, moments.n_rows
            return version

        return train

    def _find(self, collection: Collection, field: str | None, with_records: bool) -> _Warm:
        key = (collection.name, field, with_records)
        with self._lock:
            warm = self._warm.get(key)
            if warm is None or warm.collection() is not collection:  # never asked for, or closed since
                warm = _Warm(weakref.ref(collection), collection.follow_labels(field, with_records))
                self._warm[key] = warm
            self._warm.move_to_end(key)
            while len(self._warm) > 1 and sum(one.rows.n_bytes for one in self._warm.values()) > _MOST_BYTES:
                _, oldest = self._warm.popitem(last=False)
                if (its := oldest.collection()) is not None:
                    its.unfollow_labels(oldest.rows)
        return warm
