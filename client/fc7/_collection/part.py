"""What every group of methods of a collection rests on."""

from __future__ import annotations

from dataclasses import dataclass

from fc7._session import Session
from fc7.results import CollectionFacts


@dataclass(repr=False, eq=False)
class CollectionPart(CollectionFacts):
    """What the server last said about a collection, and the session that asks it."""

    _session: Session
