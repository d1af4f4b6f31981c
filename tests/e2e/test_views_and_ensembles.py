"""Ten views and ensembles as a user asks for them: from Python, on the command line, over gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime as ort
import pytest
from click.testing import CliRunner, Result

import fc7
from doors import private_door
from fc7.cli import main
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound
from fc7.v1 import common_pb2, feature_pb2, feature_pb2_grpc
from fc7_models.studies.evaluation import evaluate
from fc7_service.bundle.folder import write_bundle
from fc7_service.features.preprocess import preprocess_views
from servers import jpeg, write_jpegs
from tiny import LAYERS, RECIPE, make_tiny_bundle

CLASSES = ("red thing", "green thing", "blue thing")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder, bundles "a", "b" and "other", which has other classes, and pictures."""
    root = tmp_path_factory.mktemp("members")
    for seed, name in enumerate(("a", "b", "other")):
        bundle = make_tiny_bundle(root / name, name=name, seed=seed)
    (root / "other" / "labels.tsv").write_text("c0\tred thing\nc2\tgreen thing\nc1\tblue thing\n")
    write_bundle(root / "other", name="other", network="tiny", layers=LAYERS, recipe=RECIPE, versions=bundle.versions)
    write_jpegs(root / "images", ["c0/1.jpg", "c0/2.jpg", "c1/1.jpg", "c1/2.jpg", "c2/1.jpg"])
    (root / "images" / "c2" / "bad.jpg").write_bytes(b"junk")
    return root


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[fc7.Client]:
    models = [str(folder / name) for name in ("a", "b", "other")]
    with fc7.connect(data=folder / "data", models=models, device="cpu") as client:
        yield client


def outputs(folder: Path, model: str, image: bytes, layer: str) -> np.ndarray:
    """One layer of each of the ten views."""
    session = ort.InferenceSession(folder / model / "model.onnx", providers=["CPUExecutionProvider"])
    return session.run([layer], {"image": preprocess_views(image, RECIPE, 10)})[0].reshape(10, -1)


def chances(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64))
    return (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0)


def test_extraction(client: fc7.Client, folder: Path) -> None:
    images = [jpeg(1), jpeg(2)]
    one, ten = client.extract(images, layer="fc6"), client.extract(images, layer="fc6", views=10)
    for image, row in zip(images, ten.values, strict=True):
        np.testing.assert_allclose(row, outputs(folder, "a", image, "fc6").mean(axis=0), rtol=1e-4, atol=1e-6)
    assert ten.provenance.transform == "mean of 10 views"
    assert ten.provenance.digest != one.provenance.digest
    streamed = list(client.extract_stream(images, layer="fc6", views=10))
    np.testing.assert_allclose(np.stack(streamed), ten.values, rtol=1e-5)  # type: ignore[arg-type]

    both = client.extract([*images, b"junk"], layer="fc7", ensemble=["a", "b"], views=10, on_error="skip")
    assert both.values.shape == (2, 16)
    assert [failure.index for failure in both.failed] == [2]
    parts = [client.extract(images, layer="fc7", model=model, views=10).values for model in "ab"]
    wanted = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], axis=1)
    np.testing.assert_allclose(both.values, wanted, rtol=1e-5)
    assert both.provenance.model == "a+b"
    assert both.timing.compute_s > 0


def test_features_of_views_and_ensembles_meet_no_others(client: fc7.Client) -> None:
    collection = client.create_collection("plain", layer="fc7")
    for special in (client.extract([jpeg(1)], views=10), client.extract([jpeg(1)], ensemble=["a", "b"])):
        (added,) = collection.add_vectors(special, ["x"])
        assert isinstance(added.error, FailedPrecondition)
    client.delete_collection("plain")


def test_classification(client: fc7.Client, folder: Path) -> None:
    image = jpeg(3)
    (ten,) = client.classify(image, model="b", views=10)
    by_label = dict(ten.top)
    np.testing.assert_allclose(
        [by_label[c] for c in CLASSES], chances(outputs(folder, "b", image, "logits")), rtol=1e-4
    )
    answers = client.classify([image, b"junk"], ensemble=["b", "a"], views=10)
    wanted = np.mean([chances(outputs(folder, model, image, "logits")) for model in "ab"], axis=0)
    by_label = dict(answers[0].top)
    np.testing.assert_allclose([by_label[c] for c in CLASSES], wanted, rtol=1e-4)
    assert answers[1].error is not None


def test_a_head_averages_its_probabilities_over_the_views(client: fc7.Client, folder: Path) -> None:
    pictures = [jpeg(i) for i in range(12)]
    client.train_head("h", images=pictures, labels=["x", "y"] * 6)
    client.publish_head("h")
    image = jpeg(20)
    single = [dict(answer.top) for answer in client.classify(list(pixels_of_views(image)), head="h")]
    (ten,) = client.classify(image, head="h", views=10)
    assert dict(ten.top)["x"] == pytest.approx(np.mean([one["x"] for one in single]), abs=1e-5)
    with pytest.raises(InvalidArgument, match="a head or an ensemble, not both"):
        client.classify(image, head="h", ensemble=["a", "b"])
    client.delete_head("h", all_versions=True)


def pixels_of_views(image: bytes) -> np.ndarray:
    """The ten views as pixels of the network's size, which it sees unchanged."""
    raw = replace(RECIPE, scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return preprocess_views(image, raw, 10).transpose(0, 2, 3, 1).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "said", "words"),
    [
        (InvalidArgument, "at least two models, each once", {"ensemble": ["a"]}),
        (InvalidArgument, "at least two models, each once", {"ensemble": ["a", "b", "a"]}),
        (InvalidArgument, "at least two models, each once", {"ensemble": ["a", ""]}),
        (InvalidArgument, "not both", {"ensemble": ["a", "b"], "model": "a"}),
        (InvalidArgument, "list of names", {"ensemble": "a,b"}),
        (InvalidArgument, "1 or 10", {"views": 5}),
        (NotFound, "nothing", {"ensemble": ["a", "nothing"]}),
    ],
)
def test_what_cannot_be_is_refused(client: fc7.Client, kind: type[Exception], said: str, words: dict[str, Any]) -> None:
    for call in (client.extract, client.classify):
        with pytest.raises(kind, match=said):
            call(jpeg(1), **words)


def test_networks_of_other_classes_are_no_ensemble(client: fc7.Client, folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="'a' and 'other' do not have the same classes"):
        client.classify(jpeg(1), ensemble=["a", "other"])
    assert client.extract(jpeg(1), ensemble=["a", "other"]).values.shape == (1, 16)
    with pytest.raises(InvalidArgument, match="do not have the same classes"):
        evaluate(folder / "images", "", lambda done, total: None, ensemble=[str(folder / "a"), str(folder / "other")])


def test_the_server_itself_refuses_other_numbers_of_views(client: fc7.Client, folder: Path) -> None:
    with private_door(folder / "data") as channel:
        stub = feature_pb2_grpc.FeatureServiceStub(channel)
        image = common_pb2.Image(encoded=jpeg(1))
        for views in (-1, 2, 100):
            with pytest.raises(grpc.RpcError, match="1 or 10") as refused:
                stub.Extract(feature_pb2.ExtractRequest(images=[image], views=views))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            with pytest.raises(grpc.RpcError, match="1 or 10"):
                list(stub.StreamExtract(iter([feature_pb2.StreamExtractRequest(image=image, views=views)])))


# The command


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def test_the_commands(client: fc7.Client, folder: Path, tmp_path: Path) -> None:
    images, data = folder / "images" / "c0", ("--data", folder / "data")
    run("extract", images, "--output", tmp_path / "f.npz", "--ensemble", "a,b", "--views", 10, *data)
    stored = np.load(tmp_path / "f.npz")
    assert stored["features"].shape == (2, 16)
    provenance = json.loads(str(stored["provenance"]))
    assert provenance["model"] == "a+b"
    assert provenance["transform"].count("mean of 10 views") == 2
    answers = [json.loads(line) for line in run("classify", images, "--views", 10, "--json", *data).stdout.splitlines()]
    wanted = client.classify([images / "1.jpg", images / "2.jpg"], views=10)
    assert [answer["label"] for answer in answers] == [one.label for one in wanted]
    assert "label" in run("classify", images, "--ensemble", "a, b", *data).stdout
    for words, said in [
        (("classify", images, "--ensemble", "a"), "does not name two models"),
        (("classify", images, "--ensemble", "a,b", "--model", "a"), "--model and --ensemble exclude each other"),
        (
            ("classify", images, "--ensemble", "a,b", "--head", "h"),
            "--head cannot be combined with --model or --ensemble",
        ),
        (("classify", images, "--views", 3), "'3' is not one of"),
        (("extract", images, "--output", "f.npz", "--ensemble", "a,,b"), "does not name two models"),
        (("classify", images, "--ensemble", "a,other"), "do not have the same classes"),
    ]:
        assert said in run(*words, *data, code=2).stderr


def test_evaluation(folder: Path, tmp_path: Path) -> None:
    write_jpegs(tmp_path / "images", ["c0/1.jpg", "c0/2.jpg", "c1/1.jpg", "c1/2.jpg", "c2/1.jpg"])
    images, members = tmp_path / "images", ",".join(str(folder / name) for name in "ab")
    words = ("model", "evaluate", images, "--views", 10, "--json", "--ensemble", members)
    (row,) = [json.loads(line) for line in run(*words).stdout.splitlines()]
    files = sorted(images.rglob("*.jpg"))
    labels = [int(file.parent.name[1]) for file in files]
    rows = [
        np.mean([chances(outputs(folder, model, file.read_bytes(), "logits")) for model in "ab"], axis=0)
        for file in files
    ]
    assert row["top1"] == pytest.approx(np.mean(np.argmax(rows, axis=1) == labels))
    assert row["count"] == 5
    assert "say which network" in run("model", "evaluate", images, code=2).stderr
