"""What somebody said about items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fc7.errors import Fc7Error

LabelStatus = Literal["labelled", "skipped", "failed"]
Verdict = Literal["positive", "negative", "unsure"]
LabelFormat = Literal["csv", "folders", "coco", "label-studio"]


@dataclass(frozen=True, slots=True)
class Label:
    """A label record: who said what about which item, and when.

    Attributes
    ----------
    id : str
        Id of the item.
    label : str
        A line of 1 to 256 characters.
    verdict : {"positive", "negative", "unsure"}
        Whether the label fits the item, does not fit, or cannot be told.
    by : str
        Name of the person, or of the head, who says so. Empty if it is not known.
    head_version : int
        Version of the head; 0 for a person.
    time : str
        When, as ISO 8601. If it is empty in a new label, the server takes the current time.
    outdated : bool
        The item was replaced by another picture since. Set by the server.
    """

    id: str
    label: str
    verdict: Verdict = "positive"
    by: str = ""
    head_version: int = 0
    time: str = ""
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Labelled:
    """The outcome for one label that was recorded.

    Attributes
    ----------
    id : str
        Id of the item.
    status : {"labelled", "skipped", "failed"}
        "skipped" if the newest record by the same author about this item and label says the same.
    error : Fc7Error or None
        Why it failed, for example `NotFound`. Nothing was written then.
    """

    id: str
    status: LabelStatus
    error: Fc7Error | None = None


@dataclass(frozen=True, slots=True)
class LabelsWritten:
    """What became of labels that were written to a file.

    Attributes
    ----------
    count : int
        Number of records, or of labels, that were written.
    failed : list of Labelled
        Items whose pictures could not be copied, each with its error.
    """

    count: int
    failed: list[Labelled]
