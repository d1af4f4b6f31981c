"""What is recorded about one version of a head."""

from __future__ import annotations

from dataclasses import dataclass

from fc7_service.bundle.provenance import Provenance
from fc7_service.heads.measures import Measures
from fc7_service.heads.unknown_rule import UnknownRule

INSTANT = "instant"  # method of a ridge regression from sums over the rows, which a sample of them judges
IMPORTED = "imported"  # method of a softmax layer that was fitted elsewhere, and is not judged
UNREADABLE = "unreadable"  # `HeadVersion.method` in a list, when the version's files cannot be read


@dataclass(frozen=True, slots=True)
class HeadVersion:
    """One version of a head: what it was trained on, and how well it did."""

    name: str
    version: int  # from 1
    provenance: Provenance  # of the features that it was trained on
    classes: tuple[str, ...]  # sorted
    count: int  # rows that it was trained on
    accuracy: float  # share of the held-out rows that were classified correctly
    held_out: int  # rows
    method: str  # "ridge", "logistic", `INSTANT` or `IMPORTED`
    seconds: float  # spent on fitting
    weights_sha256: str = ""  # of the weights file, hex
    created: str = ""  # ISO 8601, UTC
    parent_version: int = 0  # newest version at that time; 0 if there was none
    majority_accuracy: float | None = None  # of always answering the largest class; None before release 0.2
    measures: Measures | None = None  # of the out-of-fold predictions; None before release 0.3
    source: str = ""  # where the rows came from, as the user named it; empty before release 0.3
    unknown: UnknownRule | None = None  # which pictures are of no class; None for two classes, or before release 0.3
    judgement_sha256: str = ""  # of the file with the out-of-fold predictions, hex; empty before release 0.3
