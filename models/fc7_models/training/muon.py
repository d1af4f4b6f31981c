"""Muon, an optimizer that makes each step orthogonal; for filters that batch normalisation follows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Jordan et al. 2024: this quintic polynomial, iterated, brings all singular values close to one.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 3  # five are usual; with three the singular values spread more, but a step costs less


class Muon(torch.optim.Optimizer):
    """Steepest descent under the spectral norm, with Nesterov momentum.

    A filter bank (n_out, n_in, k, k) is treated as a matrix (n_out, n_in * k * k) and rescaled to the norm
    ``sqrt(n_out)`` before each step. Batch normalisation makes that scale irrelevant, so ``lr`` is the relative
    length of a step, and no weight decay is needed. ``torch.optim.Muon`` accepts only matrices and always computes
    in bfloat16; here autocast decides.

    References
    ----------
    Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    """

    def __init__(self, params: Any, lr: float, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch types the return value of closures
        """Update every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"].mul_(group["momentum"]).add_(p.grad)
                direction = orthogonalise(p.grad + group["momentum"] * momentum)
                p.mul_(len(p) ** 0.5 / p.norm()).sub_(direction, alpha=group["lr"])


def orthogonalise(gradient: Tensor) -> Tensor:
    """Return nearly the closest orthogonal matrix, by a few Newton-Schulz iterations.

    Parameters
    ----------
    gradient
        (n_out, ...), treated as a matrix (n_out, the rest).

    Returns
    -------
    torch.Tensor
        The same shape and dtype, with the same singular vectors and singular values near one.

    References
    ----------
    Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    """
    a, b, c = _COEFFICIENTS
    x = gradient.flatten(1)
    is_tall = x.shape[0] > x.shape[1]
    if is_tall:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if is_tall else x).to(gradient.dtype).reshape(gradient.shape)
