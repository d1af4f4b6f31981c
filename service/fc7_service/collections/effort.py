"""How hard an index searches: the recall that a collection asks for, and the width of the error bound that gives it.

RaBitQ widens its candidates until no other row can belong to the answer, by a bound of so many standard deviations
(`index_rabitq.py`). That number is the effort. The exact index needs none.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from fc7.errors import InvalidArgument
from fc7_service.bundle.disk import replace_file
from fc7_service.collections.halves import widen
from fc7_service.collections.index import USUAL_DEVIATIONS, Work
from fc7_service.collections.recall import K, Recall
from fc7_service.collections.snapshot import Snapshot
from fc7_service.collections.store import Store

FILE = "effort"
LARGEST_TARGET = 0.999  # more could not be told with so few queries
MOST_DEVIATIONS = 6.0
STEP = 0.5  # between the efforts that are tried
_FEWEST_QUERIES, _MOST_QUERIES = 100, 500  # stored items that are searched for in order to tune

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Effort:
    """The effort of one collection."""

    target: float | None = None  # recall that was asked for
    deviations: float = USUAL_DEVIATIONS


def effort_for(target: float) -> Effort:
    """Return the effort to begin with: by the normal distribution, a row is missed with probability 1 - target.

    Raises
    ------
    InvalidArgument
        The target is not above 0.5 and at most 0.999.
    """
    if not 0.5 <= target <= LARGEST_TARGET:
        raise InvalidArgument(
            f"recall must be 0.5 to {LARGEST_TARGET} (got {target:g}). For certainty, search with exact", name="recall"
        )
    return Effort(target, NormalDist().inv_cdf(target))


def read_effort(folder: Path) -> Effort:
    """Return the effort of a collection; the usual one if none was set."""
    try:
        found = Effort(**json.loads((folder / FILE).read_bytes()))
        if not 0 <= found.deviations <= MOST_DEVIATIONS:
            raise ValueError(f"{found.deviations} deviations")
    except FileNotFoundError:
        return Effort()
    except (OSError, ValueError, TypeError) as error:
        _log.warning("collection %r searches with the usual effort: %s", folder.name, error)
        return Effort()
    return found


def write_effort(folder: Path, effort: Effort) -> None:
    """Keep the effort of a collection, on disk when this returns."""
    replace_file(folder / FILE, json.dumps(asdict(effort)).encode())


def tune(snapshot: Snapshot, store: Store, target: float) -> tuple[Effort, Recall | None]:
    """Return the least effort whose recall is certain to reach ``target``, measured on stored items, and that recall.

    An item is not its own neighbour. Certain means that the lower end of the 95 % interval reaches the target; if none
    does, the largest effort is returned. The recall is None if there are too few items for codes.
    """
    rids = snapshot.alive_rids()
    if len(rids) < 2:
        return effort_for(target), None
    needed = math.ceil(5 * target / (1 - target) / K)  # Wilson: of n neighbours, all found, at least n / (n + 3.84)
    n_queries = min(len(rids), _MOST_QUERIES, max(_FEWEST_QUERIES, needed))
    chosen = np.random.default_rng(0).choice(rids, n_queries, replace=False).tolist()
    rows = store.by_rid(chosen, with_vectors=True)
    chosen = [rid for rid in chosen if rid in rows]
    queries = np.stack([widen(rows[rid].vector) for rid in chosen])

    def neighbours(work: Work) -> list[list[tuple[int, float]]]:
        found = snapshot.search(queries, K + 1, None, work)
        return [[pair for pair in hits if pair[0] != rid][:K] for rid, hits in zip(chosen, found, strict=True)]

    true = neighbours(Work(is_exact=True))
    n_wanted = sum(map(len, true))
    deviations = STEP
    while True:
        work = Work(deviations=deviations)
        found = neighbours(work)
        if not work.n_codes:
            return effort_for(target), None  # so few items that all were compared
        pairs = zip(found, true, strict=True)
        n_found = sum(sum(score >= best[-1][1] for _, score in hits) for hits, best in pairs)
        recall = Recall.of(n_found, n_wanted, len(chosen))
        if recall.low >= target or deviations >= MOST_DEVIATIONS:
            return Effort(target, deviations), recall
        deviations += STEP
