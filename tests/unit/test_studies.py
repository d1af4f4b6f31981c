"""What the papers found, as commands: probe, curve, inspect, evaluate. On tiny bundles and drawn pictures."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from fc7.cli import main
from fc7.errors import InvalidArgument, NotFound
from fc7_models.data.dataset import read_dataset
from fc7_models.export.pack_bundle import run_graph
from fc7_models.studies import linear_classifier
from fc7_models.studies.evaluation import _label_rank, evaluate, expected_calibration_error
from fc7_models.studies.figure import prepare_output
from fc7_models.studies.graph_layers import find_layers
from fc7_models.studies.inspection import count_aliased, inspect_network
from fc7_models.studies.learning_curve import UNTRAINED, measure_learning_curve
from fc7_models.studies.linear_classifier import PIXELS, class_indices, fit_and_score, hold_out, pool_features
from fc7_models.studies.linear_probe import probe_layers
from fc7_models.studies.network_figures import filter_mosaic, write_evaluation
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.folder import open_model, write_bundle
from fc7_service.bundle.golden import read_golden
from fc7_service.features.preprocess import preprocess
from labelled import make_labelled
from tiny import LAYERS, RECIPE, make_tiny_bundle, tiny_graph

COLOURS = {"c0": (200, 60, 60), "c2": (60, 60, 200)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two easy classes of the tiny bundle, 20 and 10 pictures."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name, n in (("c0", 20), ("c2", 10)):
        (root / name).mkdir()
        for i in range(n):
            pixels = np.array(COLOURS[name]) + rng.integers(-30, 30, (16, 16, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i:02d}.png")
    return root


def quiet(done: int, total: int) -> None:
    assert 0 < done <= total


def edited(path: Path, *, drop: int = 0, network: str = "tiny", **weights: NDArray[np.float32]) -> Bundle:
    """Write a tiny bundle with other weights, whose manifest leaves out the first ``drop`` layers."""
    bundle = make_tiny_bundle(path)
    model = onnx.load_from_string(tiny_graph())
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    (path / "model.onnx").write_bytes(model.SerializeToString())
    layers = LAYERS[drop:]
    return write_bundle(path, name="tiny", network=network, layers=layers, recipe=bundle.recipe, versions={})


def weights(name: str) -> NDArray[np.float32]:
    (tensor,) = [t for t in onnx.load_from_string(tiny_graph()).graph.initializer if t.name == name]
    return numpy_helper.to_array(tensor)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def is_drawing(path: Path) -> bool:
    with Image.open(path) as image:
        return image.format == "PNG" and min(image.size) > 50 and len(set(image.convert("L").tobytes())) > 5


# Linear classifiers


def test_maps_are_averaged_to_at_most_4096_numbers() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((2, 64, 32, 32), dtype=np.float32)
    pooled = pool_features(maps)
    assert pooled.shape == (2, 4096)  # 8 x 8 a map
    np.testing.assert_allclose(pooled[1, 64 * 3 + 9], maps[1, 3, 4:8, 4:8].mean(), rtol=1e-5)
    wide = rng.random((1, 320, 8, 8), dtype=np.float32)
    assert pool_features(wide).shape == (1, 320 * 9)  # cells overlap: 8 rows are no three times a whole number
    np.testing.assert_allclose(pool_features(wide)[0, 9 + 4], wide[0, 1, 2:6, 2:6].mean(), rtol=1e-5)
    small, vector = maps[:, :16, :16, :16], rng.random((2, 9000), dtype=np.float32)
    np.testing.assert_array_equal(pool_features(small), small.reshape(2, -1))
    np.testing.assert_array_equal(pool_features(vector), vector)


def test_a_fifth_of_each_class_is_held_out() -> None:
    y = np.repeat([0, 1, 2], [50, 6, 5])
    held = hold_out(y, 0)
    assert np.bincount(y[held]).tolist() == [11, 1, 1]
    np.testing.assert_array_equal(held, hold_out(y, 0))
    assert not np.array_equal(held, hold_out(y, 1))


@pytest.mark.parametrize("kind", ["softmax", "svm"])
@pytest.mark.parametrize("dim", [20, 400])  # fewer and more numbers than rows
def test_linear_classifiers_learn_what_there_is_to_learn(kind: linear_classifier.Kind, dim: int) -> None:
    easy, hard = (make_labelled(30, 4, dim, noise=noise) for noise in (0.3, 3.0))
    y = np.array([int(label[1:]) for label in easy.labels])
    is_test = np.arange(len(y)) >= 80
    train, test = (np.flatnonzero(~is_test), np.flatnonzero(is_test))
    assert fit_and_score(kind, easy.features[train], y[train], easy.features[test], y[test]) == 1
    assert 0.25 < fit_and_score(kind, hard.features[train], y[train], hard.features[test], y[test]) < 0.95
    one_each = train[:4]  # too few to choose a strength
    assert fit_and_score(kind, easy.features[one_each], y[one_each], easy.features[test], y[test]) > 0.9


def test_classes_weigh_the_same() -> None:
    x = np.array([[-1.0], [1.0]] * 10, np.float32)
    tests, wanted = np.array([[-1.0]] * 9 + [[-1.0]], np.float32), np.array([0] * 9 + [1])
    assert (
        fit_and_score("softmax", x, np.arange(20) % 2, tests, wanted) == 0.5
    )  # nine of ten pictures, one of two classes


def test_turning_to_the_space_of_the_rows_loses_nothing() -> None:
    rng = np.random.default_rng(0)
    x, tests = rng.random((10, 50), dtype=np.float32), rng.random((4, 50), dtype=np.float32)
    turned, turned_tests = linear_classifier._standardise(x, tests)
    centred = x - x.mean(0)
    scale = (centred**2).sum(1).mean()
    assert turned.shape == (10, 9)
    np.testing.assert_allclose(turned @ turned.T, centred @ centred.T / scale, atol=1e-5)
    np.testing.assert_allclose(turned_tests @ turned.T, (tests - x.mean(0)) @ centred.T / scale, atol=1e-5)


def test_too_few_or_too_many_pictures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read_dataset(folder, "test")
    assert np.bincount(class_indices(data)).tolist() == [20, 10]
    with pytest.raises(InvalidArgument, match=r"class 'c2' has 4 pictures\. Each class needs at least 5"):
        class_indices(replace(data, paths=data.paths[:24], labels=data.labels[:24]))
    monkeypatch.setattr(linear_classifier, "MAX_PICTURES", 29)
    with pytest.raises(InvalidArgument, match=r"30 pictures do not fit .* limit is 29"):
        class_indices(data)


# The graph taken apart


def test_convolutions_that_the_bundle_does_not_name_are_layers(tmp_path: Path) -> None:
    bundle = edited(tmp_path / "tiny", drop=1)
    anatomy = find_layers(bundle)
    assert list(anatomy.layers) == ["conv1", "pool5", "fc6", "fc7", "logits"]
    assert sorted(anatomy.weights) == ["conv1", "fc6", "fc7", "logits"]
    np.testing.assert_array_equal(anatomy.filters, weights("w1"))
    np.testing.assert_array_equal(anatomy.weights["fc6"], weights("w6").T)  # a Gemm that does not transpose
    inputs = read_golden(bundle).inputs
    values = run_graph(anatomy.graph, inputs)[anatomy.layers["conv1"]]
    np.testing.assert_array_equal(values, run_graph(tiny_graph(), inputs)["conv5"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of an untrained `alexnet-64`: weights as fp16 behind a Cast, transposed products, maps unnamed."""
    from fc7_models.export.export_trained import export_bundle
    from fc7_models.networks import find_network
    from fc7_models.training.plan import Plan
    from fc7_models.training.trained_network import TrainedNetwork, TrainingRecord

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = find_network("alexnet-64").build(3).eval()
    facts = TrainingRecord(Plan("alexnet-64"), ["c0", "c1", "c2"], {}, "drawn", "here", 1, 1.0, 1, 0.0, 0.0)
    return export_bundle(
        TrainedNetwork(module, facts), tmp_path_factory.mktemp("bundles") / "untrained", name="untrained"
    )


def test_convolutions_that_run_at_two_sizes_count_once() -> None:
    convolutions = [f"conv{i}" for i in range(1, 6)]
    anatomy = find_layers(open_model("alexnet-64"))
    assert sorted(anatomy.layers) == sorted([*convolutions, "pool5", "fc6", "fc7", "conv5_pooled", "logits"])
    assert anatomy.layers["conv5"] == "conv5"


def test_an_exported_network_is_taken_apart(exported: Bundle) -> None:
    anatomy = find_layers(exported)
    convolutions = [f"conv{i}" for i in range(1, 6)]
    assert list(anatomy.layers) == [*convolutions, "pool5", "fc6", "fc7", "logits"]
    assert list(anatomy.weights) == [*convolutions, "fc6", "fc7", "logits"]
    assert anatomy.filters.shape == (64, 3, 5, 5)
    assert anatomy.strides == dict.fromkeys(convolutions, 1) | {"conv1": 2}
    assert anatomy.weights["fc6"].shape == (1024, 2304)
    assert anatomy.weights["logits"].shape == (3, 1024)


# Probe


def test_probe_tells_each_layer(folder: Path, tiny_bundle: Path) -> None:
    rows = probe_layers(folder, str(tiny_bundle), 3, quiet)
    assert [row.layer for row in rows] == [PIXELS, *(layer.name for layer in LAYERS)]
    assert [row.dim for row in rows] == [768, *(layer.dim for layer in LAYERS)]
    assert (rows[1].shape, rows[1].splits, rows[1].count) == ("4 x 8 x 8", 3, 30)
    assert [(row.softmax, row.softmax_deviation, row.svm) for row in rows[:3]] == [(1, 0, 1)] * 3
    assert all(0.5 < row.softmax <= 1 and row.svm_deviation >= 0 for row in rows)


# Curve


def test_curve_grows_with_pictures_a_class(folder: Path, exported: Bundle) -> None:
    state = torch.get_rng_state()
    points = measure_learning_curve(folder, str(exported.path), 2, quiet)
    assert torch.equal(state, torch.get_rng_state())
    assert [(p.features, p.per_class) for p in points] == [
        (name, n) for name in ("fc7", UNTRAINED, PIXELS) for n in (1, 2, 5, 8)
    ]
    own, untrained, pixels = points[:4], points[4:8], points[8:]
    assert [p.accuracy for p in own] == [p.accuracy for p in untrained]  # this bundle is untrained, with the same seed
    assert pixels[-1].accuracy == 1
    assert {p.splits for p in points} == {2}


def test_a_network_of_others_has_no_untrained_curve(folder: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    assert UNTRAINED not in {p.features for p in measure_learning_curve(folder, str(tiny_bundle), 1, quiet)}
    namesake = edited(tmp_path / "tiny", network="alexnet")  # not the recipe of the table's
    assert UNTRAINED not in {p.features for p in measure_learning_curve(folder, str(namesake.path), 1, quiet)}


# Inspect


def test_dead_units_sparsity_norm_and_filters(folder: Path, tmp_path: Path) -> None:
    bias = weights("b7").copy()
    bias[[2, 5]] = -1e3
    kernels = weights("w1").copy()
    kernels[1] = 0
    bundle = edited(tmp_path / "tiny", b7=bias, w1=kernels, b1=np.array([0, -1, 0, 0], np.float32))
    paths = sorted(folder.rglob("*.png"))
    inputs = np.stack([preprocess(path.read_bytes(), RECIPE) for path in paths])
    values = run_graph(bundle.graph(), inputs)
    found = inspect_network(folder, str(bundle.path), quiet)
    assert found.model == "tiny"
    np.testing.assert_array_equal(found.filters, kernels)
    facts = {row.layer: row for row in found.layers}
    for layer, row in facts.items():
        flat = values[layer].reshape(30, -1)
        assert row.count == 30
        assert row.sparsity == pytest.approx(np.mean(flat == 0))
        assert row.norm == pytest.approx(np.linalg.norm(flat, axis=1).mean(), rel=1e-4)
    assert (facts["conv5"].units, facts["conv5"].dead, facts["conv5"].shape) == (4, 1, "4 x 8 x 8")
    assert facts["fc7"].dead == np.sum((values["fc7"] == 0).all(axis=0)) >= 2
    assert facts["logits"].dead == 0
    rms = np.sqrt((kernels**2).mean((1, 2, 3)))
    assert facts["conv5"].filter_rms == pytest.approx(rms.mean())
    assert facts["conv5"].filter_rms_most == pytest.approx(rms.max())
    assert facts["pool5"].filter_rms is None
    assert facts["pool5"].aliased is facts["fc7"].aliased is None
    golden = inspect_network(None, str(bundle.path), quiet)
    assert {row.count for row in golden.layers} == {3}


def test_a_filter_is_aliased_where_its_stride_cannot_carry_it() -> None:
    flat, stripes = np.ones((3, 6, 6)), np.tile([1.0, -1.0], (3, 6, 3))
    waves = np.broadcast_to(np.sin(2 * np.pi * np.arange(6) / 6), (3, 6, 6))  # a cycle in six pixels
    filters = np.stack([flat, stripes, stripes.swapaxes(1, 2), waves]).astype(np.float32)
    assert [count_aliased(filters, stride) for stride in (1, 2, 4)] == [0, 2, 3]


def test_filters_are_laid_side_by_side() -> None:
    filters = np.zeros((5, 3, 2, 2), np.float32)
    filters[1, 0] = 4
    filters[4, 2, 0, 0] = -1
    grid = filter_mosaic(filters)
    assert grid.shape == (2 * 3 + 1, 3 * 3 + 1, 3)
    assert (grid[1:3, 1:3] == 0.5).all()
    assert grid[1, 4].tolist() == [1, 0.5, 0.5]
    assert grid[4, 4].tolist() == [0.5, 0.5, 0]
    assert filter_mosaic(filters[:, :1]).shape == grid.shape


# Evaluate


def test_accuracy_among_the_folders_classes_and_among_all(folder: Path, tmp_path: Path) -> None:
    data = read_dataset(folder, "test")
    inputs = np.stack([preprocess(path.read_bytes(), RECIPE) for path in data.paths])
    turned = run_graph(tiny_graph(), inputs)["logits"][:, ::-1]
    bias = -turned.mean(0)
    bias[2] += np.quantile((turned + bias)[:20] @ [1, 0, -1], 0.3)  # 6 of the first 20 are given c2,
    bias[1] += np.quantile((turned + bias)[:, ::2].max(1) - (turned + bias)[:, 1], 0.3)  # and 9 of all c1
    bias += weights("b8")[::-1]
    bundle = edited(tmp_path / "tiny", w8=weights("w8")[:, ::-1].copy(), b8=bias)
    logits = run_graph(bundle.graph(), inputs)["logits"].astype(np.float64)
    labels = np.array([int(label[1:]) for label in data.labels])
    given = np.where(logits[:, 0] >= logits[:, 2], 0, 2)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    found = evaluate(folder, str(bundle.path), quiet)
    assert (found.count, found.top5, found.top5_all) == (30, 1, 1)
    assert found.top1 == pytest.approx(np.mean(given == labels))
    assert found.top1_all == pytest.approx(np.mean(logits.argmax(1) == labels))
    assert 0 < found.top1_all < found.top1 < 1  # some pictures are given the class that the folder lacks
    wanted = expected_calibration_error(chances.max(1), logits.argmax(1) == labels)
    assert found.calibration_error == pytest.approx(wanted, abs=1e-5)
    assert found.confusion.tolist() == [[int(np.sum((labels == a) & (given == b))) for b in (0, 2)] for a in (0, 2)]

    prepare_output(tmp_path / "new" / "folder")
    write_evaluation(found, tmp_path / "new" / "folder")
    rows = read_csv(tmp_path / "new" / "folder" / "classes.csv")
    assert [(row["id"], row["name"], row["count"]) for row in rows] == [
        ("c0", "red thing", "20"),
        ("c2", "blue thing", "10"),
    ]
    for i, (row, other) in enumerate(zip(rows, ("c2", "c0"), strict=True)):
        assert float(row["top1"]) == pytest.approx(found.confusion[i, i] / found.confusion[i].sum())
        is_given, wrong = found.confusion[:, i].sum(), found.confusion[i, 1 - i]
        assert row["precision"] == (str(found.confusion[i, i] / is_given) if is_given else "")
        assert (row["confused_with"], row["confused"]) == ((other if wrong else ""), str(wrong))
    assert is_drawing(tmp_path / "new" / "folder" / "confusion.png")


def test_the_pictures_of_the_logits_are_prepared_by_their_own_recipe(folder: Path, tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "usual")
    other = replace(RECIPE, mean=(0.1, 0.9, 0.2))
    own = [*LAYERS[:-1], replace(LAYERS[-1], recipe=other)]
    for name, layers, recipe in (("own", own, RECIPE), ("other", LAYERS, other)):
        make_tiny_bundle(tmp_path / name)
        write_bundle(tmp_path / name, name=name, network="tiny", layers=layers, recipe=recipe, versions={})
    errors = {name: evaluate(folder, str(tmp_path / name), quiet).calibration_error
              for name in ("usual", "own", "other")}  # fmt: skip
    assert errors["own"] == errors["other"] != errors["usual"]


def test_place_of_the_label_among_the_classes() -> None:
    logits = np.random.default_rng(0).integers(0, 4, (50, 9)).astype(np.float32)  # with many ties
    labels = np.arange(50) % 9
    order = np.argsort(-logits, axis=1, kind="stable")
    np.testing.assert_array_equal(_label_rank(logits, labels), np.argmax(order == labels[:, None], axis=1))


def test_calibration_error() -> None:
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.4, 0.41, 1.0])
    is_right = np.array([True, True, True, False, True, False, True])
    assert expected_calibration_error(confidence, is_right) == pytest.approx((4 * 0.15 + 2 * 0.095) / 7)
    assert expected_calibration_error(np.ones(3), np.ones(3, bool)) == 0


# The commands


def rows_of(*words: object) -> list[dict[str, object]]:
    result = CliRunner().invoke(main, ["model", *map(str, words), "--json"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_commands_print_and_draw(folder: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    model, out = ("--model", tiny_bundle), ("--output", tmp_path / "out")
    probed = rows_of("probe", folder, *model, "--splits", 2, *out)
    assert [row["layer"] for row in probed] == [row["layer"] for row in read_csv(tmp_path / "out" / "probe.csv")]
    points = rows_of("curve", folder, *model, "--splits", 1, *out)
    assert len(points) == len(read_csv(tmp_path / "out" / "curve.csv")) == 8
    layers = rows_of("inspect", folder, *model, *out)
    assert [row["layer"] for row in layers] == [layer.name for layer in LAYERS]
    assert len(read_csv(tmp_path / "out" / "layers.csv")) == 5
    (result,) = rows_of("evaluate", folder, *model, *out)
    assert list(result) == ["top1", "top5", "count", "top1_all", "top5_all", "calibration_error"]
    for name in ("probe", "curve", "filters", "confusion"):
        assert is_drawing(tmp_path / "out" / f"{name}.png"), name
    shown = CliRunner().invoke(main, ["model", "inspect", "--model", str(tiny_bundle)])
    assert shown.exit_code == 0
    assert "sparsity" in shown.stdout
    untold = CliRunner().invoke(main, ["model", "curve", str(folder), "--model", str(tiny_bundle), "--splits", "1"])
    assert "the untrained network is left out" in untold.stderr


def test_an_output_that_is_a_file_and_folders_that_are_none(folder: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for command in ("probe", "curve", "inspect", "evaluate"):
        words = ["model", command, str(folder), "--model", str(tiny_bundle)]
        assert CliRunner().invoke(main, [*words, "--output", str(tmp_path / "file")]).exit_code == 2
        words[2] = str(tmp_path / "nowhere")
        assert CliRunner().invoke(main, words).exit_code == 3
    with pytest.raises(NotFound):
        inspect_network(None, "nonsense", quiet)
