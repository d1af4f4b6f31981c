"""Learning rate schedules: a cosine with warm-up, and division by ten where the error stops falling."""

from __future__ import annotations

import math

WARM_UP_SHARE = 0.05  # of all steps
WARM_UP_STEPS = 200  # the warm-up has at least these, but at most half of all steps
PATIENCE = 3  # epochs without a smaller error before a drop; both papers decided by hand
DROPS = 3  # "reduced three times prior to termination" (Krizhevsky et al. 2012, section 5)


def cosine_factor(step: int, n_steps: int) -> float:
    """Return the factor of the highest learning rate at ``step``: linear warm-up, then half a cosine to zero.

    Parameters
    ----------
    step
        From 0 to ``n_steps - 1``.
    n_steps
        Of the whole run.

    References
    ----------
    Loshchilov & Hutter 2017, equation 5.
    """
    n_warm = max(WARM_UP_SHARE * n_steps, min(WARM_UP_STEPS, n_steps / 2))
    if step < n_warm:
        return (step + 1e-6 * n_steps) / n_warm
    return 0.5 + 0.5 * math.cos(math.pi * (step - n_warm) / (n_steps - n_warm))


class Plateau:
    """Divides the learning rate by ten after ``PATIENCE`` epochs without progress, at most ``DROPS`` times."""

    def __init__(self) -> None:
        self.best, self.n_stale, self.n_drops = math.inf, 0, 0

    @property
    def factor(self) -> float:
        """The factor of the initial learning rate."""
        return float(10.0**-self.n_drops)

    def update(self, error: float) -> None:
        """Take note of the validation error after an epoch."""
        self.n_stale = 0 if error < self.best else self.n_stale + 1
        self.best = min(self.best, error)
        if self.n_stale == PATIENCE and self.n_drops < DROPS:
            self.n_stale, self.n_drops = 0, self.n_drops + 1

    def state_dict(self) -> dict[str, float]:
        """Return what ``load_state_dict`` takes."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from ``state``."""
        vars(self).update(state)
