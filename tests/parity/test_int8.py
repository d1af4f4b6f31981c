"""The int8 form of a network: near to fp32, independent of neighbours, a model of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import fc7
from fc7.cli import main
from fc7.errors import DataLoss, FailedPrecondition, NotFound
from fc7_models.data.dataset import Dataset, read_dataset
from fc7_models.data.inference import open_graph, read_batches
from fc7_models.export import int8
from fc7_models.export.int8 import _integer_nodes, _store_fp32, quantise_bundle, quantise_graph
from fc7_models.export.int8_fidelity import compare_with_int8
from fc7_models.export.pack_bundle import run_graph
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.folder import open_bundle, open_model, shipped_bundles
from fc7_service.bundle.golden import read_golden
from servers import jpeg
from tiny import tiny_graph


def quiet(done: int, total: int) -> None:
    assert 0 < done <= total


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures of the tiny bundle's classes, in `train` and `val`."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split, n in (("train", 30), ("val", 10)):
        for name in ("c0", "c1", "c2"):
            (root / split / name).mkdir(parents=True)
            for i in range(n):
                small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
                small.resize((24, 24), Image.Resampling.BICUBIC).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def made(tiny_bundle: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle with an int8 form."""
    output = tmp_path_factory.mktemp("made") / "new" / "tiny"
    found = quantise_bundle(str(tiny_bundle), pictures, output, quiet)
    assert [one.layer for one in found.layers] == list(found.bundle.layers)
    assert all(0.99 < one.least <= one.cosine <= 1 for one in found.layers)
    assert [cost.what for cost in found.costs[:3]] == ["top-1", "top-5", "same best class"]
    assert all(cost.fp32 > 0 and cost.int8 > 0 for cost in found.costs)
    assert found.count == 30
    return found.bundle


def test_the_bundle_keeps_its_fp32_form(made: Bundle, tiny_bundle: Path) -> None:
    old, form = open_bundle(tiny_bundle), made.in_int8()
    assert made.graph() == old.graph()
    assert [made.provenance(layer) for layer in made.layers] == [old.provenance(layer) for layer in old.layers]
    assert made.default_layer == old.default_layer
    assert made.card().startswith(old.card())
    assert "| fc7 | 0.99" in made.card()
    assert (form.name, form.provenance("fc7").precision, form.default_layer) == ("tiny.int8", "int8", "fc7")
    assert form.provenance("fc7").digest != made.provenance("fc7").digest
    assert form.graph_sha256 == made.files["model.int8.onnx"][0]
    assert [p.name for p in made.path.parent.iterdir()] == ["tiny"]


def test_most_of_it_is_computed_in_integers(made: Bundle) -> None:
    graph = onnx.load_from_string(made.in_int8().graph()).graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kernels = [values for values in weights.values() if values.dtype == np.int8 and values.ndim > 1]
    assert sorted(values.size for values in kernels) == [24, 108, 128, 1024]
    assert max(np.abs(values).max() for values in kernels) <= 64  # 7 bits
    assert not any(values.dtype == np.float32 and values.size > 20 for values in weights.values())


def test_the_same_pictures_give_the_same_file(tiny_bundle: Path, pictures: Path, made: Bundle) -> None:
    paths = sorted((pictures / "train").rglob("*.png"))
    bundle = open_bundle(tiny_bundle)
    assert quantise_graph(bundle, paths) == quantise_graph(bundle, paths)
    assert str(Path.cwd()).encode() not in made.in_int8().graph()


def rows_at(graph: bytes, inputs: np.ndarray, n: int, layers: Sequence[str]) -> list[np.ndarray]:
    run = open_graph(graph, threads=1)
    parts = [run(inputs[i : i + n], layers) for i in range(0, len(inputs), n)]
    return [np.concatenate(rows) for rows in zip(*parts, strict=True)]


def test_a_row_does_not_depend_on_its_neighbours(made: Bundle, pictures: Path) -> None:
    paths = sorted((pictures / "val").rglob("*.png"))
    (inputs,) = read_batches(paths, made.recipe, quiet)
    graph, layers = made.in_int8().graph(), list(made.layers)
    alone = rows_at(graph, inputs, 1, layers)
    for n in (7, 30):
        for one, many in zip(alone, rows_at(graph, inputs, n, layers), strict=True):
            np.testing.assert_allclose(many, one, rtol=1e-6, atol=1e-6)


def test_it_is_served_as_a_model_of_its_own(made: Bundle, tmp_path: Path) -> None:
    models = [str(made.path), f"{made.path}.int8"]
    images = [jpeg(i) for i in range(5)]
    with fc7.connect(data=tmp_path / "data", models=models, device="cpu") as client:
        assert [model.name for model in client.models()] == ["tiny", "tiny.int8"]
        fp32, int8 = (client.extract(images, model=name) for name in ("tiny", "tiny.int8"))
        assert (fp32.provenance.precision, int8.provenance.precision) == ("fp32", "int8")
        cosines = (fp32.values * int8.values).sum(1) / np.linalg.norm(fp32.values, axis=1)
        assert np.all(cosines / np.linalg.norm(int8.values, axis=1) > 0.99)
        assert not np.array_equal(fp32.values, int8.values)
        collection = client.create_collection("c", model="tiny.int8")
        (added,) = collection.add_vectors(fp32[0], ["x"])
        assert isinstance(added.error, FailedPrecondition)
        golden = client.golden("tiny.int8")
        assert not np.array_equal(golden.layers["fc7"], client.golden("tiny").layers["fc7"])
        checked = run("model", "verify", "tiny.int8", "--json", "--data", tmp_path / "data")
        assert all(json.loads(line)["ok"] for line in checked.stdout.splitlines())


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def test_the_command(tiny_bundle: Path, pictures: Path, tmp_path: Path) -> None:
    words = ("model", "quantize", tiny_bundle, pictures, "--output", tmp_path / "new")
    rows = [json.loads(line) for line in run(*words, "--json").stdout.splitlines()]
    assert [row["layer"] for row in rows if "layer" in row] == ["conv5", "pool5", "fc6", "fc7", "logits"]
    assert rows[-1] == {"name": "tiny", "bundle": str(tmp_path / "new"), "count": 30}
    assert "Bundles are never overwritten" in run(*words, code=3).stderr
    again = ("model", "quantize", tmp_path / "new", pictures, "--output", tmp_path / "again")
    assert "has an int8 form" in run(*again, code=3).stderr
    one = (tmp_path / "one" / "c0", tmp_path / "one" / "c1")
    for folder in one:
        shutil.copytree(pictures / "val" / folder.name, folder)
    short = ("model", "quantize", tiny_bundle, tmp_path / "one", "--output", tmp_path / "again")
    assert "held out" in run(*short, code=2).stderr
    assert not (tmp_path / "again").exists()
    result = run("model", "evaluate", pictures, "--model", f"{tmp_path / 'new'}.int8", "--json")
    assert json.loads(result.stdout)["count"] == 30


def test_a_bundle_without_the_form_and_a_form_that_is_damaged(tiny_bundle: Path, made: Bundle, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no int8 form. Make .*fc7 model quantize"):
        open_model(f"{tiny_bundle}.int8")
    with pytest.raises(NotFound, match="neither a shipped bundle"):
        open_model("nothing.int8")
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "mine.int8"))  # a folder of that name is what it is
    assert open_model(str(folder)).precision == "fp32"
    damaged = Path(shutil.copytree(made.path, tmp_path / "damaged"))
    data = bytearray((damaged / "model.int8.onnx").read_bytes())
    data[100] ^= 1
    (damaged / "model.int8.onnx").write_bytes(data)
    assert open_model(str(damaged)).graph() == made.graph()
    with pytest.raises(DataLoss, match=r"model\.int8\.onnx. .* hash"):
        open_model(f"{damaged}.int8").graph()


def test_other_labels_leave_accuracy_out(made: Bundle, tiny_bundle: Path, tmp_path: Path, pictures: Path) -> None:
    shutil.copytree(pictures, tmp_path / "pictures")
    (tmp_path / "pictures" / "val" / "c0").rename(tmp_path / "pictures" / "val" / "unknown")
    found = quantise_bundle(str(tiny_bundle), tmp_path / "pictures", tmp_path / "new", quiet)
    assert found.costs[0].what == "same best class"


def test_half_weights_become_fp32_and_local_response_normalisation_is_left_alone() -> None:
    model = onnx.load_from_string(tiny_graph())
    graph = model.graph
    (kernel,) = [tensor for tensor in graph.initializer if tensor.name == "w1"]
    half = numpy_helper.to_array(kernel).astype(np.float16)
    kernel.CopyFrom(numpy_helper.from_array(half, "w1.fp16"))
    graph.node.insert(0, helper.make_node("Cast", ["w1.fp16"], ["w1"], to=TensorProto.FLOAT))
    band = numpy_helper.from_array(np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1), "band")
    graph.initializer.append(band)
    (pool,) = [node for node in graph.node if node.op_type == "MaxPool"]
    pool.input[0] = "normalised"
    extra = [
        helper.make_node("Mul", ["conv5", "conv5"], ["squares"]),
        helper.make_node("Conv", ["squares", "band"], ["energy"]),
        helper.make_node("Div", ["conv5", "energy"], ["normalised"]),
        helper.make_node("Relu", ["fc6"], ["beside"]),  # leads to no logits
    ]
    for i, node in enumerate(extra):
        graph.node.insert(3 + i, node)
    integer = _integer_nodes(model, 0)
    assert {node.output[0] for node in integer} == {"c", "conv5", "pool5", "g6", "fc6", "g7", "fc7", "logits"}
    assert {node.output[0] for node in integer} - {node.output[0] for node in _integer_nodes(model, 1)} == {"c"}
    _store_fp32(graph, integer)
    assert "Cast" not in {node.op_type for node in graph.node}
    np.testing.assert_array_equal(
        numpy_helper.to_array(next(t for t in graph.initializer if t.name == "w1")), half.astype(np.float32)
    )


def test_the_first_convolutions_stay_in_fp32_where_a_layer_needs_it(
    made: Bundle, tiny_bundle: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Of the first convolutions, 0 stay in fp32." in made.card()
    monkeypatch.setattr(int8, "FIDELITY", 1.1)  # never reached
    strict = quantise_bundle(str(tiny_bundle), pictures, tmp_path / "strict", quiet)
    assert "Of the first convolutions, 2 stay in fp32." in strict.bundle.card()
    graph = onnx.load_from_string(strict.bundle.in_int8().graph()).graph
    assert [t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 4] == ["w1"]


@pytest.mark.parametrize("name", shipped_bundles())
def test_shipped_networks_on_real_pictures(name: str, photographs: Path) -> None:
    """Cosine to fp32 at least 0.999 in every layer; a row is the same in every batch."""
    bundle = open_bundle(shipped_bundles()[name])
    data = read_dataset(photographs / "tiny-imagenet-mini", "test")
    some = Dataset(data.paths[::8], data.labels[::8], data.names)
    graph = bundle.in_int8().graph()
    layers, costs = compare_with_int8(bundle, graph, some, quiet)
    for layer in layers:
        assert layer.cosine >= 0.999, layer
    accuracy = {cost.what: cost for cost in costs}
    assert abs(accuracy["top-1"].int8 - accuracy["top-1"].fp32) < 0.03
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) <= 25e6
    golden = read_golden(bundle).inputs
    many = run_graph(graph, golden)
    for i in range(len(golden)):
        for layer, values in run_graph(graph, golden[i : i + 1]).items():
            limit = 1e-6 * np.abs(many[layer]).max()
            np.testing.assert_allclose(values[0], many[layer][i], rtol=1e-5, atol=limit)
