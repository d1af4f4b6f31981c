"""The mathematics of a head: ridge in closed form, logistic regression, one temperature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument
from fc7_service.heads.folds import assign_folds
from fc7_service.heads.head import SoftmaxLayer
from fc7_service.heads.limits import check_size

# Strengths are on features of unit average variance, strongest first.
_RIDGE = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
_LOGISTIC = (1e-1, 1e-2, 1e-3, 1e-4)
_DEFAULT = ("ridge", 10.0)  # where every class is too small to validate
_BASIS = 512  # directions that logistic regression works in
_CROSS_ROWS = 1000  # up to here every fold validates in turn; above, one is enough
_BLOCK = 1024  # rows of one float32 product, which nothing can stop; the sums of blocks are float64
_LARGEST = 1e30  # above, float32 sums overflow

StopCheck = Callable[[], None]  # called between the steps of a fit; what it raises ends the fit


def never_stop() -> None:
    """Check nothing."""


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A fitted head and how it was found."""

    softmax: SoftmaxLayer
    classes: tuple[str, ...]  # sorted
    accuracy: float  # on the held-out rows, before they joined the final fit
    majority_accuracy: float  # on the same rows, of always answering the class that is most frequent in the others
    held_out: int
    method: str
    strength: float  # of the regularisation
    nll: float  # of the held-out rows, in nats a row, after the temperature


def fit(
    features: NDArray[np.float32], labels: Sequence[str], groups: Sequence[str], check: StopCheck = never_stop
) -> FittedHead:
    """Fit a softmax layer; deterministic for the same rows.

    The held-out fifth is touched by neither the fit nor the choice of method and strength
    that its accuracy is given for; it does set the temperature, which moves no decision. The
    layer returned is fitted on all rows.

    Parameters
    ----------
    features
        float32 (N, D), finite.
    labels
        Class of each row.
    groups
        Content hash of each row: copies stay on one side of every split.
    check
        Called every second or two up to about 4,000 rows or dimensions; above, a single
        factorisation or product, which nothing can interrupt, may take longer.

    Raises
    ------
    InvalidArgument
        Shapes that do not match, a value that is not finite, too few classes or images.
    ResourceExhausted
        More rows or classes than memory may have to hold.

    References
    ----------
    Guo et al. 2017, arXiv 1706.04599 (temperature).
    """
    import scipy.linalg  # noqa: F401  # brings a BLAS of its own, which the limit below must find loaded
    from threadpoolctl import threadpool_limits

    _check(features, labels, groups)
    # BLAS threads wait for one another by spinning: beside one busy core, two were 25 times slower than one.
    with threadpool_limits(1, user_api="blas"):
        return _fit(features, labels, groups, check)


def _fit(features: NDArray[np.float32], labels: Sequence[str], groups: Sequence[str], check: StopCheck) -> FittedHead:
    folds = assign_folds(labels, groups)
    classes = tuple(sorted(set(labels)))
    number = {label: i for i, label in enumerate(classes)}
    y = np.array([number[label] for label in labels])
    method, strength = _choose(features, y, folds, len(classes), check)

    held = folds == 0
    trial = _fit_one(StandardisedRows(features[~held], y[~held], len(classes), check), method, strength)
    logits = trial.logits(features[held])
    temperature, nll = fit_temperature(logits, y[held], check)
    majority = np.bincount(y[~held]).argmax()
    final = _fit_one(StandardisedRows(features, y, len(classes), check), method, strength)
    return FittedHead(
        softmax=replace(final, temperature=np.array([temperature], np.float32)),
        classes=classes,
        accuracy=float(np.mean(logits.argmax(axis=1) == y[held])),
        majority_accuracy=float(np.mean(y[held] == majority)),
        held_out=int(held.sum()),
        method=method,
        strength=strength,
        nll=nll,
    )


def fit_temperature(
    logits: NDArray[np.float32], y: NDArray[np.int64], check: StopCheck = never_stop
) -> tuple[float, float]:
    """Return the temperature of least negative log-likelihood, and that likelihood.

    The targets are smoothed by one row of doubt (Platt 1999): a few rows, all classified
    correctly, do not make certain.

    Parameters
    ----------
    logits
        (N, C), of rows that were not trained on.
    y
        (N,): class number of each row.
    """
    from scipy.optimize import minimize_scalar

    z = logits.astype(np.float64)
    doubt = 1.0 / (len(z) + 1)
    target = (1 - doubt) * z[np.arange(len(z)), y] + doubt * z.mean(axis=1)
    top = z.max(axis=1, keepdims=True)

    def loss(log_temperature: float) -> float:
        check()
        sharpness = np.exp(-log_temperature)
        spread = np.log(np.exp((z - top) * sharpness).sum(axis=1)) + top[:, 0] * sharpness
        return float(np.mean(spread - target * sharpness))

    best = minimize_scalar(loss, bounds=(-9.0, 5.0), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x)), float(best.fun)


class StandardisedRows:
    """Standardised rows of known class, and what all fits on them share."""

    def __init__(
        self, features: NDArray[np.float32], y: NDArray[np.int64], n_classes: int, check: StopCheck = never_stop
    ) -> None:
        self.y, self.n_classes, self.check = y, n_classes, check
        self.mean: NDArray[np.float32] = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.x = features - self.mean
        self.scale = np.sqrt(np.einsum("nd,nd->", self.x, self.x, dtype=np.float64) / self.x.size) or 1.0
        self.x /= np.float32(self.scale)
        self.shares = np.bincount(y, minlength=n_classes) / len(y)
        self.is_dual = len(self.x) < self.x.shape[1]

    @cached_property
    def gram(self) -> NDArray[np.float64]:
        """The smaller of X'X/N (D, D) and, as the dual form, XX'/N (N, N)."""
        x = self.x.T if self.is_dual else self.x
        total = np.zeros((x.shape[1],) * 2)
        for start in range(0, len(x), _BLOCK):
            self.check()
            block = x[start : start + _BLOCK]
            total += block.T @ block
        return total / len(self.x)

    @cached_property
    def basis(self) -> NDArray[np.float32] | None:
        """The leading directions (D, K) by subspace iteration; None where all D are few enough."""
        if self.x.shape[1] <= _BASIS:
            return None
        q = np.random.default_rng(0).standard_normal((len(self.gram), min(_BASIS, len(self.gram))))
        for _ in range(3):
            self.check()
            q = np.linalg.qr(self.gram @ q)[0]
        found: NDArray[np.float32] = q.astype(np.float32)
        return np.linalg.qr(self.x.T @ found)[0] if self.is_dual else found

    def softmax(self, weights: NDArray[np.floating], bias: NDArray[np.floating]) -> SoftmaxLayer:
        """Return the layer (D, C), (C,) with the constants of these rows."""
        return SoftmaxLayer(
            mean=self.mean,
            scale=np.array([self.scale], np.float32),
            weights=np.ascontiguousarray(weights, np.float32),
            bias=np.asarray(bias, np.float32),
            temperature=np.ones(1, np.float32),
        )


def fit_ridge(design: StandardisedRows, strength: float) -> SoftmaxLayer:
    """Minimise the squared error on one-hot targets / N + strength * |W|^2."""
    design.check()
    targets = np.eye(design.n_classes, dtype=np.float32)[design.y] - design.shares.astype(np.float32)
    if design.is_dual:
        weights = design.x.T @ _solve(design.gram, targets / len(targets), strength).astype(np.float32)
    else:
        weights = _solve(design.gram, design.x.T @ targets / len(targets), strength)
    return design.softmax(weights, design.shares)


def fit_logistic(design: StandardisedRows, strengths: Sequence[float]) -> Iterator[SoftmaxLayer]:
    """Minimise mean negative log-likelihood + strength / 2 * |W|^2, each from the one before."""
    from scipy.optimize import minimize

    z = design.x if design.basis is None else design.x @ design.basis  # (N, K)
    shape, rows = (z.shape[1] + 1, design.n_classes), np.arange(len(z))

    def loss(flat: NDArray[np.float64], strength: float) -> tuple[float, NDArray[np.float64]]:
        design.check()
        layer = flat.reshape(shape)
        logits = z @ layer[:-1].astype(np.float32) + layer[-1].astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        likely = logits[rows, design.y]
        np.exp(logits, out=logits)
        sums = logits.sum(axis=1, keepdims=True)
        logits /= sums
        logits[rows, design.y] -= 1
        slope = np.empty(shape)
        slope[:-1] = z.T @ logits / len(z) + strength * layer[:-1]
        slope[-1] = logits.mean(axis=0, dtype=np.float64)
        value = np.mean(np.log(sums[:, 0]) - likely, dtype=np.float64) + strength / 2 * np.sum(layer[:-1] ** 2)
        return float(value), slope.ravel()

    layer = np.zeros(shape)
    layer[-1] = np.log(np.maximum(design.shares, 1 / (len(z) + 1)))
    for strength in strengths:
        options = {"maxiter": 300, "ftol": 1e-7, "gtol": 1e-5}
        layer = minimize(loss, layer.ravel(), (strength,), "L-BFGS-B", jac=True, options=options).x.reshape(shape)
        yield design.softmax(layer[:-1] if design.basis is None else design.basis @ layer[:-1], layer[-1])


def _choose(
    features: NDArray[np.float32], y: NDArray[np.int64], folds: NDArray[np.int8], n_classes: int, check: StopCheck
) -> tuple[str, float]:
    """Return the method and strength of least negative log-likelihood on rows that are not held out."""
    plans = [*(("ridge", strength) for strength in _RIDGE), *(("logistic", strength) for strength in _LOGISTIC)]
    logits: list[list[NDArray[np.float32]]] = [[] for _ in plans]
    truth: list[NDArray[np.int64]] = []
    validating = [fold for fold in range(1, folds.max() + 1) if np.any(folds == fold)]
    if np.sum(folds != 0) > _CROSS_ROWS:
        validating = validating[:1]
    for fold in validating:
        used = (folds != 0) & (folds != fold)
        known = np.isin(y, y[used])  # a class of two images is not validated: one trains, one is held out
        tested = (folds == fold) & known
        if not tested.any():
            continue
        design = StandardisedRows(features[used], y[used], n_classes, check)
        layers = [*(fit_ridge(design, strength) for strength in _RIDGE), *fit_logistic(design, _LOGISTIC)]
        for found, layer in zip(logits, layers, strict=True):
            found.append(layer.logits(features[tested]))
        truth.append(y[tested])
    if not truth:
        return _DEFAULT
    losses = [fit_temperature(np.concatenate(found), np.concatenate(truth), check)[1] for found in logits]
    return plans[int(np.argmin(losses))]


def _fit_one(design: StandardisedRows, method: str, strength: float) -> SoftmaxLayer:
    return fit_ridge(design, strength) if method == "ridge" else next(fit_logistic(design, (strength,)))


def _solve(gram: NDArray[np.float64], right: NDArray[np.floating], strength: float) -> NDArray[np.float64]:
    """Return (gram + strength I)^-1 right; the strength grows where float32 products left it indefinite."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    while True:
        shifted = gram.copy()
        shifted[np.diag_indices_from(shifted)] += strength
        try:
            factor = cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            strength *= 10
            continue
        solution: NDArray[np.float64] = cho_solve(factor, right.astype(np.float64), check_finite=False)
        return solution


def _check(features: NDArray[np.float32], labels: Sequence[str], groups: Sequence[str]) -> None:
    if features.ndim != 2 or len(features) != len(labels) or len(labels) != len(groups):
        raise InvalidArgument(
            f"features have shape {features.shape} beside {len(labels)} labels and {len(groups)} groups: "
            "one row, label and group an image",
            name="features",
        )
    check_size(len(features), features.shape[1], len(set(labels)))
    good = (np.abs(features) < _LARGEST).all(axis=1)  # False for NaN too
    if not good.all():
        raise InvalidArgument(
            f"row {int(np.argmin(good))} of the features has a value that is not finite, or above {_LARGEST:g}: "
            "extract that image again",
            name="features",
        )
