"""The layers of networks and their pooled features compute what their slow twins compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto
from torch import nn

from fc7_models.deconv.layer_chain import Step
from fc7_models.deconv.receptive_field import receptive_field
from fc7_models.export.layer_pooling import GEM_MIN, GEM_POWER, fit_whitening, pool_gem
from fc7_models.export.torch_to_onnx import fold_batch_norm
from fc7_models.networks.layers import GridMaxPool, LocalResponseNorm, batch_norm_without_scale, conv_norm_relu
from slow.convolution import batch_norm, convolve, lines_seen
from slow.lrn import lrn
from slow.pooling import gem_of_sizes, grid_max_pool, max_pool, whiten

SEEDS = st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def in_torch(layer: nn.Module, x: np.ndarray) -> np.ndarray:
    """Return what a layer makes of one picture's maps or vector, in float64."""
    with torch.inference_mode():
        return np.asarray(layer.double()(torch.from_numpy(x)[None])[0])


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, maps=st.integers(1, 9), scale=st.sampled_from([1.0, 30.0, 300.0]))
def test_local_response_normalisation(seed: int, maps: int, scale: float) -> None:
    x = scale * normal(seed, maps, 2, 3)
    layer = LocalResponseNorm(maps).double()
    layer.weight = layer.weight.where(layer.weight == 0, 1e-4)  # the constant as printed, before its rounding to fp32
    np.testing.assert_allclose(in_torch(layer, x), lrn(x), rtol=1e-12)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, height=st.integers(3, 13), width=st.integers(3, 13), grid=st.integers(1, 3), training=st.booleans())
def test_the_maximum_of_each_cell(seed: int, height: int, width: int, grid: int, training: bool) -> None:
    x = normal(seed, 2, height, width)
    values, _ = grid_max_pool(x, grid)
    np.testing.assert_array_equal(in_torch(GridMaxPool(grid).train(training), x), values)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, height=st.integers(1, 9), width=st.integers(1, 9), maps=st.integers(1, 4), zero=st.booleans())
def test_the_generalised_mean_of_two_sizes(seed: int, height: int, width: int, maps: int, zero: bool) -> None:
    whole, half = (normal(seed + i, maps, height + i, width).clip(0) * (not zero) for i in (0, 1))
    pooled = pool_gem(*({"conv5": torch.from_numpy(one)[None]} for one in (whole, half)))
    np.testing.assert_allclose(pooled[0], gem_of_sizes((whole, half), GEM_POWER, GEM_MIN), rtol=1e-9)


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, pooled=st.booleans(), stride=st.integers(1, 2), kernel=st.sampled_from([1, 3, 5]))
def test_folded_batch_normalisation_of_a_convolution(seed: int, pooled: bool, stride: int, kernel: int) -> None:
    """Pooling runs before the normalisation in training and after the ReLU in the folded copy."""
    pool = nn.MaxPool2d(3, stride=2, padding=1) if pooled else None
    block = conv_norm_relu(3, 4, kernel, stride=stride, pool=pool)
    conv, norm = block[0], block[-2]
    statistics = fill(norm, seed)
    x = normal(seed, 3, 7, 8)
    weight = conv.weight.detach().numpy().astype(np.float64)
    expected = convolve(x, weight, np.zeros(4), stride=stride, pad=kernel // 2)
    if pooled:
        expected, _ = max_pool(expected, 3, 2, (1, 1))
    expected = np.maximum(batch_norm(expected, **statistics), 0)
    folded = fold_batch_norm(nn.Sequential(block))
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    np.testing.assert_allclose(in_torch(folded, x), expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_folded_batch_normalisation_of_a_fully_connected_layer(seed: int) -> None:
    module = nn.Module()
    module.fc6, module.norm6 = nn.Linear(5, 4), batch_norm_without_scale(4)
    statistics, x = fill(module.norm6, seed), normal(seed, 5)
    weight, bias = (tensor.detach().numpy().astype(np.float64) for tensor in (module.fc6.weight, module.fc6.bias))
    expected = batch_norm(weight @ x + bias, **statistics)
    folded = fold_batch_norm(module)
    assert isinstance(folded.norm6, nn.Identity)
    np.testing.assert_allclose(in_torch(folded.fc6, x), expected, rtol=1e-4, atol=1e-5)


def fill(norm: Any, seed: int) -> dict[str, Any]:
    """Give batch normalisation random statistics; return them as the slow twin takes them."""
    rng = np.random.default_rng(seed)
    values = {
        "scale": np.ones(norm.num_features),  # there is no learnt scale
        "shift": rng.standard_normal(norm.num_features),
        "mean": rng.standard_normal(norm.num_features),
        "variance": rng.uniform(0.3, 3, norm.num_features),
    }
    with torch.no_grad():
        for parameter, name in ((norm.bias, "shift"), (norm.running_mean, "mean"), (norm.running_var, "variance")):
            parameter.copy_(torch.from_numpy(values[name]))
    return values | {"epsilon": norm.eps}


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, rows=st.integers(2, 40), columns=st.integers(1, 6), dim=st.integers(1, 8))
def test_whitening(seed: int, rows: int, columns: int, dim: int) -> None:
    scales = 3.0 ** np.arange(columns)  # directions of clearly different variance: their order is not left to rounding
    features = normal(seed, rows, columns) * scales + 5
    fitted = fit_whitening(torch.from_numpy(features), dim, shrink=0.5)
    mean, directions = whiten(features, dim, shrink=0.5)
    x = features[:3] + normal(seed + 1, min(3, rows), columns)
    found = fitted(torch.from_numpy(x)).numpy()
    assert found.shape == (len(x), len(directions))
    rounding = fitted.scale.numpy() / 2  # of each weight, which is stored in 8 bits
    for row, values in zip(x, found, strict=True):
        bound = rounding * abs(row - mean).sum() + 1e-6
        expected = directions @ (row - mean)
        signs = signs_of(fitted, directions)
        assert (abs(values - signs * expected) <= bound).all()


def signs_of(fitted: Any, directions: np.ndarray) -> np.ndarray:
    """Return for each direction whether the fitted one points the same way: both are right."""
    weights = (fitted.weight * fitted.scale[:, None]).numpy()
    return np.sign((weights * directions).sum(axis=1))


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=4),
    unit=st.integers(0, 5),
)
def test_the_receptive_field(steps: list[tuple[int, int, int]], unit: int) -> None:
    chain = [Step("conv", NodeProto(), "", "", kernel, stride, pads=(pad, pad)) for kernel, stride, pad in steps]
    field = receptive_field(chain, 99)
    lines = lines_seen(steps, unit)
    first = field.offset + unit * field.stride
    assert (first, first + field.size - 1) == (min(lines), max(lines))
