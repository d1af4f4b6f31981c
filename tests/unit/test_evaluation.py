"""What predictions are worth, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from fc7.evaluation import evaluate, wilson_interval


def test_every_figure_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    labels = [str(i) for i in rng.choice(4, 300, p=[0.6, 0.2, 0.15, 0.05])]
    predicted = [label if rng.random() < 0.7 else str(rng.integers(4)) for label in labels]
    found = evaluate(labels, predicted)
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    names = [one.label for one in found.classes]
    precision, recall, _, support = precision_recall_fscore_support(labels, predicted, labels=names)
    assert [one.precision for one in found.classes] == pytest.approx(list(precision))
    assert [one.recall for one in found.classes] == pytest.approx(list(recall))
    assert [one.support for one in found.classes] == list(support)
    assert (found.majority_label, found.majority_accuracy) == ("0", labels.count("0") / 300)
    assert sum(one.count for one in found.confusions) == round(300 * (1 - found.accuracy))
    assert found.confusions[0].count == max(one.count for one in found.confusions)


def test_classes_that_are_never_there_or_never_predicted_have_no_share() -> None:
    found = evaluate(["a", "a", "b"], ["a", "c", "a"])
    assert [(one.label, one.precision, one.recall, one.support) for one in found.classes] == [
        ("a", 0.5, 0.5, 2),
        ("b", None, 0.0, 1),
        ("c", 0.0, None, 0),
    ]
    assert [(one.label, one.predicted, one.count) for one in found.confusions] == [("a", "c", 1), ("b", "a", 1)]


@pytest.mark.parametrize(
    ("n_right", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962), (77, 84, 0.8379, 0.9590)],
)
def test_the_interval_is_wilsons(n_right: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(n_right, count) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize("count", range(1, 200))
def test_the_interval_ends_at_0_and_1_where_all_are_wrong_or_right(count: int) -> None:
    assert wilson_interval(0, count)[0] == 0.0
    assert wilson_interval(count, count)[1] == 1.0
