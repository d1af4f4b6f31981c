"""The mathematics of heads against scikit-learn, and their life on disk."""

from __future__ import annotations

import json
import time
import tracemalloc
from dataclasses import asdict
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from fc7.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from fc7_service.heads import blocks, fit, limits
from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.fit import fit_head
from fc7_service.heads.folds import assign_folds
from fc7_service.heads.leading_directions import find_leading_directions
from fc7_service.heads.logistic import fit_logistic
from fc7_service.heads.registry import Heads
from fc7_service.heads.ridge import fit_ridge
from fc7_service.heads.standardised_rows import StandardisedRows
from fc7_service.heads.temperature import fit_temperature
from labelled import PROVENANCE, Labelled, make_labelled


def numbers(labels: list[str]) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1]


def values(design: StandardisedRows) -> np.ndarray:
    return np.concatenate([design.block(rows).copy() for rows in design.blocks])


def objective(layer: SoftmaxLayer, design: StandardisedRows, strength: float) -> float:
    logits = (values(design) @ layer.weights + layer.bias).astype(np.float64)
    nll = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), design.y]
    return float(nll.mean() + strength / 2 * np.sum(layer.weights.astype(np.float64) ** 2))


@pytest.fixture
def heads(tmp_path: Path) -> Heads:
    return Heads(tmp_path / "heads")


def train(heads: Heads, name: str = "h", data: Labelled | None = None):
    data = data or make_labelled(8, 3, 16)
    return heads.train(name, data.features, data.labels, data.groups, PROVENANCE)


# Against scikit-learn


@pytest.mark.parametrize("per_class", [40, 150])
def test_the_chosen_head_reaches_the_objective_with_more_dimensions_than_rows(per_class, monkeypatch):
    monkeypatch.setattr(fit, "STRENGTHS", {"logistic": (1e-1, 1e-2)})
    rng, y = np.random.default_rng(0), np.tile(np.arange(4), per_class)
    features = (rng.standard_normal((4, 1100))[y] * 0.12 + rng.standard_normal((len(y), 1100))).astype(np.float32)
    fitted = fit_head(features, [f"c{i}" for i in y], [str(i) for i in range(len(y))])
    design = StandardisedRows(features, y, 4)
    best = next(fit_logistic(design, (fitted.strength,)))
    assert objective(fitted.softmax, design, fitted.strength) - objective(best, design, fitted.strength) < 1e-3


@pytest.mark.parametrize("strength", [1e-1, 1e-2, 1e-3])
def test_logistic_reaches_the_objective_of_scikit_learn(strength):
    data = make_labelled(60, 5, 40, noise=2.0)
    design = StandardisedRows(data.features, numbers(data.labels), 5)
    ours = next(fit_logistic(design, (strength,)))
    oracle = LogisticRegression(C=1 / (strength * design.count), tol=1e-8, max_iter=5000)
    oracle.fit(values(design).astype(np.float64), design.y)
    theirs = design.softmax_layer(oracle.coef_.T, oracle.intercept_)
    assert objective(ours, design, strength) == pytest.approx(objective(theirs, design, strength), abs=1e-4)


@pytest.mark.parametrize("dim", [40, 700])
def test_ridge_has_the_weights_of_scikit_learn_in_both_forms(dim):
    data = make_labelled(30, 4, dim, noise=2.0)
    design = StandardisedRows(data.features, numbers(data.labels), 4)
    assert design.is_dual == (dim > 120)
    ours = next(fit_ridge(design, (1e-2,)))
    oracle = Ridge(alpha=1e-2 * design.count).fit(values(design).astype(np.float64), np.eye(4)[design.y])
    assert np.allclose(ours.weights, oracle.coef_.T, atol=1e-4)
    assert np.allclose(ours.bias, oracle.intercept_, atol=1e-4)


def test_accuracy_on_unseen_rows_is_within_a_point_of_scikit_learn():
    data = make_labelled(600, 10, 128, noise=2.5)
    known, unseen = data[:3000], data[3000:]
    found = fit_head(known.features, known.labels, known.groups)
    y = numbers(unseen.labels)
    ours = np.mean(found.softmax.probabilities(unseen.features).argmax(axis=1) == y)
    scale = known.features.std()
    theirs = max(
        LogisticRegression(C=c, max_iter=500)
        .fit(known.features / scale, known.labels)
        .score(unseen.features / scale, unseen.labels)
        for c in (0.003, 0.03, 0.3)
    )
    assert ours >= theirs - 0.01
    assert found.accuracy == pytest.approx(ours, abs=0.05)


def test_logistic_on_the_leading_directions_is_as_good_as_on_all():
    data = make_labelled(200, 6, 1100, noise=2.0)
    known, unseen = data[:900], data[900:]
    design = StandardisedRows(known.features, numbers(known.labels), 6)
    basis = find_leading_directions(design).basis
    assert basis is not None
    assert basis.shape == (1100, 900)  # no more than there are rows
    assert np.allclose(basis.T @ basis, np.eye(900), atol=1e-4)
    layer = next(fit_logistic(design, (1e-2,)))
    oracle = LogisticRegression(C=1 / (1e-2 * 900), max_iter=1000).fit(values(design), design.y)
    ours = np.mean(layer.logits(unseen.features).argmax(axis=1) == numbers(unseen.labels))
    theirs = oracle.score((unseen.features - design.mean) / design.scale, numbers(unseen.labels))
    assert ours >= theirs - 0.01


def test_a_fit_that_begins_at_another_layer_reaches_the_same_objective():
    data = make_labelled(60, 5, 40, noise=2.0)
    y = numbers(data.labels)
    some, every = (StandardisedRows(data.features, y, 5, members=np.arange(n)) for n in (200, 300))
    start = next(fit_logistic(some, (1e-2,)))
    warm, cold = (next(fit_logistic(every, (1e-2,), layer)) for layer in (start, None))
    assert objective(warm, every, 1e-2) == pytest.approx(objective(cold, every, 1e-2), abs=1e-5)
    n_passes = []
    for layer in (start, None):
        asked = Mock()
        rows = StandardisedRows(data.features, y, 5, asked)
        next(fit_logistic(rows, (1e-2,), layer, 1e-3))
        n_passes.append(asked.call_count)
    assert n_passes[0] < n_passes[1]


@pytest.mark.parametrize("dim", [30, 1500])
def test_rows_that_are_picked_are_those_of_a_copy(dim):
    data = make_labelled(400, 3, dim)
    y, members = numbers(data.labels), np.flatnonzero(np.arange(1200) % 3 != 1)
    picked = StandardisedRows(data.features, y, 3, members=members)
    copied = StandardisedRows(data.features[members], y[members], 3)
    assert np.array_equal(values(picked), values(copied))
    assert np.array_equal(picked.gram, copied.gram)
    assert np.allclose(values(picked).mean(axis=0), 0, atol=1e-5)
    assert np.mean(values(picked) ** 2) == pytest.approx(1, abs=1e-4)


def test_the_number_of_cores_does_not_change_a_head(monkeypatch):
    data, weights = make_labelled(400, 3, 600, noise=3.0), []
    for n_cores in (1, 3):
        monkeypatch.setattr(blocks, "usable_cores", lambda n_cores=n_cores: n_cores)
        weights.append(fit_head(data.features, data.labels, data.groups).softmax.weights)
    assert np.array_equal(*weights)


def test_a_fit_makes_no_copy_of_the_features():
    data = make_labelled(10_000, 3, 128, noise=3.0)
    y = numbers(data.labels)
    tracemalloc.start()
    rows = StandardisedRows(data.features, y, 3, members=np.arange(25_000))
    next(fit_ridge(rows, (1e-2,)))
    next(fit_logistic(rows, (1e-2,)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * data.features.nbytes


# Temperature


@pytest.mark.parametrize("sharpness", [0.05, 1.0, 20.0])
def test_the_temperature_recovers_the_scale_of_the_logits(sharpness):
    rng = np.random.default_rng(5)
    logits = rng.standard_normal((4000, 4)) * 2
    y = np.array([rng.choice(4, p=row / row.sum()) for row in np.exp(logits)])
    temperature, _ = fit_temperature((logits * sharpness).astype(np.float32), y)
    assert temperature == pytest.approx(sharpness, rel=0.1)


def test_the_temperature_improves_the_likelihood_and_moves_no_decision():
    data = make_labelled(300, 5, 64, noise=3.0)
    design = StandardisedRows(data[:1000].features, numbers(data[:1000].labels), 5)
    layer, unseen, y = next(fit_ridge(design, (1e-2,))), data[1000:], numbers(data[1000:].labels)
    logits = layer.logits(unseen.features)
    temperature, nll = fit_temperature(logits, y)
    plain = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]
    assert nll < plain.mean() - 0.1
    assert temperature < 1  # ridge on one-hot targets is underconfident
    assert (logits.argmax(axis=1) == (logits / temperature).argmax(axis=1)).all()


def test_a_few_rows_without_an_error_do_not_make_certain():
    logits = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    temperature, _ = fit_temperature(logits, np.array([0, 1, 0, 1]))
    sure = 1 / (1 + np.exp(-1 / temperature))
    assert sure == pytest.approx(0.9, abs=1e-3)  # one row of doubt in five


# The whole fit


@pytest.mark.parametrize(("per_class", "n_classes", "dim"), [(2, 2, 64), (3, 5, 512), (10, 200, 32), (6, 4, 1200)])
def test_small_and_wide_sets_are_fitted(per_class, n_classes, dim):
    data = make_labelled(per_class, n_classes, dim, noise=0.3)
    found = fit_head(data.features, data.labels, data.groups)
    assert len(found.classes) == n_classes
    assert found.held_out >= n_classes
    assert found.accuracy > 0.7
    probabilities = found.softmax.probabilities(data.features)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.mean(probabilities.argmax(axis=1) == numbers(data.labels)) > 0.9


def test_labels_that_mean_nothing_get_the_accuracy_of_chance():
    data = make_labelled(100, 4, 300)
    labels = np.random.default_rng(1).permutation(data.labels).tolist()
    assert fit_head(data.features, labels, data.groups).accuracy < 0.45


def test_the_accuracy_stands_beside_that_of_the_largest_class():
    data = make_labelled(300, 2, 16, noise=3.0)
    labels = ["few" if i < 24 else "many" for i in range(len(data.labels))]
    found = fit_head(data.features, labels, data.groups)
    held = assign_folds(labels, data.groups) == 0
    assert found.majority_accuracy == np.mean(np.array(labels)[held] == "many")
    assert found.majority_accuracy > 0.9


def test_copies_do_not_leak_into_the_held_out_rows():
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((60, 200)).astype(np.float32)  # nothing to learn but the rows themselves
    labels = [f"c{i % 2}" for i in range(60)]
    groups = [str(i) for i in range(60)]
    honest = fit_head(np.tile(noise, (4, 1)), labels * 4, groups * 4)
    fooled = fit_head(np.tile(noise, (4, 1)), labels * 4, [str(i) for i in range(240)])
    assert honest.accuracy < 0.75
    assert fooled.accuracy > 0.9


def test_the_same_rows_give_the_same_head():
    data = make_labelled(20, 3, 600)
    first, second = (fit_head(data.features, data.labels, data.groups) for _ in range(2))
    assert np.array_equal(first.softmax.weights, second.softmax.weights)
    assert np.array_equal(first.softmax.temperature, second.softmax.temperature)


def test_units_that_never_fire_and_equal_rows_are_no_trouble():
    data = make_labelled(10, 2, 8)
    silent = np.concatenate([data.features, np.zeros((20, 600), np.float32)], axis=1)
    assert fit_head(silent, data.labels, data.groups).accuracy > 0.5
    equal = fit_head(np.ones((20, 5), np.float32), data.labels, data.groups)
    assert np.allclose(equal.softmax.probabilities(np.ones((1, 5), np.float32)), 0.5, atol=1e-3)


def test_ten_classes_of_a_thousand_rows_take_seconds():
    data = make_labelled(1000, 10, 1024, noise=3.0)
    start = time.process_time()
    found = fit_head(data.features, data.labels, data.groups)
    assert time.process_time() - start < 30  # 4 s of an idle core, with room for a busy machine
    assert found.accuracy > 0.5


@pytest.mark.parametrize(("per_class", "n_classes", "dim"), [(300, 10, 1024), (40, 12, 2048)])
def test_a_fit_can_be_stopped_within_a_second_or_two(per_class, n_classes, dim):
    data, asked = make_labelled(per_class, n_classes, dim, noise=3.0), [time.thread_time()]
    whole = fit_head(data.features, data.labels, data.groups, lambda: asked.append(time.thread_time()))
    assert np.diff([*asked, time.thread_time()]).max() < 1.5  # seconds of this thread
    assert len(asked) > 50

    for n_asked in (1, 10, len(asked) // 2, len(asked) - 1):
        leave = Mock(side_effect=[*[None] * (n_asked - 1), Unavailable("left")])
        with pytest.raises(Unavailable, match="left"):
            fit_head(data.features, data.labels, data.groups, leave)
    again = fit_head(data.features, data.labels, data.groups)
    assert np.array_equal(again.softmax.weights, whole.softmax.weights)


# Splits


def test_a_fifth_of_each_class_is_held_out():
    data = make_labelled(50, 7, 4)
    folds, y = assign_folds(data.labels, data.groups), numbers(data.labels)
    assert [int(np.sum(folds[y == i] == 0)) for i in range(7)] == [10] * 7


def test_folds_do_not_depend_on_the_order_of_rows():
    data = make_labelled(13, 3, 4)
    order = np.random.default_rng(3).permutation(len(data.labels))
    shuffled = assign_folds([data.labels[i] for i in order], [data.groups[i] for i in order])
    assert np.array_equal(assign_folds(data.labels, data.groups)[order], shuffled)


def test_an_image_with_two_labels_is_never_held_out():
    labels = ["a", "b"] + ["a", "b"] * 10
    groups = ["both", "both"] + [str(i) for i in range(20)]
    assert (assign_folds(labels, groups)[:2] == -1).all()


# Bad input


@pytest.mark.parametrize(
    ("labels", "groups", "text"),
    [
        ([], [], "no labelled row"),
        (["a"] * 4, list("1234"), "all 4 rows are of class 'a'"),
        (["a", "a", "b"], list("123"), "fewer: 'b' .1 of 2 classes"),
        (["a", "a", "b", "b"], list("1233"), "Copies"),
        (["a", "a", "b", "b"], list("1212"), "2 of 2 classes"),
        (["a", "a", "", ""], list("1234"), "label is empty"),
        (["a", "a", "\ud800", "\ud800"], list("1234"), "Unicode"),
        (["a", "a", "x" * 257, "x" * 257], list("1234"), "at most 256 characters .* has 257"),
    ],
)
def test_rows_that_make_no_head_are_refused(labels, groups, text):
    with pytest.raises(InvalidArgument, match=text):
        fit_head(np.ones((len(labels), 3), np.float32), labels, groups)


@pytest.mark.parametrize(
    ("n_rows", "dim", "n_classes"),
    [(60_000, 4096, 100), (64_000, 2048, 1000), (28_000, 9216, 1000), (10**6, 8, 60), (16_384, 4096, 4096)],
)
def test_what_fits_into_memory(n_rows, dim, n_classes):
    limits.check_size(n_rows, dim, n_classes)


@pytest.mark.parametrize(
    ("n_rows", "dim", "n_classes", "text"),
    [
        (62_000, 4096, 10, r"at most 61680 rows of 4096 numbers \(got 62000\)"),
        (2_000_000, 1, 2, "rows of 1 numbers"),
        (10_000, 8, 4097, "at most 4096 classes .got 4097"),
        (70_000, 8, 1000, "70000 rows of 1000 classes"),
    ],
)
def test_what_does_not_fit_into_memory(n_rows, dim, n_classes, text):
    with pytest.raises(ResourceExhausted, match=text):
        limits.check_size(n_rows, dim, n_classes)


def test_a_fit_checks_its_size(monkeypatch):
    monkeypatch.setattr(limits, "MAX_CLASSES", 2)
    data = make_labelled(4, 3, 8)
    with pytest.raises(ResourceExhausted, match="got 3"):
        fit_head(data.features, data.labels, data.groups)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_values_that_are_not_finite_are_refused(value):
    data = make_labelled(4, 2, 3)
    data.features[5, 1] = value
    with pytest.raises(InvalidArgument, match="row 5 "):
        fit_head(data.features, data.labels, data.groups)


def test_shapes_must_match():
    data = make_labelled(4, 2, 3)
    with pytest.raises(InvalidArgument, match="8 labels and 7 groups"):
        fit_head(data.features, data.labels, data.groups[1:])


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../x", "a b", "ä", "x" * 65, "a\n", "a\x00"])
def test_names_that_are_no_folder_names_are_refused(heads, name):
    for call in (heads.check_name, heads.get, heads.publish, heads.delete, heads.classifier, lambda n: train(heads, n)):
        with pytest.raises(InvalidArgument, match="name"):
            call(name)


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "x" * 64, "0", "con", "-"])
def test_names_that_are_allowed(heads, name):
    assert train(heads, name).name == name
    assert [head.name for head in heads.list()] == [name]


# Life on disk


def test_a_version_comes_back_bit_for_bit(tmp_path):
    data = make_labelled(8, 3, 16)
    made = train(Heads(tmp_path), "h", data)
    again = Heads(tmp_path)
    assert again.get("h") == made
    assert again.publish("h") == made
    layer = fit_head(data.features, data.labels, data.groups).softmax
    stored = again.classifier("h").softmax
    for field in ("mean", "scale", "weights", "bias", "temperature"):
        ours, theirs = getattr(layer, field), getattr(stored, field)
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()


def test_the_facts_of_a_version(heads):
    data = make_labelled(10, 3, 16)
    first, second = train(heads, "h", data), train(heads, "h", data)
    assert (first.version, first.parent_version, second.version, second.parent_version) == (1, 0, 2, 1)
    assert first.classes == ("c000", "c001", "c002")
    assert (first.count, first.held_out, first.provenance) == (30, 6, PROVENANCE)
    assert first.method in ("ridge", "logistic")
    assert first.seconds > 0
    assert first.created.endswith("+00:00")
    assert len(first.weights_sha256) == 64


def test_publish_switches_and_rolls_back(heads):
    train(heads)
    train(heads, "h", make_labelled(8, 5, 16))
    assert heads.published("h") == 0
    with pytest.raises(FailedPrecondition, match="not published"):
        heads.classifier("h")
    assert heads.publish("h").version == 2
    assert len(heads.classifier("h").version.classes) == 5
    assert heads.publish("h", 1).version == heads.published("h") == 1
    assert len(heads.classifier("h").version.classes) == 3
    with pytest.raises(NotFound, match="no version 9: choose one of 1, 2"):
        heads.publish("h", 9)
    assert heads.published("h") == 1


def test_what_does_not_exist_is_not_found(heads):
    for call in (heads.get, heads.publish, heads.delete, heads.classifier):
        with pytest.raises(NotFound, match="'nope' does not exist"):
            call("nope")
    train(heads)
    for version in (2, -1):
        with pytest.raises(NotFound, match="no version"):
            heads.get("h", version)
    assert heads.published("nope") == 0


def test_list_has_the_newest_version_of_each_by_name(heads):
    assert heads.list() == []
    for name in ("b", "a", "b"):
        train(heads, name)
    assert [(head.name, head.version) for head in heads.list()] == [("a", 1), ("b", 2)]


def test_list_has_all_versions_where_asked_for(heads):
    for name in ("b", "a", "b"):
        train(heads, name)
    assert [(h.name, h.version) for h in heads.list(all_versions=True)] == [("a", 1), ("b", 1), ("b", 2)]


def test_a_version_classifies_before_it_is_published(heads):
    data = make_labelled(8, 3, 16)
    train(heads)
    train(heads)
    heads.publish("h", 1)
    assert heads.classifier("h").version.version == 1
    assert heads.classifier("h", 2).version.version == 2
    assert heads.classifier("h").version.version == 1
    assert heads.classifier("h", 2).predict(data.features).shape == (24, 3)
    with pytest.raises(NotFound, match="version 3"):
        heads.classifier("h", 3)


def test_a_head_that_an_earlier_fc7_trained_is_read(heads, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr("fc7_service.heads.version_files.asdict", _without_majority)
        train(heads)
    assert heads.get("h").majority_accuracy is None
    assert heads.publish("h").version == 1


def _without_majority(head):
    values = asdict(head)
    values.pop("majority_accuracy", None)
    return values


def test_the_published_version_alone_cannot_be_deleted(heads):
    for _ in range(3):
        train(heads)
    heads.publish("h", 2)
    with pytest.raises(FailedPrecondition, match=r"version 2 .* is published"):
        heads.delete("h", 2)
    heads.delete("h", 3)
    assert (heads.get("h").version, heads.published("h")) == (2, 2)
    assert train(heads).version == 4  # a number is never given twice
    heads.delete("h")  # with all that it remembers
    assert heads.list() == []
    with pytest.raises(NotFound):
        heads.classifier("h")
    assert train(heads).version == 1
    assert heads.published("h") == 0


def test_predict_refuses_features_of_another_length(heads):
    train(heads)
    heads.publish("h")
    with pytest.raises(InvalidArgument, match=r"\(N, 16\) \(got \(2, 5\)\)"):
        heads.classifier("h").predict(np.zeros((2, 5), np.float32))


def test_a_head_records_the_libraries_of_its_server(tmp_path):
    made = train(Heads(tmp_path, {"Pillow": "13.0.0", "libjpeg": "3.2.0"}), "h", make_labelled(8, 3, 16))
    manifest = json.loads((tmp_path / "h" / "1" / "manifest.json").read_text())
    assert manifest["report"]["libraries"] == {"Pillow": "13.0.0", "libjpeg": "3.2.0"}
    assert Heads(tmp_path).get("h") == made
