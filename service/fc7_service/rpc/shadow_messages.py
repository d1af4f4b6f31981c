"""The shadow of a head, as messages."""

from __future__ import annotations

from fc7.v1 import head_pb2 as pb
from fc7_service.heads.shadow import Shadow


def write_shadow(shadow: Shadow | None) -> pb.Shadow | None:
    """Return the message of a shadow."""
    if shadow is None:
        return None
    return pb.Shadow(
        version=shadow.version,
        share=shadow.share,
        published_version=shadow.published_version,
        since=shadow.since,
        count=shadow.count,
        agreed=shadow.agreed,
        passed_over=shadow.passed_over,
        problem=shadow.problem,
        differing=[
            pb.DifferingPicture(
                sha256=one.sha256, time=one.time, published=_classes(one.published), shadow=_classes(one.shadow)
            )
            for one in shadow.differing
        ],
    )


def _classes(top: list[tuple[str, float]]) -> list[pb.Prediction]:
    return [pb.Prediction(label=label, probability=probability) for label, probability in top]
