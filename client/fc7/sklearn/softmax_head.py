"""A classifier of scikit-learn that is fitted as the heads of fc7 are."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fc7.errors import InvalidArgument
from fc7.head_weights import HeadWeights
from fc7.results import Provenance


class SoftmaxHead(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A softmax layer on features, fitted as `Client.train_head` fits it. Needs no server.

    Method and strength of the penalty are chosen by validation, so there is nothing to set. A fifth of the rows is
    held out at first, which calibrates the probabilities; the layer is then fitted on all rows.

    Attributes
    ----------
    classes_ : ndarray (C,)
        The classes, sorted.
    coef_ : ndarray float64 (C, D)
        One row of weights per class. The features need not be scaled.
    intercept_ : ndarray float64 (C,)
        One number per class.
    accuracy_ : float
        Share of the held-out rows that were classified correctly.
    method_ : str
        "ridge" or "logistic".
    n_features_in_ : int
        D.

    References
    ----------
    Zeiler & Fergus 2013, section 5.2: only the softmax layer is trained.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fc7.sklearn import SoftmaxHead
    >>> x, y = load_digits(n_class=3, return_X_y=True)
    >>> head = SoftmaxHead().fit(x[:300], y[:300])
    >>> head.score(x[300:], y[300:]) > 0.97
    True
    """

    def fit(self, X: Any, y: Any) -> SoftmaxHead:  # noqa: N803
        """Fit the layer; the same rows always give the same layer.

        Parameters
        ----------
        X
            Features (N, D).
        y
            Class of each row (N,): texts, numbers or booleans.

        Raises
        ------
        ValueError
            A value is not finite, or there are fewer than two classes, or fewer than two different rows in one.
        """
        from fc7_service.heads.fit import fit_head
        from fc7_service.heads.grouping import join_groups
        from fc7_service.heads.near_duplicates import near_duplicates

        X, y = validate_data(self, X, y, dtype=np.float32, order="C")  # noqa: N806
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a head needs at least 2 classes (got 1 class: {self.classes_[0]!s:.64})")
        # Sorted as the classes are; the name is for errors.
        labels = [f"{number:09d} {ascii(str(self.classes_[number]))[:64]}" for number in numbers]
        contents = [hashlib.sha256(row.tobytes()).hexdigest() for row in X]
        try:
            groups = join_groups(contents, (), labels, near_duplicates(X))
            fitted = fit_head(X, labels, groups)
        except InvalidArgument as error:
            raise ValueError(str(error)) from error
        layer = fitted.softmax
        scale = float(layer.scale[0] * layer.temperature[0])
        self.coef_ = layer.weights.T.astype(np.float64) / scale
        bias = layer.bias.astype(np.float64) / float(layer.temperature[0])
        self.intercept_ = bias - self.coef_ @ layer.mean.astype(np.float64)
        self.accuracy_, self.method_ = fitted.accuracy, fitted.method
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Return the probability (N, C) of each class, in the order of ``classes_``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)  # noqa: N806
        logits = X @ self.coef_.T + self.intercept_
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the most probable class (N,) of each row."""
        check_is_fitted(self)
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def to_weights(self, provenance: Provenance) -> HeadWeights:
        """Return the weights for `Client.import_head`, given what made the features, as `Features.provenance` says."""
        check_is_fitted(self)
        classes = [str(name) for name in self.classes_]
        return HeadWeights(provenance, classes, self.coef_.T.astype(np.float32), self.intercept_.astype(np.float32))

    @classmethod
    def from_weights(cls, weights: HeadWeights) -> SoftmaxHead:
        """Return a head with the weights of a head on a server, as `Client.head_weights` returns them."""
        head = cls()
        head.classes_, head.n_features_in_ = np.array(weights.classes), len(weights.weights)
        head.coef_ = weights.weights.T.astype(np.float64)
        head.intercept_ = weights.bias.astype(np.float64)
        return head

    def to_logistic_regression(self) -> LogisticRegression:
        """Return a fitted `LogisticRegression` that gives the same probabilities."""
        check_is_fitted(self)
        other = LogisticRegression()
        is_binary = len(self.classes_) == 2  # then scikit-learn keeps one row: the second class against the first
        other.coef_ = self.coef_[1:] - self.coef_[:1] if is_binary else self.coef_.copy()
        other.intercept_ = self.intercept_[1:] - self.intercept_[:1] if is_binary else self.intercept_.copy()
        other.classes_, other.n_features_in_ = self.classes_.copy(), self.coef_.shape[1]
        other.n_iter_ = np.zeros(1, np.int32)
        return other

    @classmethod
    def from_logistic_regression(cls, other: LogisticRegression) -> SoftmaxHead:
        """Return a head that gives the same probabilities as a fitted `LogisticRegression`.

        Raises
        ------
        TypeError
            It is another estimator.
        NotFittedError
            It is not fitted.
        ValueError
            It has one model for each of three or more classes: its probabilities are not those of a softmax.
        """
        if not isinstance(other, LogisticRegression):
            raise TypeError(f"from_logistic_regression takes a LogisticRegression (got {type(other).__name__})")
        check_is_fitted(other)
        head, is_binary = cls(), len(other.classes_) == 2
        if not is_binary and (other.solver == "liblinear" or getattr(other, "multi_class", "") == "ovr"):
            raise ValueError("a LogisticRegression with one model for each of 3 or more classes is no softmax")
        # A softmax over the halves gives the same as the logistic function of the whole.
        head.coef_ = np.concatenate([-other.coef_, other.coef_]) / 2 if is_binary else other.coef_.copy()
        intercept = other.intercept_
        head.intercept_ = np.concatenate([-intercept, intercept]) / 2 if is_binary else intercept.copy()
        head.classes_, head.n_features_in_ = other.classes_.copy(), other.coef_.shape[1]
        return head
