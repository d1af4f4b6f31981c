"""Optimizer, schedules and colour augmentation compute what their slow twins compute."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fc7_models.training.augmentation import principal_colours, shift_colours
from fc7_models.training.distortion import N_DRAWS
from fc7_models.training.muon import orthogonalise
from fc7_models.training.optimizers import limit_filter_rms
from fc7_models.training.schedule import Plateau, cosine_factor
from slow import training as slow

SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, n_out=st.integers(1, 9), n_in=st.integers(1, 4), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_newton_schulz(seed: int, n_out: int, n_in: int, scale: float) -> None:
    gradient = scale * np.random.default_rng(seed).standard_normal((n_out, n_in, 2, 2))
    step = orthogonalise(torch.from_numpy(gradient)).flatten(1).numpy()
    np.testing.assert_allclose(step, slow.orthogonalise(gradient.reshape(n_out, -1)), atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(n_steps=st.integers(2, 9000))
def test_cosine_schedule(n_steps: int) -> None:
    steps = range(0, n_steps, max(1, n_steps // 50))
    factors = slow.cosine_learning_rates(n_steps)
    # The first step's rate is not exactly zero: a share of 1e-6 of the run is added.
    np.testing.assert_allclose([cosine_factor(i, n_steps) for i in steps], [factors[i] for i in steps], atol=3e-5)


@settings(deadline=None)
@given(errors=st.lists(st.integers(0, 9).map(float), max_size=40))
def test_plateau_schedule(errors: list[float]) -> None:
    plateau, factors = Plateau(), []
    for error in errors:
        plateau.update(error)
        factors.append(plateau.factor)
    np.testing.assert_allclose(factors, slow.plateau_learning_rates(errors))


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS)
def test_colour_augmentation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (60, 3)) // np.array([1, 2, 4])
    draws = torch.from_numpy(rng.uniform(0.01, 0.99, (1, N_DRAWS)))
    alphas = 0.1 * torch.special.ndtri(draws[0, -3:]).numpy()
    colours = principal_colours(pixels.astype(np.uint8)).double()
    shift = shift_colours(torch.zeros(1, 3, 1, 1, dtype=torch.float64), colours, 0.1, draws).flatten().numpy()
    # Each principal direction may point either way, so one of eight combinations of signs must agree.
    candidates = [
        255 * slow.colour_shift(pixels / 255, alphas * np.array(signs))
        for signs in np.array(np.meshgrid([1, -1], [1, -1], [1, -1])).reshape(3, -1).T
    ]
    assert min(np.abs(shift - candidate).max() for candidate in candidates) < 1e-4 * np.abs(shift).max() + 1e-6


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, radius=st.floats(0.01, 2))
def test_filters_are_kept_within_their_radius(seed: int, radius: float) -> None:
    filters = np.random.default_rng(seed).standard_normal((4, 2, 3, 3)).astype(np.float32)
    module = nn.Conv2d(2, 4, 3)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(filters))
    limit_filter_rms(module, radius)
    np.testing.assert_allclose(module.weight.detach().numpy(), slow.limit_filter_rms(filters, radius), rtol=1e-5)
