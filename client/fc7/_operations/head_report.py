"""HeadService: what is known about a head."""

from __future__ import annotations

from typing import Any

from fc7._operations.conversion import check_text
from fc7._operations.head import check_version, read_head
from fc7._operations.steps import OpenStream, Operation, ReadStream
from fc7.errors import Aborted
from fc7.head_report import CurvePoint, HeadComparison, HeadReport, JudgedRow, NearDuplicate
from fc7.v1 import head_pb2 as pb
from fc7.v1.head_pb2_grpc import HeadServiceStub as Stub

_REPORT_S = 600.0  # hundreds of thousands of rows take seconds


def get(name: str, version: int) -> Operation[HeadReport]:
    """Return the report about a version."""
    request = pb.GetHeadReportRequest(name=check_text(name, "name"), version=check_version(version))
    stream = yield OpenStream(Stub, "GetHeadReport", request, _REPORT_S)
    found: pb.HeadReport | None = None
    rows: list[JudgedRow] = []
    while (answer := (yield ReadStream(stream))) is not None:
        if answer.WhichOneof("part") == "report":
            found = answer.report
        elif found is not None:
            classes = found.head.classes
            rows += [_read_row(row, classes) for row in answer.rows.rows]
    if found is None:
        raise Aborted("the server ended the report before it began. Ask again")
    return HeadReport(
        head=read_head(found.head),
        rows=rows,
        suspected=[rows[i] for i in found.suspected],
        duplicates=[NearDuplicate(rows[pair.first], rows[pair.second], pair.similarity) for pair in found.duplicates],
        curve=[CurvePoint(point.count, point.accuracy) for point in found.curve],
        labels_for_one_point=found.labels_for_one_point if found.HasField("labels_for_one_point") else None,
        published=_read_comparison(found.published) if found.HasField("published") else None,
    )


def _read_row(row: pb.JudgedRow, classes: Any) -> JudgedRow:
    label, predicted = classes[row.label], classes[row.predicted]
    return JudgedRow(row.id, label, predicted, row.probability, row.label_probability, row.fold)


def _read_comparison(found: pb.HeadComparison) -> HeadComparison:
    return HeadComparison(**{name: getattr(found, name) for name in HeadComparison.__dataclass_fields__})
