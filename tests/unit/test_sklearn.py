"""The classifier of scikit-learn: its rules, its searches, and that it is a head of fc7."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from fc7.sklearn import FeatureExtractor, SoftmaxHead
from fc7_service.heads.registry import Heads
from labelled import PROVENANCE, make_labelled

# Check -> why it fails. docs/guides/scikit-learn.md names them, too.
EXPECTED_FAILURES: dict[str, str] = {}
# Checks that ask for no table of numbers. Of a transformer of pictures, scikit-learn itself asks for one check alone.
OF_ANY_ESTIMATOR = [
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@parametrize_with_checks([SoftmaxHead()], expected_failed_checks=lambda estimator: EXPECTED_FAILURES)
def test_the_head_keeps_the_rules(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_extractor_keeps_the_rules() -> None:
    with pytest.warns(SkipTestWarning, match="requires input"):
        check_estimator(FeatureExtractor())
    for check in OF_ANY_ESTIMATOR:
        getattr(estimator_checks, check)("FeatureExtractor", FeatureExtractor())


def test_it_is_the_head_that_a_server_would_fit(tmp_path: Any) -> None:
    data = make_labelled(30, 4, 48)
    contents = [hashlib.sha256(row.tobytes()).hexdigest() for row in data.features]
    heads = Heads(tmp_path / "heads")
    version = heads.train("same", data.features, data.labels, contents, PROVENANCE)
    ours = SoftmaxHead().fit(data.features, data.labels)
    assert (ours.accuracy_, ours.method_) == (version.accuracy, version.method)
    assert tuple(ours.classes_) == version.classes
    expected = heads.classifier("same", 1).predict(data.features)
    np.testing.assert_allclose(ours.predict_proba(data.features), expected, atol=1e-5)


def test_it_works_in_searches_pipelines_and_cross_validation() -> None:
    x, y = load_iris(return_X_y=True)
    assert cross_val_score(SoftmaxHead(), x, y, cv=5).mean() > 0.93
    pipeline = make_pipeline(StandardScaler(), Normalizer(), SoftmaxHead())
    search = GridSearchCV(pipeline, {"normalizer__norm": ["l2", "max"]}, cv=3).fit(x, y)
    assert search.best_score_ > 0.8
    assert cross_val_score(SoftmaxHead(), x, y, cv=3, scoring="roc_auc_ovr").mean() > 0.97
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(x), search.predict(x))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_logistic_regression_comes_and_goes(n_classes: int) -> None:
    x, y = load_digits(n_class=n_classes, return_X_y=True)
    head = SoftmaxHead().fit(x, y)
    np.testing.assert_allclose(head.to_logistic_regression().predict_proba(x), head.predict_proba(x), atol=1e-6)
    other = LogisticRegression(max_iter=1000).fit(x, y)
    ours = SoftmaxHead.from_logistic_regression(other)
    np.testing.assert_allclose(ours.predict_proba(x), other.predict_proba(x), atol=1e-12)
    np.testing.assert_array_equal(ours.predict(x), other.predict(x))
    with pytest.raises(ValueError, match="not fitted"):
        SoftmaxHead.from_logistic_regression(LogisticRegression())


def test_what_is_no_softmax_is_refused() -> None:
    from sklearn.multiclass import OneVsRestClassifier

    x, y = load_iris(return_X_y=True)
    other = LogisticRegression(max_iter=1000).fit(x, y).set_params(solver="liblinear")
    with pytest.raises(ValueError, match="is no softmax"):
        SoftmaxHead.from_logistic_regression(other)
    with pytest.raises(TypeError, match="takes a LogisticRegression"):
        SoftmaxHead.from_logistic_regression(OneVsRestClassifier(LogisticRegression()).fit(x, y))


def test_errors_name_the_classes_of_the_caller() -> None:
    x = np.eye(5)
    with pytest.raises(ValueError, match="1 class: rose"):
        SoftmaxHead().fit(x, ["rose"] * 5)
    with pytest.raises(ValueError, match="tulip"):
        SoftmaxHead().fit(x, ["rose"] * 4 + ["tulip"])


@pytest.mark.parametrize("one", ["a.jpg", b"bytes", np.zeros((4, 2), dtype="U4"), 7])
def test_an_extractor_takes_lists_of_pictures(one: Any) -> None:
    with pytest.raises(ValueError, match="X must"):
        FeatureExtractor().transform(one)


def test_the_client_needs_no_scikit_learn() -> None:
    program = "import sys; sys.modules['sklearn'] = None; import fc7, fc7.cli; fc7.Client"
    subprocess.run([sys.executable, "-c", program], check=True)
    program += "\nimport fc7.sklearn"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'fc7[sklearn]'" in done.stderr
