"""Muon: momentum whose step is made orthogonal, for filters that batch normalisation follows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Of the quintic iteration that brings all singular values near one (Jordan et al. 2024).
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 3  # of the five that are usual: singular values spread more, a step costs less


class Muon(torch.optim.Optimizer):
    """Steepest descent under the spectral norm, with momentum.

    A filter bank (n_out, n_in, k, k) is taken as a matrix (n_out, n_in * k * k) and kept at the
    norm ``sqrt(n_out)``: the normalisation that follows makes its scale irrelevant, so that
    ``lr`` is the relative length of a step and no weight decay is needed. ``torch.optim.Muon``
    takes matrices alone and always computes in bfloat16; here autocast decides.

    References
    ----------
    Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    """

    def __init__(self, params: Any, lr: float, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch types the return value of closures
        """Move every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"].mul_(group["momentum"]).add_(p.grad)
                direction = _orthogonal(p.grad + group["momentum"] * momentum)  # Nesterov
                p.mul_(len(p) ** 0.5 / p.norm()).sub_(direction, alpha=group["lr"])


def _orthogonal(gradient: Tensor) -> Tensor:
    """Return the nearest matrix with singular values near one, by Newton and Schulz."""
    a, b, c = _COEFFICIENTS
    x = gradient.flatten(1)
    is_tall = x.shape[0] > x.shape[1]
    if is_tall:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(_STEPS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if is_tall else x).to(gradient.dtype).reshape(gradient.shape)
