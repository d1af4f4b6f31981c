"""L-BFGS with a preconditioner, for smooth convex functions of a matrix."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
_PAIRS = 6  # steps that the method remembers; kept in float32, they are the memory that it takes
_MOST_STEPS = 200


class _Pair(NamedTuple):
    """One step and the change of the gradient along it."""

    step: NDArray[np.float32]
    change: NDArray[np.float32]
    product: float  # of the two


def minimise(
    evaluate: Callable[[Matrix], tuple[float, Matrix]],
    start: Matrix,
    precondition: Callable[[Matrix], Matrix],
    tolerance: float,
) -> Matrix:
    """Return the point at which a convex function is least, up to about ``tolerance`` of its value.

    Parameters
    ----------
    evaluate
        Returns the value and the gradient at a point. Called once per step, and again where a step is too long.
    start
        Where to begin; never written to.
    precondition
        Multiplies by a positive definite estimate of the inverse of the Hessian matrix; any scale will do.
    tolerance
        The search ends when the next step promises less.

    References
    ----------
    Nocedal & Wright 2006, "Numerical Optimization", algorithm 7.4 (two loops) and section 3.1 (sufficient decrease).
    """
    point, pairs, scale = start, deque[_Pair](maxlen=_PAIRS), 1.0
    value, gradient = evaluate(point)
    for _ in range(_MOST_STEPS):
        direction = -_newton_step(gradient, pairs, precondition, scale)
        slope = float(np.vdot(gradient, direction))
        if -slope / 2 < tolerance:  # what a quadratic function would fall by
            break
        length, new_point = 1.0, point + direction
        new_value, new_gradient = evaluate(new_point)
        while new_value > value + 1e-4 * length * slope:
            length *= np.clip(-slope * length / (2 * (new_value - value - slope * length)), 0.1, 0.5)
            if length < 1e-6:
                return point  # rounding hides any further decrease
            new_point = point + length * direction
            new_value, new_gradient = evaluate(new_point)
        step, change = length * direction, new_gradient - gradient
        product = float(np.vdot(step, change))
        if product > 0:
            pairs.append(_Pair(step.astype(np.float32), change.astype(np.float32), product))
            scale = product / float(np.vdot(change, precondition(change)))
        point, value, gradient = new_point, new_value, new_gradient
    return point


def _newton_step(
    gradient: Matrix, pairs: deque[_Pair], precondition: Callable[[Matrix], Matrix], scale: float
) -> Matrix:
    """Multiply the gradient by the estimate of the inverse Hessian matrix that the pairs give."""
    rest, shares = gradient.copy(), []
    for step, change, product in reversed(pairs):
        shares.append(float(np.vdot(step, rest)) / product)
        rest -= shares[-1] * change
    result = scale * precondition(rest)
    for (step, change, product), share in zip(pairs, reversed(shares), strict=True):
        result += (share - float(np.vdot(change, result)) / product) * step
    return result
