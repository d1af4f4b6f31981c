"""Charts as SVG, to stand inside a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fc7.head_report import CurvePoint, ReliabilityBin

_WIDTH, _HEIGHT = 460, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 16, 44  # around the plot
_STEPS = 5  # ticks of an axis


def draw_reliability(bins: Sequence[ReliabilityBin]) -> str:
    """Return a reliability diagram: how often answers of each probability are right, against the diagonal."""
    most = max((one.count for one in bins), default=1)
    shapes = [f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>']
    for one in bins:
        radius = 3 + 9 * (one.count / most) ** 0.5
        note = f"{one.count} answers of probability {one.probability:.2f}: {one.accuracy:.0%} right"
        shapes.append(
            f'<line class="gap" x1="{_x(one.probability)}" y1="{_y(one.probability)}" '
            f'x2="{_x(one.probability)}" y2="{_y(one.accuracy)}"/>'
            f'<circle class="dot" cx="{_x(one.probability)}" cy="{_y(one.accuracy)}" r="{radius:.1f}">'
            f"<title>{note}</title></circle>"
        )
    ticks = [(i / _STEPS, f"{i / _STEPS:.1f}") for i in range(_STEPS + 1)]
    text = "Reliability diagram: share of right answers against their probability"
    return _frame(text, ticks, ticks, "probability of the answer", "share that is right", "".join(shapes))


def draw_curve(points: Sequence[CurvePoint]) -> str:
    """Return a learning curve: accuracy against the number of labels, which doubles from tick to tick."""
    import math

    logs = [math.log2(max(1, point.count)) for point in points]
    low, high = min(logs), max(logs) if max(logs) > min(logs) else min(logs) + 1
    floor = max(0.0, math.floor(10 * min(point.accuracy for point in points) - 0.5) / 10)
    places = [
        ((value - low) / (high - low), (point.accuracy - floor) / (1 - floor))
        for value, point in zip(logs, points, strict=True)
    ]
    line = " ".join(f"{_x(x)},{_y(y)}" for x, y in places)
    dots = "".join(
        f'<circle class="dot" cx="{_x(x)}" cy="{_y(y)}" r="4.5"><title>{point.count} labels: {point.accuracy:.3f}'
        f'</title></circle><text class="value" x="{_x(x)}" y="{_y(y) - 10}" text-anchor="middle">{point.accuracy:.3f}'
        "</text>"
        for (x, y), point in zip(places, points, strict=True)
    )
    across = [(x, str(point.count)) for (x, _), point in zip(places, points, strict=True)]
    up = [(i / _STEPS, f"{floor + (1 - floor) * i / _STEPS:.2f}") for i in range(_STEPS + 1)]
    shapes = f'<polyline class="line" points="{line}"/>{dots}'
    return _frame("Learning curve: accuracy against the number of labels", across, up, "labels", "accuracy", shapes)


def _frame(
    title: str, across: Sequence[tuple[float, str]], up: Sequence[tuple[float, str]], x: str, y: str, shapes: str
) -> str:
    """Return a plot with its axes; ticks are places from 0 to 1, with their texts."""
    grid = "".join(
        f'<line class="grid" x1="{_x(0)}" y1="{_y(place)}" x2="{_x(1)}" y2="{_y(place)}"/>'
        f'<text x="{_x(0) - 8}" y="{_y(place) + 4}" text-anchor="end">{escape(text)}</text>'
        for place, text in up
    ) + "".join(
        f'<text x="{_x(place)}" y="{_y(0) + 18}" text-anchor="middle">{escape(text)}</text>' for place, text in across
    )
    names = (
        f'<text class="axis" x="{_x(0.5)}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>'
        f'<text class="axis" transform="translate(13 {_y(0.5)}) rotate(-90)" text-anchor="middle">{escape(y)}</text>'
    )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{grid}{names}{shapes}</svg>'


def _x(place: float) -> float:
    return round(_LEFT + place * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(place: float) -> float:
    return round(_HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM), 1)
