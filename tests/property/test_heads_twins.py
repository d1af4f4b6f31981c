"""The fits of a head and the interval of its accuracy agree with short second versions, and with scikit-learn."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from fc7.evaluation import wilson_interval
from fc7_service.bundle.softmax import softmax
from fc7_service.heads.label_errors import find_label_errors
from fc7_service.heads.logistic import fit_logistic
from fc7_service.heads.measures import N_BINS, calibration_error, mcnemar, measure
from fc7_service.heads.near_duplicates import near_duplicates
from fc7_service.heads.ridge import fit_ridge
from fc7_service.heads.row_weights import row_weights
from fc7_service.heads.standardised_rows import StandardisedRows
from fc7_service.heads.temperature import fit_temperature
from slow import heads as slow
from slow import wilson

SEEDS = st.integers(0, 2**32 - 1)


def make_rows(seed: int, n: int, dim: int, n_classes: int) -> tuple[np.ndarray, StandardisedRows]:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])
    x = (3 * rng.standard_normal((n_classes, dim))[y] + rng.standard_normal((n, dim)) + 5).astype(np.float32)
    return x, StandardisedRows(x, y, n_classes)


@settings(max_examples=40)
@given(SEEDS, st.integers(4, 30), st.integers(1, 40), st.integers(2, 4), st.sampled_from([10.0, 1e-1, 1e-3]))
def test_ridge_is_the_closed_form(seed: int, n: int, dim: int, n_classes: int, strength: float) -> None:
    x, rows = make_rows(seed, n, dim, n_classes)
    layer = next(fit_ridge(rows, (strength,)))
    standardised = slow.standardise(x)
    weights, bias = slow.ridge(standardised, rows.y.tolist(), n_classes, strength)
    np.testing.assert_allclose(rows.block(slice(0, n)), standardised, atol=1e-4)
    np.testing.assert_allclose(layer.weights, weights, atol=2e-3 * max(1.0, np.abs(weights).max()))
    np.testing.assert_allclose(layer.bias, bias, atol=1e-6)


@settings(max_examples=15)
@given(SEEDS, st.integers(8, 30), st.integers(1, 8), st.integers(3, 4), st.sampled_from([1e-1, 1e-2]))
def test_logistic_regression_finds_the_least_objective(
    seed: int, n: int, dim: int, n_classes: int, strength: float
) -> None:
    x, rows = make_rows(seed, n, dim, n_classes)
    standardised, y = slow.standardise(x), rows.y.tolist()
    layer = next(fit_logistic(rows, (strength,)))
    ours = slow.logistic_objective(standardised, y, layer.weights, layer.bias, strength)
    oracle = LogisticRegression(C=1 / (strength * n), tol=1e-8, max_iter=5000).fit(standardised, y)
    theirs = slow.logistic_objective(standardised, y, oracle.coef_.T, oracle.intercept_, strength)
    assert abs(ours - theirs) < 1e-4


@settings(max_examples=10)
@given(SEEDS, st.integers(12, 30), st.sampled_from([3, 40]), st.sampled_from([1e-1, 1e-2]), st.booleans())
def test_weighted_rows_give_the_objective_of_scikit_learn(
    seed: int, n: int, dim: int, strength: float, balanced: bool
) -> None:
    x, rows = make_rows(seed, n, dim, 3)
    y, own = rows.y, np.random.default_rng(seed).uniform(0.2, 4, n)
    weights = row_weights([f"c{i}" for i in y], [] if balanced else own.tolist(), balanced)
    assert weights is not None
    layer = next(fit_logistic(StandardisedRows(x, y, 3, weights=weights), (strength,)))
    standardised = ((x - layer.mean) / layer.scale).astype(np.float64)
    oracle = LogisticRegression(
        C=1 / (strength * weights.sum()), class_weight="balanced" if balanced else None, tol=1e-8, max_iter=5000
    )
    oracle.fit(standardised, y, sample_weight=None if balanced else weights)

    def objective(w: np.ndarray, bias: np.ndarray) -> float:
        logits = standardised @ w + bias
        largest = logits.max(axis=1)
        nll = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1)) - logits[np.arange(n), y]
        return float(np.average(nll, weights=weights) + strength / 2 * np.sum(w**2))

    assert objective(layer.weights, layer.bias) - objective(oracle.coef_.T, oracle.intercept_) < 1e-4


@settings(max_examples=10)
@given(SEEDS, st.integers(6, 20), st.sampled_from([3, 40]))
def test_a_row_of_weight_two_is_a_row_that_comes_twice(seed: int, n: int, dim: int) -> None:
    x, rows = make_rows(seed, n, dim, 3)
    counts = np.random.default_rng(seed).integers(1, 4, n)
    weighed = next(fit_ridge(StandardisedRows(x, rows.y, 3, weights=counts.astype(np.float64)), (0.1,)))
    repeated = next(fit_ridge(StandardisedRows(np.repeat(x, counts, axis=0), np.repeat(rows.y, counts), 3), (0.1,)))
    np.testing.assert_allclose(weighed.logits(x), repeated.logits(x), atol=1e-3)
    logits = weighed.logits(x)
    one, other = (
        fit_temperature(logits, rows.y, weights=counts.astype(np.float64)),
        fit_temperature(np.repeat(logits, counts, axis=0), np.repeat(rows.y, counts)),
    )
    assert abs(one[1] - other[1]) < 0.2  # the smoothing differs, because it counts rows


@settings(max_examples=25)
@given(SEEDS, st.integers(2, 25), st.integers(2, 5), st.sampled_from([0.1, 1.0, 10.0]))
def test_the_temperature_has_the_least_cross_entropy(seed: int, n: int, n_classes: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    logits = (scale * (rng.standard_normal((n, n_classes)) + np.eye(n_classes)[y])).astype(np.float32)
    temperature, nll = fit_temperature(logits, y)
    best = slow.best_temperature(logits, y.tolist())
    assert abs(nll - slow.smoothed_nll(logits, y.tolist(), best)) < 1e-6
    assert abs(nll - slow.smoothed_nll(logits, y.tolist(), temperature)) < 1e-6


@given(SEEDS, st.integers(1, 5), st.integers(1, 6), st.sampled_from([1.0, 1000.0]))
def test_softmax_is_the_powers_over_their_sum(seed: int, n: int, n_classes: int, scale: float) -> None:
    logits = (scale * np.random.default_rng(seed).standard_normal((n, n_classes))).astype(np.float32)
    for row, given_logits in zip(softmax(logits), logits.astype(np.longdouble), strict=True):
        powers = np.exp(given_logits)
        np.testing.assert_allclose(row, np.asarray(powers / powers.sum(), np.float64), atol=1e-6)


@given(st.integers(1, 500), st.data())
def test_the_wilson_interval_holds_every_share_that_fits(count: int, data: st.DataObject) -> None:
    n_right = data.draw(st.integers(0, count))
    np.testing.assert_allclose(wilson_interval(n_right, count), wilson.wilson_interval(n_right, count), atol=1e-4)


def make_probabilities(seed: int, n: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    return softmax((3 * rng.standard_normal((n, n_classes)) + 2 * np.eye(n_classes)[y]).astype(np.float32)), y


@given(SEEDS, st.integers(1, 60), st.integers(2, 5))
def test_suspected_labels_are_off_the_diagonal_of_the_confident_joint(seed: int, n: int, n_classes: int) -> None:
    probabilities, y = make_probabilities(seed, n, n_classes)
    found = find_label_errors(probabilities, y).tolist()
    close = np.abs(
        probabilities - np.stack([probabilities[y == c, c].mean() if (y == c).any() else 2 for c in range(n_classes)])
    )
    if close.min() > 1e-6:  # a row exactly at a threshold may fall on either side
        assert set(found) == slow.suspected_labels(probabilities.astype(np.float64), y.tolist())
    others = np.where(np.eye(n_classes, dtype=bool)[y], -1, probabilities).max(axis=1)
    margins = (probabilities[np.arange(n), y] - others)[found]
    assert (np.diff(margins) >= -1e-6).all(), "the most suspicious first"


@given(SEEDS, st.integers(1, 80), st.integers(2, 7))
def test_the_calibration_error_is_that_of_the_bins(seed: int, n: int, n_classes: int) -> None:
    probabilities, y = make_probabilities(seed, n, n_classes)
    confidences, is_right = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == y
    ours = calibration_error(confidences, is_right, np.ones(n))
    assert abs(ours - slow.calibration_error(confidences.tolist(), is_right.tolist(), N_BINS)) < 1e-9


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemars_test_counts_coins(first: int, second: int) -> None:
    assert abs(mcnemar(first, second) - slow.mcnemar(first, second)) < 1e-9


@settings(max_examples=20)
@given(SEEDS, st.integers(2, 40), st.integers(2, 7))
def test_every_interval_holds_its_figure(seed: int, n: int, n_classes: int) -> None:
    probabilities, y = make_probabilities(seed, n, n_classes)
    found = measure(probabilities, y, np.arange(n), tuple(map(str, range(n_classes))))
    for one in (found.accuracy, found.balanced_accuracy, found.log_loss, found.calibration_error):
        assert 0 <= one.low <= one.value <= one.high
    assert found.accuracy.value == np.mean(probabilities.argmax(axis=1) == y)
    recalls = [np.mean(probabilities[y == c].argmax(axis=1) == c) for c in set(y.tolist())]
    np.testing.assert_allclose(found.balanced_accuracy.value, np.mean(recalls))
    assert (found.top5 is None) == (n_classes <= 5)
    assert found.majority_accuracy == np.bincount(y).max() / n


@settings(max_examples=20)
@given(SEEDS, st.integers(2, 40), st.sampled_from([3, 64, 400]))
def test_near_duplicates_are_the_pairs_with_a_high_cosine(seed: int, n: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dim)).astype(np.float32)
    copies = x[rng.integers(0, n, 5)] + 0.05 * rng.standard_normal((5, dim)).astype(np.float32)
    x = np.concatenate([x, copies]).astype(np.float32)
    centred = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    cosines = centred @ centred.T
    wanted = {(i, j) for i in range(len(x)) for j in range(i) if cosines[i, j] >= 0.95}
    unclear = {(i, j) for i in range(len(x)) for j in range(i) if abs(cosines[i, j] - 0.95) < 1e-4}
    found = near_duplicates(x)
    assert {(pair.second, pair.first) for pair in found} - unclear == wanted - unclear
    for pair in found:
        assert abs(pair.similarity - cosines[pair.first, pair.second]) < 1e-4
