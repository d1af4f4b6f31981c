"""A user's day with a head: from pictures without labels to an exported head, with wrong labels on the way."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fc7
from servers import WAIT_S

WRONG_SHARE = 0.05  # of the labels that the user gives


@dataclass(frozen=True)
class Day:
    """What came out."""

    n_labels: int
    n_wrong: int  # labels that were given wrong
    n_suspected: int  # labels that the report suspects
    n_found: int  # of them wrong
    accuracy: float  # of the first version, on the pictures without a label
    mended_accuracy: float  # of the second version, whose suspected labels a person looked at again
    agreement: float  # of the two on live pictures

    @property
    def precision(self) -> float:
        """Share of the suspected labels that are wrong."""
        return self.n_found / max(1, self.n_suspected)

    @property
    def recall(self) -> float:
        """Share of the wrong labels that are suspected."""
        return self.n_found / max(1, self.n_wrong)


def live_a_day(
    client: fc7.Client,
    pictures: Sequence[Any],
    truth: Sequence[str],
    per_class: int,
    folder: Path,
    batch: int = 20,
    **collection: Any,
) -> Day:
    """Do all steps of the day; the labels come from ``truth``, and every twentieth is wrong."""
    ids = [f"{i:05d}" for i in range(len(pictures))]
    kind, classes = dict(zip(ids, truth, strict=True)), sorted(set(truth))
    photos = client.create_collection("day", **collection)
    photos.add(pictures, ids=ids)

    given: dict[str, str] = {}
    is_trained = False
    while len(given) < per_class * len(classes):
        asked = client.suggest_items("day", head="day", n=batch)
        for one in asked[: per_class * len(classes) - len(given)]:
            right = kind[one.id]
            is_wrong = len(given) % round(1 / WRONG_SHARE) == 10
            given[one.id] = classes[(classes.index(right) + 1) % len(classes)] if is_wrong else right
            photos.add_labels([fc7.Label(one.id, given[one.id], by="ann")])
        is_trained = _try_to_train(client) or is_trained
    assert is_trained
    wrong = {id for id, label in given.items() if label != kind[id]}  # noqa: A001
    first = client.train_head("day", collection="day", label=None)
    client.publish_head("day", first.version)

    report = client.head_report("day", first.version)
    suspected = {row.id for row in report.suspected}
    photos.add_labels([fc7.Label(id, kind[id], by="ann") for id in suspected])  # noqa: A001  # a second look
    second = client.train_head("day", collection="day", label=None)

    client.set_shadow("day", second.version, share=1.0)
    client.classify(pictures[:100], head="day")
    deadline = time.monotonic() + WAIT_S
    while (shadow := client.shadow("day")) is None or shadow.count < len(pictures[:100]):
        assert time.monotonic() < deadline
    assert shadow.agreement is not None
    assert (shadow.passed_over, shadow.problem) == (0, "")
    rest = [id for id in ids if id not in given]  # noqa: A001
    before = {item.id: item.label for item in client.classify_items("day", head="day")}
    client.publish_head("day", second.version)
    after = {item.id: item.label for item in client.classify_items("day", head="day", write="kind")}
    assert photos.get(rest[:1])[0].payload["kind"] == after[rest[0]]  # type: ignore[union-attr]

    client.export_head("day", folder / "exported")
    subprocess.run([sys.executable, folder / "exported/run.py"], check=True, capture_output=True)
    return Day(
        n_labels=len(given),
        n_wrong=len(wrong),
        n_suspected=len(suspected),
        n_found=len(suspected & wrong),
        accuracy=sum(before[id] == kind[id] for id in rest) / len(rest),  # noqa: A001
        mended_accuracy=sum(after[id] == kind[id] for id in rest) / len(rest),  # noqa: A001
        agreement=shadow.agreement.value,
    )


def _try_to_train(client: fc7.Client) -> bool:
    """Train a draft, so that the next suggestions know the classes; False while there are too few labels."""
    try:
        client.train_head("day", collection="day", label=None)
    except fc7.InvalidArgument as error:
        if error.reason != "TOO_FEW_IMAGES":
            raise
        return False
    return True
