"""The transformer of scikit-learn, against a real server: what it takes, and in pipelines and searches."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

import fc7
from fc7.sklearn import FeatureExtractor, SoftmaxHead
from servers import serving
from tiny import PX

N = 24


@pytest.fixture(scope="module")
def address(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("sklearn"), "--model", str(tiny_bundle)) as served:
        yield served.address


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Half of them are light at the top, the others at the bottom."""
    images = np.random.default_rng(0).integers(0, 60, (N, PX, PX, 3), dtype=np.uint8)
    images[: N // 2, : PX // 2] += 180
    images[N // 2 :, PX // 2 :] += 180
    return images


LABELS = np.array(["top"] * (N // 2) + ["bottom"] * (N // 2))


def test_all_kinds_of_pictures_give_the_features_of_the_client(
    address: str, pictures: np.ndarray, tmp_path: Path
) -> None:
    files = []
    for i, pixels in enumerate(pictures[:3]):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        files.append(tmp_path / f"{i}.png")
    with fc7.connect(address) as client:
        expected = client.extract(pictures[:3], layer="fc6").values
    extractor = FeatureExtractor(address=address, layer="fc6")
    for given in (
        files,
        np.array([str(file) for file in files]),
        np.array([[str(file)] for file in files], object),
        [file.read_bytes() for file in files],
        [Image.open(io.BytesIO(file.read_bytes())) for file in files],
        pictures[:3],
        list(pictures[:3]),
    ):
        np.testing.assert_array_equal(extractor.fit_transform(given), expected)
    with pytest.raises(fc7.ImageDecodeError):
        extractor.transform([b"no picture"])


def test_it_works_in_pipelines_searches_and_cross_validation(address: str, pictures: np.ndarray) -> None:
    pipeline = make_pipeline(FeatureExtractor(address=address), SoftmaxHead())
    search = GridSearchCV(pipeline, {"featureextractor__layer": ["fc6", "fc7"]}, cv=2, error_score="raise")
    search.fit(list(pictures), LABELS)
    assert search.best_score_ > 0.8
    again = pickle.loads(pickle.dumps(search.best_estimator_))  # the connection stays here
    np.testing.assert_array_equal(again.predict(pictures), search.predict(pictures))
    other = make_pipeline(copy.deepcopy(pipeline[0]), LogisticRegression(max_iter=500))
    assert cross_val_score(other, list(pictures), LABELS, cv=3, error_score="raise").mean() > 0.8


def test_a_head_of_the_server_goes_through_scikit_learn_and_back(address: str, pictures: np.ndarray) -> None:
    with fc7.connect(address) as client:
        trained = client.train_head("light", images=pictures, labels=LABELS.tolist())
        features = client.extract(pictures)
        answers = client.classify(pictures, head="light", head_version=trained.version, top=2)
        theirs = np.array([[dict(answer.top)[name] for name in trained.classes] for answer in answers])
        ours = SoftmaxHead.from_weights(client.head_weights("light"))
        assert ours.classes_.tolist() == trained.classes
        np.testing.assert_allclose(ours.predict_proba(features.values), theirs, atol=1e-4)

        regression = ours.to_logistic_regression()
        np.testing.assert_allclose(regression.predict_proba(features.values), theirs, atol=1e-4)
        other = LogisticRegression(max_iter=500).fit(features.values, LABELS)
        weights = SoftmaxHead.from_logistic_regression(other).to_weights(features.provenance)
        imported = client.import_head("light", weights, source="scikit-learn")
        assert (imported.version, imported.method, imported.source) == (trained.version + 1, "imported", "scikit-learn")
        assert (imported.measures, imported.unknown, imported.count) == (None, None, 0)
        assert client.head("light").version == imported.version
        client.publish_head("light")
        answers = client.classify(pictures, head="light", top=2)
        theirs = np.array([[dict(answer.top)[name] for name in imported.classes] for answer in answers])
        np.testing.assert_allclose(theirs, other.predict_proba(features.values), atol=1e-4)
        assert client.compare_heads("light/1", "light/2", images=pictures, labels=LABELS.tolist()).count == N
        with pytest.raises(fc7.FailedPrecondition, match="fitted elsewhere"):
            client.head_report("light")


def test_weights_that_are_no_head_are_refused(address: str, pictures: np.ndarray) -> None:
    with fc7.connect(address) as client:
        provenance = client.extract(pictures[:1]).provenance
        dim = client.extract(pictures[:1]).values.shape[1]
        good = fc7.HeadWeights(provenance, ["b", "a"], np.zeros((dim, 2), np.float32), np.zeros(2, np.float32))
        nan, bias = good.weights.copy(), good.bias
        nan[1, 1] = np.nan
        for bad, reason in (
            (replace(good, classes=["a"], weights=good.weights[:, :1], bias=bias[:1]), "at least 2 classes"),
            (replace(good, classes=["a", "a"]), "each once"),
            (replace(good, classes=["a", "b", "c"]), "weights must be of shape"),
            (replace(good, weights=good.weights[1:]), "weights must be float32 of shape"),
            (replace(good, weights=nan), "NaN or infinite"),
            (replace(good, classes=["a", "b\n"]), "control character"),
            (replace(good, bias=bias[:1]), "bias of shape"),
        ):
            with pytest.raises(fc7.InvalidArgument, match=reason):
                client.import_head("bad", bad)
        with pytest.raises(fc7.Fc7Error):
            client.import_head("bad", replace(good, provenance=replace(provenance, graph_sha256="0" * 64)))
        with pytest.raises(fc7.NotFound):
            client.head("bad")
        assert client.import_head("good", good).classes == ["a", "b"]
