"""The methods that compete for a head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.leading_directions import LeadingDirections
from fc7_service.heads.logistic import fit_logistic
from fc7_service.heads.ridge import fit_ridge
from fc7_service.heads.standardised_rows import StandardisedRows

CLOSELY = 5e-3  # tolerance, in nats per row, of a fit that is measured and then dropped
_MANY = 10_000  # rows; fewer are fitted more closely, because that takes no time


def fit_method(
    method: str,
    strengths: Sequence[float],
    rows: StandardisedRows,
    tolerance: float = CLOSELY,
    start: SoftmaxLayer | None = None,
    directions: LeadingDirections | None = None,
) -> Iterator[SoftmaxLayer]:
    """Fit by "ridge" or "logistic", one layer per strength.

    The other arguments are those of ``fit_logistic``; the tolerance is that for 10,000 rows and more.
    """
    if method == "ridge":
        return fit_ridge(rows, strengths)
    return fit_logistic(rows, strengths, start, tolerance * min(1, rows.count / _MANY), directions)
