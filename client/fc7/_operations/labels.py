"""CollectionService: label records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

from fc7._operations.batches import ROWS, next_request, split
from fc7._operations.conversion import check_text, newer_server
from fc7._operations.steps import Emit, Operation, SendRequest
from fc7.errors import Fc7Error, InvalidArgument
from fc7.grpc_errors import read_item_error
from fc7.results import Label, Labelled, Verdict
from fc7.v1 import collection_pb2 as pb
from fc7.v1.collection_pb2_grpc import CollectionServiceStub as Stub

_VERDICTS: dict[Verdict, pb.Verdict] = {
    "positive": pb.VERDICT_POSITIVE,
    "negative": pb.VERDICT_NEGATIVE,
    "unsure": pb.VERDICT_UNSURE,
}
_VERDICT_NAMES: dict[int, Verdict] = {number: name for name, number in _VERDICTS.items()}
_IDS = 500  # per request


def add(
    collection: str, labels: Iterable[Label | Labelled], report: Callable[[Labelled], object] | None
) -> Operation[list[Labelled]]:
    """Record labels batch by batch, and report each when the server has answered; those that have failed stay so."""
    if isinstance(labels, Label):
        raise InvalidArgument("labels must be a list of labels (got one Label)", name="labels")
    done: list[Labelled] = []
    batches = split(map(_to_send, labels), lambda sent: sent.message.ByteSize(), ROWS)

    def pack(batch: list[_Sent]) -> pb.AddLabelsRequest:
        return pb.AddLabelsRequest(collection=collection, labels=[sent.message for sent in batch if sent.error is None])

    while (work := (yield next_request(batches, pack)))[0]:
        batch, request = work
        results: Iterator[pb.AddLabelResult] = iter(())
        if any(sent.error is None for sent in batch):
            response: pb.AddLabelsResponse = yield SendRequest(Stub, "AddLabels", request)
            results = iter(response.results)
        for sent in batch:
            done.append(
                _read_result(sent.id, next(results)) if sent.error is None else Labelled(sent.id, "failed", sent.error)
            )
            if report:
                report(done[-1])
    return done


def list_all(collection: str, ids: Iterable[str] | None, label: str, by: str) -> Operation[None]:
    """Emit the label records that fit, oldest first; with ids, those of each part of the ids."""
    parts: Iterable[list[str]] = [[]] if ids is None else _parts(ids)
    for part in parts:
        token = ""
        while True:
            request = pb.ListLabelsRequest(
                collection=collection,
                ids=part,
                label=check_text(label, "label"),
                by=check_text(by, "by"),
                page_token=token,
            )
            response: pb.ListLabelsResponse = yield SendRequest(Stub, "ListLabels", request)
            for message in response.labels:
                yield Emit(_read_label(message))
            token = response.next_page_token
            if not token:
                break


def labelled_by_people(collection: str) -> Operation[set[str]]:
    """Return the ids of the items about which a person has said something."""
    found: set[str] = set()
    token = ""
    while True:
        request = pb.ListLabelsRequest(collection=check_text(collection, "collection"), page_token=token)
        response: pb.ListLabelsResponse = yield SendRequest(Stub, "ListLabels", request)
        found.update(label.id for label in response.labels if not label.head_version)
        token = response.next_page_token
        if not token:
            return found


def undo(collection: str, ids: Iterable[str], label: str, by: str) -> Operation[list[Label | Fc7Error]]:
    """Take back the newest record of each item."""
    done: list[Label | Fc7Error] = []
    for part in _parts(ids):
        asked = [pb.LabelToUndo(id=own, label=check_text(label, "label"), by=check_text(by, "by")) for own in part]
        response: pb.UndoLabelsResponse = yield SendRequest(
            Stub, "UndoLabels", pb.UndoLabelsRequest(collection=collection, labels=asked)
        )
        done += [
            _read_label(result.label) if result.WhichOneof("result") == "label" else read_item_error(result.error)
            for result in response.results
        ]
    return done


@dataclass(frozen=True, slots=True)
class _Sent:
    """A label to be sent, or why it cannot be."""

    id: str
    message: pb.Label
    error: Fc7Error | None = None


def _to_send(label: Label | Labelled) -> _Sent:
    if isinstance(label, Labelled):
        return _Sent(label.id, pb.Label(), label.error)
    try:
        if label.verdict not in _VERDICTS:
            raise InvalidArgument(
                f"verdict must be one of {', '.join(get_args(Verdict))} (got {label.verdict!r})", name="verdict"
            )
        message = pb.Label(
            id=check_text(label.id, "id"),
            label=check_text(label.label, "label"),
            verdict=_VERDICTS[label.verdict],
            by=check_text(label.by, "by"),
            head_version=label.head_version,
            time=check_text(label.time, "time"),
        )
    except InvalidArgument as error:
        return _Sent(str(label.id), pb.Label(), error)
    except (TypeError, ValueError) as error:  # head_version does not fit the message
        return _Sent(
            label.id, pb.Label(), InvalidArgument(f"head_version is not a version: {error}", name="head_version")
        )
    return _Sent(label.id, message)


def _parts(ids: Iterable[str]) -> Iterator[list[str]]:
    if isinstance(ids, str):
        raise InvalidArgument(f"ids must be a list of ids (got the string {ids!r})", name="ids")
    yield from split((check_text(own, "id") for own in ids), len, _IDS)


def _read_result(id: str, result: pb.AddLabelResult) -> Labelled:
    if result.HasField("error"):
        return Labelled(id, "failed", read_item_error(result.error))
    return Labelled(id, "labelled" if result.written else "skipped")


def _read_label(message: pb.Label) -> Label:
    if message.verdict not in _VERDICT_NAMES:
        raise newer_server(f"verdict {message.verdict} of a label")
    return Label(
        message.id,
        message.label,
        _VERDICT_NAMES[message.verdict],
        message.by,
        message.head_version,
        message.time,
        message.outdated,
    )
