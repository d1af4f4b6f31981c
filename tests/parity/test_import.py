"""Files that others made become bundles that answer as the files do.

The published files cannot be downloaded where these tests run. They are replaced by files with the same graphs, names
and traps, narrower and with random weights.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import fc7
from fc7.cli import main
from fc7.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound
from fc7_models.export.pack_bundle import run_graph
from fc7_models.zoo import onnx_import
from fc7_models.zoo.import_file import INPUT_CONVENTIONS, PUBLISHED_FILES, import_file, read_input
from fc7_models.zoo.onnx_import import read_onnx
from fc7_service.bundle.folder import open_bundle
from fc7_service.bundle.golden import read_golden
from servers import serving

PX = 224


class Caffe2:
    """Writes a file as Caffe2 did: batch of one, weights among the inputs, layers called `name_1`."""

    def __init__(self, prefix: str = "") -> None:
        self.rng, self.prefix = np.random.default_rng(0), prefix
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self.tensor, self.maps = f"{prefix}data_0", 3

    def weight(self, name: str, *shape: int) -> str:
        values = self.rng.standard_normal(shape) * np.sqrt(2 / max(1, np.prod(shape[1:])))
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), self.prefix + name))
        return self.prefix + name

    def node(self, op: str, name: str, *more: str, extra: tuple[str, ...] = (), **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, [self.tensor, *more], [self.prefix + name, *extra], **attributes))
        self.tensor = self.prefix + name

    def conv(self, name: str, maps: int, kernel: int, stride: int = 1, pad: int = 0, group: int = 1) -> None:
        weight = self.weight(f"{name}_w_0", maps, self.maps // group, kernel, kernel)
        shape = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4, "group": group}
        self.node("Conv", f"{name}_1", weight, self.weight(f"{name}_b_0", maps), **shape)
        self.node("Relu", f"{name}_2")
        self.maps = maps

    def norm(self, name: str) -> None:
        self.node("LRN", f"{name}_1", size=5, alpha=1e-4, beta=0.75, bias=1.0)

    def pool(self, name: str) -> None:  # Caffe rounds up, written as padding at the lower right
        self.node("MaxPool", f"{name}_1", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])

    def fully(self, name: str, n_in: int, n_out: int, *, is_last: bool = False) -> None:
        self.node(
            "Gemm", f"{name}_1", self.weight(f"{name}_w_0", n_out, n_in), self.weight(f"{name}_b_0", n_out), transB=1
        )
        if not is_last:
            self.node("Relu", f"{name}_2")
            self.node("Dropout", f"{name}_3", extra=(f"_{name}_mask",))

    def flatten(self, n: int) -> None:
        self.weights.append(numpy_helper.from_array(np.array([1, n], np.int64), "OC2_DUMMY_1"))
        self.node("Reshape", "OC2_DUMMY_0", "OC2_DUMMY_1")

    def model(self, n_classes: int) -> onnx.ModelProto:
        value = helper.make_tensor_value_info
        inputs = [value(f"{self.prefix}data_0", TensorProto.FLOAT, [1, 3, PX, PX])]
        inputs += [value(w.name, w.data_type, list(w.dims)) for w in self.weights]
        output = value(self.tensor, TensorProto.FLOAT, [1, n_classes])
        stale = [value("fc7_2", TensorProto.FLOAT, [1, 32])]
        graph = helper.make_graph(self.nodes, "caffe2", inputs, [output], self.weights, value_info=stale)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=3)


def alexnet(n_classes: int = 11) -> onnx.ModelProto:
    """Return BVLC AlexNet's graph at an eighth of its width: conv1 without padding at 224 pixels, norm before pool."""
    net = Caffe2()
    net.conv("conv1", 12, 11, stride=4)
    net.norm("norm1")
    net.pool("pool1")
    net.conv("conv2", 32, 5, pad=2, group=2)
    net.norm("norm2")
    net.pool("pool2")
    net.conv("conv3", 48, 3, pad=1)
    net.conv("conv4", 48, 3, pad=1, group=2)
    net.conv("conv5", 32, 3, pad=1, group=2)
    net.pool("pool5")
    return ending(net, 32 * 6 * 6, 48, n_classes)


def zfnet(n_classes: int = 11) -> onnx.ModelProto:
    """Return ZFNet-512's graph, narrower: fc7 is a quarter of fc6, names with the prefix of a device."""
    net = Caffe2("gpu_0/")
    net.conv("conv1", 8, 7, stride=2)
    net.norm("norm1")
    net.pool("pool1")
    net.conv("conv2", 16, 5, stride=2)
    net.norm("norm2")
    net.pool("pool2")
    for name in ("conv3", "conv4", "conv5"):
        net.conv(name, 16, 3, pad=1)
    net.pool("pool5")
    return ending(net, 16 * 6 * 6, 16, n_classes)


def ending(net: Caffe2, n_flat: int, n_fc7: int, n_classes: int) -> onnx.ModelProto:
    net.flatten(n_flat)
    net.fully("fc6", n_flat, 64)
    net.fully("fc7", 64, n_fc7)
    net.fully("fc8", n_fc7, n_classes, is_last=True)
    net.node("Softmax", "prob_1", axis=1)
    return net.model(n_classes)


def save(model: onnx.ModelProto, path: Path) -> str:
    path.write_bytes(model.SerializeToString())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pooled(end: str = "GlobalAveragePool") -> onnx.ModelProto:
    """Return a small residual network with an open batch that ends in a pooled map and one product."""
    net = Caffe2()
    net.conv("stem", 8, 7, stride=4, pad=3)
    shortcut = net.tensor
    net.conv("block", 8, 3, pad=1)
    net.node("Add", "sum", shortcut)
    net.node("Relu", "fc7")  # a name of ours on something else
    net.node("GlobalAveragePool", "logits") if end == "GlobalAveragePool" else net.node("ReduceMean", "m", axes=[2, 3])
    net.node("Flatten", "flat")
    net.node("MatMul", "scores", net.weight("w", 8, 5))
    net.node("Add", "biased", net.weight("b", 5))
    model = net.model(5)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "N"
    return model


def recipe(folder: Path, name: str = "Caffe") -> Path:
    path = folder / "recipe.json"
    path.write_text(json.dumps(INPUT_CONVENTIONS[name].to_dict(PX)))
    return path


def answers(model: onnx.ModelProto, inputs: np.ndarray, tensor: str) -> np.ndarray:
    """Return a tensor of the untouched file, one picture a run."""
    model = onnx.load_from_string(model.SerializeToString())
    if tensor not in [output.name for output in model.graph.output]:
        model.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run([tensor], {name: x[None]})[0] for x in inputs])


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("build", "prefix", "dim"), [(alexnet, "", 48), (zfnet, "gpu_0/", 16)])
def test_files_of_caffe2_by_their_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Any, prefix: str, dim: int
) -> None:
    model, file = build(), tmp_path / "net.onnx"
    known = replace(next(iter(PUBLISHED_FILES.values())), has_imagenet_classes=False)
    monkeypatch.setitem(PUBLISHED_FILES, save(model, file), known)
    bundle = import_file(file, tmp_path / "b", model="caffe")
    assert list(bundle.layers) == ["pool5", "fc6", "fc7", "logits"]
    assert bundle.default_layer == "fc7"
    assert "deconv.onnx" in bundle.files
    assert bundle.network == known.network
    assert bundle.layers["fc7"].dim == dim
    rng = np.random.default_rng(1)
    rgb = rng.normal(0, 60, (7, 3, PX, PX)).astype(np.float32)
    bgr = rgb[:, ::-1].copy()
    for n in (1, 7):
        layers = run_graph(bundle.graph(), rgb[:n])
        for layer, tensor in [("pool5", "pool5_1"), ("fc6", "fc6_2"), ("fc7", "fc7_2"), ("logits", "fc8_1")]:
            wanted = answers(model, bgr[:n], prefix + tensor)
            assert layers[layer].shape == wanted.shape
            assert np.abs(layers[layer] - wanted).max() <= 1e-4 * np.abs(wanted).max()
        assert layers["fc7"].min() == 0  # after ReLU: not what fc7_1 holds
        np.testing.assert_allclose(softmax(layers["logits"]), answers(model, bgr[:n], prefix + "prob_1"), atol=1e-5)
    kept = onnx.load_from_string(bundle.graph())
    norms = [
        {a.name: helper.get_attribute_value(a) for a in n.attribute} for n in kept.graph.node if n.op_type == "LRN"
    ]
    assert [(n["alpha"], n["bias"], n["size"]) for n in norms] == [(pytest.approx(1e-4), 1.0, 5)] * 2
    assert len(kept.graph.input) == 1


def test_the_mean_of_caffe_is_subtracted_from_its_own_channel(tmp_path: Path) -> None:
    """Caffe: B - 103.939, G - 116.779, R - 123.68, in this order."""
    model, file = alexnet(), tmp_path / "net.onnx"
    save(model, file)
    golden = read_golden(import_file(file, tmp_path / "b", model="m", recipe=recipe(tmp_path)))
    mean = np.array([103.939, 116.779, 123.68], np.float32)
    by_hand = golden.pixels[:, 16:-16, 16:-16, ::-1].astype(np.float32) - mean
    wanted = answers(model, by_hand.transpose(0, 3, 1, 2).copy(), "fc7_2")
    assert np.abs(golden.layers["fc7"] - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("end", ["GlobalAveragePool", "ReduceMean"])
def test_a_pooled_network_with_names_of_ours(tmp_path: Path, end: str) -> None:
    model, file = pooled(end), tmp_path / "net.onnx"
    save(model, file)
    bundle = import_file(file, tmp_path / "b", model="m", recipe=recipe(tmp_path, "torchvision"))
    assert {k: v.dim for k, v in bundle.layers.items()} == {"pool": 8, "logits": 5}
    assert bundle.default_layer == "pool"
    golden = read_golden(bundle)
    wanted = answers(model, golden.inputs, "biased")
    np.testing.assert_allclose(golden.layers["logits"], wanted, rtol=1e-4, atol=1e-5)
    assert [(c.id, c.name) for c in bundle.classes][-1] == ("4", "4")


def test_what_was_imported_is_served_by_its_default_layer(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    save(pooled(), file)
    bundle = import_file(file, tmp_path / "b", model="other", recipe=recipe(tmp_path, "torchvision"))
    golden = read_golden(bundle)
    with serving(tmp_path / "data", "--model", str(bundle.path)) as served, fc7.connect(served.address) as client:
        assert client.model().default_layer == "pool"
        features = client.extract(list(golden.pixels))
        assert features.provenance.layer == "pool"
        np.testing.assert_allclose(features.values, golden.layers["pool"], rtol=1e-4, atol=1e-5)
        streamed = list(client.extract_stream(list(golden.pixels)))
        np.testing.assert_allclose(np.stack(streamed), features.values, rtol=1e-5, atol=1e-6)
        assert client.create_collection("c").provenance == features.provenance
        head = client.train_head("h", images=[*golden.pixels] * 3, labels=["a", "b", "a", "b"] * 3)
        assert head.provenance == features.provenance


def test_the_command_imports_and_refuses(tmp_path: Path) -> None:
    file, output = tmp_path / "net.onnx", tmp_path / "b"
    save(pooled(), file)
    command = ["model", "import", str(file), "--output", str(output), "--json"]
    failed = CliRunner().invoke(main, command)
    assert failed.exit_code == 2
    assert "pass it with --recipe. torchvision: {" in failed.stderr
    done = CliRunner().invoke(main, [*command, "--recipe", str(recipe(tmp_path))])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {"name": "b", "bundle": str(output)}
    assert open_bundle(output).network == "net"
    assert CliRunner().invoke(main, ["model", "pull", "nope"]).exit_code == 3


def test_an_unknown_file_is_refused_with_the_candidates(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    save(alexnet(), file)
    with pytest.raises(InvalidArgument, match="--recipe") as refused:
        import_file(file, tmp_path / "b", model="m")
    for name, candidate in INPUT_CONVENTIONS.items():
        text = json.dumps(candidate.to_dict(PX))
        assert f"{name}: {text}" in str(refused.value)
        path = tmp_path / "r.json"
        path.write_text(text)
        assert read_input(path) == candidate
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"order": "GRB"}', "[" * 50_000, '{"resize_px": 9}'])
def test_a_recipe_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(InvalidArgument, match="recipe"):
        read_input(path)
    with pytest.raises(NotFound):
        read_input(tmp_path / "none.json")


def refused(
    tmp_path: Path, model: onnx.ModelProto | bytes, match: str, kind: type[Exception] = InvalidArgument
) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    with pytest.raises(kind, match=match):
        import_file(file, tmp_path / "b", model="m", recipe=recipe(tmp_path))
    assert not (tmp_path / "b").exists()


def test_files_that_are_not_networks(tmp_path: Path) -> None:
    whole = alexnet().SerializeToString()
    for data in (b"", b"\x00" * 100, b"not a model", whole[: len(whole) // 2]):
        refused(tmp_path, data, "damaged or not an ONNX file", DataLoss)
    with pytest.raises(NotFound):
        import_file(tmp_path / "none.onnx", tmp_path / "b", model="m")
    (tmp_path / "there").mkdir()
    with pytest.raises(AlreadyExists):
        import_file(tmp_path / "net.onnx", tmp_path / "there", model="m")


@pytest.mark.parametrize(("op", "domain"), [("Loop", ""), ("If", ""), ("RandomNormal", ""), ("Anything", "custom.ops")])
def test_operators_beyond_the_list(tmp_path: Path, op: str, domain: str) -> None:
    model = alexnet()
    model.graph.node.append(helper.make_node(op, [], ["extra"], domain=domain))
    refused(tmp_path, model, f"not allowed: .*{op}")


def test_data_outside_the_file(tmp_path: Path) -> None:
    model = alexnet()
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], location="../../secret")
    refused(tmp_path, model, "outside the file")


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = alexnet()
    model.graph.node[0].attribute.append(helper.make_attribute("auto_pad", "NOTSET"))
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [100_000] * 4
    refused(tmp_path, model, "too large|contradict each other")
    monkeypatch.setattr(onnx_import, "MAX_NODES", 5)
    refused(tmp_path, alexnet(), "the limit is 5")
    monkeypatch.setattr(onnx_import, "MAX_FILE_BYTES", 1000)
    refused(tmp_path, alexnet(), "the limit is 1,?000")


def test_inputs_and_outputs_that_do_not_fit(tmp_path: Path) -> None:
    two = alexnet()
    two.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    refused(tmp_path, two, "data_0, mask")
    heads = alexnet()
    heads.graph.output.append(helper.make_tensor_value_info("fc7_2", TensorProto.FLOAT, [1, 48]))
    refused(tmp_path, heads, "prob_1, fc7_2")
    grey = alexnet()
    grey.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    refused(tmp_path, grey, "must be float32")
    no_classes = alexnet()
    no_classes.graph.output[0].name = "pool5_1"
    refused(tmp_path, no_classes, "must end in a fully connected layer")
    small = recipe(tmp_path)
    small.write_text(small.read_text().replace('"crop_px": 224', '"crop_px": 128'))
    save(alexnet(), tmp_path / "net.onnx")
    with pytest.raises(InvalidArgument, match="224 pixels, but the recipe crops 128"):
        import_file(tmp_path / "net.onnx", tmp_path / "b", model="m", recipe=small)


def test_a_network_that_mixes_its_batch(tmp_path: Path) -> None:
    model = pooled()
    index = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Flatten")
    mixed = helper.make_node("ReduceMean", ["logits"], ["mean"], axes=[0], keepdims=1)
    model.graph.node.insert(index, helper.make_node("Sub", ["logits", "mean"], ["centred"]))
    model.graph.node.insert(index, mixed)
    model.graph.node[index + 2].input[0] = "centred"
    refused(tmp_path, model, "depends on the other pictures of the batch")


def test_a_batch_that_cannot_be_opened(tmp_path: Path) -> None:
    model = pooled()
    flat = next(node for node in model.graph.node if node.op_type == "Flatten")
    model.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    model.graph.node.insert(0, helper.make_node("Gather", ["data_0", "first"], ["only"], axis=0))
    model.graph.node[1].input[0] = "only"
    refused(tmp_path, model, "a fixed batch: shape .* for 4 pictures")
    model.graph.node.remove(model.graph.node[0])
    model.graph.node[0].input[0] = "data_0"
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 8, 1, 1), np.float32), "token"))
    joined = helper.make_node("Concat", ["logits", "token"], ["joined"], axis=2)  # as a transformer's class token
    model.graph.node.insert(list(model.graph.node).index(flat), joined)
    flat.input[0] = "joined"
    refused(tmp_path, model, "cannot be run on batches of 1 and 4|contradict each other")


def test_weights_that_are_not_in_the_table(tmp_path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(3)}, tmp_path / "mine.pth")
    with pytest.raises(InvalidArgument, match=r"not among those that fc7 knows: .*alexnet-owt-7be5be79\.pth"):
        import_file(tmp_path / "mine.pth", tmp_path / "b", model="m")


def test_the_walk_needs_no_dropout_and_no_bias(tmp_path: Path) -> None:
    for ops, names in [
        ([], {"pool": "pool5_1"}),
        (["fc6"], {"fc": "fc6_2"}),
        (["fc5", "fc6", "fc7"], {"fc1": "fc5_2", "fc2": "fc6_2", "fc3": "fc7_2"}),
    ]:
        net = Caffe2()
        net.conv("conv1", 4, 11, stride=8)
        net.pool("pool5")
        net.flatten(4 * 13 * 13)
        n = 4 * 13 * 13
        for name in ops:
            net.node("MatMul", f"{name}_1", net.weight(f"{name}_w", n, 8))
            net.node("Relu", f"{name}_2")
            n = 8
        net.fully("last", n, 3, is_last=True)
        save(net.model(3), tmp_path / "net.onnx")
        layers = read_onnx(tmp_path / "net.onnx").layers
        assert list(layers.values())[-1] == "last_1"
        assert names.items() <= layers.items()
        bundle = import_file(tmp_path / "net.onnx", tmp_path / f"b{len(ops)}", model="m", recipe=recipe(tmp_path))
        assert bundle.default_layer == list(names)[-1]


def test_every_known_file_has_a_recipe() -> None:
    assert all(len(sha256) == 64 and int(sha256, 16) for sha256 in PUBLISHED_FILES)
    assert {k.network for k in PUBLISHED_FILES.values()} >= {"bvlc-alexnet", "caffenet", "zfnet-512"}
    assert INPUT_CONVENTIONS["Caffe"].is_bgr
