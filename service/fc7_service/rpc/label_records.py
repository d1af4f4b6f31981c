"""AddLabels, ListLabels and UndoLabels: label records read from messages, and written to them."""

from __future__ import annotations

from datetime import UTC, datetime

from fc7.contract.filter import read_date
from fc7.errors import Fc7Error, InvalidArgument, Reason
from fc7.v1 import collection_pb2 as pb
from fc7_service.collections.collection import Collection
from fc7_service.collections.labels import Label, LabelRecord, Verdict
from fc7_service.rpc.cursor import read_cursor, write_cursor
from fc7_service.rpc.messages import write_error

_VERDICTS: dict[int, Verdict] = {
    pb.VERDICT_UNSPECIFIED: "positive",
    pb.VERDICT_POSITIVE: "positive",
    pb.VERDICT_NEGATIVE: "negative",
    pb.VERDICT_UNSURE: "unsure",
}
_NUMBERS = {"positive": pb.VERDICT_POSITIVE, "negative": pb.VERDICT_NEGATIVE, "unsure": pb.VERDICT_UNSURE}
_DEFAULT_PAGE, _LARGEST_PAGE = 1000, 10_000  # records
_MOST_IDS = 500


def add_labels(collection: Collection, request: pb.AddLabelsRequest) -> pb.AddLabelsResponse:
    """Answer one call; errors of single labels stand in their results."""
    if not request.labels:
        raise InvalidArgument("labels is empty. Send at least one", name="labels")
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    read = [_read_label(label, now) for label in request.labels]
    done = iter(collection.labels.add([one for one in read if isinstance(one, Label)]))
    outcomes = [next(done) if isinstance(one, Label) else one for one in read]
    return pb.AddLabelsResponse(
        results=[
            pb.AddLabelResult(error=write_error(outcome))
            if isinstance(outcome, Fc7Error)
            else pb.AddLabelResult(written=outcome)
            for outcome in outcomes
        ]
    )


def list_labels(collection: Collection, request: pb.ListLabelsRequest) -> pb.ListLabelsResponse:
    """Answer one call."""
    size = request.page_size or _DEFAULT_PAGE
    if not 1 <= size <= _LARGEST_PAGE:
        raise InvalidArgument(f"page_size must be 1 to {_LARGEST_PAGE} (got {size})", name="page_size")
    if len(request.ids) > _MOST_IDS:
        raise InvalidArgument(
            f"ids names {len(request.ids)} items, but the limit is {_MOST_IDS}. Ask in several calls", name="ids"
        )
    about = ("labels", collection.name, *request.ids, request.label, request.by)
    after = read_cursor(request.page_token, (int,), *about)[0] if request.page_token else 0
    records, rest = collection.labels.page(after, size, list(request.ids), request.label, request.by)
    token = "" if rest is None else write_cursor([rest], *about)
    return pb.ListLabelsResponse(labels=map(_write_record, records), next_page_token=token)


def undo_labels(collection: Collection, request: pb.UndoLabelsRequest) -> pb.UndoLabelsResponse:
    """Answer one call; an item without such a record has an error in its place."""
    undone = collection.labels.undo([(one.id, one.label, one.by) for one in request.labels])
    return pb.UndoLabelsResponse(
        results=[
            pb.UndoLabelResult(error=write_error(one))
            if isinstance(one, Fc7Error)
            else pb.UndoLabelResult(label=_write_record(one))
            for one in undone
        ]
    )


def _read_label(label: pb.Label, now: str) -> Label | Fc7Error:
    try:
        if label.verdict not in _VERDICTS:
            raise InvalidArgument(
                f"verdict {label.verdict} is unknown", name="verdict", reason=Reason.UNKNOWN_ENUM_VALUE
            )
        moment = read_date(label.time or now)
        time = label.time if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")
        return Label(label.id, label.label, _VERDICTS[label.verdict], label.by, label.head_version, time)
    except Fc7Error as error:
        return error


def _write_record(record: LabelRecord) -> pb.Label:
    said = record.label
    return pb.Label(
        id=said.id,
        label=said.label,
        verdict=_NUMBERS[said.verdict],
        by=said.author,
        head_version=said.head_version,
        time=said.time,
        outdated=record.is_outdated,
    )
