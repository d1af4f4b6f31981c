"""A bundle is believed only as far as its hashes hold."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from fc7_service.bundle.bundle import REQUIRED, Layer
from fc7_service.bundle.folder import locate_bundle, open_bundle, shipped_bundles, write_bundle
from fc7_service.bundle.golden import read_golden
from fc7_service.bundle.onnx_file import has_external_data
from fc7_service.bundle.provenance import Provenance
from fc7_service.bundle.recipe import Recipe
from tiny import RECIPE, tiny_graph


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))


def edit(folder: Path, **values: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | values))


def test_opens_with_layers_classes_and_golden(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert list(bundle.layers) == ["conv5", "pool5", "fc6", "fc7", "logits"]
    assert [c.name for c in bundle.classes] == ["red thing", "green thing", "blue thing"]
    golden = read_golden(bundle)
    assert golden.pixels.dtype == np.uint8
    assert golden.layers["fc7"].shape == (3, bundle.layers["fc7"].dim)


def test_the_default_layer_is_the_manifests_else_fc7_else_the_last_before_the_logits(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert open_bundle(folder).default_layer == manifest.pop("default_layer") == "fc7"
    edit(folder, default_layer="pool5")
    bundle = open_bundle(folder)
    assert bundle.default_layer == bundle.provenance("").layer == "pool5"
    assert bundle.provenance("") == bundle.provenance("pool5")
    for layers, wanted in (
        (["conv5", "fc7", "logits"], "fc7"),
        (["conv5", "fc6", "logits"], "fc6"),
        (["logits"], "logits"),
    ):
        kept = {name: manifest["layers"][name] for name in layers}
        (folder / "manifest.json").write_text(json.dumps(manifest | {"layers": kept}))  # as before the field was there
        assert open_bundle(folder).default_layer == wanted


def test_a_manifest_may_recommend_layers_by_task(folder: Path) -> None:
    assert open_bundle(folder).recommended == {}  # as of a bundle that says nothing
    layers = {"views": "pool5", "classes": "fc7", "task-of-a-later-version": "fc6"}
    edit(folder, recommended=layers)
    assert open_bundle(folder).recommended == layers
    facts = open_bundle(folder)
    written = write_bundle(
        folder,
        name=facts.name,
        network=facts.network,
        layers=list(facts.layers.values()),
        recipe=facts.recipe,
        versions={},
        recommended=layers,
    )
    assert written.recommended == layers
    assert json.loads((folder / "manifest.json").read_text())["format"] == 1  # older readers pass over the field


@pytest.mark.parametrize("file", REQUIRED)
def test_a_missing_or_cut_file_is_named(folder: Path, file: str) -> None:
    data = (folder / file).read_bytes()
    (folder / file).write_bytes(data[:-1])
    with pytest.raises(DataLoss, match=file):
        open_bundle(folder)
    (folder / file).unlink()
    with pytest.raises(DataLoss, match=file):
        open_bundle(folder)


@pytest.mark.parametrize("file", ["model.onnx", "golden.npz", "card.md"])
def test_a_flipped_bit_is_found_before_the_file_is_used(folder: Path, file: str) -> None:
    data = bytearray((folder / file).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / file).write_bytes(data)
    with pytest.raises(DataLoss, match="hash"):
        open_bundle(folder).read(file)


def test_a_graph_that_refers_to_other_files_is_refused(folder: Path) -> None:
    model = onnx.load_from_string(tiny_graph())
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights", size_threshold=0)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    old = open_bundle_after_rewrite(folder)
    with pytest.raises(InvalidArgument, match="other files"):
        old.graph()


def arrays(folder: Path, **changed: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with np.load(folder / "golden.npz") as old:
        np.savez(buffer, **(dict(old) | changed))
    return buffer.getvalue()


def npy(_: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def flipped(folder: Path) -> bytes:
    data = bytearray((folder / "golden.npz").read_bytes())
    data[300] ^= 255
    return bytes(data)


@pytest.mark.parametrize(
    "make",
    [
        flipped,
        npy,
        lambda folder: b"junk" * 40,
        lambda folder: (folder / "golden.npz").read_bytes()[:-60],
        lambda folder: arrays(folder, fc7=np.zeros((3, 4), np.float32)),
        lambda folder: arrays(folder, fc7=np.zeros((3, 8))),
        lambda folder: arrays(folder, pixels=np.zeros((2, 16, 16, 3), np.uint8)),
        lambda folder: arrays(folder, inputs=np.zeros(3, np.float32)),
    ],
)
def test_golden_vectors_that_match_their_hash_alone_are_damage(folder: Path, make: Callable[[Path], bytes]) -> None:
    (folder / "golden.npz").write_bytes(make(folder))
    bundle = open_bundle_after_rewrite(folder)
    with pytest.raises(DataLoss, match="golden"):
        read_golden(bundle)


def test_a_card_of_another_encoding_is_shown(folder: Path) -> None:
    (folder / "card.md").write_bytes(b"caf\xe9")
    assert open_bundle_after_rewrite(folder).card() == "caf\N{REPLACEMENT CHARACTER}"


def as_initializer(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.graph.initializer.append(tensor)


def as_sparse_initializer(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(tensor)


def as_attribute(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["k"], value=tensor))


def in_an_inner_graph(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    inner = onnx.helper.make_graph([], "inner", [], [], [tensor])
    model.graph.node.append(onnx.helper.make_node("If", ["c"], ["k"], then_branch=inner, else_branch=inner))


def in_a_function(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.functions.add().node.append(onnx.helper.make_node("Constant", [], ["k"], value=tensor))


@pytest.mark.parametrize(
    "place", [as_initializer, as_sparse_initializer, as_attribute, in_an_inner_graph, in_a_function]
)
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"\n\x0cxxxxlocation", b"\n\x88\x80\x80\x80\x00location"),  # a length of five bytes where one would do
        (b"j\x1a\n\x0cxxxxlocation", b"\xea\x80\x80\x80\x10\x16\n\x08location"),  # field 13 in more than 32 bits
    ],
)
def test_a_reference_is_found_wherever_it_stands_and_however_it_is_written(
    folder: Path, place: Callable[[onnx.ModelProto, onnx.TensorProto], None], written: bytes, meant: bytes
) -> None:
    model = onnx.load_from_string(tiny_graph())
    tensor = onnx.TensorProto(name="k", dims=[24], data_type=onnx.TensorProto.FLOAT)
    tensor.external_data.add(key="xxxxlocation", value="secret.bin")
    place(model, tensor)
    data = model.SerializeToString()
    assert written in data
    (folder / "model.onnx").write_bytes(data.replace(written, meant))
    with pytest.raises((InvalidArgument, DataLoss), match=r"other files|not an ONNX file"):
        open_bundle_after_rewrite(folder).graph()


def test_a_location_that_says_inside_is_none_outside(folder: Path) -> None:
    model = onnx.load_from_string(tiny_graph())
    for location, wanted in ((onnx.TensorProto.DEFAULT, False), (onnx.TensorProto.EXTERNAL, True)):
        model.graph.initializer[0].data_location = location
        assert has_external_data(model.SerializeToString()) == wanted


def open_bundle_after_rewrite(folder: Path):
    manifest = json.loads((folder / "manifest.json").read_text())
    layers = [Layer(n, tuple(v["shape"])) for n, v in manifest["layers"].items()]
    return write_bundle(folder, name="tiny", network="tiny", layers=layers, recipe=RECIPE, versions={})


def test_a_newer_format_is_refused(folder: Path) -> None:
    edit(folder, format=99)
    with pytest.raises(FailedPrecondition, match="format 99"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "../x"},
        {"files": {"../../etc/passwd": {"sha256": "", "size": 0}}},
        {"files": {}},
        {"layers": {"fc7": {"shape": [0]}}},
        {"layers": {"fc7": {}}},
        {"layers": []},
        {"layers": {}},
        {"default_layer": "fc99"},
        {"recommended": {"views": "fc99"}},
        {"recommended": {"views": ["fc7"]}},
        {"recommended": {"../views": "fc7"}},
        {"recommended": ["fc7"]},
        {"recipe": {}},
        {"format": "x"},
    ],
)
def test_a_malformed_manifest_is_refused(folder: Path, values: dict[str, object]) -> None:
    edit(folder, **values)
    with pytest.raises((DataLoss, InvalidArgument)):
        open_bundle(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000])
def test_a_manifest_that_is_not_one_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(DataLoss, match="manifest"):
        open_bundle(folder)


def test_names_and_paths_find_bundles(folder: Path) -> None:
    assert locate_bundle(str(folder)) == folder
    for name, path in shipped_bundles().items():
        assert locate_bundle(name) == path
        assert open_bundle(path).name == name
    with pytest.raises(NotFound, match="nope"):
        locate_bundle("nope")


def test_shipped_bundles_stay_small() -> None:
    for path in shipped_bundles().values():
        assert sum(f.stat().st_size for f in path.iterdir()) <= 25e6


def test_provenance_tells_layers_recipes_and_graphs_apart_but_not_names(folder: Path) -> None:
    bundle = open_bundle(folder)
    digests = {bundle.provenance(layer).digest for layer in bundle.layers}
    assert len(digests) == len(bundle.layers)
    one = bundle.provenance("fc7")
    assert Provenance("other", one.graph_sha256, one.recipe_sha256, "fc7").digest == one.digest
    assert Provenance("tiny", one.graph_sha256, one.recipe_sha256, "fc7", precision="int8").digest != one.digest
    assert Provenance.from_dict(one.to_dict()) == one
    with pytest.raises(InvalidArgument):
        Provenance.from_dict(one.to_dict() | {"layer": "fc6"})


triples = st.tuples(*[st.floats(0.125, 300, width=32)] * 3)


@given(st.integers(1, 1024), st.integers(1, 1024), st.floats(0.001, 2), triples, triples)
def test_recipes_survive_json(a: int, b: int, scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    recipe = Recipe(max(a, b), min(a, b), scale, mean, std)  # type: ignore[arg-type]
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert again.digest() == recipe.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"crop_px": 0},
        {"crop_px": 65},
        {"crop_px": 64.0},
        {"crop_px": True},
        {"resize_px": "64"},
        {"resize_px": None},
        {"scale": 0},
        {"scale": -1.0},
        {"scale": math.nan},
        {"scale": "1"},
        {"scale": True},
        {"scale": 10**400},
        {"std": [1, 0, 1]},
        {"std": [1, math.inf, 1]},
        {"mean": [1]},
        {"mean": 1},
        {"mean": "123"},
        {"mean": [0, math.nan, 0]},
        {"version": 3},
        {"new": 1},
    ],
)
def test_recipes_out_of_range_are_refused(change: dict[str, object]) -> None:
    values = Recipe(64, 64, 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).to_dict()
    with pytest.raises(InvalidArgument, match="recipe"):
        Recipe.from_dict(values | change)
