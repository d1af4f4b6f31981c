"""The interval of a share by its definition: all true shares that the observed one does not contradict."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054  # of the normal distribution, two-sided


def wilson_interval(n_right: int, count: int) -> tuple[float, float]:
    """Return the least and the greatest share p with ``|n_right / count - p| <= z * sqrt(p * (1 - p) / count)``.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    observed = n_right / count

    def is_compatible(share: float) -> bool:
        return abs(observed - share) <= Z_95 * math.sqrt(share * (1 - share) / count)

    return _edge(observed, 0.0, is_compatible), _edge(observed, 1.0, is_compatible)


def _edge(inside: float, outside: float, is_compatible) -> float:
    """Return the last compatible share on the way from ``inside`` to ``outside``, by bisection."""
    for _ in range(60):
        middle = (inside + outside) / 2
        if is_compatible(middle):
            inside = middle
        else:
            outside = middle
    return inside
